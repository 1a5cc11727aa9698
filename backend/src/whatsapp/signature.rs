//! Is this webhook from Meta, or from Kapso? Proves a body before anybody looks at it.
//!
//! Called by `http/webhook` with the raw bytes as they came. Meta signs its own JSON text, with
//! `\u00e4` for an ä, so a body that was parsed and written again no longer matches.
//! Promises a constant-time comparison and never says why it refused.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::provider::Provider;

const PREFIX: &str = "sha256=";

/// Checks Meta's `X-Hub-Signature-256`: `sha256=` and 64 lowercase hex digits, nothing else; and
/// Kapso's `X-Webhook-Signature`, in which the prefix may be missing.
///
/// Uppercase is refused although it decodes to the same bytes: Meta never sends it, and one
/// spelling per signature leaves less to reason about. An empty secret verifies nothing, because
/// everybody knows that key.
pub fn verify(provider: Provider, secret: &[u8], header: Option<&str>, body: &[u8]) -> bool {
    let digits = match (provider, header) {
        (_, None) => None,
        (Provider::Meta, Some(header)) => header.strip_prefix(PREFIX),
        (Provider::Kapso, Some(header)) => Some(header.strip_prefix(PREFIX).unwrap_or(header)),
    };
    let Some(digits) = digits else {
        return false;
    };
    let lowercase = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut claimed = [0_u8; 32];
    if secret.is_empty() || !lowercase || hex::decode_to_slice(digits, &mut claimed).is_err() {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    mac.verify_slice(&claimed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Provider, verify as verify_of};

    // RFC 4231, test case 2.
    const KEY: &[u8] = b"Jefe";
    const BODY: &[u8] = b"what do ya want for nothing?";
    const HEX: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn verify(secret: &[u8], header: Option<&str>, body: &[u8]) -> bool {
        verify_of(Provider::Meta, secret, header, body)
    }

    #[test]
    fn kapso_may_leave_the_prefix_out_and_nothing_else() {
        let kapso = |header: &str| verify_of(Provider::Kapso, KEY, Some(header), BODY);
        assert!(kapso(HEX) && kapso(&format!("sha256={HEX}")));
        assert!(!kapso("") && !kapso("sha256=") && !kapso(&HEX[..62]));
        assert!(!kapso(&HEX.to_uppercase()) && !kapso(&format!("sha1={HEX}")));
        assert!(!verify_of(Provider::Kapso, KEY, None, BODY));
        assert!(!verify_of(Provider::Kapso, b"", Some(HEX), BODY));
    }

    fn refused(header: &str) -> bool {
        !verify(KEY, Some(header), BODY)
    }

    #[test]
    fn the_right_signature_is_accepted() {
        assert!(verify(KEY, Some(&format!("sha256={HEX}")), BODY));
    }

    #[test]
    fn a_changed_body_or_secret_is_refused() {
        let header = format!("sha256={HEX}");
        assert!(!verify(KEY, Some(&header), b"what do ya want for nothing!"));
        assert!(!verify(b"jefe", Some(&header), BODY));
        assert!(!verify(KEY, Some(&header), b""));
        let of_no_key = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        assert!(
            !verify(b"", Some(of_no_key), b""),
            "an empty secret must not verify"
        );
    }

    #[test]
    fn anything_but_the_documented_spelling_is_refused() {
        assert!(!verify(KEY, None, BODY));
        assert!(refused(""));
        assert!(refused("sha256="));
        assert!(refused(HEX), "no prefix");
        assert!(refused(&format!("sha1={HEX}")));
        assert!(refused(&format!("SHA256={HEX}")));
        assert!(refused(&format!("sha256={}", HEX.to_uppercase())));
        assert!(refused(&format!("sha256={}", &HEX[..62])), "truncated");
        assert!(refused(&format!("sha256={}", &HEX[..63])), "half a byte");
        assert!(refused(&format!("sha256={HEX}00")));
        assert!(refused(&format!("sha256={HEX} ")));
        assert!(refused(&format!(" sha256={HEX}")));
        assert!(refused(&format!("sha256={}ä", &HEX[..62])), "not hex");
    }
}
