//! What a person may say to us rather than to their agent. Pure: exact words, and nothing else.
//!
//! What only resembles one is a message like any other, also with a slash in front: "stop" may be
//! said to an assistant, and `/status` is the agent's to read.

use crate::{
    copy,
    whatsapp::{
        content::Forwarded,
        event::{Content, Message},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The running turn ends.
    Stop,
    /// The conversation ends, and the next message begins another.
    Fresh,
    Help,
    /// Nothing more is to be sent. In capitals, as WhatsApp's policy names it.
    OptOut,
    /// Everything is as before.
    OptIn,
    /// All that we have of them is to go.
    Delete,
    /// And they mean it.
    Confirm,
    /// They want all that we have of them.
    Export,
    /// And they mean it.
    ConfirmExport,
}

/// `None`: it is for the agent. What a whole group reads is no one person's to command, and what is
/// passed on is somebody else's word. An answer that quotes us is the person's own.
pub fn read(message: &Message) -> Option<Command> {
    let Content::Text(text) = &message.content else {
        return None;
    };
    if message.sender.group.is_some() || message.around.forwarded != Forwarded::No {
        return None;
    }
    let text = text.trim();
    match text {
        "STOP" => return Some(Command::OptOut),
        "START" => return Some(Command::OptIn),
        copy::DELETE_WORD => return Some(Command::Confirm),
        copy::EXPORT_WORD => return Some(Command::ConfirmExport),
        _ => {}
    }
    let text = text.to_lowercase();
    match text.as_str() {
        "/stop" => Some(Command::Stop),
        "/new" => Some(Command::Fresh),
        "/help" => Some(Command::Help),
        text => match text.trim_end_matches('.') {
            "delete my data" => Some(Command::Delete),
            "export my data" => Some(Command::Export),
            _ => None,
        },
    }
}

impl Command {
    /// Works for somebody, too, who has written more than the limits allow: it asks nothing of us
    /// but to let go.
    pub fn is_urgent(self) -> bool {
        match self {
            Self::Stop | Self::OptOut | Self::Delete | Self::Confirm => true,
            Self::Fresh | Self::Help | Self::OptIn | Self::Export | Self::ConfirmExport => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatsapp::event::{Around, Sender};

    fn message(content: Content) -> Message {
        Message {
            id: "wamid.1".to_owned(),
            sender: Sender::default(),
            name: None,
            at: None,
            content,
            around: Around::default(),
        }
    }

    fn said(text: &str) -> Option<Command> {
        read(&message(Content::Text(text.to_owned())))
    }

    #[test]
    fn a_command_is_an_exact_word() {
        for text in ["/stop", "/STOP", " /Stop\n"] {
            assert_eq!(said(text), Some(Command::Stop), "{text:?}");
        }
        assert_eq!(said("/new"), Some(Command::Fresh));
        assert_eq!(said("/Help "), Some(Command::Help));
        assert_eq!(said(" STOP "), Some(Command::OptOut));
        assert_eq!(said("START"), Some(Command::OptIn));
        for text in ["delete my data", "Delete my data.", " DELETE MY DATA "] {
            assert_eq!(said(text), Some(Command::Delete), "{text:?}");
        }
        assert_eq!(said("DELETE"), Some(Command::Confirm));
        assert_eq!(said("Export my data."), Some(Command::Export));
        assert_eq!(said("EXPORT"), Some(Command::ConfirmExport));
    }

    #[test]
    fn what_resembles_one_is_for_the_agent() {
        for text in [
            "stop",
            "Stop",
            "start",
            "STOP!",
            "STOP it",
            "/status",
            "/stop now",
            "/news",
            "//stop",
            "/ stop",
            "delete",
            "Delete",
            "please delete my data",
            "delete my data now",
            "export",
            "Export",
            "export my data to Anna",
            "new",
            "help",
            "> STOP",
            "/",
        ] {
            assert_eq!(said(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_persons_own_plain_words_count() {
        let word = || Content::Text("STOP".to_owned());
        let mut passed_on = message(word());
        passed_on.around.forwarded = Forwarded::Once;
        assert_eq!(read(&passed_on), None);
        let mut in_group = message(word());
        in_group.sender.group = Some("G".to_owned());
        assert_eq!(read(&in_group), None);
        let edit = Content::Edit {
            of: None,
            now: Box::new(word()),
        };
        assert_eq!(read(&message(edit)), None);
        let mut answer = message(word());
        answer.around.quotes = Some("wamid.0".to_owned());
        assert_eq!(read(&answer), Some(Command::OptOut));
    }
}
