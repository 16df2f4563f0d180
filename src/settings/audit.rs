//! Section `audit`: whether it is written down what happens, and how long that is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::AuthOptions;
use super::bounds;
use super::error::Invalid;

/// Whether it is written down what happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditMode {
    /// Where callers have to be known.
    #[default]
    Auto,
    /// It is.
    On,
    /// It is not.
    Off,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions {
    /// Whether anything is.
    pub mode: AuditMode,
    /// How long it is kept; zero for good.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { mode: AuditMode::Auto, retention: Duration::from_secs(180 * 24 * 3_600) }
    }
}

impl AuditOptions {
    /// Checks the range that the manual names.
    ///
    /// # Errors
    /// A time out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.retention.is_zero() {
            return Ok(());
        }
        let range = Duration::from_secs(1)..=Duration::from_secs(36_500 * 24 * 3_600);
        bounds::duration("audit.retention", self.retention, range)
    }

    /// True when it is written down what happens on a node with these settings.
    pub fn is_on(&self, auth: &AuthOptions) -> bool {
        match self.mode {
            AuditMode::Auto => auth.is_on(),
            AuditMode::On => true,
            AuditMode::Off => false,
        }
    }

    /// How long it is kept; `None` for good.
    pub fn kept(&self) -> Option<Duration> {
        Some(self.retention).filter(|retention| !retention.is_zero())
    }
}
