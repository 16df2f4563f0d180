//! Which files are taken, and what is said of those that are not.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::super::trial;
use super::*;

struct Files {
    directory: TempDir,
    options: TlsOptions,
}

impl Files {
    fn made() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().to_owned();
        let request = trial::Request { out: out.clone(), names: vec!["localhost".into()], client: Some("ann".into()) };
        assert_eq!(trial::make(&request).unwrap().len(), 6);
        let options = TlsOptions {
            certificate: out.join("localhost.pem"),
            key: out.join("localhost-key.pem"),
            client_ca: out.join("ca.pem"),
            ..TlsOptions::default()
        };
        Self { directory, options }
    }

    fn load(&self) -> Result<Material, TlsError> {
        Texts::read(&self.options)?.to_material(&self.options)
    }

    /// A certificate that is valid from `from` to `to`, counted from now in days.
    fn valid(&mut self, from: i32, to: i32) -> &Self {
        let at = |days: i32| {
            let distance = Duration::from_secs(u64::from(days.unsigned_abs()) * 24 * 3600);
            if days < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
        };
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (at(from).into(), at(to).into());
        fs::write(&self.options.certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&self.options.key, pair.serialize_pem()).unwrap();
        self
    }

    #[track_caller]
    fn refusal(&self, parts: &[&str]) {
        let refusal = format!("{:#}", anyhow::Error::from(self.load().unwrap_err()));
        for part in parts {
            assert!(refusal.contains(part), "{part:?} is missing in: {refusal}");
        }
    }
}

#[test]
fn what_the_trial_makes_is_taken_on_every_door_and_never_overwritten() {
    let files = Files::made();
    let material = files.load().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left = u64::try_from(material.expires).unwrap() - now;
    assert!((364 * 24 * 3600..=365 * 24 * 3600).contains(&left), "{left}");
    assert_eq!(material.config(TlsDoor::Grpc).unwrap().alpn_protocols, [b"h2".to_vec()]);
    let out = files.directory.path().to_owned();
    let again = trial::Request { out: out.clone(), names: vec!["localhost".into()], client: None };
    assert!(trial::make(&again).unwrap_err().to_string().contains("is there already"));
    let other = trial::Request { out, names: vec!["10.0.0.1".into(), "n2".into()], client: None };
    assert_eq!(trial::make(&other).unwrap().len(), 2);
    assert_eq!(fs::metadata(&files.options.key).unwrap().permissions().mode() & 0o777, 0o600);
    let outside = trial::Request { out: files.directory.path().to_owned(), names: vec!["../x".into()], client: None };
    assert!(matches!(trial::make(&outside), Err(trial::TrialError::Name(_))));
}

#[test]
fn what_cannot_be_used_is_named_with_its_file_and_what_to_do() {
    let mut files = Files::made();
    files.valid(-10, -1).refusal(&["localhost.pem (tls.certificate) expired on", "put a new one there"]);
    files.valid(1, 10).refusal(&["localhost.pem (tls.certificate) is valid from", "clock"]);
    files.valid(-1, 10).load().unwrap();
    let key = fs::read(&files.options.key).unwrap();
    fs::write(&files.options.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    files.refusal(&["localhost-key.pem (tls.key) is not that of", "localhost.pem"]);
    fs::write(&files.options.key, "nothing").unwrap();
    files.refusal(&["localhost-key.pem (tls.key) holds no usable key", "PEM"]);
    fs::write(&files.options.key, key).unwrap();
    fs::set_permissions(&files.options.key, fs::Permissions::from_mode(0o644)).unwrap();
    files.refusal(&["localhost-key.pem (tls.key) can be read by others", "chmod"]);
    fs::set_permissions(&files.options.key, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(&files.options.client_ca, "nothing").unwrap();
    files.refusal(&["ca.pem (tls.client_ca) holds no usable certificate: there is none"]);
    files.options.client_certificates = ClientCertificates::None;
    files.load().unwrap();
    fs::write(&files.options.certificate, "").unwrap();
    files.refusal(&["localhost.pem (tls.certificate) holds no usable certificate: there is none"]);
    fs::remove_file(&files.options.certificate).unwrap();
    files.refusal(&["cannot read", "localhost.pem (tls.certificate)", "No such file"]);
}

#[test]
fn the_names_of_a_client_are_read_from_its_certificate() {
    let mut params = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let read = super::super::ClientCertificate::read(certificate.der()).unwrap();
    assert_eq!(read.common_name.as_deref(), Some("ann"));
    assert_eq!(read.names, ["app.example"]);
    assert_eq!(super::super::ClientCertificate::read(b"nothing"), None);
}
