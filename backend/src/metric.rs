//! Every metric there is: its name, its unit, what it says, and the label values that are known
//! beforehand. Begun at start, so that a rule never waits for a first failure to make its series.
//!
//! Names and labels are recorded where things happen; `infra/tidy.sh` checks that each is listed in
//! `infra/monitoring/README.md` too. No label ever names a person, a message or a sandbox.

use metrics::{Label, Unit};

use crate::config::Roles;

/// Who records it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Web,
    Worker,
    Broker,
    Each,
}

enum Kind {
    Counter,
    /// Not begun: nobody has measured yet.
    Gauge,
    /// Upper bounds of its buckets.
    Histogram(&'static [f64]),
}

struct Metric {
    name: &'static str,
    by: By,
    kind: Kind,
    unit: Unit,
    says: &'static str,
    begins: Begins,
}

/// With which series it begins.
#[derive(Clone, Copy)]
enum Begins {
    /// The one without labels.
    Plain,
    /// One for each of these values of a label.
    Each(&'static str, &'static [&'static str]),
    /// It has several labels: [`begin_with_several_labels`].
    Apart,
}

const fn metric(name: &'static str, by: By, kind: Kind, unit: Unit, says: &'static str) -> Metric {
    Metric {
        name,
        by,
        kind,
        unit,
        says,
        begins: Begins::Plain,
    }
}

const fn counter(name: &'static str, by: By, says: &'static str) -> Metric {
    metric(name, by, Kind::Counter, Unit::Count, says)
}

const fn gauge(name: &'static str, by: By, unit: Unit, says: &'static str) -> Metric {
    metric(name, by, Kind::Gauge, unit, says)
}

const fn histogram(
    name: &'static str,
    by: By,
    buckets: &'static [f64],
    says: &'static str,
) -> Metric {
    metric(name, by, Kind::Histogram(buckets), Unit::Seconds, says)
}

impl Metric {
    const fn each(mut self, label: &'static str, values: &'static [&'static str]) -> Self {
        self.begins = Begins::Each(label, values);
        self
    }

    const fn apart(mut self) -> Self {
        self.begins = Begins::Apart;
        self
    }

    fn series(&self) -> Vec<Vec<Label>> {
        match self.begins {
            Begins::Plain => vec![Vec::new()],
            Begins::Each(label, values) => values
                .iter()
                .map(|value| vec![Label::from_static_parts(label, value)])
                .collect(),
            Begins::Apart => Vec::new(),
        }
    }
}

/// A webhook: Meta wants a median of 250 ms, we of a few.
const MOMENTS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0,
];
/// A call over the network, up to its time-out.
const CALLS: &[f64] = &[0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0];
/// Waking and dialling: a tenth of a second from a pause, seconds for a boot, minutes in a crowd.
const WAKES: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0,
];
/// One look at all sandboxes: it takes as long as Docker and Postgres do.
const PASSES: &[f64] = &[
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0,
];
/// What a person waits for, up to the deadline of a turn.
const TURNS: &[f64] = &[
    0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 900.0,
];

/// How a turn ends.
const OUTCOMES: &[&str] = &[
    "answered",
    "silent",
    "gave_way",
    "model_failed",
    "deadline",
    "sandbox_not_ready",
    "no_answer",
    "disk_full",
    "kills_workers",
];
/// What the reconcile loop does to a sandbox.
const STEPS: &[&str] = &[
    "create", "start", "meet", "suspend", "pause", "unpause", "stop", "remove", "bury",
];
/// How a send fails.
const CLASSES: &[&str] = &[
    "not_connected",
    "unclear",
    "transient",
    "pair_rate",
    "throttled",
    "token_rejected",
    "window_closed",
    "undeliverable",
    "operator",
    "bad_request",
    "spam",
];

// A table: one metric, one or two lines.
#[rustfmt::skip]
const METRICS: &[Metric] = &[
    // Each role.
    gauge("clawkaka_build_info", By::Each, Unit::Count, "1; the label is the version."),
    gauge("clawkaka_role_running", By::Each, Unit::Count, "1 for each role that this process plays."),
    gauge("clawkaka_pool_connections", By::Each, Unit::Count,
        "Connections to Postgres, by state, at the time of the scrape."),
    // Web.
    histogram("clawkaka_webhook_seconds", By::Web, MOMENTS, "Time to answer a webhook, by outcome.")
        .each("outcome", &["stored", "refused", "failed"]),
    counter("clawkaka_webhook_forged_total", By::Web, "Webhooks whose signature does not match."),
    counter("clawkaka_webhook_updates_total", By::Web, "Updates in authentic webhooks, repeats included."),
    counter("clawkaka_webhook_stored_total", By::Web, "Updates that were new and are stored."),
    counter("clawkaka_webhook_batches_split_total", By::Web,
        "Batches of webhooks that Postgres refused; each of the batch was then stored by itself."),
    // Worker: is it at work?
    gauge("clawkaka_lease_held", By::Worker, Unit::Count, "1 while this process holds the worker's lease."),
    gauge("clawkaka_postgres_up", By::Worker, Unit::Count, "1 while Postgres answers the worker."),
    gauge("clawkaka_measured_timestamp_seconds", By::Worker, Unit::Seconds,
        "When the tables were last measured, since 1970."),
    gauge("clawkaka_web_seen_timestamp_seconds", By::Worker, Unit::Seconds,
        "When a web process last said that it is alive, since 1970."),
    counter("clawkaka_step_errors_total", By::Worker, "Steps of a station that failed; they are tried again.")
        .each("station", &["route", "deliver", "listen", "remind", "send", "poll", "measure", "sweep", "token", "backup", "upgrade"]),
    // Worker: what Kapso is asked for.
    counter("clawkaka_polls_total", By::Worker, "Looks at Kapso's lists of messages, by what came of them.")
        .each("outcome", &["done", "refused", "throttled", "away", "odd", "too_many"]),
    gauge("clawkaka_poll_timestamp_seconds", By::Worker, Unit::Seconds,
        "When such a look last came to its end for a line, since 1970; infinite: it is gone."),
    counter("clawkaka_poll_missed_total", By::Worker, "Messages that polling found and a line's webhook should have brought."),
    // Worker: is anybody waiting?
    gauge("clawkaka_inbox_rows", By::Worker, Unit::Count, "Open rows of the inbox: unrouted, or waiting for a turn."),
    gauge("clawkaka_inbox_age_seconds", By::Worker, Unit::Seconds, "Age of the oldest of them; 0 without any."),
    gauge("clawkaka_turns_active", By::Worker, Unit::Count, "Turns under way."),
    gauge("clawkaka_turn_age_seconds", By::Worker, Unit::Seconds, "Age of the oldest active turn; 0 without any."),
    gauge("clawkaka_outbox_rows", By::Worker, Unit::Count, "Open rows of the outbox, by state."),
    gauge("clawkaka_outbox_age_seconds", By::Worker, Unit::Seconds, "Age of the oldest of them; 0 without any."),
    // Worker: how long does it take, and how does it end?
    counter("clawkaka_routed_total", By::Worker, "Updates routed, by outcome.")
        .each("outcome", &["waiting", "receipt", "refused", "over_limit", "unsupported", "empty", "noted", "taken_back",
            "invited", "agreed", "declined", "not_served", "not_addressed", "opted_out", "stop", "fresh", "help", "opt_out", "opt_in", "delete_asked",
            "delete_confirmed", "export_asked", "export_confirmed", "call", "rekeyed", "unknown", "unknown_line"]),
    histogram("clawkaka_turn_seconds", By::Worker, TURNS,
        "Time from a turn's start to its end, by trigger and outcome.").apart(),
    histogram("clawkaka_answer_seconds", By::Worker, TURNS,
        "Time from a person's message to the acceptance of its first answer by WhatsApp."),
    counter("clawkaka_turns_total", By::Worker, "Turns ended: answered, silent, or why they were buried.")
        .each("outcome", OUTCOMES),
    counter("clawkaka_heartbeats_total", By::Worker, "Heartbeats that were due: fired, or why they were left out.")
        .each("outcome", &["fired", "missed", "not_active", "frozen", "window_closed", "quiet_hours", "nothing_to_wake_for", "busy",
            "day_cap", "budget_spent"]),
    counter("clawkaka_messages_late_total", By::Worker, "Messages that came when no turn waited for them."),
    counter("clawkaka_asked_again_total", By::Worker, "Times an agent was asked again."),
    counter("clawkaka_sessions_tombstoned_total", By::Worker,
        "Conversations that an agent gave up; a fresh one began."),
    counter("clawkaka_messages_cut_total", By::Worker, "Messages beyond a turn's limit, left out."),
    counter("clawkaka_media_total", By::Worker, "Files that people sent, by what became of them.")
        .each("outcome", &["fetched", "gone", "too_large", "wrong", "away", "over_limit"]),
    counter("clawkaka_voice_total", By::Worker, "Voice messages, by what became of them.")
        .each("outcome", &["heard", "heard_before", "silent", "too_long", "refused", "away", "no_service"]),
    counter("clawkaka_voice_seconds_total", By::Worker, "Seconds of speech that the operator's service put into words."),
    counter("clawkaka_files_sent_total", By::Worker,
        "Files that agents wanted to send, by what became of them.")
        .each("outcome", &["sent", "missing", "unfit", "refused"]),
    counter("clawkaka_typing_errors_total", By::Worker, "Typing signs that could not be shown."),
    // Worker: sandboxes.
    gauge("clawkaka_sandboxes", By::Worker, Unit::Count,
        "Sandboxes by their container's state; missing: wanted and not there yet."),
    gauge("clawkaka_sandboxes_awake", By::Worker, Unit::Count, "Sandboxes that run or are paused."),
    histogram("clawkaka_sandbox_wake_seconds", By::Worker, WAKES,
        "Time from the wish for a sandbox that was not awake to its ready gateway."),
    histogram("clawkaka_gateway_dial_seconds", By::Worker, WAKES,
        "Time to be let in by a gateway, its boot included.")
        .each("outcome", &["let_in", "failed"]),
    histogram("clawkaka_sandbox_pass_seconds", By::Worker, PASSES,
        "One pass of the reconcile loop over Docker, the walls and the tables."),
    counter("clawkaka_sandbox_steps_total", By::Worker, "Steps of the reconcile loop that were done.")
        .each("step", STEPS),
    counter("clawkaka_sandbox_failures_total", By::Worker, "Steps of the reconcile loop that failed.")
        .each("step", STEPS),
    gauge("clawkaka_sandboxes_crowded_out", By::Worker, Unit::Count,
        "Sandboxes that have work and wait for a place among those who are awake."),
    gauge("clawkaka_sandboxes_greedy", By::Worker, Unit::Count,
        "Sandboxes that keep a core busy, and go last where there are not enough for all."),
    gauge("clawkaka_sandboxes_capacity", By::Worker, Unit::Count, "How many may be awake at a time."),
    counter("clawkaka_sandboxes_restless_total", By::Worker,
        "Sandboxes that claimed to be busy until they were put to sleep anyway."),
    counter("clawkaka_sandbox_broken_total", By::Worker, "Sandboxes whose gateway did not let us in."),
    gauge("clawkaka_volumes_unknown", By::Worker, Unit::Count, "Volumes without a row; they are kept."),
    gauge("clawkaka_walls_standing", By::Worker, Unit::Count, "1 while the walls are as they should be and proven."),
    gauge("clawkaka_walls_fallen", By::Worker, Unit::Count, "1 while the walls are not as they should be, or leak."),
    gauge("clawkaka_walls_proven_timestamp_seconds", By::Worker, Unit::Seconds,
        "When a probe last found the walls to hold, since 1970; 0 since a fall."),
    counter("clawkaka_sandbox_upgrades_total", By::Worker, "Sandboxes that an upgrade came to, by how it ended for them.")
        .each("outcome", &["done", "rolled_back", "skipped", "failed"]),
    gauge("clawkaka_upgrade_stopped", By::Worker, Unit::Count,
        "1 while the last upgrade was stopped by failures, or a sandbox cannot be given back what it had."),
    counter("clawkaka_sandbox_images_lost_total", By::Worker,
        "Sandboxes whose image was not on the machine any more: they got the current one."),
    // Worker: sending.
    histogram("clawkaka_send_seconds", By::Worker, CALLS, "Time of a POST of a message to WhatsApp, by outcome.")
        .each("outcome", &["accepted", "refused"]),
    counter("clawkaka_sends_total", By::Worker, "What became of a send.")
        .each("outcome", &["accepted", "retry", "unknown", "held", "failed", "expired", "no_address",
            "settled_by_receipt"]),
    counter("clawkaka_send_errors_total", By::Worker,
        "Sends that WhatsApp refused or that did not get through, by class, code and who told.").apart(),
    counter("clawkaka_send_resent_total", By::Worker,
        "Sends repeated because no receipt came: the one case of a double."),
    counter("clawkaka_send_over_limit_total", By::Worker,
        "Messages put off because a person had too many in an hour."),
    counter("clawkaka_templates_total", By::Worker,
        "Templates that an agent asked for, or for people for whom something is held: WhatsApp may charge for each."),
    counter("clawkaka_receipts_total", By::Worker, "Receipts of WhatsApp, repeats not counted.")
        .each("status", &["sent", "delivered", "read", "played", "failed"]),
    gauge("clawkaka_lines_blocked", By::Worker, Unit::Count, "Lines that send nothing now, by reason."),
    counter("clawkaka_line_blocked_total", By::Worker, "Times a line was blocked, by reason.")
        .each("why", &["token", "operator", "throttled"]),
    gauge("clawkaka_token_expires_timestamp_seconds", By::Worker, Unit::Seconds,
        "When a line's access token ends, since 1970; infinite: never; 0: it is not valid."),
    gauge("clawkaka_clock_ahead_seconds", By::Worker, Unit::Seconds,
        "How far our clock is ahead of WhatsApp's, which counts whole seconds."),
    // Worker: the machine, and what is kept.
    gauge("clawkaka_disk_free_bytes", By::Worker, Unit::Bytes, "Free where Docker keeps its data."),
    gauge("clawkaka_disk_size_bytes", By::Worker, Unit::Bytes, "All there is of it."),
    gauge("clawkaka_disk_free_inodes", By::Worker, Unit::Count, "Free inodes where Docker keeps its data."),
    gauge("clawkaka_disk_size_inodes", By::Worker, Unit::Count, "All inodes of it; 0 where they are not counted."),
    gauge("clawkaka_sandbox_disks_full", By::Worker, Unit::Count, "Sandboxes, asleep or awake, whose disk is full by 85 % or more."),
    gauge("clawkaka_sandbox_disks_used_bytes", By::Worker, Unit::Bytes, "What the disks of all sandboxes take together."),
    gauge("clawkaka_sandbox_disks_walled", By::Worker, Unit::Count, "1 while the size of sandboxes' disks is kept; 0 if that fails, or SANDBOX_DISK is unlimited."),
    counter("clawkaka_swept_total", By::Worker, "What the sweep cleared or deleted.")
        .each("what", &["inbox_bodies", "inbox_undecided", "outbox_bodies", "inbox", "outbox", "turn", "receipt", "usage", "media", "line_secrets",
            "unserved_group"]),
    gauge("clawkaka_swept_timestamp_seconds", By::Worker, Unit::Seconds,
        "When a sweep last came to its end, since 1970."),
    // Worker: backups.
    gauge("clawkaka_backup_timestamp_seconds", By::Worker, Unit::Seconds,
        "When the last whole backup was begun, since 1970; without any, when the first was asked for."),
    gauge("clawkaka_backup_every_seconds", By::Worker, Unit::Seconds, "How often there should be one; 0: never."),
    gauge("clawkaka_backup_size_bytes", By::Worker, Unit::Bytes, "What the last whole backup added to the store."),
    counter("clawkaka_backup_bytes_total", By::Worker, "Bytes of sandboxes' files that were read for backups."),
    counter("clawkaka_backup_failures_total", By::Worker, "Backups, restores and erasures that failed, most to be tried again.")
        .each("kind", &["all", "sandbox", "restore", "erase"]),
    gauge("clawkaka_restores_waiting", By::Worker, Unit::Count, "Sandboxes that wait for their files to be put back."),
    gauge("clawkaka_tokens_used", By::Worker, Unit::Count, "Tokens of the last 24 hours, all people together."),
    // Broker.
    gauge("clawkaka_tokens_limit", By::Broker, Unit::Count, "Tokens that all people together may use in 24 hours."),
    histogram("clawkaka_broker_call_seconds", By::Broker, TURNS, "Time of a call of the model, its stream included."),
    counter("clawkaka_broker_calls_total", By::Broker, "Calls of the model, by outcome.")
        .each("outcome", &["answered", "broken", "hung_up", "upstream", "upstream_refuses_us",
            "upstream_unreachable", "upstream_timed_out"]),
    counter("clawkaka_broker_refusals_total", By::Broker, "Calls that were refused, by reason.")
        .each("reason", &["unknown_caller", "not_allowed", "too_many_at_once", "calls_per_turn", "tenant_day", "day",
            "upstream", "upstream_refuses_us", "upstream_unreachable", "upstream_timed_out", "internal",
            "connections"]),
    counter("clawkaka_broker_tokens_total", By::Broker, "Tokens that were paid for."),
];

/// The buckets of every histogram.
pub fn buckets() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    METRICS.iter().filter_map(|metric| match metric.kind {
        Kind::Histogram(buckets) => Some((metric.name, buckets)),
        _ => None,
    })
}

/// Describes what these roles record and begins it.
pub fn begin(roles: Roles) {
    for metric in METRICS.iter().filter(|metric| is_of(metric.by, roles)) {
        let Metric {
            name, unit, says, ..
        } = *metric;
        match metric.kind {
            Kind::Counter => {
                metrics::describe_counter!(name, unit, says);
                for labels in metric.series() {
                    metrics::counter!(name, labels).increment(0);
                }
            }
            Kind::Gauge => metrics::describe_gauge!(name, unit, says),
            Kind::Histogram(_) => {
                metrics::describe_histogram!(name, unit, says);
                for labels in metric.series() {
                    drop(metrics::histogram!(name, labels));
                }
            }
        }
    }
    begin_with_several_labels(roles);
    metrics::gauge!("clawkaka_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    let playing = [
        ("web", roles.web),
        ("worker", roles.worker),
        ("broker", roles.broker),
    ];
    for (role, plays) in playing {
        if plays {
            metrics::gauge!("clawkaka_role_running", "role" => role).set(1);
        }
    }
}

fn begin_with_several_labels(roles: Roles) {
    if !roles.worker {
        return;
    }
    for class in CLASSES {
        for told_by in ["answer", "receipt"] {
            metrics::counter!("clawkaka_send_errors_total",
                "told_by" => told_by, "class" => *class, "code" => "none")
            .increment(0);
        }
    }
    for outcome in OUTCOMES {
        drop(metrics::histogram!("clawkaka_turn_seconds",
            "trigger" => "message", "outcome" => *outcome));
    }
    // A process that stands by measures nothing.
    metrics::gauge!("clawkaka_lease_held").set(0);
    // Without a line of Kapso's nobody is late.
    metrics::gauge!("clawkaka_poll_timestamp_seconds").set(f64::INFINITY);
}

fn is_of(by: By, roles: Roles) -> bool {
    match by {
        By::Web => roles.web,
        By::Worker => roles.worker,
        By::Broker => roles.broker,
        By::Each => true,
    }
}
