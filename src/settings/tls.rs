//! Section `tls`: the certificate of the node, whose certificates it asks for, and which doors are opened how. Reads no
//! certificate.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::{self, DAY, HOUR, SHORTEST};
use super::error::Invalid;

/// The shortest time between two looks at the files.
const SHORTEST_RELOAD: Duration = Duration::from_millis(100);

/// How clients connect securely. The manual, `config/default.toml`, says more about each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    /// The file with the certificate of the node and of those between it and its authority; empty for no TLS.
    pub certificate: PathBuf,
    /// The file with the key of the certificate.
    pub key: PathBuf,
    /// What happens to connections without TLS. Read it through [`TlsOptions::mode_of`].
    pub mode: TlsMode,
    /// Doors on which another mode holds, as `door=mode`.
    pub doors: Vec<String>,
    /// The file with the authorities of clients' certificates; empty when clients are asked for none.
    pub client_ca: PathBuf,
    /// Whether clients need a certificate. Read it through [`TlsOptions::client_certificates`].
    pub client_certificates: ClientCertificates,
    /// Time until a handshake is over.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Time between two looks at the files.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

/// What happens to connections without TLS, and with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// `required` when there is a certificate, else `off`.
    Auto,
    /// There is no TLS.
    Off,
    /// Both are served, on the same port.
    Optional,
    /// Only TLS is served.
    Required,
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// `required` when there is a file of authorities, else `none`.
    Auto,
    /// They are asked for none.
    None,
    /// One that is shown has to be good.
    Optional,
    /// They have to show a good one.
    Required,
}

/// A door that TLS can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsDoor {
    /// REST, Nacos over HTTP, WebSocket.
    Http,
    /// Native sessions.
    Tcp,
    /// Clients of Nacos over gRPC.
    Grpc,
}

impl TlsDoor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::Tcp, Self::Grpc];

    /// The name of its section, and of it in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
        }
    }
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            mode: TlsMode::Auto,
            doors: Vec::new(),
            client_ca: PathBuf::new(),
            client_certificates: ClientCertificates::Auto,
            handshake_timeout: Duration::from_secs(10),
            reload_interval: Duration::from_secs(10),
        }
    }
}

/// Reads `door=mode`.
fn parse_door(text: &str) -> Option<(TlsDoor, TlsMode)> {
    let (door, mode) = text.split_once('=')?;
    let door = TlsDoor::ALL.into_iter().find(|known| known.name() == door.trim())?;
    let mode = match mode.trim() {
        "off" => TlsMode::Off,
        "optional" => TlsMode::Optional,
        "required" => TlsMode::Required,
        _ => return None,
    };
    Some((door, mode))
}

impl TlsOptions {
    /// Checks the values and the rules between them.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        let has = |path: &PathBuf| !path.as_os_str().is_empty();
        if has(&self.certificate) != has(&self.key) {
            let key = if has(&self.certificate) { "tls.key" } else { "tls.certificate" };
            return Err(Invalid::new(key, "a certificate and its key go together: name both files, or neither"));
        }
        if let Some(text) = self.doors.iter().find(|text| parse_door(text).is_none()) {
            let reason = format!("must be http, tcp or grpc with =off, =optional or =required; {text:?} is not");
            return Err(Invalid::new("tls.doors", reason));
        }
        if self.is_on() && !has(&self.certificate) {
            let reason = "there is no TLS without a certificate: name its file with --tls-certificate and that of its key \
                          with --tls-key; `callboard cert` makes some for a trial";
            return Err(Invalid::new("tls.mode", reason));
        }
        let wants_some =
            matches!(self.client_certificates, ClientCertificates::Optional | ClientCertificates::Required);
        if wants_some && !has(&self.client_ca) {
            let reason = "who signs clients' certificates is not known: name the file of the authorities with \
                          --tls-client-ca";
            return Err(Invalid::new("tls.client_certificates", reason));
        }
        bounds::duration("tls.handshake_timeout", self.handshake_timeout, SHORTEST..=HOUR)?;
        bounds::duration("tls.reload_interval", self.reload_interval, SHORTEST_RELOAD..=DAY)
    }

    /// The mode of a door; never [`TlsMode::Auto`].
    #[must_use]
    pub fn mode_of(&self, door: TlsDoor) -> TlsMode {
        let own = self.doors.iter().filter_map(|text| parse_door(text)).rfind(|(of, _)| *of == door);
        match own.map_or(self.mode, |(_, mode)| mode) {
            TlsMode::Auto if self.certificate.as_os_str().is_empty() => TlsMode::Off,
            TlsMode::Auto => TlsMode::Required,
            mode => mode,
        }
    }

    /// Whether a door has TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        TlsDoor::ALL.into_iter().any(|door| self.mode_of(door) != TlsMode::Off)
    }

    /// Whether clients need a certificate; never [`ClientCertificates::Auto`].
    #[must_use]
    pub fn client_certificates(&self) -> ClientCertificates {
        match self.client_certificates {
            ClientCertificates::Auto if self.client_ca.as_os_str().is_empty() => ClientCertificates::None,
            ClientCertificates::Auto => ClientCertificates::Required,
            chosen => chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Which mode a door is in, and what is refused.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn with_certificate() -> TlsOptions {
        TlsOptions { certificate: "c.pem".into(), key: "k.pem".into(), ..TlsOptions::default() }
    }

    #[test]
    fn a_certificate_switches_tls_on_and_doors_may_differ() {
        assert!(!TlsOptions::default().is_on());
        let mut options = with_certificate();
        assert_eq!(TlsDoor::ALL.map(|door| options.mode_of(door)), [TlsMode::Required; 3]);
        options.doors = vec!["grpc=optional".to_owned(), " tcp = off ".to_owned()];
        options.validate().unwrap();
        let modes = [TlsMode::Required, TlsMode::Off, TlsMode::Optional];
        assert_eq!(TlsDoor::ALL.map(|door| options.mode_of(door)), modes);
        options.mode = TlsMode::Off;
        assert!(options.mode_of(TlsDoor::Http) == TlsMode::Off && options.is_on());
    }

    #[test]
    fn an_authority_of_clients_makes_their_certificates_required() {
        let mut options = with_certificate();
        assert_eq!(options.client_certificates(), ClientCertificates::None);
        options.client_ca = "ca.pem".into();
        assert_eq!(options.client_certificates(), ClientCertificates::Required);
        options.client_certificates = ClientCertificates::None;
        assert_eq!(options.client_certificates(), ClientCertificates::None);
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_its_key() {
        let refused = |change: fn(&mut TlsOptions)| {
            let mut options = with_certificate();
            change(&mut options);
            options.validate().unwrap_err().key
        };
        assert_eq!(refused(|options| options.key = PathBuf::new()), "tls.key");
        assert_eq!(refused(|options| options.certificate = PathBuf::new()), "tls.certificate");
        assert_eq!(refused(|options| options.doors = vec!["peer=off".to_owned()]), "tls.doors");
        assert_eq!(refused(|options| options.doors = vec!["http=auto".to_owned()]), "tls.doors");
        let wants = |options: &mut TlsOptions| options.client_certificates = ClientCertificates::Required;
        assert_eq!(refused(wants), "tls.client_certificates");
        let without = TlsOptions { mode: TlsMode::Optional, ..TlsOptions::default() };
        assert_eq!(without.validate().unwrap_err().key, "tls.mode");
    }
}
