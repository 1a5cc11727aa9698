//! The kill matrix: whatever dies, at whatever line, everybody gets exactly one answer.
//!
//! Every case hits several people with one kill. Shared by the tests and by `clawkaka-e2e`.

mod case;
mod run;

use anyhow::Context as _;
use chrono::Utc;

pub use case::Case;
use case::Case::{
    BeforeOurCommit, GraphHoldsThenDrops, GraphHoldsThenTakes, GraphTookButWeDidNotStore, MidTurn,
    ModelFails, PostgresRestarted, RightAfterThe200, SandboxKilled, SandboxKilledTwice, SocketCut,
    WhileTheContainerBoots,
};
pub use run::{Ended, run, table};

use crate::{
    PATIENCE, Person, Product, Then, command,
    crowd::{self, marks_in},
    docker::GATEWAY_PORT,
    model::{At, Rule, Script},
    whatsapp::{Fault, FaultRule},
};

/// The people of one product and everything they were owed so far.
pub struct Matrix {
    pub product: Product,
    pub people: Vec<Person>,
    owed: Vec<(usize, String)>,
}

impl Matrix {
    pub async fn start(people: usize) -> anyhow::Result<Self> {
        let product = Product::start(&[]).await?;
        Ok(Self {
            product,
            people: crowd::people(people),
            owed: Vec::new(),
        })
    }

