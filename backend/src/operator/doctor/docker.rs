//! Docker: reached, new enough, keeps containers through its own restart, has the sandbox image.

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};
use crate::sandbox::{row, runtime::Runtime};

/// The oldest engine we are tried with: API 1.41.
const OLDEST: (u32, u32) = (20, 10);

pub async fn docker(facts: &Facts) -> Result<Found, Found> {
    let host = &facts.config.sandbox.docker_host;
    Ok(match facts.try_docker().await {
        Ok(_) => ok("Docker answers."),
        Err(error) => fail(
            format!("Docker is not reached at {host}: {error}."),
            "Start it (`systemctl start docker`), run this as root, or mend DOCKER_HOST.",
        ),
    })
}

pub async fn version(facts: &Facts) -> Result<Found, Found> {
    let info = facts.info().await?;
    Ok(judge_version(
        info.server_version.as_deref().unwrap_or_default(),
    ))
}

fn judge_version(text: &str) -> Found {
    let mut numbers = text.split('.').map(|part| {
        let digits = part.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse::<u32>().ok()
    });
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    match version {
        Some(version) if version >= OLDEST => ok(format!("Docker is {text}.")),
        Some(_) => fail(
            format!("Docker is {text}, older than 20.10."),
            "Install a newer one: Debian's docker.io or Docker's own packages.",
        ),
        None => warn(
            format!("Docker does not say which version it is ({text})."),
            "Look at `docker version`: 20.10 or newer is needed.",
        ),
    }
}

pub async fn live_restore(facts: &Facts) -> Result<Found, Found> {
    let info = facts.info().await?;
    Ok(judge_live_restore(info.live_restore_enabled))
}

fn judge_live_restore(on: Option<bool>) -> Found {
    match on {
        Some(true) => ok("Sandboxes outlive a restart of Docker."),
        _ => warn(
            "live-restore is off: a restart or upgrade of Docker stops every sandbox.",
            "Put {\"live-restore\": true} into /etc/docker/daemon.json and run `systemctl reload docker`.",
        ),
    }
}

pub async fn runtime(facts: &Facts) -> Result<Found, Found> {
    let Some(wanted) = &facts.config.sandbox.runtime else {
        return Ok(ok("Sandboxes run in Docker's default runtime."));
    };
    let known = facts.info().await?.runtimes.clone().unwrap_or_default();
    Ok(match known.contains_key(wanted) {
        true => ok(format!("Docker knows the runtime {wanted}.")),
        false => fail(
            format!("Docker does not know the runtime {wanted}."),
            "Add it to /etc/docker/daemon.json, or mend SANDBOX_RUNTIME.",
        ),
    })
}

pub async fn image(facts: &Facts) -> Result<Found, Found> {
    let image = &facts.config.sandbox.image;
    let found = facts.docker().await?.image(image).await;
    Ok(match found {
        Ok(Some(_)) => ok(format!("The sandbox image {image} is there.")),
        Ok(None) => fail(
            format!("The sandbox image {image} is not on this machine."),
            "Build it with infra/build-image.sh, or mend SANDBOX_IMAGE.",
        ),
        Err(error) => fail(
            format!("Docker cannot look for the image: {error:#}."),
            "Look at Docker's own log: `journalctl -u docker`.",
        ),
    })
}

/// Each keeps the image it was made with until it is upgraded.
pub async fn older(facts: &Facts) -> Result<Found, Found> {
    let image = facts.docker().await?.image(&facts.config.sandbox.image);
    let Ok(Some(image)) = image.await else {
        return Err(skip("The sandbox image is not on this machine."));
    };
    let others = row::image::count_others(facts.db().await?, &image).await;
    let unread = |error| skip(format!("The tables cannot be read: {error:#}."));
    Ok(match others.map_err(unread)? {
        0 => ok("Everybody's sandbox runs the current image."),
        others => warn(
            format!("{others} sandboxes run another image than the current one."),
            "`clawkaka sandbox upgrade --all` moves them, one first, with a way back.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn engines_older_than_20_10_fail() {
        let verdict = |text| judge_version(text).verdict;
        assert_eq!(verdict("19.03.15"), Verdict::Fail);
        assert_eq!(verdict("20.9.0"), Verdict::Fail);
        assert_eq!(verdict("20.10.24+dfsg1"), Verdict::Ok);
        assert_eq!(verdict("29.0.0-rc.1"), Verdict::Ok);
        assert_eq!(verdict("dev"), Verdict::Warn);
    }

    #[test]
    fn an_engine_that_stops_sandboxes_with_itself_is_warned_of() {
        assert_eq!(judge_live_restore(Some(true)).verdict, Verdict::Ok);
        assert_eq!(judge_live_restore(Some(false)).verdict, Verdict::Warn);
        assert_eq!(judge_live_restore(None).verdict, Verdict::Warn);
    }
}
