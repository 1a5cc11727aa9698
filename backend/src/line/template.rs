//! The templates of a line: what goes out in place of words when a person has not written for a day, one for
//! each language in which Meta approved it. Pure.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Meta's own limit of a name (Meta docs: message templates).
const MAX_NAME_CHARS: usize = 512;
/// Meta has some seventy languages.
const MAX_TEMPLATES: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As Meta writes it: `en_US`, `de`.
    pub language: String,
    pub name: String,
}

/// In the order in which they were given. Written as `en_US=assistant_waiting,de=assistent_wartet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Templates(Vec<Template>);

impl Templates {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.iter()
    }

    /// Each once.
    pub fn names(&self) -> BTreeSet<&str> {
        self.iter().map(|one| one.name.as_str()).collect()
    }

    /// The one for somebody's language, which is a BCP 47 tag: the same, else another of the same language,
    /// else the first that there is.
    pub fn in_language(&self, tag: &str) -> Option<&Template> {
        self.nearest(tag, |_| true)
    }

    /// The one of this name, likewise.
    pub fn named(&self, name: &str, tag: &str) -> Option<&Template> {
        self.nearest(tag, |one| one.name == name)
    }

    fn nearest(&self, tag: &str, counts: impl Fn(&Template) -> bool) -> Option<&Template> {
        let tag = tag.replace('-', "_").to_ascii_lowercase();
        let language = |text: &str| text.split('_').next().unwrap_or_default().to_owned();
        let same = |one: &&Template| one.language.to_ascii_lowercase() == tag;
        let near = |one: &&Template| language(&one.language.to_ascii_lowercase()) == language(&tag);
        let all = || self.0.iter().filter(|one| counts(one));
        all()
            .find(same)
            .or_else(|| all().find(near))
            .or_else(|| all().next())
    }
}

/// As Meta lets it be.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (1..=MAX_NAME_CHARS).contains(&text.len()) && text.chars().all(allowed)
}

impl FromIterator<Template> for Templates {
    fn from_iter<T: IntoIterator<Item = Template>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no template: write its language and its name, such as en_US=assistant_waiting"
            )
        };
        let (language, name) = text.trim().split_once('=').ok_or_else(wrong)?;
        let is_language = (2..=10).contains(&language.len())
            && language.starts_with(|c: char| c.is_ascii_lowercase())
            && language
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_');
        match is_language && is_name(name) {
            true => Ok(Self {
                language: language.to_owned(),
                name: name.to_owned(),
            }),
            false => Err(wrong()),
        }
    }
}

impl FromStr for Templates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = text.split(',').filter(|one| !one.trim().is_empty());
        let all: Vec<Template> = all.map(str::parse).collect::<Result<_, _>>()?;
        match all.len() <= MAX_TEMPLATES {
            true => Ok(Self(all)),
            false => Err(format!("name at most {MAX_TEMPLATES} templates")),
        }
    }
}

impl TryFrom<String> for Templates {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Templates> for String {
    fn from(all: Templates) -> Self {
        all.to_string()
    }
}

impl fmt::Display for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Template { language, name }) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{language}={name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_asked_for_by_name_is_that_one_in_the_nearest_language() {
        let all: Templates = "en_US=waiting,en_US=pay_day,de=pay_day".parse().unwrap();
        for (name, tag, language) in [
            ("pay_day", "de-AT", "de"),
            ("pay_day", "en", "en_US"),
            ("pay_day", "ja", "en_US"),
            ("waiting", "de", "en_US"),
        ] {
            let found = all.named(name, tag).unwrap();
            assert_eq!((&*found.name, &*found.language), (name, language), "{tag}");
        }
        assert_eq!(all.named("other", "de"), None);
    }

    #[test]
    fn everybody_gets_the_template_that_is_nearest_to_their_language() {
        let all: Templates = "en_US=hello,de=hallo,pt_BR=ola,pt_PT=oi".parse().unwrap();
        for (tag, name) in [
            ("en-US", "hello"),
            ("en", "hello"),
            ("de", "hallo"),
            ("de-AT", "hallo"),
            ("pt-PT", "oi"),
            ("pt", "ola"),
            ("ja", "hello"),
            ("", "hello"),
        ] {
            assert_eq!(all.in_language(tag).unwrap().name, name, "{tag}");
        }
        assert!(Templates::default().in_language("en").is_none());
    }

    #[test]
    fn they_are_written_and_read_alike_and_nothing_else_is() {
        let text = "en_US=assistant_waiting,de=assistent_2";
        assert_eq!(text.parse::<Templates>().unwrap().to_string(), text);
        assert!("".parse::<Templates>().unwrap().is_empty());
        for wrong in [
            "hello",
            "en_US=",
            "=x",
            "en=Hello World",
            "EN=x",
            "en=x;de=y",
            "e n=x",
        ] {
            assert!(wrong.parse::<Templates>().is_err(), "{wrong}");
        }
    }
}
