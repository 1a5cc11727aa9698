//! The shapes in which WhatsApp tells us something, read from `fixtures/shapes.json`, and the people whose
//! they are: complete, and with one or another thing about them missing.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const SHAPES: &str = include_str!("../../whatsapp/fixtures/shapes.json");

/// One file, so that the end-to-end tests and the fuzzer's corpus have the same ones. A word that begins
/// with `$` stands for what differs from person to person; see [`Words`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shapes {
    files: BTreeMap<String, String>,
    /// What a person sends.
    pub messages: Vec<Shape>,
    /// What a member of a group says there.
    pub groups: Vec<Shape>,
    /// What WhatsApp itself says of a person.
    pub systems: Vec<Shape>,
    /// What is about nobody.
    pub changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub shape: String,
    /// The item of `messages`, without what all of them have; or of the list named like `field`.
    pub item: Value,
    pub field: Option<String>,
    /// What it is to us.
    pub event: String,
    /// What becomes of it, if it does not wait for the person's turn.
    #[serde(default)]
    pub outcome: Option<String>,
    /// What the agent is asked.
    pub reads: Option<String>,
    /// What stands in front of the agent's next question.
    pub next: Option<String>,
    /// What the person is told by us.
    pub hears: Option<String>,
    /// Which of the files came with it.
    pub file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub shape: String,
    pub field: String,
    pub value: Value,
    /// Whether it names the number.
    pub metadata: bool,
}

impl Shapes {
    pub fn read() -> Self {
        serde_json::from_str(SHAPES).unwrap()
    }

    /// What WhatsApp says a file's digest is.
    pub fn digest(&self, file: &str) -> String {
        let bytes = STANDARD.decode(&self.files[file]).unwrap();
        STANDARD.encode(Sha256::digest(bytes))
    }
}

/// What is missing of a person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    Phone,
    /// In the drafts of 2025 it was there and empty.
    PhoneIsEmpty,
    UserId,
    Name,
    /// Phone and user id: then it is from nobody.
    Both,
}

impl Lack {
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Phone,
        Self::PhoneIsEmpty,
        Self::UserId,
        Self::Name,
        Self::Both,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "whole",
            Self::Phone => "no phone",
            Self::PhoneIsEmpty => "empty phone",
            Self::UserId => "no user id",
            Self::Name => "no name",
            Self::Both => "neither phone nor user id",
        }
    }
}

/// As a webhook names them.
#[derive(Clone)]
pub struct Someone {
    pub phone: Option<String>,
    pub user_id: Option<String>,
    pub name: Option<String>,
}

impl Someone {
    /// Nobody else has this number.
    pub fn who_lacks(lack: Lack, number: usize) -> Self {
        let phone = match lack {
            Lack::Phone | Lack::Both => None,
            Lack::PhoneIsEmpty => Some(String::new()),
            _ => Some(format!("1650{number:07}")),
        };
        let user_id = !matches!(lack, Lack::UserId | Lack::Both);
        Self {
            phone,
            user_id: user_id.then(|| format!("US.{number}")),
            name: (lack != Lack::Name).then(|| "Ana Böhm".to_owned()),
        }
    }

    /// Under the addresses that a `system` message names; those that it leaves out stay.
    pub fn renamed(&self, item: &Value) -> Self {
        let system = &item["system"];
        let named = |value: &Value| value.as_str().map(str::to_owned);
        let phone = [&system["new_wa_id"], &system["wa_id"], &item["wa_id"]];
        let user_id = [&system["user_id"], &item["user_id"]["current"]];
        let phone = phone.into_iter().find_map(named);
        let user_id = user_id.into_iter().find_map(named);
        Self {
            phone: phone.or_else(|| user_id.is_none().then(|| self.phone.clone()).flatten()),
            user_id: user_id.or_else(|| self.user_id.clone()),
            name: self.name.clone(),
        }
    }
}

/// What the words with a `$` stand for. A member that is one without a meaning is left out.
pub struct Words(pub Vec<(&'static str, Option<String>)>);

impl Words {
    pub fn put_into(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let known = members
                    .iter()
                    .filter(|(_, value)| self.of(value) != Some(&None));
                let put = known.map(|(key, value)| (key.clone(), self.put_into(value)));
                Value::Object(put.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(|item| self.put_into(item)).collect(),
            other => match self.of(other) {
                Some(Some(meaning)) => json!(meaning),
                _ => other.clone(),
            },
        }
    }

    fn of(&self, value: &Value) -> Option<&Option<String>> {
        let word = value.as_str()?.strip_prefix('$')?;
        let found = self.0.iter().find(|(name, _)| *name == word);
        found.map(|(_, meaning)| meaning)
    }
}
