//! A bad setting stops the start, and the operator learns of all of them at once.

use std::slice;

use clap::Parser;

use super::*;
use crate::{
    line::{
        Delivery,
        policy::{Notice, Signup},
    },
    whatsapp::provider::Provider,
};

/// A complete environment for all roles, as arguments.
const COMPLETE: &[&str] = &[
    "clawkaka",
    "--database-url=postgres://a:b@localhost/c",
    "--master-key=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    "--whatsapp-app-secret=s",
    "--whatsapp-verification-token=v",
    "--whatsapp-access-token=t",
    "--whatsapp-sender-phone-number-id=1",
    "--llm-api-key=k",
    "--llm-model=m",
    "--sandbox-image=i",
];

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    raw: Raw,
}

/// The complete environment, with some of it left out and some of it replaced.
fn with(without: &[&str], more: &[&str]) -> Result<Config, String> {
    let kept = COMPLETE
        .iter()
        .filter(|argument| !without.iter().any(|name| argument.contains(name)));
    let cli = Cli::parse_from(kept.chain(more));
    Config::check(cli.raw, Vec::new()).map_err(|error| error.to_string())
}

#[test]
fn a_complete_environment_is_taken_with_its_defaults() {
    let config = with(&[], &[]).unwrap();
    assert_eq!(
        (
            config.ports.web,
            config.ports.worker_health,
            config.ports.broker
        ),
        (3001, 3002, 3005)
    );
    assert_eq!(config.sandbox.memory, 2 << 30);
    assert_eq!(config.sandbox.bridge_address(), Ipv4Addr::new(10, 77, 0, 1));
    assert_eq!(config.timing.turn_deadline, Duration::from_secs(600));
    assert_eq!(config.timing.debounce, Duration::from_millis(1_500));
}

#[test]
fn every_bad_setting_is_named_in_one_message() {
    let problems = with(
        &["app-secret", "llm-model", "database-url"],
        &[
            "--database-url=mysql://secret-password@x",
            "--sandbox-memory=lots",
            "--sandbox-subnet=8.8.0.0/16",
            "--deployment=My Name",
            "--turn-deadline=soon",
            "--debounce=11s",
            "--still-working-after=10ms",
            "--retention=1h",
            "--metrics-address=everywhere",
            "--port=0",
            "--log-format=xml",
            "--lines-signup=ajar",
            "--lines-consent=perhaps",
            "--whatsapp-templates=Hello World",
            "--lines-notice-policy-url=http://example.org",
            "--lines-default-role=Best Friends",
            "--lines-group-ids=My Family",
            "--lines-group-prefix=Hello Bot",
        ],
    )
    .err()
    .unwrap();
    for name in [
        "WHATSAPP_APP_SECRET",
        "LLM_MODEL",
        "DATABASE_URL",
        "SANDBOX_MEMORY",
        "SANDBOX_SUBNET",
        "CLAWKAKA_DEPLOYMENT",
        "TURN_DEADLINE",
        "DEBOUNCE",
        "STILL_WORKING_AFTER",
        "RETENTION",
        "METRICS_ADDRESS",
        "PORT",
        "LOG_FORMAT",
        "SIGNUP",
        "CONSENT",
        "WHATSAPP_TEMPLATES",
        "NOTICE_POLICY_URL",
        "DEFAULT_ROLE",
        "GROUP_IDS",
        "GROUP_PREFIX",
    ] {
        assert!(
            problems.contains(&format!("{name}: ")),
            "{name} is missing in: {problems}"
        );
    }
    assert!(!problems.contains("secret-password"));
}

#[test]
fn everybody_may_write_unless_it_is_said_otherwise() {
    let policy = with(&[], &[]).unwrap().policy;
    assert_eq!((policy.signup, policy.notice), (Signup::Open, Notice::On));
    assert!(policy.operator.is_none() && policy.default_role.is_none());
    let said = [
        "--lines-signup=invite",
        "--lines-notice-operator=Example Ltd",
    ];
    let policy = with(&[], &said).unwrap().policy;
    assert_eq!(policy.signup, Signup::Invite);
    assert_eq!(policy.operator.as_deref(), Some("Example Ltd"));
    let unset = with(&[], &["--lines-default-role="]).unwrap().policy;
    assert_eq!(unset.default_role, None);
}

