//! What a fuzz target reaches of certificates. Present only with the feature `fuzzing`.

use super::client::ClientCertificate;

/// Arbitrary bytes as the certificate of a client: read or not.
pub fn certificate(bytes: &[u8]) {
    let read = ClientCertificate::read(bytes);
    drop(read.map(|read| (read.common_name, read.names)));
}
