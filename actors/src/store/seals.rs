//! Sealing what is a secret, as the store needs it: what is sealed opens for its purpose only. Owns the purposes and
//! where in a row a seal stands; keys and ciphers are those of whoever opens the store.

use std::fmt;

use callboard_protocol::content::Md5;
use callboard_protocol::hex;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::write_request::RequestId;

use super::error::Fault;

/// Seals and opens.
pub trait Seals: Send + Sync + fmt::Debug {
    /// Whether there is a key to seal with.
    fn can_seal(&self) -> bool;

    /// `plain`, as it can be stored: longer by [`SEAL`] bytes. `None` when there is no key.
    fn seal(&self, purpose: &[u8], plain: &[u8]) -> Option<Vec<u8>>;

    /// What was sealed for this purpose. `None` when it was not, or by a key that is not here.
    fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>>;
}

/// By how much a seal makes a content longer, in bytes.
pub const SEAL: usize = 37;

/// Seals nothing and opens nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSeals;

impl Seals for NoSeals {
    fn can_seal(&self) -> bool {
        false
    }

    fn seal(&self, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn open(&self, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What something is sealed for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    Content(&'a ConfigKey),
    Digest(&'a ConfigKey),
    Outcome(&'a RequestId),
}

impl Purpose<'_> {
    /// No two purposes share it: no name holds a NUL.
    fn bytes(self) -> Vec<u8> {
        let parts = match self {
            Self::Content(key) => vec!["content", key.namespace(), key.group(), key.data_id()],
            Self::Digest(key) => vec!["digest", key.namespace(), key.group(), key.data_id()],
            Self::Outcome(request_id) => vec!["outcome", request_id.as_str()],
        };
        parts.join("\0").into_bytes()
    }
}

/// `plain`, sealed.
pub(super) fn seal(seals: &dyn Seals, purpose: Purpose<'_>, plain: &[u8]) -> Result<Vec<u8>, Fault> {
    let sealed = seals.seal(&purpose.bytes(), plain);
    // The decision to write it was taken because there was a key.
    sealed.ok_or_else(|| Fault::Broken("a secret that can't be sealed: the key is gone".to_owned()))
}

/// What was sealed.
pub(super) fn open(seals: &dyn Seals, purpose: Purpose<'_>, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
    seals.open(&purpose.bytes(), sealed).ok_or_else(|| {
        Fault::Broken(format!("{purpose:?} is sealed by a key that this node does not have; see secrets.key_file"))
    })
}

/// A digest, sealed and as text.
pub(super) fn seal_digest(seals: &dyn Seals, key: &ConfigKey, md5: Md5) -> Result<String, Fault> {
    let sealed = seal(seals, Purpose::Digest(key), &md5.0)?;
    Ok(hex::encode(&sealed))
}

/// The digest that was sealed so.
pub(super) fn open_digest(seals: &dyn Seals, key: &ConfigKey, sealed: &str) -> Result<Md5, Fault> {
    let broken = || Fault::Broken("a sealed digest".to_owned());
    let bytes = hex::decode(sealed).ok_or_else(broken)?;
    let opened = open(seals, Purpose::Digest(key), &bytes)?;
    opened.try_into().map(Md5).map_err(|_other_length| broken())
}
