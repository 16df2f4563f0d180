//! From the files that the settings name to what handshakes use. Owns what makes a certificate unusable, and what
//! people are told to do about it. Changes no file.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, Validity, X509Certificate};

use crate::settings::{ClientCertificates, TlsDoor, TlsOptions};

/// Why the files can't be used. At a start nothing is served; later what was in use stays in use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("cannot read {} ({setting})", path.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("{} (tls.key) can be read by others; take that away: chmod o-rwx {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// What should be in the file is not there, or makes no sense.
    #[error("{} ({setting}) holds no usable {what}: {reason}; it has to be PEM, with a line -----BEGIN …-----", path.display())]
    Malformed {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("the key in {} (tls.key) is not that of the first certificate in {} (tls.certificate)", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The time of a certificate is over.
    #[error("a certificate in {} (tls.certificate) expired on {at}; put a new one there", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        at: String,
    },
    /// The time of a certificate has not come.
    #[error(
        "a certificate in {} (tls.certificate) is valid from {from} on only; wait for it, or look at the clock of this machine",
        path.display()
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// From when on.
        from: String,
    },
    /// The library takes none of it.
    #[error("TLS can't be set up with these files: {0}")]
    Refused(String),
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub(super) struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What handshakes use.
#[derive(Debug)]
pub(super) struct Material {
    configs: [(TlsDoor, Arc<ServerConfig>); 3],
    /// When the first certificate of the chain to end ends, in seconds since 1970.
    pub(super) expires: i64,
}

impl Material {
    /// What handshakes at this door use.
    pub(super) fn config(&self, door: TlsDoor) -> Option<Arc<ServerConfig>> {
        self.configs.iter().find(|(of, _)| *of == door).map(|(_, config)| Arc::clone(config))
    }
}

impl Texts {
    /// Reads the files.
    ///
    /// # Errors
    /// One can't be read, or the key can be read by others.
    pub(super) fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let certificate = read("tls.certificate", &options.certificate)?;
        let key = read("tls.key", &options.key)?;
        let unreadable = |source| TlsError::Unreadable { setting: "tls.key", path: options.key.clone(), source };
        if std::fs::metadata(&options.key).map_err(unreadable)?.permissions().mode() & 0o007 != 0 {
            return Err(TlsError::Exposed { path: options.key.clone() });
        }
        let asks = options.client_certificates() != ClientCertificates::None;
        let client_ca = asks.then(|| read("tls.client_ca", &options.client_ca)).transpose()?;
        Ok(Self { certificate, key, client_ca })
    }

    /// Makes of them what handshakes use.
    ///
    /// # Errors
    /// The first thing that makes them unusable.
    pub(super) fn to_material(&self, options: &TlsOptions) -> Result<Material, TlsError> {
        let chain = certificates("tls.certificate", &options.certificate, &self.certificate)?;
        let expires = check_times(&chain, &options.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| malformed("tls.key", &options.key, "key", error.to_string()))?;
        let provider = Arc::new(default_provider());
        let refused = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: options.certificate.clone(), key: options.key.clone() }
            }
            error => TlsError::Refused(error.to_string()),
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match &self.client_ca {
            Some(authorities) => builder.with_client_cert_verifier(verifier(options, authorities, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(refused)?;
        if self.client_ca.is_some() {
            // Whoever comes back would not be looked at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Ticketer::new().map_err(refused)?;
        }
        let configs = TlsDoor::ALL.map(|door| {
            let mut config = config.clone();
            config.alpn_protocols = protocols(door).iter().map(|protocol| protocol.to_vec()).collect();
            (door, Arc::new(config))
        });
        Ok(Material { configs, expires })
    }
}

/// What is spoken at a door (RFC 7301). A client that names none is let in, one that names others is not.
fn protocols(door: TlsDoor) -> &'static [&'static [u8]] {
    match door {
        TlsDoor::Http => &[b"http/1.1"],
        TlsDoor::Tcp => &[],
        TlsDoor::Grpc => &[b"h2"],
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { setting, path: path.to_owned(), source })
}

fn malformed(setting: &'static str, path: &Path, what: &'static str, reason: String) -> TlsError {
    TlsError::Malformed { setting, path: path.to_owned(), what, reason }
}

fn certificates(setting: &'static str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |reason: String| malformed(setting, path, "certificate", reason);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| refused(error.to_string()))?;
    if found.is_empty() { Err(refused("there is none".to_owned())) } else { Ok(found) }
}

/// Looks at the times of all certificates. Gives when the first of them ends, in seconds since 1970.
fn check_times(chain: &[CertificateDer<'_>], path: &Path) -> Result<i64, TlsError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut expires = i64::MAX;
    for certificate in chain {
        let read = X509Certificate::from_der(certificate);
        let (_, read) = read.map_err(|error| malformed("tls.certificate", path, "certificate", error.to_string()))?;
        let Validity { not_before, not_after } = read.validity();
        if not_after.timestamp() <= now {
            return Err(TlsError::Expired { path: path.to_owned(), at: not_after.to_string() });
        }
        if not_before.timestamp() > now {
            return Err(TlsError::NotYetValid { path: path.to_owned(), from: not_before.to_string() });
        }
        expires = expires.min(not_after.timestamp());
    }
    Ok(expires)
}

/// What looks at the certificates of clients.
fn verifier(
    options: &TlsOptions,
    authorities: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let refused = |reason: String| malformed("tls.client_ca", &options.client_ca, "authority", reason);
    let mut roots = RootCertStore::empty();
    for authority in certificates("tls.client_ca", &options.client_ca, authorities)? {
        roots.add(authority).map_err(|error| refused(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match options.client_certificates() {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Auto | ClientCertificates::None | ClientCertificates::Required => builder,
    };
    builder.build().map_err(|error: VerifierBuilderError| refused(error.to_string()))
}

#[cfg(test)]
mod tests;
