//! The soak: an hour of many people's lives in minutes, on few places, through real sandboxes that
//! fall asleep and wake all the time.
//!
//! Every message is answered once and in order, there are never more sandboxes awake than places,
//! and whose is asleep takes no memory. Start reading at [`script`] (who writes when); [`watch`]
//! listens to Docker, [`sample`] reads memory, [`outcome`] counts and judges.

pub mod outcome;
mod sample;
mod script;
mod watch;

use std::{
    io::{self, Write as _},
    sync::Mutex,
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, try_join_all};

use crate::{
    Person, Product,
    crowd::{self, mark, marks_in},
    model::MARK,
    place::{self, Place},
    postgres::{AS_IN_PRODUCTION, Postgres},
    whatsapp::Message,
};
use outcome::Outcome;
use sample::Sampler;
use script::{Draw, Pause, Visit};
use watch::{State, Watch};

/// A net, as [`crate::PATIENCE`] is: in a rush somebody waits for many boots.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What is to be soaked.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    pub people: usize,
    pub messages: usize,
    pub capacity: usize,
    pub pause_after: Duration,
    pub stop_after: Duration,
    pub pool: usize,
    pub seed: u64,
}

/// One message as it was written.
#[derive(Clone, Debug)]
struct Written {
    person: usize,
    /// Its place among this person's messages.
    number: usize,
    wamid: String,
    at: DateTime<Utc>,
    /// Nothing of this person's was unanswered: what it waits for is only its own.
    first: bool,
}

/// Everything people act on.
struct Town<'a> {
    product: &'a Product,
    people: Vec<Person>,
    watch: tokio::sync::watch::Sender<watch::History>,
    written: Mutex<Vec<Written>>,
}

/// Runs the soak. `say` gets a line from time to time and the table in the end, also of one that
/// fails then. Fails on what nobody may ever see.
pub fn run(soak: Soak, say: fn(&str)) -> BoxFuture<'static, anyhow::Result<Outcome>> {
    Box::pin(lived_through(soak, say))
}

async fn lived_through(soak: Soak, say: fn(&str)) -> anyhow::Result<Outcome> {
    let product = start(soak).await?;
    let mut docker = Watch::begin(&product.place.deployment)?;
    let town = Town {
        product: &product,
        people: crowd::people(soak.people),
        watch: docker.history.clone(),
        written: Mutex::default(),
    };
    let draw = Draw {
        people: soak.people,
        messages: soak.messages,
        capacity: soak.capacity,
        seed: soak.seed,
    };
    let waves = script::script(draw);
    say(&format!(
        "seed {}: {} people write {} messages in {} waves",
        soak.seed,
        soak.people,
        soak.messages,
        waves.len()
    ));
    let mut sampler = Sampler::new(&product)?;
    let lived = async {
        for wave in &waves {
            let visits = wave.iter().map(|visit| town.live(visit));
            try_join_all(visits).await?;
        }
        product.settled().await?;
        let asleep = || async { Ok(product.docker.sandboxes().await?.is_empty()) };
        product.until("everybody is asleep", asleep).await
    };
    tokio::select! {
        lived = lived => lived?,
        failed = docker.follow() => failed?,
        failed = sampler.run(&town, say) => failed?,
    }
    sampler.look(&town).await.context("look at the end")?;
    let outcome = Outcome::judge(&town, soak, sampler.seen).await?;
    say(&format!("\n{}", outcome.table()));
    outcome.keeps_the_promises()?;
    end(product).await?;
    Ok(outcome)
}

/// Postgres as in production: what it logs of every statement would fill the disk.
async fn start(soak: Soak) -> anyhow::Result<Product> {
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let place = Place::find(place::TEST).await?;
    let postgres = Postgres::start(&place.folder, AS_IN_PRODUCTION).await?;
    let settings = [
        ("SANDBOX_CAPACITY", soak.capacity.to_string()),
        ("SANDBOX_PAUSE_AFTER", seconds(soak.pause_after)),
        ("SANDBOX_STOP_AFTER", seconds(soak.stop_after)),
        ("SANDBOX_POOL_SIZE", soak.pool.to_string()),
        ("LIMIT_TENANTS", "100000".to_owned()),
        ("LLM_TOKENS_PER_TENANT_DAY", "1000000000".to_owned()),
        ("LLM_TOKENS_PER_DAY", "1000000000".to_owned()),
    ];
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let product = Product::prepare_at(place, postgres, &settings).await?;
    product.up().await
}

/// As [`Product::finish`], with one word for all texts: each of thousands has it in it.
async fn end(mut product: Product) -> anyhow::Result<()> {
    let status = product.stop().await?;
    anyhow::ensure!(status.success(), "it stopped with {status}");
    product.logs.has_no_errors_but(&[], &product.outages)?;
    let mut private = product.private();
    private.retain(|word| !word.contains(MARK));
    private.push(MARK.to_owned());
    let log = product.logs.text()?;
    crate::logs::has_none_of("the product's log", log.as_bytes(), &private)?;
    product.finished();
    Ok(())
}

