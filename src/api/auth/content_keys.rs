//! What seals the contents that are secrets: data keys, which are in the database, sealed themselves by a master key
//! that is not there. Owns the form of what is sealed; which content is a secret is the publisher's word.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context as _;
use callboard_actors::access_directory::Known;
use callboard_actors::clock::SharedClock;
use callboard_actors::store::{SEAL, Seals};
use callboard_actors::wiring::Node;
use callboard_protocol::access::audit::Who;
use callboard_protocol::access::change::Change;
use callboard_protocol::access::directory::{DataKey, Directory};
use callboard_protocol::hex;
use callboard_protocol::time::WallMillis;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::sync::watch;

use super::setup::{change, known, no_randomness};
use super::signing::{self, KEY, SETTLED, Secrets};

/// What everything that is sealed begins with: the version of the form.
const FORM: u8 = 1;
/// Bytes of the id of a data key.
const ID: usize = 8;

const _: () = assert!(SEAL == 1 + ID + NONCE_LEN + 16, "form, id, nonce and tag are all that a seal adds");

/// The data keys of a node, and what opens them.
pub(crate) struct ContentKeys {
    /// `None` where nothing can be a secret.
    master: Option<Secrets>,
    clock: SharedClock,
    /// Set once the node reads its users.
    known: OnceLock<watch::Receiver<Known>>,
    ring: Mutex<(Weak<Directory>, Arc<Ring>)>,
}

impl fmt::Debug for ContentKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ContentKeys").field("has_master", &self.master.is_some()).finish_non_exhaustive()
    }
}

/// The data keys that can be opened, by id.
#[derive(Default)]
struct Ring(BTreeMap<[u8; ID], (LessSafeKey, WallMillis)>);

impl Ring {
    fn of(directory: &Directory, master: &Secrets) -> Self {
        let open = |(id, key): (&String, &DataKey)| {
            let Some((_, secret)) = master.open_by(&purpose(id), &key.sealed) else {
                tracing::error!(
                    key.id = id,
                    "a data key is sealed by another master key: what it seals can't be read here; see secrets.key_file"
                );
                return None;
            };
            let by = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).ok()?);
            Some((hex::decode(id)?.try_into().ok()?, (by, key.created)))
        };
        Self(directory.data_keys.iter().filter_map(open).collect())
    }

    /// The key that seals: the newest one that every node has read, or else the oldest.
    fn current(&self, now: WallMillis) -> Option<(&[u8; ID], &LessSafeKey)> {
        let is_settled = |created: &WallMillis| created.0.saturating_add(SETTLED) <= now.0;
        let by_age = |(_, (_, created)): &(&[u8; ID], &(LessSafeKey, WallMillis))| *created;
        let settled = self.0.iter().filter(|(_, (_, created))| is_settled(created)).max_by_key(by_age);
        settled.or_else(|| self.0.iter().min_by_key(by_age)).map(|(id, (key, _))| (id, key))
    }
}

/// What a data key is sealed for.
fn purpose(id: &str) -> String {
    format!("data key {id}")
}

impl ContentKeys {
    /// Those that `master` opens, once [`prepare`](Self::prepare) has found them.
    pub(crate) fn new(master: Option<Secrets>, clock: SharedClock) -> Self {
        Self { master, clock, known: OnceLock::new(), ring: Mutex::default() }
    }

    /// Waits until the data keys are known, makes the first one, and seals those anew that an older master key has
    /// sealed. To be called before a client is served.
    ///
    /// # Errors
    /// A data key was sealed by a master key that is not here: this node could not follow the others. The database does
    /// not answer, where there is a master key.
    pub(crate) async fn prepare(&self, node: &Node, patience: Duration) -> anyhow::Result<()> {
        // Set once: a node is started once.
        drop(self.known.set(node.access.clone()));
        let directory = known(node, patience).await;
        let Some(master) = &self.master else {
            let is_empty = directory.is_ok_and(|directory| directory.data_keys.is_empty());
            anyhow::ensure!(
                is_empty,
                "configurations of this database may be secrets: name their master key in secrets.key_file"
            );
            return Ok(());
        };
        let directory = directory?;
        let mut old = BTreeMap::new();
        for (id, key) in &directory.data_keys {
            let (place, secret) = master.open_by(&purpose(id), &key.sealed).with_context(|| {
                format!("the data key {id} was sealed by another master key than those in secrets.key_file")
            })?;
            if place > 0 {
                old.insert(id.clone(), master.seal(&purpose(id), &secret).context("a data key could not be sealed")?);
            }
        }
        if !old.is_empty() {
            tracing::info!(keys = old.len(), "data keys are sealed by the first master key from now on");
            change(node, Change::SealDataKeys(old), Who::SERVER).await?;
        }
        if directory.data_keys.is_empty() {
            self.add(node, Who::SERVER).await?;
        }
        Ok(())
    }

    /// Makes a new data key, which seals from a few seconds on; what others sealed stays sealed by them.
    ///
    /// # Errors
    /// There is no master key; it could not be written.
    pub(crate) async fn add(&self, node: &Node, by: Who) -> anyhow::Result<String> {
        let master = self.master.as_ref().context("secrets.key_file is not set")?;
        let random = |bytes| signing::random(bytes).map_err(|_unspecified| no_randomness());
        let (id, key) = (hex::encode(&random(ID)?), random(KEY)?);
        let sealed = master.seal(&purpose(&id), &key).context("a data key could not be sealed")?;
        let key = DataKey { sealed, created: self.clock.wall() };
        change(node, Change::AddDataKey { id: id.clone(), key }, by).await?;
        Ok(id)
    }

    fn ring(&self) -> Option<Arc<Ring>> {
        let directory = self.known.get()?.borrow().clone()?;
        let master = self.master.as_ref()?;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.0.as_ptr() != Arc::as_ptr(&directory) {
            *ring = (Arc::downgrade(&directory), Arc::new(Ring::of(&directory, master)));
        }
        Some(Arc::clone(&ring.1))
    }
}

impl Seals for ContentKeys {
    fn can_seal(&self) -> bool {
        self.ring().is_some_and(|ring| !ring.0.is_empty())
    }

    fn seal(&self, purpose: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring()?;
        let (id, key) = ring.current(self.clock.wall())?;
        let nonce = signing::random(NONCE_LEN).ok()?;
        let mut sealed = Vec::with_capacity(plain.len() + SEAL);
        sealed.push(FORM);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(&nonce);
        let at = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let mut text = plain.to_vec();
        key.seal_in_place_append_tag(at, Aad::from(purpose), &mut text).ok()?;
        sealed.append(&mut text);
        Some(sealed)
    }

    fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (FORM, sealed) = sealed.split_first().map(|(form, rest)| (*form, rest))? else { return None };
        let (id, sealed) = sealed.split_first_chunk::<ID>()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let ring = self.ring()?;
        let (key, _) = ring.0.get(id)?;
        let at = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = sealed.to_vec();
        let length = key.open_in_place(at, Aad::from(purpose), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests;