    /// One more message each, so that whatever came late is seen, and a last look at all of them.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.say("good-bye").await?;
        self.exactly_one_each("good-bye").await?;
        self.nothing_came_twice()?;
        self.product.finish(&[]).await
    }

    /// Sets the case up, kills, and sees that everybody is answered once.
    pub async fn case(&mut self, case: Case) -> anyhow::Result<()> {
        let name = case.letter().to_string();
        match case {
            RightAfterThe200 => {
                self.say(&name).await?;
                self.kill_and_start_again().await?;
            }
            WhileTheContainerBoots => {
                let since = Utc::now();
                self.say(&name).await?;
                self.product
                    .docker
                    .wait_for_event("start", 1, since, PATIENCE)
                    .await?;
                self.kill_and_start_again().await?;
            }
            MidTurn => {
                self.say_and_hold_the_model(&name).await?;
                self.product.kill_9().await?;
                self.product.gates.release(&name, Then::Go);
                self.product.start_again().await?;
            }
            BeforeOurCommit => self.before_our_commit(&name).await?,
            GraphHoldsThenTakes => {
                let hold = Fault::Hold { gate: name.clone() };
                self.kill_while_graph(&name, hold, Then::Go).await?;
            }
            GraphHoldsThenDrops => {
                let hold = Fault::Hold { gate: name.clone() };
                self.kill_while_graph(&name, hold, Then::Drop).await?;
            }
            GraphTookButWeDidNotStore => {
                let hold = Fault::HoldAnswer { gate: name.clone() };
                self.kill_while_graph(&name, hold, Then::Drop).await?;
            }
            SandboxKilled => {
                self.say_and_hold_the_model(&name).await?;
                self.kill_all_sandboxes().await?;
                self.product.gates.release(&name, Then::Go);
            }
            SandboxKilledTwice => {
                let again = format!("{name}-again");
                // The resumed run meets the second rule, as the first one is spent.
                self.hold_the_model(&name, &name);
                self.hold_the_model(&name, &again);
                self.say(&name).await?;
                for gate in [&name, &again] {
                    self.reached(gate).await?;
                    self.kill_all_sandboxes().await?;
                    self.product.gates.release(gate, Then::Go);
                }
            }
            PostgresRestarted => {
                self.say(&name).await?;
                self.product
                    .model
                    .wait_for_request(&self.mark(&name, 0), PATIENCE)
                    .await?;
                let since = Utc::now();
                let restart = self.product.postgres.kill_9_and_start_again();
                let more = self.product.all_say(&self.people, "j-more");
                let (restarted, more) = tokio::join!(restart, more);
                restarted?;
                self.owed.extend(more?.into_iter().enumerate());
                self.exactly_one_each("j-more").await?;
                self.product.outages.push(since..Utc::now());
            }
            SocketCut => {
                self.say_and_hold_the_model(&name).await?;
                self.cut_every_socket().await?;
                self.product.gates.release(&name, Then::Go);
            }
            ModelFails => {
                let failed = self.model_fails(&name).await;
                self.product.model.clear_program();
                return failed;
            }
        }
        let answered = self.exactly_one_each(&name).await;
        self.product.model.clear_program();
        self.product.whatsapp.clear_program();
        answered
    }

    fn mark(&self, name: &str, person: usize) -> String {
        crowd::mark(format!("{name}-{person}"))
    }

    async fn say(&mut self, name: &str) -> anyhow::Result<()> {
        let marks = self.product.all_say(&self.people, name).await?;
        self.owed.extend(marks.into_iter().enumerate());
        Ok(())
    }

    async fn exactly_one_each(&self, name: &str) -> anyhow::Result<()> {
        let marks: Vec<_> = (0..self.people.len())
            .map(|at| self.mark(name, at))
            .collect();
        self.product.exactly_one_each(&self.people, &marks).await
    }

    /// Looks back at every case so far: an answer may come late and twice.
    fn nothing_came_twice(&self) -> anyhow::Result<()> {
        for (person, mark) in &self.owed {
            self.product
                .exactly_one_answer(&self.people[*person], mark)?;
        }
        Ok(())
    }

    async fn kill_and_start_again(&mut self) -> anyhow::Result<()> {
        self.product.kill_9().await?;
        self.product.start_again().await
    }

    fn hold_the_model(&self, name: &str, gate: &str) {
        for at in 0..self.people.len() {
            let hold = Rule::hold(gate, At::FirstToken)
                .when(&self.mark(name, at))
                .times(1);
            self.product.model.program(hold);
        }
    }

    async fn reached(&self, gate: &str) -> anyhow::Result<()> {
        self.product
            .gates
            .reached(gate, self.people.len(), PATIENCE)
            .await
    }

    /// Everybody's turn is under way, and the model has begun to speak.
    async fn say_and_hold_the_model(&mut self, name: &str) -> anyhow::Result<()> {
        self.hold_the_model(name, name);
        self.say(name).await?;
        self.reached(name).await
    }

    async fn kill_all_sandboxes(&self) -> anyhow::Result<()> {
        let killed = self.product.docker.kill_sandboxes().await?;
        anyhow::ensure!(
            killed == self.people.len(),
            "{killed} sandboxes were running"
        );
        Ok(())
    }

    /// The product dies between the agent's answer and the commit of it: a lock keeps it there.
    async fn before_our_commit(&mut self, name: &str) -> anyhow::Result<()> {
        self.say_and_hold_the_model(name).await?;
        let mut lock = self.product.postgres.db.begin().await?;
        // Nothing can be written; what is there can be read, as turns do before they end.
        sqlx::query("lock table outbox in share row exclusive mode")
            .execute(&mut *lock)
            .await?;
        self.product.gates.release(name, Then::Go);
        // Transactions that have written the turn's end and want to write the answer.
        let waiting = "select count(*) from pg_locks wanted join pg_locks held using (pid)
                       where wanted.relation = 'outbox'::regclass and not wanted.granted
                       and held.relation = 'turn'::regclass and held.mode = 'RowExclusiveLock'";
        let people = self.people.len() as i64;
        let all_wait = || async { Ok(self.product.postgres.count(waiting).await? == people) };
        self.product
            .until("every answer waits for the lock", all_wait)
            .await?;
        self.product.kill_9().await?;
        lock.rollback().await?;
        self.product.start_again().await
    }

    async fn kill_while_graph(
        &mut self,
        name: &str,
        hold: Fault,
        then: Then,
    ) -> anyhow::Result<()> {
        for person in &self.people {
            self.product
                .whatsapp
                .program(FaultRule::from(hold.clone()).to(person));
        }
        self.say(name).await?;
        self.reached(name).await?;
        self.product.kill_9().await?;
        self.product.gates.release(name, then);
        self.product.start_again().await
    }

    /// The kernel closes the worker's sockets under it, as after a network that broke.
    async fn cut_every_socket(&self) -> anyhow::Result<()> {
        let port = format!(":{GATEWAY_PORT}");
        for sandbox in self.product.docker.sandboxes().await? {
            let filter = [
                "-K",
                "-H",
                "-t",
                "dst",
                &sandbox.address,
                "dport",
                "=",
                &port,
            ];
            let cut = command::run("ss", &filter).await?;
            anyhow::ensure!(
                !cut.trim().is_empty(),
                "no socket to {} was cut",
                sandbox.address
            );
        }
        Ok(())
    }

    /// Exactly one apology each, and the next message works.
    async fn model_fails(&mut self, name: &str) -> anyhow::Result<()> {
        self.product.stop().await?;
        self.product.set("TURN_DEADLINE", "45s");
        self.product.start_again().await?;
        let failures = [
            ("400", Rule::fail(400)),
            ("500", Rule::fail(500)),
            ("stalls", Rule::hold("stall", At::FirstToken)),
            ("empty", Rule::new(Script::Empty)),
        ];
        for (round, failures) in failures.chunks(self.people.len()).enumerate() {
            self.fail_with(&format!("{name}-{round}"), failures).await?;
        }
        self.product.stop().await?;
        self.product.set("TURN_DEADLINE", "");
        self.product.start_again().await
    }

    async fn fail_with(&mut self, name: &str, failures: &[(&str, Rule)]) -> anyhow::Result<()> {
        let people = &self.people[..failures.len()];
        let mut before = Vec::new();
        for (at, (person, (_, failure))) in people.iter().zip(failures).enumerate() {
            before.push(self.product.whatsapp.chat(person).len());
            self.product
                .model
                .program(failure.clone().when(&self.mark(name, at)));
        }
        self.product.all_say(people, name).await?;
        for ((person, (what, _)), before) in people.iter().zip(failures).zip(&before) {
            let waited = self
                .product
                .whatsapp
                .wait_for_reply(person, before + 1, PATIENCE)
                .await;
            waited.with_context(|| format!("the model {what}: {}", self.product.screen(person)))?;
        }
        self.product.settled().await?;
        for ((person, (what, _)), before) in people.iter().zip(failures).zip(&before) {
            let chat = self.product.whatsapp.chat(person);
            let said: Vec<_> = chat[*before..]
                .iter()
                .map(|bubble| bubble.text.as_str())
                .collect();
            let apologised = said.len() == 1 && said[0].starts_with("Sorry");
            anyhow::ensure!(apologised, "the model {what}, and we said {said:?}");
        }
        self.product.model.clear_program();
        self.product.gates.release("stall", Then::Drop);
        let next = format!("{name}-next");
        self.say(&next).await?;
        self.exactly_one_each(&next).await?;
        // What was given up with an apology is not answered late. The next answer may speak of it.
        for (at, person) in self.people.iter().enumerate() {
            let (given_up, next) = (self.mark(name, at), self.mark(&next, at));
            let late = self.product.whatsapp.chat(person).into_iter().any(|one| {
                let marks = marks_in(&one.text);
                marks.contains(&&*given_up) && !marks.contains(&&*next)
            });
            anyhow::ensure!(!late, "a late answer: {}", self.product.screen(person));
        }
        Ok(())
    }
}
