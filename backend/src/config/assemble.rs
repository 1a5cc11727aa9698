//! From the words of the environment to settings that hold together, for the roles a process plays.

use super::{
    BadSettings, Config, Kapso, Limits, Llm, Policy, Ports, Raw, Roles, Sandbox, Timing, WhatsApp,
    check::Check, line,
};

impl Config {
    /// Checks every setting; the error names every bad one and says what to do.
    pub fn check(raw: Raw, mut problems: Vec<String>) -> anyhow::Result<Self> {
        let roles = Check::new(&mut problems).roles(&raw.roles);
        Self::check_for(roles, raw, problems)
    }

    /// For commands that look at tables and Docker: they play no role, so that no secret is needed.
    pub fn without_roles(raw: Raw, problems: Vec<String>) -> anyhow::Result<Self> {
        let none = Roles {
            web: false,
            worker: false,
            broker: false,
        };
        Self::check_for(none, raw, problems)
    }

    fn check_for(roles: Roles, mut raw: Raw, mut problems: Vec<String>) -> anyhow::Result<Self> {
        let mut check = Check::new(&mut problems);
        let port = check.number("PORT", &raw.port, 1..=65_000);
        let backup = roles.worker.then(|| check.backup(&raw)).flatten();
        let (meta, kapso) = line::wanted(&raw);
        let whatsapp = WhatsApp::check(&mut check, &mut raw, meta, roles);
        let kapso = Kapso::check(&mut check, &mut raw, kapso, roles);
        let timing = Timing::check(&mut check, &raw);
        let policy = Policy::check(&mut check, &raw);
        let config = Self {
            backup,
            roles,
            deployment: check.name("CLAWKAKA_DEPLOYMENT", &raw.deployment),
            database_url: check.database_url(raw.database_url.take()),
            keys: check.keys(
                roles,
                raw.master_key.take(),
                raw.sealing_key.take(),
                raw.webhook_key.take(),
            ),
            ports: Ports {
                web: port as u16,
                worker_health: check.port("WORKER_HEALTH_PORT", raw.worker_health_port, port + 1),
                metrics: check.port("METRICS_PORT", raw.metrics_port, port + 2),
                metrics_address: check.address("METRICS_ADDRESS", &raw.metrics_address),
                broker: check.port("BROKER_PORT", raw.broker_port, port + 4),
            },
            log_format: check.log_format(&raw.log_format),
            whatsapp,
            kapso,
            llm: Llm {
                base_url: check.url("LLM_BASE_URL", &raw.llm_base_url),
                api_key: check.secret("LLM_API_KEY", raw.llm_api_key, roles.broker),
                model: check.text("LLM_MODEL", raw.llm_model, roles.worker || roles.broker),
                tokens_per_tenant_day: check
                    .count("LLM_TOKENS_PER_TENANT_DAY", &raw.llm_tokens_per_tenant_day),
                tokens_per_day: check.count("LLM_TOKENS_PER_DAY", &raw.llm_tokens_per_day),
                calls_per_turn: check.count("LLM_CALLS_PER_TURN", &raw.llm_calls_per_turn),
            },
            transcription: check.transcription(
                raw.transcription_base_url,
                &raw.transcription_api,
                raw.transcription_api_key,
                raw.transcription_model,
                raw.transcription_language,
            ),
            sandbox: Sandbox {
                image: check.text("SANDBOX_IMAGE", raw.sandbox_image, roles.worker),
                memory: check.bytes("SANDBOX_MEMORY", &raw.sandbox_memory),
                cpus: check.cpus("SANDBOX_CPUS", &raw.sandbox_cpus),
                disk: check.disk("SANDBOX_DISK", &raw.sandbox_disk),
                disk_folder: check.folder("SANDBOX_DISK_FOLDER", &raw.sandbox_disk_folder),
                runtime: raw.sandbox_runtime.filter(|name| !name.is_empty()),
                subnet: check.subnet("SANDBOX_SUBNET", &raw.sandbox_subnet),
                uid_base: check.number(
                    "SANDBOX_UID_BASE",
                    &raw.sandbox_uid_base,
                    10_000..=2_000_000_000,
                ) as u32,
                capacity: raw
                    .sandbox_capacity
                    .filter(|text| !text.is_empty())
                    .map(|text| check.number("SANDBOX_CAPACITY", &text, 1..=10_000) as usize),
                pool_size: check.number("SANDBOX_POOL_SIZE", &raw.sandbox_pool_size, 0..=1_000)
                    as usize,
                docker_host: raw.docker_host,
            },
            limits: Limits {
                signups_per_hour: check
                    .count("LIMIT_SIGNUPS_PER_HOUR", &raw.limit_signups_per_hour),
                signup_burst: check.count("LIMIT_SIGNUP_BURST", &raw.limit_signup_burst),
                tenants: check.count("LIMIT_TENANTS", &raw.limit_tenants),
                inbound_per_minute: check
                    .count("LIMIT_INBOUND_PER_MINUTE", &raw.limit_inbound_per_minute),
                inbound_per_day: check.count("LIMIT_INBOUND_PER_DAY", &raw.limit_inbound_per_day),
                waiting: check.count("LIMIT_WAITING", &raw.limit_waiting),
                media_per_day: check.bytes("LIMIT_MEDIA_PER_DAY", &raw.limit_media_per_day),
                messages_per_turn: check
                    .count("LIMIT_MESSAGES_PER_TURN", &raw.limit_messages_per_turn),
                unasked_per_day: check.count("LIMIT_UNASKED_PER_DAY", &raw.limit_unasked_per_day),
            },
            policy,
            timing,
        };
        BadSettings::none(problems)?;
        Ok(config)
    }
}
