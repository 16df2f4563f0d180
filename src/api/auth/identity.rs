//! Somebody who showed who he is, as of one reading of users and roles, and why somebody is not let in. Owns how long
//! that lasts; looks at no credentials.

use std::sync::{Arc, Weak};

use callboard_protocol::access::directory::Directory;
use callboard_protocol::access::grant::Rights;
use callboard_protocol::time::WallMillis;

use crate::api::error::ApiError;

/// By what somebody showed who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// By something that ends with this generation of the user.
    Generation(u64),
    /// By the token of this id.
    Token(String),
    /// By a certificate that the door has verified.
    Certificate,
}

/// Somebody who showed who he is, as of one reading of users and roles.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// His name.
    pub(crate) name: String,
    /// What he may do.
    pub(crate) rights: Rights,
    pub(super) proof: Proof,
    /// Until when he need not show it again.
    pub(super) expires: WallMillis,
    /// The reading that it comes from.
    pub(super) directory: Weak<Directory>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.rights == other.rights && self.proof == other.proof
    }
}

impl Eq for Identity {}

impl Identity {
    /// The same as of `directory`; `None` when he is not let in any longer.
    pub(super) fn renewed(&self, directory: &Arc<Directory>, now: WallMillis) -> Option<Self> {
        let rights = match &self.proof {
            _ if now >= self.expires => return None,
            Proof::Generation(generation) => {
                let user = directory.users.get(&self.name)?;
                (user.generation == *generation).then(|| directory.rights_of(&self.name))??
            }
            Proof::Token(id) => directory.rights_of_token(id, now)?,
            Proof::Certificate => directory.rights_of(&self.name)?,
        };
        Some(Self { rights, directory: Arc::downgrade(directory), ..self.clone() })
    }

    pub(super) fn is_of(&self, directory: &Arc<Directory>) -> bool {
        self.directory.as_ptr() == Arc::as_ptr(directory)
    }
}

/// Why somebody is not let in. Each is told the same way, whether there is such a user or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The name or the password is wrong.
    Password,
    /// The token is none.
    Invalid,
    /// The token was not signed here.
    Forged,
    /// The token was one.
    Expired,
}

impl Denial {
    fn label(self) -> &'static str {
        match self {
            Self::Password => "wrong_password",
            Self::Invalid => "invalid_token",
            Self::Forged => "forged_token",
            Self::Expired => "expired_token",
        }
    }
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        let detail = match denial {
            Denial::Password => "the user name or the password is wrong",
            Denial::Invalid => "the token is not valid",
            Denial::Forged => "the token was not signed by this cluster",
            Denial::Expired => "the token has expired; log in again",
        };
        Self::unauthenticated(detail).with("reason", denial.label())
    }
}
