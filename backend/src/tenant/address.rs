//! Table `tenant_address`: who a sender is, and where to write to a person.
//!
//! A WhatsApp user id belongs to one person for good; a phone number can change hands. So a user id
//! always wins, and a phone number opens an assistant only while no user id speaks against it:
//! the next owner of a number must never meet the former one's assistant.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    id::{LineId, TenantId},
    inbox,
    seal::{self, KEY_ID, MasterKey, Opener, Sealer},
    tenant,
    whatsapp::{
        client::Recipient,
        event::{Rekey, Sender},
    },
};

const USER_ID: &str = "user_id";
const PHONE: &str = "phone";
const GROUP: &str = "group";
/// A group has at most 1,024 members.
const TAG_BYTES: usize = 4;

/// An address as it lies in a table: it can be looked up, and opened by the worker.
pub struct Entry {
    pub kind: String,
    pub value: Vec<u8>,
    pub address: Vec<u8>,
}

/// What a sender is looked up by: for each address its kind and its hash.
pub struct Keys {
    pub kinds: Vec<String>,
    pub values: Vec<Vec<u8>>,
}

/// Hashes addresses for look-up and seals them for sending.
#[derive(Clone)]
pub struct AddressBook {
    key: [u8; 32],
    sealer: Arc<Sealer>,
}

impl AddressBook {
    pub fn new(master: &MasterKey, sealer: Arc<Sealer>) -> Self {
        Self {
            key: master.derive("address"),
            sealer,
        }
    }

    fn hash(&self, address: &str) -> Vec<u8> {
        seal::keyed_hash(&self.key, address.as_bytes()).to_vec()
    }

    pub fn keys(&self, sender: &Sender) -> Keys {
        let all = addresses(sender).into_iter();
        let (kinds, values) = all
            .map(|(kind, address)| (kind.to_owned(), self.hash(address)))
            .unzip();
        Keys { kinds, values }
    }

    /// A short name of a group's member, by which their agent can tell two of one name apart; it says nothing
    /// of their address, and in another group is another.
    pub fn tag(&self, member: &Sender) -> Option<String> {
        let group = member.group.as_ref()?;
        let address = member.user_id.as_ref().or(member.phone.as_ref())?;
        let hash = self.hash(&format!("{group}\n{address}"));
        Some(hex::encode(&hash[..TAG_BYTES]))
    }

    /// Each address of a sender as tables have it, for those who list addresses.
    pub fn entries(&self, sender: &Sender) -> Vec<Entry> {
        let all = addresses(sender).into_iter();
        let all = all.map(|(kind, address)| Entry {
            kind: kind.to_owned(),
            value: self.hash(address),
            address: self.sealer.seal(address.as_bytes()),
        });
        all.collect()
    }

    /// The person this sender is, if we know them.
    pub async fn find(
        &self,
        db: &mut PgConnection,
        line: LineId,
        sender: &Sender,
    ) -> anyhow::Result<Option<TenantId>> {
        if let Some(group) = &sender.group {
            return self.owner(db, line, GROUP, group).await;
        }
        if let Some(user_id) = &sender.user_id
            && let Some(tenant) = self.owner(db, line, USER_ID, user_id).await?
        {
            return Ok(Some(tenant));
        }
        let Some(phone) = &sender.phone else {
            return Ok(None);
        };
        let Some(tenant) = self.owner(db, line, PHONE, phone).await? else {
            return Ok(None);
        };
        // A new user id on a number whose owner has another one: the number has changed hands.
        let is_stranger = sender.user_id.is_some() && has_user_id(db, tenant).await?;
        Ok((!is_stranger).then_some(tenant))
    }

    /// Notes the addresses a person just used. An address that was somebody else's moves.
    pub async fn learn(
        &self,
        db: &mut PgConnection,
        line: LineId,
        tenant: TenantId,
        sender: &Sender,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        for (kind, address) in addresses(sender) {
            let value = self.hash(address);
            let known = sqlx::query_scalar!(
                r#"select true as "known!" from tenant_address
                 where line_id = $1 and kind = $2 and value = $3 and tenant_id = $4
                   and retired_at is null"#,
                line as LineId,
                kind,
                value,
                tenant as TenantId,
            )
            .fetch_optional(&mut *db)
            .await?;
            if known.is_some() {
                continue;
            }
            // A person has one address of a kind: an older one is theirs no more.
            sqlx::query!(
                "update tenant_address set retired_at = $3
                 where tenant_id = $1 and kind = $2 and retired_at is null",
                tenant as TenantId,
                kind,
                now,
            )
            .execute(&mut *db)
            .await?;
            sqlx::query!(
                "insert into tenant_address (line_id, kind, value, address, key_id, tenant_id)
                 values ($1, $2, $3, $4, $5, $6)
                 on conflict (line_id, kind, value) do update
                 set tenant_id = excluded.tenant_id, address = excluded.address,
                     key_id = excluded.key_id, retired_at = null",
                line as LineId,
                kind,
                value,
                self.sealer.seal(address.as_bytes()),
                KEY_ID,
                tenant as TenantId,
            )
            .execute(&mut *db)
            .await?;
        }
        Ok(())
    }

