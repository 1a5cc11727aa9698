//! Table `invite`: codes that let new people in. `clawkaka invite` makes and revokes them, `worker/route`
//! takes them.
//!
//! Only a code's keyed hash is kept, so that nobody who reads the table can come in. A code is ten of thirty
//! signs, 49 bits, and guesses count as messages do: at 200 a day with [`MAX_TRIED`] words each, a thousand people
//! who guess at a thousand codes for a year find one with a chance of one in three thousand.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::{
    id::{InviteId, LineId},
    seal::{self, MasterKey},
};

/// Without 0 and O, 1, I and L, and without U, so that no code is a word that we would not say.
const SIGNS: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 10;
/// Words of one message that are looked up: a person has one code.
const MAX_TRIED: usize = 3;

/// Hashes codes for look-up.
#[derive(Clone)]
pub struct Codes([u8; 32]);

/// A word of a text that may be a code.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// In capitals, without what only groups it.
    pub code: String,
    /// The text without it.
    pub rest: String,
}

impl Codes {
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive("invite"))
    }

    fn hash(&self, code: &str) -> Vec<u8> {
        seal::keyed_hash(&self.0, code.as_bytes()).to_vec()
    }
}

/// A new code.
pub fn draw() -> anyhow::Result<String> {
    let mut code = String::new();
    while code.len() < LENGTH {
        let mut byte = [0];
        getrandom::fill(&mut byte).context("draw a code")?;
        // Above, some signs would come more often than others.
        if usize::from(byte[0]) < 8 * SIGNS.len() {
            code.push(SIGNS[usize::from(byte[0]) % SIGNS.len()].into());
        }
    }
    Ok(code)
}

/// As it is easier to read out and to type.
pub fn shown(code: &str) -> String {
    let (first, second) = code.split_at(LENGTH / 2);
    format!("{first}-{second}")
}

/// The words of a text that look like a code, by themselves and however they are written.
pub fn find(text: &str) -> Vec<Found> {
    let words = text.split_whitespace().filter_map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let code = bare.replace('-', "").to_ascii_uppercase();
        let is_code = code.len() == LENGTH && code.bytes().all(|sign| SIGNS.contains(&sign));
        is_code.then(|| {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            let rest = format!("{}{}", before, after.trim_start());
            Found {
                code,
                rest: rest.trim().to_owned(),
            }
        })
    });
    words.take(MAX_TRIED).collect()
}

/// One that lets somebody in.
pub struct Invite {
    pub id: InviteId,
    pub role: Option<String>,
}

/// The invitation of this code, if it still lets somebody in.
pub async fn look_up(
    db: impl PgExecutor<'_>,
    codes: &Codes,
    line: LineId,
    code: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Invite>> {
    sqlx::query_as!(
        Invite,
        r#"select id as "id: InviteId", role from invite
           where code = $1 and (line_id is null or line_id = $2) and uses_left > 0
             and valid_until > $3 and revoked_at is null"#,
        codes.hash(code),
        line as LineId,
        now,
    )
    .fetch_optional(db)
    .await
    .context("look an invitation up")
}

/// Uses it once. False if it was used up or revoked meanwhile.
pub async fn take(
    db: impl PgExecutor<'_>,
    id: InviteId,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let taken = sqlx::query!(
        "update invite set uses_left = uses_left - 1
         where id = $1 and uses_left > 0 and valid_until > $2 and revoked_at is null",
        id as InviteId,
        now,
    )
    .execute(db)
    .await
    .context("use an invitation")?;
    Ok(taken.rows_affected() == 1)
}

/// What an operator wants of a new one.
pub struct Wanted<'a> {
    pub code: &'a str,
    /// `None`: on every line.
    pub line: Option<LineId>,
    pub role: Option<&'a str>,
    pub uses: i32,
    pub valid_until: DateTime<Utc>,
}

pub async fn create(
    db: impl PgExecutor<'_>,
    codes: &Codes,
    wanted: &Wanted<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<InviteId> {
    let id = InviteId::new();
    sqlx::query!(
        "insert into invite (id, line_id, code, role, uses, uses_left, valid_until, created_at)
         values ($1, $2, $3, $4, $5, $5, $6, $7)",
        id as InviteId,
        wanted.line as Option<LineId>,
        codes.hash(wanted.code),
        wanted.role,
        wanted.uses,
        wanted.valid_until,
        now,
    )
    .execute(db)
    .await
    .context("make an invitation")?;
    Ok(id)
}

pub struct Listed {
    pub id: InviteId,
    /// `None`: all.
    pub phone_number_id: Option<String>,
    pub role: Option<String>,
    pub uses: i32,
    pub uses_left: i32,
    pub valid_until: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The latest first.
pub async fn list(db: impl PgExecutor<'_>, limit: i64) -> anyhow::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select i.id as "id: InviteId", l.phone_number_id as "phone_number_id?", i.role, i.uses,
                  i.uses_left, i.valid_until, i.revoked_at
           from invite i left join line l on l.id = i.line_id order by i.id desc limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await
    .context("list the invitations")
}

/// From now on it lets nobody in. `None`: there is none; false: it was revoked before.
pub async fn revoke(
    db: impl PgExecutor<'_>,
    id: InviteId,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"with before as (select id, revoked_at from invite where id = $1 for update)
           update invite set revoked_at = coalesce(before.revoked_at, $2)
           from before where invite.id = before.id returning before.revoked_at is null as "new!""#,
        id as InviteId,
        now,
    )
    .fetch_optional(db)
    .await
    .context("revoke an invitation")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let all = find(text).into_iter();
        all.map(|found| (found.code, found.rest)).collect()
    }

    #[test]
    fn a_code_is_a_word_of_its_own_however_it_is_written() {
        let code = "K7QM2XPR4T";
        for (text, rest) in [
            ("K7QM2XPR4T", ""),
            (" k7qm2-xpr4t\n", ""),
            ("Hi! My code is (K7QM2-XPR4T).", "Hi! My code is"),
            ("K7QM2-XPR4T what can you do?", "what can you do?"),
            ("two\nlines K7QM2XPR4T, and more", "two\nlines and more"),
            ("*K7QM2XPR4T*", ""),
        ] {
            let expected = vec![(code.to_owned(), rest.to_owned())];
            assert_eq!(found(text), expected, "{text:?}");
        }
        for text in [
            "",
            "K7QM2XPR4",
            "K7QM2XPR4TT",
            "xK7QM2XPR4T",
            "K7QM2 XPR4T",
            "K7QM2XPR40",
            "https://example.org/K7QM2XPR4T",
            "Ｋ7QM2XPR4T",
        ] {
            assert!(found(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_message_full_of_guesses_is_a_few() {
        let guesses = "K7QM2XPR4T ".repeat(1_000);
        assert_eq!(find(&guesses).len(), MAX_TRIED);
    }

    #[test]
    fn drawn_codes_differ_and_are_found_again() {
        let codes: std::collections::HashSet<_> = (0..100).map(|_| draw().unwrap()).collect();
        assert_eq!(codes.len(), 100);
        for code in codes {
            assert_eq!(found(&shown(&code)), [(code, String::new())]);
        }
    }
}
