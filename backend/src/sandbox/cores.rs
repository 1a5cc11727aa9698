//! How long a container is at work on cores, and whether it goes last: as shares, of which the others
//! have five hundred times as many. They only matter where there is not enough for all.

use std::time::Duration;

use bollard::{models::ContainerUpdateBody, query_parameters::StatsOptionsBuilder};
use futures_util::StreamExt;

use super::{
    call::{READ_TIMEOUT, bounded, found},
    docker::Docker,
};

/// What Docker gives a container of which nothing is said.
const USUAL: i64 = 1024;
/// The least the kernel takes.
const LEAST: i64 = 2;

impl Docker {
    pub(super) async fn time_on_cores(&self, id: &str) -> anyhow::Result<Option<Duration>> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true);
        let mut stats = Box::pin(self.engine.stats(id, Some(options.build())));
        let call = found(async { stats.next().await.transpose() });
        let stats = bounded("read a container's time", READ_TIMEOUT, call).await?;
        let usage = stats.flatten().and_then(|stats| stats.cpu_stats?.cpu_usage);
        let time = usage.and_then(|usage| usage.total_usage);
        Ok(time.map(Duration::from_nanos))
    }

    pub(super) async fn goes_last(&self, id: &str) -> anyhow::Result<bool> {
        let call = found(self.engine.inspect_container(id, None));
        let container = bounded("inspect a container", READ_TIMEOUT, call).await?;
        let host = container.and_then(|container| container.host_config);
        Ok(host.and_then(|host| host.cpu_shares) == Some(LEAST))
    }

    pub(super) async fn put_last(&self, id: &str, last: bool) -> anyhow::Result<()> {
        let shares = match last {
            true => LEAST,
            false => USUAL,
        };
        let body = ContainerUpdateBody {
            cpu_shares: Some(shares),
            ..Default::default()
        };
        let call = self.engine.update_container(id, body);
        self.change("set a container's shares", id, call).await
    }
}
