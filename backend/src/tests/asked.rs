//! What an assistant is asked, from the webhook to its question.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, of_type, opener, sealer, text, webhook},
};
use crate::{
    id::{TenantId, WorkerId},
    inbox,
    outbox::{self, Class, Draft},
    sandbox,
    turn::{self, End, Trigger, Turn},
    whatsapp::outgoing::Outgoing,
    worker::exchange::asked::{Asked, Reading},
};

impl Desk {
    /// Who came last.
    async fn tenant(&self) -> TenantId {
        let latest = sqlx::query_scalar!(
            r#"select id as "id: TenantId" from tenant order by id desc limit 1"#
        );
        latest.fetch_one(&self.db).await.unwrap()
    }

    /// Takes what waits for somebody into a turn, and the question it becomes.
    async fn asks(&self) -> String {
        self.ask(self.tenant().await).await.text()
    }

    pub async fn ask(&self, tenant: TenantId) -> Asked {
        let now = self.routing.clock.now();
        let mut conn = self.db.acquire().await.unwrap();
        let sandbox = sandbox::row::assign(&mut conn, tenant, now).await.unwrap();
        let worker = worker(&self.db).await;
        let limit = TimeDelta::minutes(10);
        let opened = turn::open(
            &mut *conn,
            worker,
            tenant,
            sandbox,
            Trigger::Message,
            limit,
            now,
        );
        let turn: Turn = opened.await.unwrap().unwrap();
        let taken = inbox::take(&mut conn, tenant, turn.id, Trigger::Message, now).await;
        assert!(taken.unwrap(), "something waits");
        let reading = Reading {
            db: &self.db,
            opener: &opener(),
            book: &self.routing.book,
        };
        let asked = reading.asked(&turn).await.unwrap();
        assert!(asked.last_wamid.is_some());
        let done = turn::finish(&mut conn, worker, &turn, End::Silent, now).await;
        assert!(done.unwrap());
        inbox::finish_turn(&mut conn, tenant, turn.id, "silent", now)
            .await
            .unwrap();
        self.routing.clock.advance(TimeDelta::seconds(10));
        asked
    }

    /// The assistant wrote this, and WhatsApp took it under that id.
    async fn wrote(&self, wamid: &str, words: &str, class: Class) {
        let tenant = self.tenant().await;
        self.wrote_to(tenant, wamid, words, class).await;
    }

    pub async fn wrote_to(&self, tenant: TenantId, wamid: &str, words: &str, class: Class) {
        let now = self.routing.clock.now();
        let draft = Draft {
            key: wamid.to_owned(),
            class,
            message: Outgoing::text(words),
        };
        let mut conn = self.db.acquire().await.unwrap();
        let queued = outbox::enqueue(&mut conn, &sealer(), tenant, None, &[draft], now).await;
        assert_eq!(queued.unwrap(), 1);
        sqlx::query!("update outbox set wamid = key where key = $1", wamid)
            .execute(&self.db)
            .await
            .unwrap();
        self.routing.clock.advance(TimeDelta::seconds(10));
    }
}

async fn worker(db: &PgPool) -> WorkerId {
    let id = WorkerId::new();
    sqlx::query!(
        "insert into worker (host, id, lease_until) values ('here', $1, now())
         on conflict (host) do update set id = excluded.id",
        id as WorkerId,
    )
    .execute(db)
    .await
    .unwrap();
    id
}

fn answering(mut message: Value, to: &str) -> Value {
    message["context"] = json!({ "id": to });
    message
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn messages_in_a_row_are_one_question_with_what_they_answer(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "remember the milk")]).await;
    assert_eq!(desk.asks().await, "remember the milk");
    desk.wrote("wamid.2", "Noted.", Class::Reply).await;

    desk.receive(&[
        answering(text("wamid.3", "thanks"), "wamid.2"),
        answering(text("wamid.4", "two of it"), "wamid.1"),
        answering(text("wamid.5", "and this"), "wamid.unknown"),
        of_type(
            "wamid.6",
            "location",
            json!({ "latitude": 1.5, "longitude": 2 }),
        ),
    ])
    .await;
    let expected = "[In reply to what you wrote: \"Noted.\"]\nthanks\n\n\
                    [In reply to what they wrote: \"remember the milk\"]\ntwo of it\n\n\
                    [In reply to an earlier message]\nand this\n\n\
                    [Place: 1.5, 2]";
    assert_eq!(desk.asks().await, expected);
}

/// Many webhooks at once: some are read when the turn of the first has begun.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_came_before_a_question_and_was_read_after_it_stands_in_front_of_the_next(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "hi")]).await;
    desk.routing.clock.advance(TimeDelta::seconds(1));
    let reaction = json!({ "message_id": "wamid.0", "emoji": "" });
    let taken_back = webhook(&[of_type("wamid.2", "reaction", reaction)]);
    assert_eq!(desk.site.receive(taken_back).await, 200);
    desk.routing.clock.advance(TimeDelta::seconds(1));
    assert_eq!(desk.asks().await, "hi");

    desk.receive(&[text("wamid.3", "and now?")]).await;
    let expected = "[Took back the reaction to an earlier message]\n\nand now?";
    assert_eq!(desk.asks().await, expected);
    desk.receive(&[text("wamid.4", "well?")]).await;
    assert_eq!(desk.asks().await, "well?");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_went_on_since_the_last_question_stands_in_front_of_the_next_once(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "hi")]).await;
    assert_eq!(desk.asks().await, "hi");
    desk.wrote(
        "wamid.2",
        "It is\nyour mother's birthday.",
        Class::Proactive,
    )
    .await;
    let deletion = json!({ "original_message_id": "wamid.1" });
    desk.receive(&[of_type("wamid.3", "revoke", deletion)])
        .await;

    desk.receive(&[text("wamid.4", "oh")]).await;
    let expected = "(Since my last message you wrote to me, unasked:\n> It is\n\
                    > your mother's birthday.\n)\n\n\
                    [Deleted what they wrote: \"hi\"]\n\noh";
    assert_eq!(desk.asks().await, expected);
    desk.receive(&[text("wamid.5", "now")]).await;
    assert_eq!(desk.asks().await, "now");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_is_quoted_to_somebody_else(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let mut stranger = text("wamid.theirs", "my secret");
    stranger["from"] = json!("16505550000");
    stranger["from_user_id"] = json!("US.other");
    desk.receive(&[stranger]).await;
    assert_eq!(desk.asks().await, "my secret");

    let asks = answering(text("wamid.1", "what is it?"), "wamid.theirs");
    desk.receive(&[asks]).await;
    let expected = "[In reply to an earlier message]\nwhat is it?";
    assert_eq!(desk.asks().await, expected);
}
