//! TLS for clients, the same on every door: the certificate in use, the handshake before a connection is served, and
//! the stream that a door reads and writes whether there is TLS on it or not.
//!
//! Reading order: `files` (from the files to what handshakes use) · `reload` (looking at the files again) · `accept` (a
//! connection before it is served) · `stream` (one that is) · `client` (whose certificate it showed) · `metrics` ·
//! [`trial`] (certificates made for a trial). It knows no door but by name, and nothing of what is said.
//!
//! Links between nodes are no business of this module: they are encrypted by the key of the cluster.

mod accept;
mod client;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod metrics;
mod reload;
mod stream;
pub mod trial;

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub(crate) use accept::Acceptor;
pub(crate) use client::ClientCertificate;
pub use files::TlsError;
pub(crate) use stream::{Encrypted, Stream};

use self::files::Material;
use self::metrics::Metrics;
use self::reload::Reload;
use crate::settings::{TlsDoor, TlsMode, TlsOptions};

/// TLS as the settings have it; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    options: Arc<TlsOptions>,
    /// `None` when it is on at no door.
    material: Option<watch::Receiver<Arc<Material>>>,
    metrics: Metrics,
}

impl Tls {
    /// Reads the files that the settings name, and looks at them again for as long as this runtime lives. Needs the
    /// runtime of actix around it.
    ///
    /// # Errors
    /// [`TlsError`] names the file and says what to do.
    pub(crate) fn open(options: &TlsOptions) -> Result<Self, TlsError> {
        let (options, metrics) = (Arc::new(options.clone()), Metrics::default());
        if !options.is_on() {
            return Ok(Self { options, material: None, metrics });
        }
        let (reload, material) = Reload::begin(Arc::clone(&options), metrics.clone())?;
        // It ends with the runtime.
        drop(actix_rt::spawn(reload.run()));
        Ok(Self { options, material: Some(material), metrics })
    }

    /// What takes connections of a door on. `refusal` is what a client is told, in words of the door, when it comes
    /// without TLS and must not.
    pub(crate) fn acceptor(&self, door: TlsDoor, refusal: fn() -> Vec<u8>) -> Acceptor {
        let mode = self.options.mode_of(door);
        let material = self.material.clone().filter(|_| mode != TlsMode::Off);
        let told = (refusal, self.options.handshake_timeout);
        Acceptor::new(door, material, mode == TlsMode::Optional, told, self.metrics.clone())
    }

    /// Makes the figures known, where there is TLS.
    pub(crate) fn register(&self, registry: &mut Registry) {
        if self.material.is_some() {
            self.metrics.register(registry);
        }
    }
}
