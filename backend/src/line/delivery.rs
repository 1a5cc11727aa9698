//! How what people write to a line gets to us.

use clap::ValueEnum;

/// Meta only brings; Kapso can be asked, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::Type, ValueEnum)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Delivery {
    /// Webhooks bring it; Kapso is asked now and then lest one is lost.
    #[default]
    Webhook,
    /// It is asked for: no address of ours need be public.
    Poll,
}

impl Delivery {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
        }
    }
}
