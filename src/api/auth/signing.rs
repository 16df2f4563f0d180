//! What a log-in gives: a name, a generation and a time, signed. Also how keys are kept in the database: sealed by a
//! secret that the database does not hold. Owns both forms; knows no user.

use std::collections::BTreeMap;
use std::fmt;

use callboard_protocol::access::directory::SigningKey;
use callboard_protocol::hex;
use callboard_protocol::time::WallMillis;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac};

/// What every signed text begins with.
const PREFIX: &str = "cbs1";
/// Bytes of a key, and of a secret.
pub(super) const KEY: usize = 32;
/// A key signs when it is this old, in milliseconds: every node has read it by then.
pub(super) const SETTLED: i64 = 5_000;
/// Longest text that is looked at, in bytes.
const LONGEST: usize = 1_024;

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) user: String,
    pub(super) generation: u64,
    pub(super) expires: WallMillis,
}

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untaken {
    /// It is none.
    Malformed,
    /// No key of ours signed it.
    Forged,
    /// Its time is over.
    Expired,
}

/// Seals and opens keys: the first secret seals, all of them open.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<[u8; KEY]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Those of this node, at least one.
    pub(super) fn new(secrets: Vec<[u8; KEY]>) -> Self {
        Self(secrets)
    }

    /// Others, derived from these, for something else: what one purpose seals no other one opens.
    pub(super) fn for_purpose(&self, purpose: &[u8]) -> Self {
        let derive = |secret: &[u8; KEY]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
            let mut derived = [0; KEY];
            derived.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
            derived
        };
        Self(self.0.iter().map(derive).collect())
    }

    /// Seals something under a name, such as a key under its id.
    pub(super) fn seal(&self, id: &str, key: &[u8]) -> Option<String> {
        let secret = self.0.first()?;
        let nonce = random(NONCE_LEN).ok()?;
        let mut sealed = key.to_vec();
        let by = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?);
        let at = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        by.seal_in_place_append_tag(at, Aad::from(id.as_bytes()), &mut sealed).ok()?;
        Some(hex::encode(&[nonce, sealed].concat()))
    }

    /// What was sealed under this name.
    pub(super) fn open(&self, id: &str, sealed: &str) -> Option<Vec<u8>> {
        self.open_by(id, sealed).map(|(_, opened)| opened)
    }

    /// What was sealed, and by which of the secrets.
    pub(super) fn open_by(&self, id: &str, sealed: &str) -> Option<(usize, Vec<u8>)> {
        let bytes = hex::decode(sealed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        self.0.iter().enumerate().find_map(|(place, secret)| {
            let by = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?);
            let mut text = sealed.to_vec();
            let at = Nonce::try_assume_unique_for_key(nonce).ok()?;
            by.open_in_place(at, Aad::from(id.as_bytes()), &mut text).ok().map(|opened| (place, opened.to_vec()))
        })
    }
}

/// The keys that can be opened.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    keys: BTreeMap<String, Opened>,
}

#[derive(Debug)]
struct Opened {
    key: hmac::Key,
    created: WallMillis,
    retires: Option<WallMillis>,
}

impl KeyRing {
    pub(super) fn of(keys: &BTreeMap<String, SigningKey>, secrets: &Secrets) -> Self {
        let opened = keys.iter().filter_map(|(id, key)| {
            let Some(secret) = secrets.open(id, &key.sealed) else {
                tracing::warn!(
                    key.id = id,
                    "a signing key was sealed by another secret: what it signed is not taken here"
                );
                return None;
            };
            let opened = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            Some((id.clone(), Opened { key: opened, created: key.created, retires: key.retires }))
        });
        Self { keys: opened.collect() }
    }

    /// The key that signs: the newest one that every node has read, or else the oldest.
    fn current(&self, now: WallMillis) -> Option<(&String, &Opened)> {
        let is_settled = |opened: &Opened| opened.created.0.saturating_add(SETTLED) <= now.0;
        let settled = self.keys.iter().filter(|(_, opened)| is_settled(opened));
        let newest = settled.max_by_key(|(_, opened)| opened.created);
        newest.or_else(|| self.keys.iter().min_by_key(|(_, opened)| opened.created))
    }

    /// True when there is a key that signs.
    pub(super) fn can_sign(&self) -> bool {
        self.keys.values().any(|opened| opened.retires.is_none())
    }

    /// Signs; `None` without a key.
    pub(super) fn sign(&self, claims: &Claims, now: WallMillis) -> Option<String> {
        let (id, opened) = self.current(now)?;
        let Claims { user, generation, expires } = claims;
        let text = format!("{PREFIX}.{id}.{}.{generation}.{}", hex::encode(user.as_bytes()), expires.0);
        let tag = hmac::sign(&opened.key, text.as_bytes());
        Some(format!("{text}.{}", hex::encode(tag.as_ref())))
    }

    /// Reads a text that was signed.
    pub(super) fn check(&self, text: &str, now: WallMillis) -> Result<Claims, Untaken> {
        if text.len() > LONGEST {
            return Err(Untaken::Malformed);
        }
        let (signed, tag) = text.rsplit_once('.').ok_or(Untaken::Malformed)?;
        let parts: Vec<&str> = signed.split('.').collect();
        let [PREFIX, id, user, generation, expires] = parts.as_slice() else { return Err(Untaken::Malformed) };
        let tag = hex::decode(tag).ok_or(Untaken::Malformed)?;
        let opened = self.keys.get(*id).ok_or(Untaken::Forged)?;
        hmac::verify(&opened.key, signed.as_bytes(), &tag).map_err(|_unspecified| Untaken::Forged)?;
        let user = hex::decode(user).and_then(|user| String::from_utf8(user).ok()).ok_or(Untaken::Malformed)?;
        let generation = generation.parse().map_err(|_no_number| Untaken::Malformed)?;
        let expires = WallMillis(expires.parse().map_err(|_no_number| Untaken::Malformed)?);
        if now >= expires || opened.retires.is_some_and(|end| now >= end) {
            return Err(Untaken::Expired);
        }
        Ok(Claims { user, generation, expires })
    }
}

/// Random bytes.
pub(super) fn random(bytes: usize) -> Result<Vec<u8>, ring::error::Unspecified> {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random)?;
    Ok(random)
}

/// Compares in a time that tells nothing: the digests of both are compared, which nobody can aim at.
pub(super) fn is_same(left: &[u8], right: &[u8]) -> bool {
    let digest = |bytes| digest::digest(&digest::SHA256, bytes);
    digest(left).as_ref() == digest(right).as_ref()
}

#[cfg(test)]
mod tests;
