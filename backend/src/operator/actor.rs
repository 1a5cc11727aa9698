//! Who gives a command: for the record in the table `event`.

use std::fs;

use clap::Args;

#[derive(Args)]
pub struct Actor {
    /// Who you are, for the record; the user of this machine unless said.
    #[arg(long = "as", value_name = "NAME", env = "SUDO_USER", hide_env = true)]
    name: Option<String>,
}

impl Actor {
    pub fn name(self) -> String {
        let said = self.name.filter(|name| !name.trim().is_empty());
        said.unwrap_or_else(user)
    }
}

/// Not from the environment, which anybody may set.
fn user() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id == uid).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}
