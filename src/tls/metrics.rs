//! The figures of TLS: handshakes by door, what was refused and why, and when the certificate in use expires. Never
//! holds anything that a client has chosen.

use std::io;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::AlertDescription;

use crate::settings::TlsDoor;

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The time for it is over.
    #[error("it was not ready in time")]
    Late,
    /// There is nobody to be served.
    #[error("its client closed it")]
    Closed,
    /// It has no TLS, and must.
    #[error("it has no TLS")]
    Plaintext,
    /// The certificate of the client is missing, or not good.
    #[error("the certificate of the client: {0}")]
    Certificate(rustls::Error),
    /// The client ended the handshake; most often it does not know the authority of the node.
    #[error("the client refused: {0:?}")]
    Distrusted(AlertDescription),
    /// Both ends have no version, protocol or cipher in common, or the client speaks something else.
    #[error("the handshake: {0}")]
    Protocol(rustls::Error),
    /// The network failed.
    #[error("the connection: {0}")]
    Connection(io::Error),
}

impl Refused {
    /// A word for it, for metrics and the log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Closed => "closed",
            Self::Plaintext => "plaintext",
            Self::Certificate(_) => "certificate",
            Self::Distrusted(_) => "distrusted",
            Self::Protocol(_) => "protocol",
            Self::Connection(_) => "connection",
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()).cloned() {
            Some(cause @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
                Self::Certificate(cause)
            }
            Some(rustls::Error::AlertReceived(alert)) => Self::Distrusted(alert),
            Some(cause) => Self::Protocol(cause),
            None if kind == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Connection(error),
        }
    }
}

/// The figures; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    connections: Family<ConnectionLabel, Counter>,
    refused: Family<RefusedLabel, Counter>,
    reloads: Family<ReloadLabel, Counter>,
    expires: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    door: &'static str,
    encryption: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    door: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabel {
    outcome: &'static str,
}

impl Metrics {
    /// A connection is served, with TLS or without.
    pub(super) fn accepted(&self, door: TlsDoor, is_encrypted: bool) {
        let encryption = if is_encrypted { "tls" } else { "none" };
        self.connections.get_or_create(&ConnectionLabel { door: door.name(), encryption }).inc();
    }

    /// A connection is not served.
    pub(super) fn refused(&self, door: TlsDoor, refused: &Refused) {
        self.refused.get_or_create(&RefusedLabel { door: door.name(), reason: refused.reason() }).inc();
    }

    /// Files that changed were taken, or not.
    pub(super) fn reloaded(&self, is_used: bool) {
        self.reloads.get_or_create(&ReloadLabel { outcome: if is_used { "used" } else { "refused" } }).inc();
    }

    /// A certificate is in use that expires then, in seconds since 1970.
    pub(super) fn uses(&self, expires: i64) {
        self.expires.set(expires);
    }

    /// Makes them known under their public names.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "callboard_tls_connections",
            "Connections taken on, on doors with TLS",
            self.connections.clone(),
        );
        registry.register("callboard_tls_refused", "Connections not taken on by reason", self.refused.clone());
        registry.register("callboard_tls_reloads", "Changed files of TLS by what became of them", self.reloads.clone());
        let help = "When the certificate in use expires, in seconds since 1970";
        registry.register_with_unit("callboard_tls_certificate_expires", help, Unit::Seconds, self.expires.clone());
    }
}
