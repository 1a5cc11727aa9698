//! WhatsApp: reached, takes our token, knows our number, and posts its webhooks to us.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
    number::Number,
};
use crate::{
    clock::Clock,
    whatsapp::account::{Token, Trouble},
};

/// What a token needs to send; the other permission only lets `doctor` see more.
const MESSAGING: &str = "whatsapp_business_messaging";
/// The one webhook field we need: people's messages and the receipts of ours.
const FIELD: &str = "messages";

pub async fn graph(facts: &Facts) -> Result<Found, Found> {
    let url = &facts.config.whatsapp.api.base_url;
    Ok(match facts.try_graph().await {
        Ok(_) => ok("WhatsApp's API answers."),
        Err(trouble) => fail(
            format!("WhatsApp's API is not reached at {url}: {trouble}."),
            "Look at the machine's way out: DNS, firewall, proxy; or mend WHATSAPP_API_BASE_URL.",
        ),
    })
}

fn new_token(number: &Number) -> String {
    let put = number.put_into("WHATSAPP_ACCESS_TOKEN", "the worker");
    format!("Make a system user's token in Meta's dashboard, and {put}.")
}

pub async fn token(facts: &Facts, number: &Number) -> Result<Found, Found> {
    if facts.try_graph().await.is_err() {
        return Err(skip("WhatsApp's API is not reached."));
    }
    let todo = new_token(number);
    Ok(match number.try_token().await {
        Ok(token) => judge_token(token, todo),
        Err(Trouble::Refused { code }) => judge_refusal(*code, todo),
        Err(trouble) => fail(
            format!("WhatsApp says nothing of the token: {trouble}."),
            "Try again in a minute; then look at Meta's status page.",
        ),
    })
}

/// Codes of a token that is wrong, over or revoked; others only say that Meta does not tell.
fn judge_refusal(code: i64, todo: String) -> Found {
    match code {
        0 | 102 | 190 => fail(
            format!("WhatsApp refuses the access token (code {code})."),
            todo,
        ),
        _ => warn(
            format!("WhatsApp does not describe the access token (code {code})."),
            "Look in Meta's dashboard whether it is a system user's of the app, and when it ends.",
        ),
    }
}

fn judge_token(token: &Token, todo: String) -> Found {
    if !token.is_valid {
        return fail("The access token is not valid any more.", todo);
    }
    let can_send = token.scopes.iter().any(|scope| scope == MESSAGING);
    match can_send {
        true => ok("WhatsApp takes the access token."),
        false => fail(
            format!("The access token lacks the permission {MESSAGING}."),
            todo,
        ),
    }
}

pub async fn token_expiry(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let token = number.token(facts).await?;
    let (days, todo) = (facts.limits.token_days, new_token(number));
    let now = Clock::System.now();
    Ok(judge_expiry(token.expires_at, days, todo, now))
}

fn judge_expiry(end: Option<DateTime<Utc>>, days: i64, todo: String, now: DateTime<Utc>) -> Found {
    let Some(end) = end else {
        return ok("The access token does not expire.");
    };
    let (left, date) = (end - now, end.format("%Y-%m-%d %H:%M UTC"));
    let what = format!("The access token expires on {date}");
    match left {
        left if left < TimeDelta::days(days) => fail(format!("{what}."), todo),
        left if left < TimeDelta::days(4 * days) => warn(format!("{what}."), todo),
        left => ok(format!("{what}, in {} days.", left.num_days())),
    }
}

pub async fn number(facts: &Facts, number: &Number) -> Result<Found, Found> {
    number.token(facts).await?;
    let id = &number.id;
    let seen = number.account.number(id, &number.access_token).await;
    Ok(match seen {
        Ok(()) => ok(format!("The token may use the number {id}.")),
        Err(Trouble::Refused { code }) => fail(
            format!("WhatsApp does not show the number {id} to this token (code {code})."),
            "Compare it with the Phone number ID in the dashboard (not the number itself), and give the system user the WhatsApp account.",
        ),
        Err(trouble) => fail(
            format!("WhatsApp says nothing of the number: {trouble}."),
            "Try again in a minute.",
        ),
    })
}

