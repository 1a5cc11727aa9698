//! What holds on one line: who may write, what they are told first, which role they get, and which groups are
//! served. What an operator set for it (`clawkaka line set`) stands in its row; for the rest the environment's
//! word holds.
//!
//! Read from the row whenever it decides something, which is not at every message: so a change counts at
//! once, and nothing has to be told of it.

use anyhow::Context;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use url::Url;

use super::{Line, group::Groups, template::Templates};
use crate::{id::LineId, whatsapp::provider::Provider};

/// What takes a role away again, and so is none.
pub const NO_ROLE: &str = "none";
const MAX_ROLE_CHARS: usize = 32;
/// Both stand in one message beside other words, which has 1,024 characters at most.
const MAX_OPERATOR_CHARS: usize = 100;
const MAX_URL_CHARS: usize = 300;

/// Who is let in of those who write for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Signup {
    /// Everybody.
    Open,
    /// Who has a code.
    Invite,
    /// Nobody.
    Closed,
}

/// Whether new people are told with whom they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Once, before everything else.
    On,
    /// They know it from elsewhere.
    Off,
}

/// Whether new people are asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Who writes wants an answer.
    None,
    /// They tap a button; until then nothing is made and nothing read.
    Button,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub signup: Signup,
    pub notice: Notice,
    /// Who runs it all.
    pub operator: Option<String>,
    /// Where it says what becomes of what people write.
    pub policy_url: Option<Url>,
    pub consent: Consent,
    /// Of everybody who was given no other.
    pub default_role: Option<String>,
    pub groups: Groups,
    /// What a message in a group begins with that is for us.
    pub group_prefix: String,
}

/// What an operator set for one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Own {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signup: Option<Signup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_policy_url: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_role: Option<String>,
    /// The environment has these for each of its own lines, not for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<Templates>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_prefix: Option<String>,
}

impl Policy {
    pub fn with(&self, own: Own) -> Self {
        let all = self.clone();
        Self {
            signup: own.signup.unwrap_or(all.signup),
            notice: own.notice.unwrap_or(all.notice),
            operator: own.notice_operator.or(all.operator),
            policy_url: own.notice_policy_url.or(all.policy_url),
            consent: own.consent.unwrap_or(all.consent),
            default_role: own.default_role.or(all.default_role),
            groups: own.groups.unwrap_or(all.groups),
            group_prefix: own.group_prefix.unwrap_or(all.group_prefix),
        }
    }
}

impl Own {
    /// What goes out when free text may not; `named` is what the environment says for the line.
    pub fn templates_or<'a>(&'a self, named: &'a Templates) -> &'a Templates {
        self.templates.as_ref().unwrap_or(named)
    }

    /// With what is now set besides, or differently.
    pub fn and(self, more: Self) -> Self {
        Self {
            signup: more.signup.or(self.signup),
            notice: more.notice.or(self.notice),
            notice_operator: more.notice_operator.or(self.notice_operator),
            notice_policy_url: more.notice_policy_url.or(self.notice_policy_url),
            consent: more.consent.or(self.consent),
            default_role: more.default_role.or(self.default_role),
            templates: more.templates.or(self.templates),
            groups: more.groups.or(self.groups),
            group_prefix: more.group_prefix.or(self.group_prefix),
        }
    }
}

impl Notice {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl Consent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Button => "button",
        }
    }
}

