//! Every sentence that we ourselves say to a person. The assistant's own words are not here.

use url::Url;

/// At first contact, when the assistant is not ready within seconds.
pub const SETTING_UP: &str =
    "Hi! I'm setting up an assistant just for you. It takes a few seconds; your answer follows.";

/// The same in a group.
pub const SETTING_UP_FOR_A_GROUP: &str =
    "I'm getting ready. It takes a few seconds; the answer follows.";

/// The first that a new person hears, as far as it is known: with whom they speak, who runs it, what
/// becomes of what they write, and how to leave.
pub fn notice(operator: Option<&str>, policy: Option<&Url>, is_answered: bool) -> String {
    let by = operator.map_or(String::new(), |name| format!(", run by {name}"));
    let mut lines = vec![format!("Hi! I am an AI assistant{by}.")];
    lines.extend(policy.map(|url| format!("What becomes of what you write: {url}")));
    lines.push("/help tells what you can say to me; after STOP you hear nothing more.".to_owned());
    if is_answered {
        lines.push("Your answer follows in a few seconds.".to_owned());
    }
    lines.join("\n")
}

/// The same to a group that is served from now on.
pub fn group_notice(operator: Option<&str>, policy: Option<&Url>, prefix: &str) -> String {
    let by = operator.map_or(String::new(), |name| format!(", run by {name}"));
    let mut lines = vec![format!("Hello, everybody! I am an AI assistant{by}.")];
    lines.push(format!(
        "I take what begins with {prefix}, and replies to my messages; everything else that is said here I do not keep."
    ));
    lines.extend(policy.map(|url| format!("What becomes of what you write to me: {url}")));
    lines.join("\n")
}

/// The button with which a new person agrees, where they are asked; also as their own words.
pub const AGREE: &str = "I agree";
/// And the other.
pub const DECLINE: &str = "No thanks";

/// Before anything else, where new people are asked whether they agree.
pub fn ask_consent(operator: Option<&str>, policy: Option<&Url>) -> String {
    format!(
        "{}\n\nMay I read what you write, and keep what I need to help you? Until you agree I read nothing.",
        notice(operator, policy, false)
    )
}

/// Somebody agreed, and has asked nothing yet.
pub const AGREED: &str = "Thank you! Now just write to me.";

/// Somebody does not agree.
pub const DECLINED: &str =
    "All right. I have deleted what you wrote. If you change your mind, write to me again.";

/// Nobody new is let in.
pub const CLOSED: &str = "Thank you for writing! This assistant takes no new people.";

/// Nobody new is let in without a code, and there was none, or none that counts.
pub const BY_INVITATION: &str = "Thank you for writing! This assistant is by invitation. If you have a code, please send it to me just as it is.";

/// Everybody's assistant cannot be awake at once, and this person's waits.
pub const CROWDED: &str =
    "Many people are writing just now. Your message is in the queue, and the answer will come.";

/// An answer takes long, and nothing was said for a while.
pub const STILL_WORKING: &str = "I am still working on it.";

/// An operator tries whether a line can send.
pub const LINE_TEST: &str =
    "This is a test: messages from this number arrive. You need not answer.";

/// The agent could not be brought to an answer.
pub const SORRY: &str =
    "Sorry, something went wrong on my side and I could not answer that. Please try again.";

/// The turn reached its deadline.
pub const TOO_LONG: &str = "Sorry, this took longer than I can wait, so I stopped. Please try again, perhaps in smaller steps.";

/// The agent's disk is full, or nearly so.
pub const DISK_FULL: &str = "The space for your assistant's files is full. Please ask it to delete what you no longer need; until then it may be unable to answer.";

/// No more new people for now.
pub const NO_ROOM: &str =
    "Thank you for writing! There is no free place right now. Please try again later.";

/// A person writes more than the limits allow.
pub const SLOW_DOWN: &str = "You are writing faster than I can keep up with, so I am leaving some messages out. Please wait a little.";

