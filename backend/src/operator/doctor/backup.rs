//! Backups: is there a place for them that takes them, is the last one young enough, does our key
//! open it.

use chrono::TimeDelta;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};
use crate::{
    backup::{database, row::look, seal::BackupKey, store::Store, whole},
    clock::Clock,
    config::Backup,
    operator::answer::ago,
};

const SET: &str =
    "Set BACKUP_TO to a folder on another disk or to s3://bucket/prefix, and restart `serve`.";
/// Room for one that takes long, on top of twice the interval.
const GRACE: TimeDelta = TimeDelta::hours(1);

fn place(facts: &Facts) -> Result<&Backup, Found> {
    let place = facts.config.backup.as_ref();
    place.ok_or_else(|| skip("There is no place for backups."))
}

fn open(place: &Backup) -> Result<Store, Found> {
    Store::open(&place.to).map_err(|error| {
        fail(
            format!("The place for backups cannot be opened: {error:#}."),
            "Look at BACKUP_TO, and at who may write there.",
        )
    })
}

pub async fn store(facts: &Facts) -> Result<Found, Found> {
    let Ok(place) = place(facts) else {
        return Ok(warn("Nothing is backed up: BACKUP_TO is not set.", SET));
    };
    Ok(match open(place)?.try_out().await {
        Ok(()) => ok("The place for backups can be written to, read and deleted in."),
        Err(error) => fail(
            format!("The place for backups does not take them: {error:#}."),
            "Look at BACKUP_TO, at the AWS_… settings, and at who may write there.",
        ),
    })
}

pub async fn age(facts: &Facts) -> Result<Found, Found> {
    let place = place(facts)?;
    let db = facts.db().await?;
    let now = Clock::System.now();
    let told =
        |error: anyhow::Error| skip(format!("The table of backups is not there: {error:#}."));
    let good = look::last_good(db).await.map_err(told)?;
    let first = look::first_all(db).await.map_err(told)?;
    let every = TimeDelta::from_std(place.every).unwrap_or(TimeDelta::MAX);
    let Some(good) = good else {
        return Ok(match first {
            None => warn(
                "Nothing was backed up yet.",
                "The worker begins when it starts; or run `clawkaka backup`.",
            ),
            Some(since) => fail(
                format!(
                    "No backup has come to its end since the first was asked for, {}.",
                    ago(since, now)
                ),
                "Look for \"backup\" in the worker's log.",
            ),
        });
    };
    let what = format!("The last backup was made {}.", ago(good.requested_at, now));
    let is_old = !place.every.is_zero() && now - good.requested_at > every * 2 + GRACE;
    Ok(match is_old {
        true => fail(
            what,
            "Look for \"backup\" in the worker's log, and run `clawkaka backup`.",
        ),
        false => ok(what),
    })
}

pub async fn key(facts: &Facts) -> Result<Found, Found> {
    let store = open(place(facts)?)?;
    let master = facts
        .master()
        .ok_or_else(|| skip("There is no master key."))?;
    let key = BackupKey::new(master);
    let newest = whole::choose(&store, None).await;
    let newest = newest.map_err(|_| skip("The place for backups cannot be listed."))?;
    let Some(newest) = newest else {
        return Err(skip("There is no backup to open."));
    };
    Ok(match database::manifest(&store, &key, &newest.name).await {
        Ok(_) => ok("The newest backup of the tables is whole, and our key opens it."),
        Err(error) => fail(
            format!("The newest backup of the tables cannot be opened: {error:#}."),
            "Is BACKUP_TO another deployment's, or CLAWKAKA_MASTER_KEY new? Else run `clawkaka backup`.",
        ),
    })
}
