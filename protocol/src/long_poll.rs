//! Long polls: requests that are held until one of the configurations they name differs from what their client holds.

use crate::content::Md5;
use crate::key::ConfigKey;

/// One record of a poll: a key, and what the client holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Which key.
    pub key: ConfigKey,
    /// The digest of the content that the client holds; `None` when it holds nothing.
    pub held: Option<Md5>,
}
