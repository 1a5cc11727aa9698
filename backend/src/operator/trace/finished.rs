//! Of a message that ended without a turn: why, in one sentence, and what to do. Part of `explain`.

use super::{
    explain::{Explanation, NOTHING, said},
    look::Received,
};

pub fn finished(row: &Received) -> Explanation {
    let outcome = row.outcome.as_deref().unwrap_or_default();
    match outcome {
        "refused" => said(
            "refused",
            "It was refused: its line takes nobody new, or only with a code, or there was no room; or the person is suspended.",
            "`clawkaka tenant show` says whether they are; `clawkaka line show` whom the line takes (SIGNUP); LIMIT_SIGNUPS_PER_HOUR and LIMIT_TENANTS are the limits.",
        ),
        "invited" => said(
            "invited",
            "It was the code of an invitation and nothing else: the person was let in.",
            NOTHING,
        ),
        "agreed" => said(
            "agreed",
            "The person agreed with it to be answered; what they wrote before is asked.",
            NOTHING,
        ),
        "declined" => said(
            "declined",
            "The person does not agree to be answered; it was thrown away.",
            "They are asked again when they write on another day.",
        ),
        "undecided" => said(
            "undecided",
            "The person did not agree for 7 days to be answered; it was thrown away.",
            NOTHING,
        ),
        "not_served" => said(
            "not_served",
            "It was written in a group that its line does not serve; it was thrown away unread.",
            "`clawkaka line groups` shows such groups; `clawkaka line set --groups` has one served.",
        ),
        "not_addressed" => said(
            "not_addressed",
            "It was written in a group, and not to us; it was thrown away.",
            "To us is what begins with the line's group prefix (`clawkaka line show`), or answers a message of ours.",
        ),
        "over_limit" => said(
            "over_limit",
            "The person wrote more than the limits allow; they were told once.",
            "The limits are LIMIT_INBOUND_PER_MINUTE, LIMIT_INBOUND_PER_DAY and LIMIT_WAITING.",
        ),
        "unsupported" => said(
            "unsupported",
            "It was of a type that is not read; the person was told so.",
            NOTHING,
        ),
        "call" => said(
            "call",
            "It was a call. Nobody answers it, but it opens WhatsApp's 24 hours.",
            NOTHING,
        ),
        "noted" => said(
            "noted",
            "It calls for no answer, as a reaction that is taken back; the agent is told of it with the next question.",
            NOTHING,
        ),
        "taken_back" => said(
            "taken_back",
            "The person deleted the message before it was asked, or this is the deletion.",
            NOTHING,
        ),
        "restored" => said(
            "restored",
            "It was open when the backup was made that this deployment was restored from; it counts as answered.",
            "If the person was never answered, they have to write again.",
        ),
        "erased" => said(
            "erased",
            "The person was erased before it was answered.",
            NOTHING,
        ),
        "opted_out" => said(
            "opted_out",
            "The person wants to hear nothing from us (STOP), so it is not answered.",
            "They hear from us again once they write START.",
        ),
        "stopped" => said(
            "stopped",
            "The person took it back (/stop) before it was asked.",
            NOTHING,
        ),
        "stop" | "fresh" | "help" | "opt_out" | "opt_in" | "delete_asked" | "delete_confirmed"
        | "export_asked" | "export_confirmed" => said(
            "command",
            format!("It was a command to us: {outcome}."),
            NOTHING,
        ),
        "unknown_line" => said(
            "unknown_line",
            "It came in on a number that is none of ours, or not of the app that signed it.",
            "`clawkaka line list` shows ours: compare the ids with those in the dashboard.",
        ),
        other => said(
            "finished",
            format!("It was finished without a turn: {other}."),
            NOTHING,
        ),
    }
}
