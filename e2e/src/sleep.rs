//! The moments of a sandbox's sleep. Docker's own events tell when they come: a blow falls at the very
//! moment in which something has happened.

use chrono::Utc;

use crate::{PATIENCE, Person, Product};

/// What has just happened to the sandbox, in Docker's words.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// It was idle, and is paused.
    Paused,
    /// It was paused, and somebody wrote.
    Thawed,
    /// It was idle for longer, and is being stopped.
    Stopped,
    /// Only its volume is left.
    Removed,
    /// It was stopped, and somebody wrote.
    Created,
    Started,
}

impl Moment {
    fn event(self) -> &'static str {
        match self {
            Self::Paused => "pause",
            Self::Thawed => "unpause",
            Self::Stopped => "die",
            Self::Removed => "destroy",
            Self::Created => "create",
            Self::Started => "start",
        }
    }

    /// A message leads to it, or silence does.
    pub fn follows_a_message(self) -> bool {
        matches!(self, Self::Thawed | Self::Created | Self::Started)
    }
}

impl Product {
    /// Waits for a moment of the only sandbox there is. The person writes where a message leads to it.
    pub async fn comes_to(
        &self,
        moment: Moment,
        person: &Person,
        text: &str,
    ) -> anyhow::Result<()> {
        match moment {
            Moment::Thawed => self.rests(Some("paused")).await?,
            Moment::Created | Moment::Started => self.rests(None).await?,
            Moment::Paused | Moment::Stopped | Moment::Removed => {}
        }
        let since = Utc::now();
        if moment.follows_a_message() {
            self.says(person, text).await?;
        }
        self.docker
            .wait_for_event(moment.event(), 1, since, PATIENCE)
            .await
    }

    /// Waits until the sandbox is in this state; `None`: it has no container.
    async fn rests(&self, state: Option<&str>) -> anyhow::Result<()> {
        let rests = || async {
            let found = self.docker.sandboxes().await?;
            Ok(found.first().map(|one| one.state.as_str()) == state)
        };
        self.until("the sandbox rests", rests).await
    }
}
