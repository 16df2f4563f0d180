//! An ID token (RFC 7519, signed as RFC 7515 says) and the keys of who made it (RFC 7517). Owns which algorithms are
//! taken: those with a public key that are in use, and never what the token alone names. What the token states is
//! looked at in `callboard_protocol::access::sign_on`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most keys of a provider that are looked at.
const MAX_KEYS: usize = 64;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// It is none.
    #[error("it is no signed token")]
    Malformed,
    /// It is signed in a way that is not taken, or not at all.
    #[error("it is not signed by RS256, PS256, ES256 or EdDSA")]
    Algorithm,
    /// The key that it names is not known.
    #[error("it is signed by a key that the provider does not publish")]
    UnknownKey,
    /// The signature is another one.
    #[error("its signature is wrong")]
    Signature,
}

/// A public key. Numbers are kept as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Key {
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "kid")]
    id: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    #[serde(rename = "alg")]
    algorithm: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The beginning of a token.
#[derive(Debug, Deserialize)]
struct Header {
    #[serde(rename = "alg")]
    algorithm: String,
    #[serde(rename = "kid")]
    key: Option<String>,
    /// What has to be understood; nothing of it is.
    #[serde(rename = "crit")]
    critical: Option<Value>,
}

/// The keys of a set. One of an unknown kind is no reason to refuse the others.
pub(super) fn keys_of(set: Vec<Value>) -> Vec<Key> {
    set.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok()).collect()
}

/// What a token says, if one of `keys` has signed it.
///
/// # Errors
/// [`Flaw`].
pub(super) fn verified(token: &str, keys: &[Key]) -> Result<Map<String, Value>, Flaw> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
    let (header, body) = signed.split_once('.').ok_or(Flaw::Malformed)?;
    let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_no_header| Flaw::Malformed)?;
    if header.critical.is_some() {
        return Err(Flaw::Malformed);
    }
    let kind = kind_of(&header.algorithm).ok_or(Flaw::Algorithm)?;
    let signature = bytes(signature)?;
    let is_named = |key: &&Key| header.key.is_none() || key.id == header.key;
    let mut fitting = keys.iter().filter(is_named).filter(|key| key.is_for(kind, &header.algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(Flaw::UnknownKey);
    }
    if !fitting.any(|key| key.has_signed(&header.algorithm, signed.as_bytes(), &signature)) {
        return Err(Flaw::Signature);
    }
    serde_json::from_slice(&bytes(body)?).map_err(|_no_object| Flaw::Malformed)
}

fn bytes(text: &str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_no_base64| Flaw::Malformed)
}

/// The kind of key that an algorithm takes.
fn kind_of(algorithm: &str) -> Option<&'static str> {
    match algorithm {
        "RS256" | "PS256" => Some("RSA"),
        "ES256" => Some("EC"),
        "EdDSA" | "Ed25519" => Some("OKP"),
        _ => None,
    }
}

impl Key {
    fn is_for(&self, kind: &str, algorithm: &str) -> bool {
        let is_to_sign = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        self.kind == kind && is_to_sign && self.algorithm.as_deref().is_none_or(|own| own == algorithm)
    }

    fn has_signed(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        let part = |part: &Option<String>| part.as_deref().and_then(|text| bytes(text).ok());
        let rsa = |how| {
            let (n, e) = (part(&self.n)?, part(&self.e)?);
            RsaPublicKeyComponents { n: number(&n), e: number(&e) }.verify(how, signed, signature).ok()
        };
        let verified = match (algorithm, self.curve.as_deref()) {
            ("RS256", _) => rsa(&RSA_PKCS1_2048_8192_SHA256),
            ("PS256", _) => rsa(&RSA_PSS_2048_8192_SHA256),
            ("ES256", Some("P-256")) => part(&self.x).zip(part(&self.y)).and_then(|(x, y)| {
                let point = [[4].as_slice(), &x, &y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).ok()
            }),
            ("EdDSA" | "Ed25519", Some("Ed25519")) => {
                part(&self.x).and_then(|x| UnparsedPublicKey::new(&ED25519, x).verify(signed, signature).ok())
            }
            _ => None,
        };
        verified.is_some()
    }
}

/// A number without the zeros that some write before it.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
