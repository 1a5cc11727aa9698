//! Every setting as the operator writes it. The comments are the manual: `clawkaka serve --help`.

use clap::{Args, Command};

use crate::line::group;

/// Settings come from the environment. Each can also come from a file: `NAME_FILE=/path`.
/// Durations are written `5s`, `30m`, `7d`; sizes `512m`, `2g`.
#[derive(Args, Debug, Default)]
pub struct Raw {
    /// Which roles this process plays: web, worker, broker.
    #[arg(long, env = "ROLES", default_value = "web,worker,broker")]
    pub roles: String,
    /// Name of this deployment; every container, network and wall of ours carries it.
    #[arg(long, env = "CLAWKAKA_DEPLOYMENT", default_value = "clawkaka")]
    pub deployment: String,
    /// Postgres, over TCP or a Unix socket (`postgres:///clawkaka?host=/run/postgresql`).
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Root of every key: 32 bytes, base64 (`openssl rand -base64 32`). Lose it and nothing stored can be read.
    #[arg(long, env = "CLAWKAKA_MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<String>,
    /// For a process that is only `web`: the public half, printed by `clawkaka keys`.
    #[arg(long, env = "CLAWKAKA_SEALING_KEY")]
    pub sealing_key: Option<String>,
    /// The same process' key to the webhook secrets of lines that were added by command, printed there, too. It opens
    /// nothing else.
    #[arg(long, env = "CLAWKAKA_WEBHOOK_KEY", hide_env_values = true)]
    pub webhook_key: Option<String>,
    /// Webhooks are received on this port of 0.0.0.0.
    #[arg(long, env = "PORT", default_value = "3001")]
    pub port: String,
    /// The worker's health on loopback; PORT + 1 unless set.
    #[arg(long, env = "WORKER_HEALTH_PORT")]
    pub worker_health_port: Option<String>,
    /// Prometheus metrics on loopback; PORT + 2 unless set.
    #[arg(long, env = "METRICS_PORT")]
    pub metrics_port: Option<String>,
    /// Where metrics are served; in a container with a network of its own, loopback is out of a scraper's reach.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "127.0.0.1")]
    pub metrics_address: String,
    /// Where sandboxes reach the broker, on the bridge's address; PORT + 4 unless set.
    #[arg(long, env = "BROKER_PORT")]
    pub broker_port: Option<String>,
    /// `human` or `json`.
    #[arg(long, env = "LOG_FORMAT", default_value = "human")]
    pub log_format: String,

