//! The settings that say who may write and what they are told: what holds on every line for which an
//! operator set nothing else.

use clap::ValueEnum;

use super::{Raw, check::Check};
use crate::line::{
    group,
    policy::{self, Consent, Notice, Policy, Signup},
    template::Templates,
};

impl Policy {
    pub(super) fn check(check: &mut Check<'_>, raw: &Raw) -> Self {
        Self {
            signup: one_of(check, "SIGNUP", &raw.lines_signup).unwrap_or(Signup::Open),
            notice: one_of(check, "NOTICE", &raw.lines_notice).unwrap_or(Notice::On),
            operator: given(
                check,
                "NOTICE_OPERATOR",
                &raw.lines_notice_operator,
                policy::operator,
            ),
            policy_url: given(
                check,
                "NOTICE_POLICY_URL",
                &raw.lines_notice_policy_url,
                policy::policy_url,
            ),
            consent: one_of(check, "CONSENT", &raw.lines_consent).unwrap_or(Consent::None),
            default_role: given(check, "DEFAULT_ROLE", &raw.lines_default_role, policy::role),
            groups: given(check, "GROUP_IDS", &raw.lines_group_ids, str::parse).unwrap_or_default(),
            group_prefix: given(
                check,
                "GROUP_PREFIX",
                &raw.lines_group_prefix,
                group::prefix,
            )
            .unwrap_or_else(|| group::PREFIX.to_owned()),
        }
    }
}

impl Check<'_> {
    pub(super) fn templates(&mut self, name: &str, value: &str) -> Templates {
        let read = value.parse();
        read.map_err(|what: String| self.note(name, what))
            .unwrap_or_default()
    }
}

fn one_of<T: ValueEnum>(check: &mut Check<'_>, name: &str, value: &str) -> Option<T> {
    let chosen = T::from_str(value, false).ok();
    if chosen.is_none() {
        let all = T::value_variants().iter().filter_map(T::to_possible_value);
        let all: Vec<_> = all.map(|one| one.get_name().to_owned()).collect();
        check.note(name, format_args!("must be one of {}", all.join(", ")));
    }
    chosen
}

fn given<T>(
    check: &mut Check<'_>,
    name: &str,
    value: &Option<String>,
    read: fn(&str) -> Result<T, String>,
) -> Option<T> {
    let text = value.as_deref().filter(|text| !text.is_empty())?;
    read(text).map_err(|what| check.note(name, what)).ok()
}
