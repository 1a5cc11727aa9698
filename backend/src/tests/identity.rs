//! Who a sender is: a user id always wins, and a recycled number never opens the former owner's
//! assistant.

use chrono_tz::Tz;
use sqlx::PgPool;

use super::support::{master, noon, opener, sealer, seed_line};

use crate::{
    id::{LineId, TenantId},
    tenant::{
        self, Status,
        address::{self, AddressBook},
    },
    whatsapp::{
        client::Recipient,
        event::{Rekey, Sender},
    },
};

struct Book {
    db: PgPool,
    line: LineId,
    book: AddressBook,
}

impl Book {
    async fn new(db: &PgPool) -> Self {
        let line = seed_line(db).await;
        Self {
            db: db.clone(),
            line,
            book: AddressBook::new(&master(), sealer()),
        }
    }

    async fn find(&self, sender: &Sender) -> Option<TenantId> {
        let mut db = self.db.acquire().await.unwrap();
        self.book.find(&mut db, self.line, sender).await.unwrap()
    }

    /// A message of `sender` arrives.
    async fn hear(&self, sender: &Sender) -> TenantId {
        let mut db = self.db.acquire().await.unwrap();
        let known = self.book.find(&mut db, self.line, sender).await.unwrap();
        let tenant = match known {
            Some(tenant) => tenant,
            None => {
                let created =
                    tenant::create(&mut *db, self.line, Status::Active, Tz::UTC, noon()).await;
                created.unwrap().id
            }
        };
        self.book
            .learn(&mut db, self.line, tenant, sender, noon())
            .await
            .unwrap();
        tenant
    }

    async fn rekey(&self, old: Sender, new: Sender) -> Option<TenantId> {
        let mut db = self.db.acquire().await.unwrap();
        self.book
            .rekey(&mut db, self.line, &Rekey { old, new }, noon())
            .await
            .unwrap()
    }

    async fn writes_to(&self, tenant: TenantId) -> Option<Recipient> {
        let mut db = self.db.acquire().await.unwrap();
        let found = address::recipient(&mut db, &opener(), tenant)
            .await
            .unwrap();
        found.map(|(_, recipient)| recipient)
    }
}

fn by(user_id: Option<&str>, phone: Option<&str>) -> Sender {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Sender {
        user_id: owned(user_id),
        phone: owned(phone),
        group: None,
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_person_is_found_by_user_id_or_phone(db: PgPool) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(Some("US.ana"), Some("1555"))).await;
    assert_eq!(book.find(&by(Some("US.ana"), None)).await, Some(ana));
    assert_eq!(book.find(&by(None, Some("1555"))).await, Some(ana));
    assert_eq!(book.find(&by(None, Some("1556"))).await, None);
    assert!(book.writes_to(ana).await == Some(Recipient::Phone("1555".to_owned())));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_person_known_by_phone_alone_keeps_their_assistant_when_a_user_id_appears(db: PgPool) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(None, Some("1555"))).await;
    assert_eq!(book.hear(&by(Some("US.ana"), Some("1555"))).await, ana);
    assert_eq!(book.find(&by(Some("US.ana"), None)).await, Some(ana));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_next_owner_of_a_number_never_meets_the_former_ones_assistant(db: PgPool) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(Some("US.ana"), Some("1555"))).await;
    let ben = book.hear(&by(Some("US.ben"), Some("1555"))).await;
    assert_ne!(ana, ben);
    assert_eq!(
        book.find(&by(None, Some("1555"))).await,
        Some(ben),
        "the number has moved"
    );
    assert_eq!(book.find(&by(Some("US.ana"), None)).await, Some(ana));
    assert!(book.writes_to(ana).await == Some(Recipient::UserId("US.ana".to_owned())));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_changed_number_or_user_id_keeps_the_assistant(db: PgPool) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(Some("US.old"), Some("1555"))).await;
    let new = by(Some("US.new"), Some("1777"));
    assert_eq!(
        book.rekey(by(Some("US.old"), Some("1555")), new.clone())
            .await,
        Some(ana)
    );
    assert_eq!(book.find(&new).await, Some(ana));
    assert_eq!(
        book.find(&by(None, Some("1555"))).await,
        None,
        "the old number is free"
    );
    assert!(book.writes_to(ana).await == Some(Recipient::Phone("1777".to_owned())));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_message_that_comes_before_its_explanation_is_merged(db: PgPool) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(Some("US.old"), Some("1555"))).await;
    let new = by(Some("US.new"), Some("1777"));
    let early = book.hear(&new).await;
    assert_ne!(early, ana);
    assert_eq!(
        book.rekey(by(Some("US.old"), None), new.clone()).await,
        Some(ana)
    );
    assert_eq!(book.find(&new).await, Some(ana));
    assert!(book.writes_to(ana).await == Some(Recipient::Phone("1777".to_owned())));
    assert!(book.writes_to(early).await == Some(Recipient::Phone("1777".to_owned())));
    let closed = tenant::find(&db, early).await.unwrap().unwrap();
    assert_eq!(closed.status, Status::Erased);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_change_of_number_alone_does_not_open_the_assistant_of_the_numbers_former_owner(
    db: PgPool,
) {
    let book = Book::new(&db).await;
    let ana = book.hear(&by(Some("US.ana"), Some("1555"))).await;
    let former = book.hear(&by(Some("US.former"), Some("1777"))).await;
    assert_eq!(
        book.rekey(by(None, Some("1555")), by(None, Some("1777")))
            .await,
        Some(ana)
    );
    assert_eq!(book.find(&by(None, Some("1777"))).await, Some(ana));
    assert_eq!(book.find(&by(Some("US.former"), None)).await, Some(former));
}