impl Signup {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// What holds on a line; `environment` is what the settings say.
pub async fn of(
    db: impl PgExecutor<'_>,
    line: LineId,
    environment: &Policy,
) -> anyhow::Result<Policy> {
    Ok(environment.with(own(db, line).await?))
}

pub async fn own(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<Own> {
    let text = sqlx::query_scalar!(
        r#"select policy::text as "policy!" from line where id = $1"#,
        line as LineId
    )
    .fetch_one(db)
    .await
    .context("read the policy of a line")?;
    read(&text).with_context(|| {
        format!("read what was set for line {line}; set it anew: clawkaka line set {line} --reset")
    })
}

/// As `own`, of a line by its number; nothing where there is none yet.
pub async fn own_at(
    db: impl PgExecutor<'_>,
    provider: Provider,
    phone_number_id: &str,
) -> anyhow::Result<Own> {
    let text = sqlx::query_scalar!(
        r#"select policy::text as "policy!" from line where provider = $1 and phone_number_id = $2"#,
        provider.as_str(),
        phone_number_id,
    )
    .fetch_optional(db)
    .await
    .context("read the policy of a number")?;
    text.map_or_else(|| Ok(Own::default()), |text| read(&text))
}

/// What goes out on a line when free text may not: what was set for it, else what the environment says.
pub async fn templates(db: impl PgExecutor<'_>, line: &Line) -> anyhow::Result<Templates> {
    let own = own(db, line.id).await?;
    Ok(own.templates_or(&line.templates).clone())
}

fn read(text: &str) -> anyhow::Result<Own> {
    Ok(serde_json::from_str(text)?)
}

pub async fn set(db: impl PgExecutor<'_>, line: LineId, own: &Own) -> anyhow::Result<()> {
    sqlx::query!(
        "update line set policy = $2::text::jsonb where id = $1",
        line as LineId,
        serde_json::to_string(own).context("write the policy of a line")?,
    )
    .execute(db)
    .await
    .context("set the policy of a line")?;
    Ok(())
}

/// A word that can stand anywhere.
pub fn role(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.chars().all(plain) && (1..=MAX_ROLE_CHARS).contains(&text.len());
    match fits && text != NO_ROLE {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "use up to {MAX_ROLE_CHARS} of a-z, 0-9 and -, and not {NO_ROLE}"
        )),
    }
}

pub fn operator(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=MAX_OPERATOR_CHARS).contains(&text.chars().count());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "write a name on one line, of at most {MAX_OPERATOR_CHARS} characters"
        )),
    }
}

pub fn policy_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
    let url = url.filter(|url| url.as_str().len() <= MAX_URL_CHARS);
    url.ok_or_else(|| format!("must be an https:// address of at most {MAX_URL_CHARS} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_for_a_line_wins_and_the_rest_is_the_environments() {
        let environment = Policy {
            signup: Signup::Open,
            notice: Notice::On,
            operator: Some("Everybody Ltd".to_owned()),
            policy_url: None,
            consent: Consent::None,
            default_role: None,
            groups: "1203@g.us".parse().unwrap(),
            group_prefix: "@assistant".to_owned(),
        };
        assert_eq!(environment.with(read("{}").unwrap()), environment);
        let own = r#"{"signup":"invite","default_role":"guest","groups":["77@g.us"]}"#;
        let policy = environment.with(read(own).unwrap());
        assert_eq!(policy.signup, Signup::Invite);
        assert_eq!(policy.default_role.as_deref(), Some("guest"));
        assert_eq!(policy.operator, environment.operator);
        assert!(policy.groups.serves("77@g.us") && !policy.groups.serves("1203@g.us"));
        assert_eq!(policy.group_prefix, "@assistant");
        assert_eq!(serde_json::to_string(&read(own).unwrap()).unwrap(), own);
    }

    #[test]
    fn what_we_do_not_know_is_no_policy() {
        for text in [
            r#"{"sign_up":"open"}"#,
            r#"{"signup":"ajar"}"#,
            r#"{"notice_policy_url":"no address"}"#,
            "7",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_of_a_policy_are_plain() {
        assert!(role("family-2").is_ok() && operator(" Müller & Söhne ").is_ok());
        for text in ["", "none", "Family", "a b", "a\n", &"a".repeat(33)] {
            assert!(role(text).is_err(), "{text:?}");
        }
        for text in ["", " ", "two\nlines", &"x".repeat(101)] {
            assert!(operator(text).is_err(), "{text:?}");
        }
        assert!(policy_url("https://example.org/privacy").is_ok());
        for text in ["http://example.org", "javascript:alert(1)", "example.org"] {
            assert!(policy_url(text).is_err(), "{text:?}");
        }
    }
}