pub async fn subscription(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let token = number.token(facts).await?;
    let Some(account) = business_account(number, token).await else {
        return Err(skip(
            "The token does not tell its business account, or not that of our number: set WHATSAPP_BUSINESS_ACCOUNT_ID.",
        ));
    };
    let access = &number.access_token;
    let apps = number.account.subscribed_apps(&account, access).await;
    let apps = apps.map_err(|trouble| {
        let todo = "For this check the token also needs whatsapp_business_management.";
        warn(
            format!("WhatsApp does not say who gets the webhooks: {trouble}."),
            todo,
        )
    })?;
    if !apps.contains(&token.app_id) {
        return Ok(fail(
            format!(
                "Our app {} gets no webhooks of business account {account}.",
                token.app_id
            ),
            format!(
                "With its access token: curl -X POST -H \"Authorization: Bearer $WHATSAPP_ACCESS_TOKEN\" {}{}/{account}/subscribed_apps",
                number.api.base_url, number.api.version
            ),
        ));
    }
    // The app's own subscriptions are shown only to who knows its secret.
    let secret = &number.webhook_secret;
    let fields = match number.knows_webhook_secret() {
        false => return Ok(ok("WhatsApp posts our account's webhooks to our app.")),
        true => number.account.subscription(&token.app_id, secret).await,
    };
    let todo = "In the dashboard, under WhatsApp > Configuration, register the webhook and subscribe to `messages`.";
    Ok(match fields {
        Ok(Some(found)) if !found.active => fail("WhatsApp has switched our webhook off.", todo),
        Ok(Some(found)) if found.fields.iter().any(|field| field == FIELD) => {
            ok("WhatsApp posts messages and receipts to our app.")
        }
        Ok(Some(_)) => fail("Our app does not subscribe to `messages`.", todo),
        Ok(None) => fail("No webhook is registered for our app.", todo),
        // The secret is another check's business.
        Err(_) => ok("WhatsApp posts our account's webhooks to our app."),
    })
}

/// The one that owns our number: as the setting says, else among those the token was granted.
pub(super) async fn business_account(number: &Number, token: &Token) -> Option<String> {
    if !number.business_account_id.is_empty() {
        return Some(number.business_account_id.clone());
    }
    for account in &token.business_accounts {
        let numbers = number.account.numbers(account, &number.access_token).await;
        if numbers.is_ok_and(|numbers| numbers.contains(&number.id)) {
            return Some(account.clone());
        }
    }
    None
}

/// Meta signs webhooks with the app's secret: a wrong one means that every one of them is refused.
pub async fn app_secret(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let token = number.token(facts).await?;
    let secret = &number.webhook_secret;
    let asked = number.account.subscription(&token.app_id, secret).await;
    Ok(match asked {
        Ok(_) => ok("The app secret is that of the token's app."),
        Err(Trouble::Refused { code: 190 | 101 }) => fail(
            format!(
                "The app secret is not that of app {}, so every webhook is refused.",
                token.app_id
            ),
            format!(
                "Copy it from Meta's dashboard (App settings > Basic), and {}.",
                number.put_into("WHATSAPP_APP_SECRET", "web")
            ),
        ),
        Err(trouble) => warn(
            format!("WhatsApp does not say whether the app secret is right: {trouble}."),
            "Try again in a minute; `webhook-signature` shows whether web uses the same one.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn token(is_valid: bool, scopes: &[&str]) -> Token {
        Token {
            app_id: "1".to_owned(),
            is_valid,
            expires_at: None,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            business_accounts: Vec::new(),
        }
    }

    #[test]
    fn a_token_that_is_over_or_may_not_send_fails() {
        assert_eq!(
            judge_token(&token(true, &[MESSAGING]), String::new()).verdict,
            Verdict::Ok
        );
        assert_eq!(
            judge_token(&token(false, &[MESSAGING]), String::new()).verdict,
            Verdict::Fail
        );
        assert_eq!(
            judge_token(&token(true, &["public_profile"]), String::new()).verdict,
            Verdict::Fail
        );
    }

    #[test]
    fn a_token_that_meta_does_not_describe_need_not_be_a_bad_one() {
        assert_eq!(judge_refusal(190, String::new()).verdict, Verdict::Fail);
        assert_eq!(judge_refusal(100, String::new()).verdict, Verdict::Warn);
    }

    #[test]
    fn a_token_warns_a_month_and_fails_a_week_before_its_end() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let judge = |end| judge_expiry(end, 7, String::new(), now);
        let verdict = |days| judge(Some(now + TimeDelta::days(days))).verdict;
        assert_eq!(judge(None).verdict, Verdict::Ok);
        assert_eq!(verdict(60), Verdict::Ok);
        assert_eq!(verdict(20), Verdict::Warn);
        assert_eq!(verdict(6), Verdict::Fail);
        assert_eq!(verdict(-1), Verdict::Fail);
    }
}
