//! Who a message is for: somebody we know, by their id or an address. Nobody is ever made.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    id::{LineId, TenantId},
    line::stored,
    operator::{
        answer::Refusal,
        line::{self as command},
        tenant::unknown,
    },
    seal::{MasterKey, Sealer},
    tenant::{self, Status, address::AddressBook},
    whatsapp::event::{Sender, digits},
};

pub struct Person {
    pub tenant: TenantId,
    pub line: LineId,
    pub last_inbound_at: Option<DateTime<Utc>>,
}

/// `line` narrows it down for whoever writes to several numbers.
pub async fn find(
    db: &PgPool,
    master: &MasterKey,
    to: &str,
    line: Option<&str>,
) -> anyhow::Result<Person> {
    let lines = lines(db, line).await?;
    let tenant = match to.parse::<Uuid>() {
        Ok(id) => TenantId(id),
        Err(_) => by_address(db, master, to, &lines).await?,
    };
    let Some(on) = tenant::line(db, tenant).await? else {
        return Err(unknown(tenant).into());
    };
    let standing = tenant::standing(db, tenant).await?;
    if standing.line_removed || !lines.contains(&on) {
        return Err(Refusal {
            code: "not-on-this-line",
            what: format!("{tenant} does not write to this number, or it has been removed."),
            todo: "`clawkaka tenant show` says which number is theirs, `clawkaka line list` which there are.",
        }
        .into());
    }
    let why = match standing.status {
        Status::Active | Status::Refused => {
            return Ok(Person {
                tenant,
                line: on,
                last_inbound_at: standing.last_inbound_at,
            });
        }
        Status::Undecided => "has not agreed yet to hear from us",
        Status::Suspended => "is suspended, and hears nothing from us",
        Status::OptedOut => "does not want to hear from us",
        Status::Erased => "was erased",
    };
    Err(Refusal {
        code: "not-to-be-written-to",
        what: format!("{tenant} {why}."),
        todo: "`clawkaka tenant show` says how they stand with us; `tenant resume` lets the suspended in again.",
    }
    .into())
}

/// The one that was named, or all that are in use.
async fn lines(db: &PgPool, named: Option<&str>) -> anyhow::Result<Vec<LineId>> {
    match named {
        Some(text) => {
            let line = crate::line::find(db, text).await?;
            Ok(vec![line.ok_or_else(|| command::unknown(text))?])
        }
        None => {
            let all = stored::list(db).await?.into_iter();
            let open = all.filter(|line| line.removed_at.is_none());
            Ok(open.map(|line| line.id).collect())
        }
    }
}

/// Its words never repeat the address: what is printed may be kept.
async fn by_address(
    db: &PgPool,
    master: &MasterKey,
    to: &str,
    lines: &[LineId],
) -> anyhow::Result<TenantId> {
    // A user id has letters, and no number has.
    let phone = digits(to.to_owned());
    let sender = Sender {
        user_id: phone.is_none().then(|| to.to_owned()),
        phone,
        group: None,
    };
    let sealer = Sealer::new(master.sealing_key()).into();
    let book = AddressBook::new(master, sealer);
    let mut conn = db.acquire().await?;
    let mut found = Vec::new();
    for line in lines {
        found.extend(book.find(&mut conn, *line, &sender).await?);
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Refusal {
            code: "no-such-person",
            what: "Nobody with this address has ever written to us.".to_owned(),
            todo: "`clawkaka tenant list` shows all who have; a number needs its country's code.",
        }
        .into()),
        _ => Err(Refusal {
            code: "on-several-lines",
            what: "Whoever has this address writes to several of our numbers.".to_owned(),
            todo: "Say which with --line: `clawkaka line list` shows them.",
        }
        .into()),
    }
}
