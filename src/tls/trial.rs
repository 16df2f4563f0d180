//! Certificates made for a trial: an authority of one's own, and what it signs for nodes and clients. Owns their files.
//! It overwrites none, and knows nothing of revoking: for more than a trial there are better authorities.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The certificate of the authority, which clients are given.
const AUTHORITY: &str = "ca";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the authority lasts.
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long what it signs lasts.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The directory of the files. An authority that is there already signs once more.
    pub out: PathBuf,
    /// Names and addresses under which clients reach a node; its files are called after the first.
    pub names: Vec<String>,
    /// The user that a client is; its files are called so.
    pub client: Option<String>,
}

/// Why something was not made. Files that were made before stay.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A file or directory can't be made or read.
    #[error("cannot make or read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is such a file, and it stays.
    #[error("{} is there already, and is not overwritten; move it away, or choose another --out", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A name can't be called so.
    #[error("{0:?} is no name for a certificate: use a host name, an IP address, or the name of a user")]
    Name(String),
    /// The files of the authority make no sense, or nothing can be signed.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes what is asked for. Gives the files that were made.
///
/// # Errors
/// [`TrialError`].
pub fn make(request: &Request) -> Result<Vec<PathBuf>, TrialError> {
    let Request { out, names, client } = request;
    for name in names.iter().chain(client) {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:@".contains(&byte);
        if name.is_empty() || name.starts_with('.') || name == AUTHORITY || !name.bytes().all(is_legal) {
            return Err(TrialError::Name(name.clone()));
        }
    }
    std::fs::create_dir_all(out).map_err(|source| TrialError::File { path: out.clone(), source })?;
    let (issuer, mut made) = authority(out)?;
    if let Some(first) = names.first() {
        let params = signed(first, ExtendedKeyUsagePurpose::ServerAuth, names.clone())?;
        made.extend(sign(out, first, params, &issuer)?);
    }
    if let Some(client) = client {
        let params = signed(client, ExtendedKeyUsagePurpose::ClientAuth, Vec::new())?;
        made.extend(sign(out, client, params, &issuer)?);
    }
    Ok(made)
}

/// The authority in `out`, made when there is none.
fn authority(out: &Path) -> Result<(Issuer<'static, KeyPair>, Vec<PathBuf>), TrialError> {
    let (certificate, key) = files(out, AUTHORITY);
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| TrialError::File { path: path.to_owned(), source })
    };
    if certificate.exists() {
        let pair = KeyPair::from_pem(&read(&key)?)?;
        return Ok((Issuer::from_ca_cert_pem(&read(&certificate)?, pair)?, Vec::new()));
    }
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = called("Callboard trial authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    last(&mut params, YEARS);
    let authority = params.self_signed(&pair)?;
    write(&key, &pair.serialize_pem(), 0o600)?;
    write(&certificate, &authority.pem(), 0o644)?;
    Ok((Issuer::new(params, pair), vec![certificate, key]))
}

fn signed(name: &str, purpose: ExtendedKeyUsagePurpose, names: Vec<String>) -> Result<CertificateParams, TrialError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = called(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    last(&mut params, YEAR);
    Ok(params)
}

fn sign(
    out: &Path,
    name: &str,
    params: CertificateParams,
    issuer: &Issuer<'static, KeyPair>,
) -> Result<[PathBuf; 2], TrialError> {
    let (certificate, key) = files(out, name);
    let pair = KeyPair::generate()?;
    let signed = params.signed_by(&pair, issuer)?;
    write(&key, &pair.serialize_pem(), 0o600)?;
    write(&certificate, &signed.pem(), 0o644)?;
    Ok([certificate, key])
}

/// From a day ago: clocks differ.
fn last(params: &mut CertificateParams, time: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + time).into();
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The files of a certificate and its key.
fn files(out: &Path, name: &str) -> (PathBuf, PathBuf) {
    (out.join(format!("{name}.pem")), out.join(format!("{name}-key.pem")))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), TrialError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => TrialError::Exists { path: path.to_owned() },
        _ => TrialError::File { path: path.to_owned(), source },
    })
}
