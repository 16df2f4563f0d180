//! Sections `auth` and `secrets`: who has to be known, and what seals secrets. Reads no file.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds;
use super::error::Invalid;

/// Whether callers have to be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Whoever reaches the node may do everything.
    #[default]
    Off,
    /// Whoever is not known may do nothing.
    On,
}

/// Who has to be known, and what that rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthOptions {
    /// Whether.
    pub mode: AuthMode,
    /// How long what a log-in gives is taken.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// The secret that seals signing keys; empty for one that is made or derived.
    pub secret_file: PathBuf,
    /// The password of the first administrator; empty for one that is made up and printed.
    pub admin_password_file: PathBuf,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            mode: AuthMode::Off,
            lifetime: Duration::from_secs(18_000),
            secret_file: PathBuf::new(),
            admin_password_file: PathBuf::new(),
        }
    }
}

impl AuthOptions {
    /// Checks the range that the manual names.
    ///
    /// # Errors
    /// A time out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let range = Duration::from_secs(10)..=Duration::from_secs(30 * 24 * 3_600);
        bounds::duration("auth.lifetime", self.lifetime, range)
    }

    /// True when callers have to be known.
    pub fn is_on(&self) -> bool {
        self.mode == AuthMode::On
    }
}

/// What seals the contents that are secrets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsOptions {
    /// The master key, the same on every node; empty where no content can be a secret.
    pub key_file: PathBuf,
}