#[test]
fn no_group_is_served_unless_it_is_named() {
    let policy = with(&[], &[]).unwrap().policy;
    assert!(policy.groups.is_empty());
    assert_eq!(policy.group_prefix, "@assistant");
    let said = ["--lines-group-ids=1203@g.us,77", "--lines-group-prefix=Bot"];
    let policy = with(&[], &said).unwrap().policy;
    assert!(policy.groups.serves("1203@g.us") && policy.groups.serves("77"));
    assert_eq!(policy.group_prefix, "Bot");
    let unset = with(&[], &["--lines-group-ids=", "--lines-group-prefix="]).unwrap();
    assert!(unset.policy.groups.is_empty());
    assert_eq!(unset.policy.group_prefix, "@assistant");
}

#[test]
fn a_line_at_kapso_stands_in_for_metas_or_beside_it() {
    let line = [
        "--kapso-phone-number-id=2",
        "--kapso-webhook-secret=s",
        "--kapso-api-key=k",
    ];
    let of = |config: Config| {
        let lines = config
            .lines()
            .map(|line| (line.api.provider, line.number.to_owned()));
        lines.collect::<Vec<_>>()
    };
    let meta = (Provider::Meta, "1".to_owned());
    let kapso = (Provider::Kapso, "2".to_owned());
    assert_eq!(
        of(with(&["whatsapp"], &line).unwrap()),
        slice::from_ref(&kapso)
    );
    assert_eq!(of(with(&[], &line).unwrap()), [meta.clone(), kapso]);
    assert_eq!(of(with(&[], &[]).unwrap()), [meta]);

    let problems = with(&["whatsapp"], &line[..1]).err().unwrap();
    assert!(
        problems.contains("KAPSO_WEBHOOK_SECRET: is not set"),
        "{problems}"
    );
    assert!(problems.contains("KAPSO_API_KEY: is not set"), "{problems}");
    assert!(!problems.contains("WHATSAPP"), "{problems}");
    let problems = with(&["whatsapp"], &[]).err().unwrap();
    assert!(!problems.contains("KAPSO"), "{problems}");
}

#[test]
fn a_line_that_is_polled_needs_no_secret_of_a_webhook() {
    let line = ["--kapso-phone-number-id=2", "--kapso-api-key=k"];
    let with_line = |more: &[&'static str]| with(&["whatsapp"], &[&line, more].concat());
    let every = |more: &[&'static str]| with_line(more).unwrap().kapso.poll_every;
    let polled = ["--kapso-delivery=poll"];
    assert_eq!(every(&polled), Duration::from_secs(5));
    assert_eq!(
        every(&["--kapso-delivery=poll", "--kapso-poll-every=30s"]),
        Duration::from_secs(30)
    );
    assert_eq!(with_line(&polled).unwrap().kapso.delivery, Delivery::Poll);
    let secret = "--kapso-webhook-secret=s";
    assert_eq!(every(&[secret]), Duration::from_secs(60));
    let brought = with_line(&[secret]).unwrap();
    assert_eq!(brought.kapso.delivery, Delivery::Webhook);

    for (bad, said) in [
        (
            "--kapso-delivery=often",
            "KAPSO_DELIVERY: must be webhook or poll",
        ),
        ("--kapso-poll-every=4s", "100 a minute on its free plan"),
        (
            "--kapso-poll-every=1h",
            "KAPSO_POLL_EVERY: must be a duration from 5s to 2m",
        ),
    ] {
        let problems = with_line(&[secret, bad]).err().unwrap();
        assert!(problems.contains(said), "{bad}: {problems}");
    }
}

#[test]
fn a_role_needs_only_its_own_secrets() {
    let sealing = with(&[], &[]).unwrap();
    let Keys::Master(master) = sealing.keys else {
        panic!("the complete environment has it")
    };
    let key = format!("--sealing-key={}", master.sealing_key().to_base64());
    let workers = ["access-token", "llm", "image", "master-key"];
    let web = with(&workers, &["--roles=web", &key]).unwrap();
    assert!(matches!(web.keys, Keys::Web { webhooks: None, .. }));
    let webhooks = format!("--webhook-key={}", master.webhook_key().to_base64());
    let web = with(&workers, &["--roles=web", &key, &webhooks]).unwrap();
    assert!(web.keys.webhook_key().is_some());
    let bad = ["--roles=web", &key, "--webhook-key=short"];
    let problems = with(&workers, &bad).err().unwrap();
    assert!(problems.contains("CLAWKAKA_WEBHOOK_KEY: "), "{problems}");
    let webs = ["whatsapp", "image", "master-key"];
    assert!(with(&webs, &["--roles=broker"]).is_ok());
    let problems = with(&workers, &["--roles=worker"]).err().unwrap();
    assert!(
        problems.contains("CLAWKAKA_MASTER_KEY: is not set"),
        "{problems}"
    );
}
