//! Whom a block is about: one person with every address we know of them, or an address of nobody we know.

use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    app,
    config::Keys,
    id::{LineId, TenantId},
    operator::{
        answer::{Refusal, no_master_key},
        settings::Settings,
        tenant::{
            allow::{entry, line},
            unknown,
        },
    },
    tenant::{
        self,
        address::{self, Entry},
    },
};

pub struct Whom {
    pub line: LineId,
    pub tenant: Option<TenantId>,
    pub entries: Vec<Entry>,
}

pub async fn find(
    settings: Settings,
    problems: Vec<String>,
    who: &str,
    named: Option<String>,
) -> anyhow::Result<(PgPool, Whom)> {
    let config = settings.config(problems)?;
    let Keys::Master(master) = &config.keys else {
        return Err(no_master_key().into());
    };
    let db = app::connect(&config.database_url).await?;
    if let Ok(id) = who.parse::<Uuid>() {
        let id = TenantId(id);
        let line = tenant::line(&db, id).await?.ok_or_else(|| unknown(id))?;
        let entries = address::in_use(&db, id).await?;
        if entries.is_empty() {
            return Err(nowhere(id).into());
        }
        let tenant = Some(id);
        return Ok((
            db,
            Whom {
                line,
                tenant,
                entries,
            },
        ));
    }
    let given = entry(master, who.to_owned())?;
    let line = line(&db, named.as_deref()).await?.id;
    let tenant = address::owner_of(&db, line, &given).await?;
    let mut entries = match tenant {
        Some(id) => address::in_use(&db, id).await?,
        None => Vec::new(),
    };
    if !entries.iter().any(|one| one.value == given.value) {
        entries.push(given);
    }
    Ok((
        db,
        Whom {
            line,
            tenant,
            entries,
        },
    ))
}

fn nowhere(id: TenantId) -> Refusal {
    Refusal {
        code: "no-address",
        what: format!("{id} has no address any more, or is a group."),
        todo: "`clawkaka tenant suspend` shuts a group out.",
    }
}
