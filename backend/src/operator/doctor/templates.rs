//! The templates that a line has for people who have not written for a day: whether Meta lets them out.

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
    graph,
    number::Number,
    work::unread,
};
use crate::{
    line::{policy, template::Templates},
    whatsapp::{account::Approval, provider::Provider},
};

pub async fn templates(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let templates = of_line(facts, number).await?;
    if templates.is_empty() {
        return Ok(ok(
            "There is no template: what is said to somebody after a day of silence waits until they write.",
        ));
    }
    let key = &number.access_token;
    let account = match number.provider() {
        Provider::Meta => graph::business_account(number, number.token(facts).await?).await,
        Provider::Kapso => {
            let told = number.account.business_account(&number.id, key).await;
            told.ok().flatten()
        }
    };
    let Some(account) = account else {
        return Err(skip(
            "It is not told in which business account the number is, and so not which templates there are.",
        ));
    };
    let mut found = Vec::new();
    for name in templates.names() {
        let approvals = number.account.templates(&account, name, key).await;
        found.extend(approvals.map_err(|trouble| {
            warn(
                format!("WhatsApp does not show the templates: {trouble}."),
                "For this check the token also needs whatsapp_business_management.",
            )
        })?);
    }
    Ok(judge(&templates, &found))
}

/// What was set for it, else what the environment says.
async fn of_line(facts: &Facts, number: &Number) -> Result<Templates, Found> {
    let named = &number.templates;
    let Ok(db) = facts.try_db().await else {
        return Ok(named.clone());
    };
    let own = policy::own_at(db, number.provider(), &number.id).await;
    Ok(own.map_err(unread)?.templates_or(named).clone())
}

fn judge(templates: &Templates, found: &[Approval]) -> Found {
    let wrong = templates.iter().filter_map(|template| {
        let mut all = found.iter();
        let one =
            all.find(|one| (&one.name, &one.language) == (&template.name, &template.language));
        let why = match one {
            None => "is not there".to_owned(),
            Some(one) if one.status != "APPROVED" => format!("is {}", one.status.to_lowercase()),
            Some(one) if one.has_variables => "has variables".to_owned(),
            Some(_) => return None,
        };
        Some(format!("{}={} {why}", template.language, template.name))
    });
    let wrong: Vec<_> = wrong.collect();
    match wrong.is_empty() {
        true => ok("Meta lets all templates out."),
        false => fail(
            format!("Templates that cannot go out: {}.", wrong.join("; ")),
            "Make or mend them in WhatsApp Manager, in the business account of this number, or name others: `clawkaka line set --template`.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn approval(name: &str, language: &str, status: &str, has_variables: bool) -> Approval {
        Approval {
            name: name.to_owned(),
            language: language.to_owned(),
            status: status.to_owned(),
            has_variables,
        }
    }

    #[test]
    fn what_meta_does_not_let_out_is_named_with_its_reason() {
        let templates: Templates = "en_US=a,de=b,fr=c,it=d".parse().unwrap();
        let mut found = vec![
            approval("a", "en_US", "APPROVED", false),
            approval("b", "de", "PAUSED", false),
            approval("c", "fr", "APPROVED", true),
            approval("d", "en_US", "APPROVED", false),
        ];
        let judged = judge(&templates, &found);
        assert_eq!(judged.verdict, Verdict::Fail);
        let what =
            "Templates that cannot go out: de=b is paused; fr=c has variables; it=d is not there.";
        assert_eq!(judged.what, what);
        found[1].status = "APPROVED".to_owned();
        found[2].has_variables = false;
        found[3].language = "it".to_owned();
        assert_eq!(judge(&templates, &found).verdict, Verdict::Ok);
    }
}
