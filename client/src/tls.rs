//! TLS of a client: whom it trusts, and what it shows of itself. Reads no file; the texts are arguments.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// How a client connects securely: it trusts the public authorities, or those that it is given, and shows a
/// certificate where it is given one. The name or address by which a node is reached has to be in the node's
/// certificate.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

/// What can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TlsError {
    what: &'static str,
    reason: String,
}

/// Without keys.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts `authorities`, certificates as PEM, or the public ones when there are none; shows `identity`, a
    /// certificate and its key as PEM.
    ///
    /// # Errors
    /// [`TlsError`] says which of the texts can't be used.
    pub fn new(authorities: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let refused = |what: &'static str| move |reason: String| TlsError { what, reason };
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(text) => {
                for authority in certificates(text).map_err(refused("the authorities"))? {
                    roots.add(authority).map_err(|error| refused("the authorities")(error.to_string()))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("TLS")(error.to_string()))?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate).map_err(refused("the client's certificate"))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| refused("the key of the client's certificate")(error.to_string()))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| refused("the client's certificate")(error.to_string()))?
            }
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// The same for other protocols, such as HTTP.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that has to be in the certificate of a node at `address`, `host:port`.
    pub(crate) fn name_of(address: &str) -> Result<ServerName<'static>, TlsError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host)
            .map_err(|error| TlsError { what: "the address of the node", reason: error.to_string() })
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("no certificate is there as PEM".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    //! What is taken, and which name is looked for.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn the_public_authorities_are_there_and_what_is_no_certificate_is_named() {
        drop(Tls::new(None, None).unwrap());
        let refused = Tls::new(Some(b"nothing"), None).unwrap_err().to_string();
        assert_eq!(refused, "the authorities: no certificate is there as PEM");
        assert!(Tls::new(None, Some((b"", b""))).unwrap_err().to_string().starts_with("the client's certificate"));
    }

    #[test]
    fn the_name_of_a_node_is_its_address_without_the_port() {
        for (address, name) in [("n1:8850", "n1"), ("10.0.0.1:1", "10.0.0.1"), ("[::1]:8850", "::1")] {
            assert_eq!(Tls::name_of(address).unwrap().to_str(), name);
        }
        assert!(Tls::name_of("a b:1").is_err());
    }
}
