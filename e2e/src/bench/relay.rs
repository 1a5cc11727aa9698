//! Row 6: what we add to a turn with a sandbox that is awake: webhook in to reply out, minus the
//! same turn sent straight to the same gateway. Says for each station how long it took.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::{
    Scale,
    direct::{Direct, Turn},
    report::{Better, Budget, Figure, Of, median, percentile, say},
    stage,
};
use crate::{
    PATIENCE, Person, Product,
    crowd::{mark, person},
    whatsapp::Message,
};

/// After a turn the gateway tidies up; what comes next shall not wait for that.
const REST: Duration = Duration::from_millis(700);

/// The way of a relayed turn, each in milliseconds after the one before.
const STATIONS: [&str; 8] = [
    "webhook posted → being stored",
    "→ turn opened",
    "→ agent has it",
    "→ model asked",
    "→ answer ready to be stored",
    "→ claimed to be sent",
    "→ at WhatsApp",
    "→ on the screen",
];

struct Relayed {
    stations: [f64; STATIONS.len()],
}

impl Relayed {
    fn whole(&self) -> f64 {
        self.stations.iter().sum()
    }
}

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    // To the broker, a direct turn is one more call of the person's last turn.
    let product = stage::whole(&[("LLM_CALLS_PER_TURN", "1000")]).await?;
    let person = person(1);
    let first = mark("warm");
    product.says(&person, &format!("Hello {first}")).await?;
    product.answered(&person, &first).await?;
    product.settled().await?;
    let sandboxes = product.docker.sandboxes().await?;
    let sandbox = sandboxes.first().context("there is no sandbox")?;
    let mut direct = Direct::connect(&product, sandbox).await?;
    // The first turns of a session are slower, on both ways.
    relayed(&product, &person, "warm-again").await?;
    direct.turn(&question("warm-direct")).await?;

    let (mut ours, mut floors, mut before_model) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=scale.turns {
        tokio::time::sleep(REST).await;
        ours.push(relayed(&product, &person, &format!("relayed-{number:03}")).await?);
        tokio::time::sleep(REST).await;
        let name = format!("direct-{number:03}");
        let Turn { sent, ended } = direct.turn(&question(&name)).await?;
        floors.push(ended - sent);
        before_model.push(milliseconds(asked_at(&product, &name)?) - sent);
    }
    drop(direct);
    product.finish(&[]).await?;

    let wholes: Vec<_> = ours.iter().map(Relayed::whole).collect();
    let (whole, floor) = (median(&wholes), median(&floors));
    say(&format!(
        "  relayed {whole:.1} ms (p95 {:.1}), direct {floor:.1} ms (p95 {:.1}), of which {:.1} before the model",
        percentile(&wholes, 95.0),
        percentile(&floors, 95.0),
        median(&before_model)
    ));
    for (at, station) in STATIONS.iter().enumerate() {
        let took: Vec<_> = ours.iter().map(|one| one.stations[at]).collect();
        say(&format!(
            "    {station:<32} {:>7.1} ms (p95 {:.1})",
            median(&took),
            percentile(&took, 95.0)
        ));
    }
    let budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 60.0,
        aim: 20.0,
    };
    // The floor is the direct turn; the number is what comes on top of it, so that it has no ratio.
    let mut figure = Figure::new("relay_overhead", whole - floor, "ms", Some(floor), budget);
    figure.ratio = None;
    Ok(vec![figure])
}

fn question(name: &str) -> String {
    format!("Please note {}", mark(name))
}

/// One turn through the product, and when it was where.
async fn relayed(product: &Product, person: &Person, name: &str) -> anyhow::Result<Relayed> {
    let (message, mark) = (Message::text(person, &question(name)), mark(name));
    let body = product.whatsapp.body(std::slice::from_ref(&message));
    let posted = Utc::now();
    let status = product.whatsapp.post(&body).await;
    anyhow::ensure!(status == Some(200), "the webhook was answered {status:?}");
    let answered = |state: &crate::whatsapp::State| {
        let call = state.calls.iter().rfind(|call| {
            let text = call.text.as_deref().unwrap_or_default();
            call.taken && text.contains(&mark)
        })?;
        let wamid = call.wamid.as_deref()?;
        let bubble = state.bubbles.iter().rfind(|one| one.wamid == wamid)?;
        Some((call.at, bubble.at))
    };
    let (called, shown) = product.whatsapp.wait_until(PATIENCE, answered).await?;
    let asked = asked_at(product, name)?;
    product.settled().await?;
    // In Postgres' arithmetic, for each a number of milliseconds since 1970.
    let rows: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from at)::float8 * 1000
         from inbox join turn on turn.id = inbox.turn_id join outbox on outbox.turn_id = turn.id,
              unnest(array[inbox.received_at, turn.created_at, turn.submitted_at,
                           outbox.created_at, outbox.sent_at]) with ordinality as times (at, place)
         where inbox.provider_id = $1
         order by place",
    )
    .bind(&message.wamid)
    .fetch_all(&product.postgres.db)
    .await
    .context("read a turn's times")?;
    let [received, opened, submitted, enqueued, claimed] = rows[..] else {
        anyhow::bail!("a turn has {} times", rows.len());
    };
    let (posted, asked) = (milliseconds(posted), milliseconds(asked));
    let (called, shown) = (milliseconds(called), milliseconds(shown));
    let times = [
        posted, received, opened, submitted, asked, enqueued, claimed, called, shown,
    ];
    let mut stations = [0.0; STATIONS.len()];
    for (station, pair) in stations.iter_mut().zip(times.windows(2)) {
        *station = pair[1] - pair[0];
    }
    Ok(Relayed { stations })
}

/// When the model was asked for the answer to this.
fn asked_at(product: &Product, name: &str) -> anyhow::Result<DateTime<Utc>> {
    let mark = mark(name);
    let asked = product.model.read(|state| {
        let about = |request: &&crate::model::Request| {
            request.pending.iter().any(|text| text.contains(&mark))
        };
        state.requests.iter().find(about).map(|request| request.at)
    });
    asked.with_context(|| format!("the model was never asked for {name}"))
}

fn milliseconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1000.0
}