    /// web: the Meta app's secret; webhooks are signed with it.
    #[arg(long, env = "WHATSAPP_APP_SECRET", hide_env_values = true)]
    pub whatsapp_app_secret: Option<String>,
    /// web: the word you type into Meta's dashboard when you register the webhook.
    #[arg(long, env = "WHATSAPP_VERIFICATION_TOKEN", hide_env_values = true)]
    pub whatsapp_verification_token: Option<String>,
    /// worker: a system user's token with whatsapp_business_messaging.
    #[arg(long, env = "WHATSAPP_ACCESS_TOKEN", hide_env_values = true)]
    pub whatsapp_access_token: Option<String>,
    /// The number people write to, by Meta's id of it.
    #[arg(long, env = "WHATSAPP_SENDER_PHONE_NUMBER_ID")]
    pub whatsapp_sender_phone_number_id: Option<String>,
    /// worker: only `clawkaka doctor` asks, and only when the access token does not tell it.
    #[arg(long, env = "WHATSAPP_BUSINESS_ACCOUNT_ID")]
    pub whatsapp_business_account_id: Option<String>,
    #[arg(
        long,
        env = "WHATSAPP_API_BASE_URL",
        default_value = "https://graph.facebook.com"
    )]
    pub whatsapp_api_base_url: String,
    #[arg(long, env = "WHATSAPP_API_VERSION", default_value = "v24.0")]
    pub whatsapp_api_version: String,

    /// The template of this number that tells somebody who has not written for a day that something waits for them, in
    /// each language in which Meta approved it: `en_US=assistant_waiting,de=assistent_wartet`. Without one, words wait
    /// until they write. Further ones of a language are for agents to ask for by their names.
    #[arg(long, env = "WHATSAPP_TEMPLATES", default_value = "")]
    pub whatsapp_templates: String,

    /// A number that Kapso hands on: its id there. Beside Meta's or in place of it.
    #[arg(long, env = "KAPSO_PHONE_NUMBER_ID")]
    pub kapso_phone_number_id: Option<String>,
    /// How its messages reach us: `webhook`, or `poll` where nothing of ours has a public address; then they are asked for.
    #[arg(long, env = "KAPSO_DELIVERY", default_value = "webhook")]
    pub kapso_delivery: String,
    /// worker: how often Kapso is asked for messages, from 5s to 2m. Unset: 5s with `poll`; 1m beside a webhook, to find what it lost. Kapso allows a key 100 requests a minute on its free plan, 5s takes 32; all lines with that key share them.
    #[arg(long, env = "KAPSO_POLL_EVERY")]
    pub kapso_poll_every: Option<String>,
    /// web: the secret of Kapso's webhook; not with `poll`.
    #[arg(long, env = "KAPSO_WEBHOOK_SECRET", hide_env_values = true)]
    pub kapso_webhook_secret: Option<String>,
    /// worker: the key of the project at Kapso.
    #[arg(long, env = "KAPSO_API_KEY", hide_env_values = true)]
    pub kapso_api_key: Option<String>,
    /// As WHATSAPP_TEMPLATES, of this number.
    #[arg(long, env = "KAPSO_TEMPLATES", default_value = "")]
    pub kapso_templates: String,
    #[arg(
        long,
        env = "KAPSO_API_BASE_URL",
        default_value = "https://api.kapso.ai"
    )]
    pub kapso_api_base_url: String,

    /// Any OpenAI-compatible endpoint.
    #[arg(
        long,
        env = "LLM_BASE_URL",
        default_value = "https://openrouter.ai/api/v1"
    )]
    pub llm_base_url: String,
    /// broker: its key. No sandbox ever sees it.
    #[arg(long, env = "LLM_API_KEY", hide_env_values = true)]
    pub llm_api_key: Option<String>,
    /// worker, broker: the only model sandboxes may use.
    #[arg(long, env = "LLM_MODEL")]
    pub llm_model: Option<String>,
    /// Tokens a person's sandbox may use in 24 hours.
    #[arg(long, env = "LLM_TOKENS_PER_TENANT_DAY", default_value = "2000000")]
    pub llm_tokens_per_tenant_day: String,
    /// Tokens all sandboxes together may use in 24 hours.
    #[arg(long, env = "LLM_TOKENS_PER_DAY", default_value = "50000000")]
    pub llm_tokens_per_day: String,
    /// Calls of the model within one turn.
    #[arg(long, env = "LLM_CALLS_PER_TURN", default_value = "30")]
    pub llm_calls_per_turn: String,

    /// worker: what puts voice messages into words, at which address. Without one they are not heard.
    #[arg(long, env = "TRANSCRIPTION_BASE_URL")]
    pub transcription_base_url: Option<String>,
    /// How it is asked: openai (also Groq and most others), deepgram, or whisper.cpp's server.
    #[arg(long, env = "TRANSCRIPTION_API", default_value = "openai")]
    pub transcription_api: String,
    /// worker: its key, where it needs one.
    #[arg(long, env = "TRANSCRIPTION_API_KEY", hide_env_values = true)]
    pub transcription_api_key: Option<String>,
    #[arg(long, env = "TRANSCRIPTION_MODEL", default_value = "whisper-1")]
    pub transcription_model: String,
    /// Two letters, such as de; empty: it finds out by itself.
    #[arg(long, env = "TRANSCRIPTION_LANGUAGE", default_value = "")]
    pub transcription_language: String,

    /// worker: the image every sandbox runs.
    #[arg(long, env = "SANDBOX_IMAGE")]
    pub sandbox_image: Option<String>,
    #[arg(long, env = "SANDBOX_MEMORY", default_value = "2g")]
    pub sandbox_memory: String,
    /// CPUs one sandbox may use at most.
    #[arg(long, env = "SANDBOX_CPUS", default_value = "2")]
    pub sandbox_cpus: String,
    /// worker: what a sandbox may keep on its disk. `unlimited`: then one can fill the disk of all.
    #[arg(long, env = "SANDBOX_DISK", default_value = "1g")]
    pub sandbox_disk: String,
    /// worker: the folder on the Docker host for the files in which sandboxes' disks lie; best on another disk than Postgres.
    #[arg(
        long,
        env = "SANDBOX_DISK_FOLDER",
        default_value = "/var/lib/clawkaka-disks"
    )]
    pub sandbox_disk_folder: String,
    /// A stronger OCI runtime, as Docker knows it by name (for example runsc).
    #[arg(long, env = "SANDBOX_RUNTIME")]
    pub sandbox_runtime: Option<String>,
    /// A /16 of private addresses that nothing else on this machine uses.
    #[arg(long, env = "SANDBOX_SUBNET", default_value = "10.77.0.0/16")]
    pub sandbox_subnet: String,
    /// Sandbox slot N runs as uid SANDBOX_UID_BASE + N; nothing else on this machine may use them.
    #[arg(long, env = "SANDBOX_UID_BASE", default_value = "200000")]
    pub sandbox_uid_base: String,
    /// worker: how many sandboxes may be awake at a time; what is beyond waits. Unset: one for each 900 MiB of this machine's memory.
    #[arg(long, env = "SANDBOX_CAPACITY")]
    pub sandbox_capacity: Option<String>,
    /// worker: how many of those wait, booted, for somebody new.
    #[arg(long, env = "SANDBOX_POOL_SIZE", default_value = "1")]
    pub sandbox_pool_size: String,
    /// worker: after so long without a message a sandbox is paused; it wakes in an instant.
    #[arg(long, env = "SANDBOX_PAUSE_AFTER", default_value = "5m")]
    pub sandbox_pause_after: String,
    /// worker: after so long it is stopped and costs nothing; it wakes in seconds.
    #[arg(long, env = "SANDBOX_STOP_AFTER", default_value = "30m")]
    pub sandbox_stop_after: String,
    /// The Docker engine.
    #[arg(
        long,
        env = "DOCKER_HOST",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub docker_host: String,

    /// How often an agent looks whether its person needs something; 0s: never.
    #[arg(long, env = "HEARTBEAT_EVERY", default_value = "30m")]
    pub heartbeat_every: String,
    /// Where people are taken to be until they say otherwise: an IANA time zone. Agents do not speak unasked from 23:00 to 07:00 there.
    #[arg(long, env = "TIME_ZONE", default_value = "UTC")]
    pub time_zone: String,

    /// Who may write: open (everybody), invite (new people need a code: `clawkaka invite create`), or closed (nobody
    /// new). This and the seven below are each line's own with `clawkaka line set`.
    #[arg(long, env = "SIGNUP", default_value = "open")]
    pub lines_signup: String,
    /// Whether new people are told first that this is an AI, who runs it, and how to leave: on, or off where they know.
    #[arg(long, env = "NOTICE", default_value = "on")]
    pub lines_notice: String,
    /// Who runs it, as new people are told: a name.
    #[arg(long, env = "NOTICE_OPERATOR")]
    pub lines_notice_operator: Option<String>,
    /// Where it says what becomes of what people write: an https:// address, told to new people.
    #[arg(long, env = "NOTICE_POLICY_URL")]
    pub lines_notice_policy_url: Option<String>,
    /// Whether new people have to agree first: none, or button (until they tap it nothing is made and nothing they wrote
    /// is read).
    #[arg(long, env = "CONSENT", default_value = "none")]
    pub lines_consent: String,
    /// What agents are told of the rights of people who were given no other role: a word, such as guest.
    #[arg(long, env = "DEFAULT_ROLE")]
    pub lines_default_role: Option<String>,
    /// Groups in which agents take part, by WhatsApp's ids of them, with commas between; `clawkaka line groups` shows
    /// those that write. In all others nothing is read and nothing said.
    #[arg(long, env = "GROUP_IDS")]
    pub lines_group_ids: Option<String>,
    /// What a message in a group begins with that is for its agent: one word.
    #[arg(long, env = "GROUP_PREFIX", default_value = group::PREFIX)]
    pub lines_group_prefix: Option<String>,
    /// New people per hour on a line; the burst comes on top of an idle hour.
    #[arg(long, env = "LIMIT_SIGNUPS_PER_HOUR", default_value = "20")]
    pub limit_signups_per_hour: String,
    #[arg(long, env = "LIMIT_SIGNUP_BURST", default_value = "5")]
    pub limit_signup_burst: String,
    /// People in all.
    #[arg(long, env = "LIMIT_TENANTS", default_value = "500")]
    pub limit_tenants: String,
    /// Messages of one person.
    #[arg(long, env = "LIMIT_INBOUND_PER_MINUTE", default_value = "10")]
    pub limit_inbound_per_minute: String,
    #[arg(long, env = "LIMIT_INBOUND_PER_DAY", default_value = "200")]
    pub limit_inbound_per_day: String,
    /// Messages of one person that wait for a turn.
    #[arg(long, env = "LIMIT_WAITING", default_value = "20")]
    pub limit_waiting: String,
    /// What one person may send in files in a day.
    #[arg(long, env = "LIMIT_MEDIA_PER_DAY", default_value = "100m")]
    pub limit_media_per_day: String,
    /// Messages one turn may send.
    #[arg(long, env = "LIMIT_MESSAGES_PER_TURN", default_value = "5")]
    pub limit_messages_per_turn: String,
    /// How often an agent may speak to its person unasked.
    #[arg(long, env = "LIMIT_UNASKED_PER_DAY", default_value = "4")]
    pub limit_unasked_per_day: String,
    /// How long a message waits for another of the same person, at most 10s: quick messages in a row become one
    /// question. 0s: each begins a turn at once.
    #[arg(long, env = "DEBOUNCE", default_value = "1500ms")]
    pub debounce: String,
    /// After so long without a word a person who waits for an answer is told, once, that it is being worked on; 0s: never.
    #[arg(long, env = "STILL_WORKING_AFTER", default_value = "45s")]
    pub still_working_after: String,
    /// How long a turn may take before the person gets an apology.
    #[arg(long, env = "TURN_DEADLINE", default_value = "10m")]
    pub turn_deadline: String,
    /// How long an idle conversation without an answer may stay so before the agent is asked again.
    #[arg(long, env = "TURN_IDLE", default_value = "20s")]
    pub turn_idle: String,
    /// How long to wait for a receipt of a send whose outcome is unclear before it is sent once more.
    #[arg(long, env = "SEND_UNKNOWN_WAIT", default_value = "90s")]
    pub send_unknown_wait: String,
    /// worker: how long messages are kept once they are done with, sealed; at least a day.
    #[arg(long, env = "RETENTION", default_value = "7d")]
    pub retention: String,

    /// worker: where backups go: a folder (`/var/backups/clawkaka`) or `s3://bucket/prefix`; empty: nothing is backed
    /// up. Each deployment needs a place of its own.
    #[arg(long, env = "BACKUP_TO")]
    pub backup_to: Option<String>,
    /// How often everything that changed is backed up; 0s: only when `clawkaka backup` asks for it.
    #[arg(long, env = "BACKUP_EVERY", default_value = "24h")]
    pub backup_every: String,
    /// How many backups are kept: of the tables, and of each sandbox.
    #[arg(long, env = "BACKUP_KEEP", default_value = "7")]
    pub backup_keep: String,
    /// For `s3://`: the key's id; without one, what the machine's cloud gives it.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    pub aws_access_key_id: Option<String>,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub aws_secret_access_key: Option<String>,
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    pub aws_session_token: Option<String>,
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub aws_region: String,
    /// For a store that is not Amazon's, for example `https://s3.example.org`.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    pub aws_endpoint_url: Option<String>,
}

/// Reads `NAME_FILE` for every setting that has a name. What it returns belongs behind the
/// command's own arguments and wins over the environment; a file that cannot be read is a problem
/// to report with the others.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn from_files(command: &Command, problems: &mut Vec<String>) -> Vec<String> {
    let mut arguments = Vec::new();
    let settings = command
        .find_subcommand("serve")
        .into_iter()
        .flat_map(Command::get_arguments);
    for setting in settings {
        let (Some(name), Some(long)) = (setting.get_env(), setting.get_long()) else {
            continue;
        };
        let from_file = format!("{}_FILE", name.to_string_lossy());
        let Ok(path) = std::env::var(&from_file) else {
            continue;
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => arguments.push(format!("--{long}={}", text.trim_end_matches(['\r', '\n']))),
            Err(error) => problems.push(format!("{from_file}: cannot read {path}: {error}")),
        }
    }
    arguments
}
