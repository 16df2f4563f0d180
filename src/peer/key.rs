//! The keys of a cluster: whoever holds one belongs to it. Owns the form of the key file, how a key is made, and the
//! keys derived from it for each purpose. Never prints a secret, but to the one who asks for a new key.
//!
//! A key file holds one key a line, `callboard-key:` and 64 hexadecimal digits; lines that begin with `#` are comments.
//! The first key seals what this node sends, all of them open what it receives. To change the key of a running cluster,
//! append the new key on every node, then move it to the front on every node, then take the old one away.

use callboard_protocol::hex;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hkdf};

/// Keys that one file may hold: the present one and the one it is exchanged for.
const MOST_KEYS: usize = 2;
const PREFIX: &str = "callboard-key:";
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// Tells keys apart without telling anything of their secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey {
    id: KeyId,
    secret: [u8; SECRET_BYTES],
}

/// Shows the id only.
impl fmt::Debug for ClusterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClusterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why there are no keys. Nothing listens for peers then.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("cannot read the cluster key file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("the cluster key file {} can be read by others; take that away: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A line is no key.
    #[error(
        "line {line} of the cluster key file {} is no key; `callboard cluster key` makes a line such as \
         callboard-key:0123…", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// No key, or more than two.
    #[error("the cluster key file {} holds {found} keys; it needs one, or two while they are exchanged", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many it holds.
        found: usize,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes for a key")]
    NoRandomness,
}

impl ClusterKey {
    /// A key of these secret bytes.
    #[must_use]
    pub fn of(secret: [u8; SECRET_BYTES]) -> Self {
        let hash = digest::digest(&digest::SHA256, &[b"callboard key id".as_slice(), &secret].concat());
        let mut id = [0; 4];
        id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self { id: KeyId(id), secret }
    }

    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(|_unspecified| KeyError::NoRandomness)?;
        Ok(Self::of(secret))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The line of a key file. It holds the secret.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{PREFIX}{}", hex::encode(&self.secret))
    }

    /// The key for one purpose (`gossip`, `link`) in the cluster of this name: clusters that were given the same secret
    /// by mistake still do not mix.
    #[must_use]
    pub fn derive(&self, purpose: &str, cluster: &str) -> [u8; SECRET_BYTES] {
        let mut derived = [0; SECRET_BYTES];
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"callboard cluster key");
        let info = [purpose.as_bytes(), b"\0", cluster.as_bytes()];
        let filled = salt.extract(&self.secret).expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut derived));
        filled.expect("HKDF-SHA256 gives 32 bytes at once");
        derived
    }

    fn parse(line: &str) -> Option<Self> {
        Some(Self::of(hex::decode(line.strip_prefix(PREFIX)?)?.try_into().ok()?))
    }
}

/// The keys that this node holds, at least one.
#[derive(Debug, Clone)]
pub struct ClusterKeys {
    keys: Vec<ClusterKey>,
}

impl ClusterKeys {
    /// One key.
    #[must_use]
    pub fn single(key: ClusterKey) -> Self {
        Self { keys: vec![key] }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`] names the file and what to do.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned() });
        }
        Self::parse(&fs::read_to_string(path).map_err(unreadable)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || KeyError::Malformed { path: path.to_owned(), line: index + 1 };
            keys.push(ClusterKey::parse(line).ok_or_else(malformed)?);
        }
        if !(1..=MOST_KEYS).contains(&keys.len()) {
            return Err(KeyError::Count { path: path.to_owned(), found: keys.len() });
        }
        Ok(Self { keys })
    }

    /// The key that seals what is sent.
    ///
    /// # Panics
    /// Never: there is at least one key.
    #[must_use]
    pub fn current(&self) -> &ClusterKey {
        self.keys.first().expect("a node holds at least one key")
    }

    /// Every key, the one that seals first.
    pub fn iter(&self) -> impl Iterator<Item = &ClusterKey> {
        self.keys.iter()
    }

    /// The key of this id, if the node holds it.
    #[must_use]
    pub fn by_id(&self, id: KeyId) -> Option<&ClusterKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests;
