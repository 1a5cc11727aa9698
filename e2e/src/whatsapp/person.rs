//! People on the other end of the line, and who an address belongs to.
//!
//! WhatsApp knows a person by a business-scoped user id, by a phone number or by both, and either
//! can be missing from a webhook. The user id decides; a number can move to somebody else.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    /// Digits with the country code; a leading `+` is tolerated.
    pub phone: Option<String>,
    /// `CC.` and up to 128 letters and digits.
    pub user_id: Option<String>,
    /// The name in the profile.
    pub name: Option<String>,
}

impl Person {
    /// A person with all three. The user id is made from the number, so it is the same every time.
    pub fn new(phone: &str, name: &str) -> Self {
        Self {
            phone: Some(digits(phone)),
            user_id: Some(format!("US.13491208{}", digits(phone))),
            name: Some(name.to_owned()),
        }
    }

    /// Somebody known by this address only: a user id if it has its dot, else a number.
    pub fn at(address: &str) -> Self {
        if is_user_id(address) {
            Self {
                user_id: Some(address.to_owned()),
                ..Self::default()
            }
        } else {
            Self {
                phone: Some(digits(address)),
                ..Self::default()
            }
        }
    }

    pub fn without_phone(&self) -> Self {
        Self {
            phone: None,
            ..self.clone()
        }
    }

    pub fn without_user_id(&self) -> Self {
        Self {
            user_id: None,
            ..self.clone()
        }
    }

    pub fn without_name(&self) -> Self {
        Self {
            name: None,
            ..self.clone()
        }
    }

    /// Whether both are one person: the user id decides where both have one.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.user_id, &other.user_id) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => match (&self.phone, &other.phone) {
                (Some(mine), Some(theirs)) => digits(mine) == digits(theirs),
                _ => false,
            },
        }
    }
}

pub(crate) fn is_user_id(address: &str) -> bool {
    let Some((country, id)) = address.split_once('.') else {
        return false;
    };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    country.len() == 2
        && country.chars().all(|c| c.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.chars().all(|c| c.is_ascii_alphanumeric())
}

pub(crate) fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}
