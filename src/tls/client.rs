//! Whose certificate a client showed, as a plain value. Verifies nothing: what it reads was verified in the handshake.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The names in the certificate of a client, for those who make a user of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClientCertificate {
    /// The common name of its subject.
    pub(crate) common_name: Option<String>,
    /// The subject's alternative names that are DNS names, mail addresses or URIs, in the order of the certificate.
    pub(crate) names: Vec<String>,
}

impl ClientCertificate {
    /// Reads a certificate in DER; `None` when it can't be read.
    pub(super) fn read(certificate: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let common_name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let alternative = read.subject_alternative_name().ok().flatten();
        let named = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        };
        let names = alternative.map(|names| names.value.general_names.iter().filter_map(named).collect());
        Some(Self { common_name: common_name.map(str::to_owned), names: names.unwrap_or_default() })
    }
}
