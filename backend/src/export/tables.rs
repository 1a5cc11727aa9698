//! What the tables hold of a person, opened and in plain words. Reads only; no table is owned.

use anyhow::Context;
use chrono::{DateTime, NaiveTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    id::TenantId,
    operator::answer::stamp,
    outbox::Body,
    seal::Opener,
    whatsapp::{
        event::{self, Content, InboundEvent},
        told,
    },
};

/// Every table by the name of its file.
pub async fn all(
    db: &PgPool,
    opener: &Opener,
    id: TenantId,
) -> anyhow::Result<[(&'static str, Value); 5]> {
    Ok([
        ("person", who(db, opener, id).await?),
        ("messages", messages(db, opener, id).await?),
        ("reminders", reminders(db, opener, id).await?),
        ("usage", usage(db, id).await?),
        ("events", events(db, id).await?),
    ])
}

fn opened(opener: &Opener, sealed: Option<&[u8]>) -> anyhow::Result<Option<String>> {
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let plain = opener.open(sealed)?;
    Ok(Some(String::from_utf8_lossy(&plain).into_owned()))
}

async fn who(db: &PgPool, opener: &Opener, id: TenantId) -> anyhow::Result<Value> {
    let row = sqlx::query!(
        "select t.status, t.name, t.role, t.language, t.time_zone, t.quiet_from, t.quiet_to, t.created_at,
                t.last_inbound_at, t.consent, t.consent_at, l.phone_number_id
         from tenant t join line l on l.id = t.line_id where t.id = $1",
        id as TenantId
    )
    .fetch_one(db)
    .await
    .context("read a person's row")?;
    let rows = sqlx::query!(
        "select kind, address, retired_at from tenant_address where tenant_id = $1 order by kind",
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read a person's addresses")?;
    let mut addresses = Vec::new();
    for one in rows {
        let address = opened(opener, Some(&one.address))?;
        addresses.push(
            json!({ "kind": one.kind, "address": address, "until": one.retired_at.map(stamp) }),
        );
    }
    let hour = |time: NaiveTime| time.format("%H:%M").to_string();
    Ok(json!({
        "id": id.0,
        "status": row.status,
        "role": row.role,
        "name": opened(opener, row.name.as_deref())?,
        "addresses": addresses,
        "number_written_to": row.phone_number_id,
        "language": row.language,
        "consent": row.consent,
        "consent_at": row.consent_at.map(stamp),
        "time_zone": row.time_zone,
        "quiet_hours": format!("{}-{}", hour(row.quiet_from), hour(row.quiet_to)),
        "first_contact": stamp(row.created_at),
        "last_message": row.last_inbound_at.map(stamp),
    }))
}

async fn messages(db: &PgPool, opener: &Opener, id: TenantId) -> anyhow::Result<Value> {
    let written = sqlx::query!(
        "select received_at, body, outcome from inbox where tenant_id = $1 and kind = 'message'",
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read what a person wrote")?;
    let sent = sqlx::query!(
        "select created_at, sent_at, type as kind, body, class, state from outbox where tenant_id = $1 order by seq",
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read what a person was sent")?;
    let mut all: Vec<(DateTime<Utc>, Value)> = Vec::new();
    for row in written {
        let text = match &row.body {
            Some(body) => text(&opener.open(body)?),
            None => None,
        };
        let line = json!({ "at": stamp(row.received_at), "from": "you", "text": text,
                           "outcome": row.outcome, "cleared": row.body.is_none() });
        all.push((row.received_at, line));
    }
    for row in sent {
        let from = match row.class.as_str() {
            "ours" | "farewell" => "us",
            _ => "your assistant",
        };
        let cleared = row.body.is_none();
        let body = row.body.map(|sealed| Body {
            kind: row.kind,
            sealed,
        });
        let message = body.map(|body| body.open(opener)).transpose()?;
        let line = json!({ "at": stamp(row.sent_at.unwrap_or(row.created_at)), "from": from,
                           "text": message.map(|message| message.told()), "outcome": row.state,
                           "cleared": cleared });
        all.push((row.created_at, line));
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, line)| line).collect())
}

fn text(body: &[u8]) -> Option<String> {
    match event::parse("message", body) {
        InboundEvent::Message(message) => Some(match message.content {
            Content::Other(what) => format!("({what})"),
            _ => told::tell(&message, None),
        }),
        _ => None,
    }
}

async fn reminders(db: &PgPool, opener: &Opener, id: TenantId) -> anyhow::Result<Value> {
    let rows = sqlx::query!(
        "select kind, rule, zone, next_at, body, state, created_at from reminder
         where tenant_id = $1 and kind <> 'heartbeat' order by next_at",
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read a person's reminders")?;
    let mut all = Vec::new();
    for row in rows {
        all.push(json!({
            "kind": row.kind,
            "rule": row.rule,
            "zone": row.zone,
            "next_at": stamp(row.next_at),
            "state": row.state,
            "made_at": stamp(row.created_at),
            "text": opened(opener, row.body.as_deref())?,
        }));
    }
    Ok(all.into())
}

async fn usage(db: &PgPool, id: TenantId) -> anyhow::Result<Value> {
    let rows = sqlx::query!(
        r#"select date_trunc('day', at) as "day!", model, count(*) as "calls!",
                  sum(tokens)::bigint as "tokens!", sum(seconds)::bigint as "seconds!"
           from usage where tenant_id = $1 group by 1, 2 order by 1, 2"#,
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read a person's usage")?;
    let rows = rows.into_iter().map(|row| {
        json!({ "day": row.day.date_naive(), "model": row.model, "calls": row.calls,
                "tokens": row.tokens, "seconds_of_speech": row.seconds })
    });
    Ok(rows.collect())
}

async fn events(db: &PgPool, id: TenantId) -> anyhow::Result<Value> {
    let rows = sqlx::query!(
        "select at, kind from event where tenant_id = $1 order by id",
        id as TenantId
    )
    .fetch_all(db)
    .await
    .context("read what was done about a person")?;
    let rows = rows
        .into_iter()
        .map(|row| json!({ "at": stamp(row.at), "kind": row.kind }));
    Ok(rows.collect())
}