/// Somebody stopped what was running. Nothing of it follows.
pub const STOPPED: &str = "Okay, I have stopped.";

/// Somebody wanted to stop, and there is nothing to stop.
pub const NOTHING_RUNS: &str = "I am not working on anything right now.";

/// Somebody wanted a fresh conversation.
pub const FRESH: &str =
    "A fresh conversation begins. What I noted for you in my files, I still know.";

/// What a person can say beside what they say to their assistant.
pub const HELP: &str = "I am your personal assistant. Write to me as you would to a person: I answer, remember what you tell me, and speak up when something you asked me to look after is due.\n\n\
/stop - I stop what I am working on\n\
/new - we begin a fresh conversation\n\
/help - this message\n\n\
STOP - you hear nothing more from me, until you write START\n\
export my data - I send you what I have of you\n\
delete my data - I forget you and all that is yours, for good";

/// The last word to somebody who wants to hear nothing more (WhatsApp's policy: an opt-out is
/// honoured, and confirmed once).
pub const OPTED_OUT: &str =
    "You will hear nothing more from me. If you change your mind, write START.";

/// Somebody wants to hear from us again.
pub const OPTED_IN: &str = "Welcome back! Just write to me.";

/// The word that confirms a deletion.
pub const DELETE_WORD: &str = "DELETE";

/// Before all that we have of a person is deleted.
pub fn confirm_deletion() -> String {
    format!(
        "This deletes everything I have of you, for good: our messages, your reminders, and your assistant with its memory and files. To do it, answer {DELETE_WORD} within ten minutes; else nothing happens."
    )
}

/// The last word to somebody who had everything deleted.
pub const DELETED: &str =
    "Done: everything I had of you is being deleted now. If you ever write again, we begin anew.";

/// The word that confirms an export.
pub const EXPORT_WORD: &str = "EXPORT";

/// Before all that we have of a person is sent to them.
pub fn confirm_export() -> String {
    format!(
        "I can send you what I have of you, as a file in this chat: our messages as far as I still keep them, your reminders, and what your assistant noted. Whoever sees this chat then sees all of it. To get it, answer {EXPORT_WORD} within ten minutes."
    )
}

/// They want it, and it takes a moment.
pub const EXPORTING: &str = "I am putting it together. The file follows in a moment.";

/// Below the file.
pub const EXPORTED: &str = "This is what I have of you. Keep it safe.";

/// It could not be put together or sent, for an hour.
pub const NO_EXPORT: &str = "Sorry, I could not put your data together. Please ask me again later.";

/// In that file, in place of one that is no text.
pub fn no_text(bytes: u64) -> String {
    format!("({bytes} bytes, not shown here. Ask your assistant to send you this file.)")
}

/// A voice message came, and nobody could put it into words.
pub const CANNOT_HEAR: &str = "I could not hear your voice message. Please write it to me.";

/// A person sent more in files than one may in a day.
pub const ENOUGH_FILES: &str = "You have sent me more files today than I can take, so I left this one out. Tomorrow there is room again.";

/// A file that a person sent did not come, or not as it should.
pub fn cannot_open(kind: &str, too_large: bool) -> String {
    match too_large {
        true => {
            format!("Your {kind} is too large for me, so I left it out. Please send a smaller one.")
        }
        false => format!("I could not open your {kind}. Please send it again."),
    }
}

/// Above buttons or a list about which the assistant said nothing.
pub const CHOOSE: &str = "Please choose:";

/// In place of a file that the assistant wanted to send.
pub fn cannot_send(kind: &str) -> String {
    format!("(I wanted to send you a {kind} here and could not.)")
}

/// A message of a type that cannot be read yet.
pub fn cannot_read(kind: &str) -> String {
    let what = match kind {
        "unsupported" => "a message of this kind".to_owned(),
        "image" | "audio" | "edit" | "order" => format!("an {kind}"),
        "voice" => "a voice message".to_owned(),
        kind => format!("a {kind}"),
    };
    format!("I cannot open {what} yet. Please write it to me.")
}
