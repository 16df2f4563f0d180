//! Sealed datagrams: whoever holds the key of the cluster can read and write them, nobody else either. Owns their form;
//! sends nothing and answers nothing.
//!
//! ```text
//! version 1 │ key id 4 │ nonce 12 │ sealed content ≤ 1,360 │ tag 16
//! ```
//! ChaCha20-Poly1305 (RFC 8439) under a key derived for gossip in the cluster of this name; version, key id and the
//! name of the cluster are authenticated with the content. Nonces are random: at a hundred datagrams a second one key
//! sees 2^32 of them in more than a year, when a repeated one is still less likely than 1 in 2^32. A datagram can be
//! sent again by others within its cluster; the content has to bear that, and gossip does.

use std::fmt;

use callboard_actors::gossip::MAX_DATAGRAM;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::peer::key::{ClusterKeys, KeyId};

/// Longest sealed datagram, in bytes: fits an Ethernet frame on any way that is not tunnelled twice.
pub const MAX_SEALED: usize = 1_400;
/// What the keys of datagrams are derived for.
const PURPOSE: &str = "gossip";
const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const TAG_LEN: usize = 16;
/// Version and key id.
const HEADER_LEN: usize = 1 + KEY_ID_LEN;
/// What sealing adds to a content.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

const _: () = assert!(MAX_DATAGRAM + OVERHEAD <= MAX_SEALED, "a datagram of gossip fits when it is sealed");

/// Why a content was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is longer than [`MAX_DATAGRAM`].
    #[error("the datagram is too long")]
    TooLong,
    /// The system has no random bytes.
    #[error("the system gives no random bytes for a datagram")]
    NoRandomness,
}

/// Seals and opens the datagrams of one cluster.
pub struct Sealing {
    /// The first one seals, each of them opens.
    keys: Vec<(KeyId, LessSafeKey)>,
    cluster: String,
    random: SystemRandom,
}

/// Shows no key.
impl fmt::Debug for Sealing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sealing").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Sealing {
    /// Of the cluster `cluster`, under its keys.
    ///
    /// # Panics
    /// Never: a derived key has the length that the cipher takes.
    #[must_use]
    pub fn new(keys: &ClusterKeys, cluster: &str) -> Self {
        let derive = |secret: [u8; 32]| {
            let key = UnboundKey::new(&CHACHA20_POLY1305, &secret).expect("ChaCha20-Poly1305 takes 32 bytes");
            LessSafeKey::new(key)
        };
        let keys = keys.iter().map(|key| (key.id(), derive(key.derive(PURPOSE, cluster)))).collect();
        Self { keys, cluster: cluster.to_owned(), random: SystemRandom::new() }
    }

    /// Seals a content.
    ///
    /// # Errors
    /// [`SealError`] when it is too long, or without random bytes.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, SealError> {
        if content.len() > MAX_DATAGRAM {
            return Err(SealError::TooLong);
        }
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_unspecified| SealError::NoRandomness)?;
        let (id, key) = self.keys.first().expect("a node holds at least one key");
        let mut sealed = Vec::with_capacity(content.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&id.0);
        let authenticated = self.authenticated(&sealed);
        sealed.extend_from_slice(&nonce);
        let mut body = content.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), authenticated, &mut body)
            .map_err(|_unspecified| SealError::TooLong)?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens a datagram; `None` when no key that the node holds sealed it, for this cluster, in this form.
    #[must_use]
    pub fn open(&self, mut datagram: Vec<u8>) -> Option<Vec<u8>> {
        if !(OVERHEAD..=MAX_SEALED).contains(&datagram.len()) {
            return None;
        }
        let mut body = datagram.split_off(HEADER_LEN + NONCE_LEN);
        let (header, nonce) = datagram.split_at_checked(HEADER_LEN)?;
        let (version, id) = header.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (_, key) = self.keys.iter().find(|(held, _)| held.0 == *id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        // `None` of a tag that does not match: there is nothing to tell apart.
        let length = key.open_in_place(nonce, self.authenticated(header), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    fn authenticated(&self, header: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([header, self.cluster.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests;