impl Town<'_> {
    /// One person's visit, from their first message to the last answer.
    async fn live(&self, visit: &Visit) -> anyhow::Result<()> {
        let who = visit.person;
        let mut last = None;
        for burst in &visit.bursts {
            let wanted = format!("{who} goes on after {:?}", burst.before);
            let rested = self.rest(who, burst.before).await;
            rested.with_context(|| format!("wait until person {wanted}"))?;
            for gap in &burst.gaps {
                tokio::time::sleep(*gap).await;
                last = Some(self.write(who).await?);
            }
            if let (true, Some((number, since))) = (burst.waits, last) {
                self.answered(who, number, since).await?;
            }
        }
        if let Some((number, since)) = last {
            self.answered(who, number, since).await?;
        }
        Ok(())
    }

    async fn rest(&self, who: usize, pause: Pause) -> anyhow::Result<()> {
        let (asleep, behind): (&[State], _) = match pause {
            Pause::For(time) => (&[], time),
            Pause::UntilPaused(behind) => (&[State::Paused, State::Stopped], behind),
            Pause::UntilStopped(behind) => (&[State::Stopped], behind),
        };
        // Without a sandbox there is nothing to wait for: nobody is asked before the first answer.
        if !asleep.is_empty()
            && let Some(sandbox) = self.sandbox_of(who).await?
        {
            let mut watch = self.watch.subscribe();
            let slept = watch.wait_for(|life| asleep.contains(&life.now(&sandbox)));
            tokio::time::timeout(PATIENCE, slept)
                .await
                .with_context(|| format!("sandbox {sandbox} does not fall asleep"))?
                .context("watch Docker")?;
        }
        tokio::time::sleep(behind).await;
        Ok(())
    }

    async fn sandbox_of(&self, who: usize) -> anyhow::Result<Option<String>> {
        let wamid = {
            let written = self.written();
            let of_theirs = written.iter().find(|one| one.person == who);
            of_theirs.map(|one| one.wamid.clone())
        };
        let found = sqlx::query_scalar(
            "select sandbox.id::text from inbox join sandbox using (tenant_id)
             where inbox.provider_id = $1",
        );
        found
            .bind(wamid)
            .fetch_optional(&self.product.postgres.db)
            .await
            .context("find somebody's sandbox")
    }

    /// Returns the message's number and how much had been said to anybody before.
    async fn write(&self, who: usize) -> anyhow::Result<(usize, usize)> {
        let whatsapp = &self.product.whatsapp;
        let (message, number) = {
            let mut written = self.written();
            let theirs = written.iter().filter(|one| one.person == who);
            let number = theirs.count();
            let text = format!("Please note {}", mark_of(who, number));
            let message = Message::text(&self.people[who], &text);
            written.push(Written {
                person: who,
                number,
                wamid: message.wamid.clone(),
                at: Utc::now(),
                first: number == 0 || self.is_answered(who, number - 1),
            });
            (message, number)
        };
        let since = whatsapp.read(|state| state.bubbles.len());
        let taken = whatsapp.post_until_taken(&whatsapp.body(&[message])).await;
        anyhow::ensure!(taken == Some(200), "the webhook was answered {taken:?}");
        Ok((number, since))
    }

    fn is_answered(&self, who: usize, number: usize) -> bool {
        let mark = mark_of(who, number);
        let chat = self.product.whatsapp.chat(&self.people[who]);
        chat.iter()
            .any(|bubble| marks_in(&bubble.text).contains(&mark.as_str()))
    }

    async fn answered(&self, who: usize, number: usize, since: usize) -> anyhow::Result<()> {
        let (person, mark) = (&self.people[who], mark_of(who, number));
        let mut since = since;
        let answer = self.product.whatsapp.wait_until(PATIENCE, |state| {
            let new = &state.bubbles[since..];
            since = state.bubbles.len();
            new.iter()
                .filter(|bubble| bubble.side == crate::whatsapp::Side::Assistant)
                .any(|bubble| marks_in(&bubble.text).contains(&mark.as_str()))
                .then_some(())
        });
        answer
            .await
            .with_context(|| format!("no answer to {mark}: {}", self.product.screen(person)))
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<Written>> {
        self.written
            .lock()
            .expect("nobody panics while they hold the list")
    }
}

fn mark_of(who: usize, number: usize) -> String {
    mark(format!("soak-{who}-{number:04}"))
}

/// Another one every time; it is printed, so that a run can be had again.
pub fn any_seed() -> u64 {
    u64::from(Utc::now().timestamp_subsec_micros())
}

/// Progress and figures, on standard output.
pub fn show(text: &str) {
    // Nobody to tell if it cannot be told.
    let _ = io::stdout().write_all(format!("{text}\n").as_bytes());
}