    /// WhatsApp says that a person's addresses have changed. If they already wrote under the new
    /// user id, the two rows are one person: the newer one is closed and what waits there moves.
    pub async fn rekey(
        &self,
        db: &mut PgConnection,
        line: LineId,
        rekey: &Rekey,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<TenantId>> {
        let Some(person) = self.find(db, line, &rekey.old).await? else {
            return Ok(None);
        };
        let early = match &rekey.new.user_id {
            Some(user_id) => self.owner(db, line, USER_ID, user_id).await?,
            // A phone alone proves nothing: its present owner here may be the number's former one.
            None => None,
        };
        let person = match early.filter(|early| *early != person) {
            Some(early) => self.merge(db, person, early, now).await?,
            None => person,
        };
        self.learn(db, line, person, &rekey.new, now).await?;
        Ok(Some(person))
    }

    /// Makes one person of two rows. The addresses of `current` stay in use. Returns the older row.
    async fn merge(
        &self,
        db: &mut PgConnection,
        former: TenantId,
        current: TenantId,
        now: DateTime<Utc>,
    ) -> anyhow::Result<TenantId> {
        sqlx::query!(
            "update tenant_address set retired_at = $3
             where tenant_id = $1 and retired_at is null
               and kind in (select kind from tenant_address where tenant_id = $2 and retired_at is null)",
            former as TenantId,
            current as TenantId,
            now,
        )
        .execute(&mut *db)
        .await?;
        let (older, newer) = (former.min(current), former.max(current));
        sqlx::query!(
            "update tenant_address set tenant_id = $2 where tenant_id = $1",
            newer as TenantId,
            older as TenantId,
        )
        .execute(&mut *db)
        .await?;
        inbox::hand_over(db, newer, older).await?;
        tenant::close_into(db, newer, older).await?;
        Ok(older)
    }

    async fn owner(
        &self,
        db: &mut PgConnection,
        line: LineId,
        kind: &str,
        address: &str,
    ) -> anyhow::Result<Option<TenantId>> {
        let owner = sqlx::query_scalar!(
            r#"select tenant_id as "tenant: TenantId" from tenant_address
             where line_id = $1 and kind = $2 and value = $3
               and (retired_at is null or kind = 'user_id')"#,
            line as LineId,
            kind,
            self.hash(address),
        )
        .fetch_optional(db)
        .await?;
        Ok(owner)
    }
}

/// What comes from a group speaks for the group, not for the member's own assistant.
fn addresses(sender: &Sender) -> Vec<(&'static str, &str)> {
    if let Some(group) = &sender.group {
        return vec![(GROUP, group)];
    }
    let user_id = sender.user_id.as_deref().map(|address| (USER_ID, address));
    let phone = sender.phone.as_deref().map(|address| (PHONE, address));
    user_id.into_iter().chain(phone).collect()
}

async fn has_user_id(db: &mut PgConnection, tenant: TenantId) -> anyhow::Result<bool> {
    let has = sqlx::query_scalar!(
        r#"select exists (
             select from tenant_address
             where tenant_id = $1 and kind = 'user_id' and retired_at is null) as "has!""#,
        tenant as TenantId,
    )
    .fetch_one(db)
    .await?;
    Ok(has)
}

/// Whose address this is today.
pub async fn owner_of(
    db: impl sqlx::PgExecutor<'_>,
    line: LineId,
    entry: &Entry,
) -> anyhow::Result<Option<TenantId>> {
    let owner = sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId" from tenant_address
           where line_id = $1 and kind = $2 and value = $3 and retired_at is null"#,
        line as LineId,
        entry.kind,
        entry.value,
    );
    Ok(owner.fetch_optional(db).await?)
}

/// The addresses under which a person writes today, but for a group's.
pub async fn in_use(db: impl sqlx::PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<Vec<Entry>> {
    let entries = sqlx::query_as!(
        Entry,
        "select kind, value, address from tenant_address
         where tenant_id = $1 and retired_at is null and kind <> 'group'",
        tenant as TenantId,
    );
    Ok(entries.fetch_all(db).await?)
}

/// The keyed hashes of all addresses a person has or had.
pub async fn hashes(
    db: impl sqlx::PgExecutor<'_>,
    tenant: TenantId,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let hashes = sqlx::query_scalar!(
        "select value from tenant_address where tenant_id = $1",
        tenant as TenantId
    );
    Ok(hashes.fetch_all(db).await?)
}

/// Whose these keyed hashes are, among those who had come before then.
pub async fn owners_before(
    db: impl sqlx::PgExecutor<'_>,
    hashes: &[Vec<u8>],
    before: DateTime<Utc>,
) -> anyhow::Result<Vec<TenantId>> {
    let owners = sqlx::query_scalar!(
        r#"select distinct t.id as "id: TenantId" from tenant_address a join tenant t on t.id = a.tenant_id
           where a.value = any($1) and t.created_at < $2"#,
        hashes,
        before,
    );
    Ok(owners.fetch_all(db).await?)
}

/// Forgets how an erased person was reached.
pub async fn erase(db: impl sqlx::PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from tenant_address where tenant_id = $1",
        tenant as TenantId
    );
    Ok(deleted.execute(db).await?.rows_affected())
}

/// Where to write to a person: the group, else the phone, which every API version takes, else the
/// user id. `None` when we have no address of theirs any more.
pub async fn recipient(
    db: &mut PgConnection,
    opener: &Opener,
    tenant: TenantId,
) -> anyhow::Result<Option<(LineId, Recipient)>> {
    let row = sqlx::query!(
        r#"select a.line_id as "line: LineId", a.kind, a.address
         from tenant_address a
         where a.retired_at is null
           and a.tenant_id = coalesce((select merged_into from tenant where id = $1), $1)
         order by array_position(array['group', 'phone', 'user_id'], a.kind)
         limit 1"#,
        tenant as TenantId,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let address = String::from_utf8(opener.open(&row.address)?)?;
    let recipient = match row.kind.as_str() {
        GROUP => Recipient::Group(address),
        PHONE => Recipient::Phone(address),
        _ => Recipient::UserId(address),
    };
    Ok(Some((row.line, recipient)))
}
