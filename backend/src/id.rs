//! Ids as types, so that a tenant's can never be passed where a sandbox's belongs.

/// Declares a UUIDv7 newtype that sqlx stores as `uuid` and logs print as such.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub uuid::Uuid);

        #[expect(clippy::new_without_default, reason = "no two new ids are alike")]
        impl $name {
            /// A new id; later ones sort after earlier ones.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One WhatsApp business number.
    LineId
);
id!(
    /// One person on a line.
    TenantId
);
id!(
    /// One container with its volume.
    SandboxId
);
id!(
    /// One call of a model.
    CallId
);
id!(
    /// One update a provider sent us.
    InboxId
);
id!(
    /// One exchange with an agent.
    TurnId
);
id!(
    /// One thing that is to happen at a time.
    ReminderId
);
id!(
    /// One message to a person.
    OutboxId
);
id!(
    /// One thing to be done about backups.
    BackupId
);
id!(
    /// One move of sandboxes to another image.
    UpgradeId
);
id!(
    /// One code that lets new people in.
    InviteId
);
id!(
    /// One run of the worker role.
    WorkerId
);
