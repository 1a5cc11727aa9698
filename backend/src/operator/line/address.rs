//! Where a provider reaches our web.

use url::Url;

use crate::{operator::answer::Refusal, whatsapp::provider::Provider};

/// The route for its webhooks, also where only the host was given. By TLS, but on this machine.
pub fn ours(provider: Provider, mut url: Url) -> Result<Url, Refusal> {
    let path = provider.webhook_path();
    if url.path() == "/" {
        url.set_path(path);
    }
    let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    if is_safe && url.path() == path && url.query().is_none() {
        return Ok(url);
    }
    Err(Refusal {
        code: "bad-webhook-url",
        what: format!("{url} is not where our web takes these webhooks."),
        todo: match provider {
            Provider::Meta => "Write https://<your domain>/whatsapp/webhook.",
            Provider::Kapso => "Write https://<your domain>/kapso/webhook.",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_go_to_our_own_route_over_tls() {
        let asked = |url: &str| ours(Provider::Kapso, url.parse().unwrap()).map(String::from);
        let expected = "https://a.example/kapso/webhook";
        assert_eq!(asked("https://a.example").unwrap(), expected);
        assert_eq!(asked("https://a.example/kapso/webhook").unwrap(), expected);
        for wrong in [
            "http://a.example/kapso/webhook",
            "https://a.example/whatsapp/webhook",
            "https://a.example/kapso/webhook?x=1",
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
