//! Log-ins at a provider of our own that can be as wrong as no real one is.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_protocol::error_code::ErrorCode;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{AT_ONCE, Begun, FOR_DEVICE, Oidc, OnDevice, Person, Returned, WAITING};
use crate::api::auth::signing::Secrets;
use crate::api::error::ApiError;
use crate::settings::OidcOptions;

const REDIRECT: &str = "http://127.0.0.1/callback";

/// How the provider answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Well,
    Silent,
    Huge,
    Broken,
    Redirecting,
    AnotherName,
    WithoutTls,
}

#[derive(Debug)]
struct Plan {
    manner: Manner,
    /// The id of the key that is published.
    key: &'static str,
    id_token: String,
    user_info: Value,
    device: Value,
}

struct Little {
    address: SocketAddr,
    scheme: &'static str,
    signer: Arc<Ed25519KeyPair>,
    plan: Arc<Mutex<Plan>>,
    asked: Arc<AtomicUsize>,
}

impl Little {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let signer = Arc::new(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap());
        let user_info = json!({ "sub": "7", "preferred_username": "eve", "groups": ["dev"] });
        let (id_token, device) = (String::new(), Value::Null);
        let plan = Arc::new(Mutex::new(Plan { manner: Manner::Well, key: "1", id_token, user_info, device }));
        let asked = Arc::new(AtomicUsize::new(0));
        let serving = (Arc::clone(&signer), Arc::clone(&plan), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ((signer, plan, asked), tls) = (serving.clone(), tls.clone());
                let base = format!("{scheme}://{address}");
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &base, &signer, &plan, &asked).await,
                        // Who does not trust us goes.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &base, &signer, &plan, &asked).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, signer, plan, asked }
    }

    fn oidc(&self) -> Oidc {
        self.trusted_by(PathBuf::new())
    }

    fn trusted_by(&self, ca_file: PathBuf) -> Oidc {
        let options = OidcOptions {
            issuer: format!("{}://{}", self.scheme, self.address),
            client_id: "callboard".to_owned(),
            roles: vec!["dev=reader".to_owned()],
            ca_file,
            ..OidcOptions::default()
        };
        options.validate().unwrap();
        Oidc::open(&options, &Secrets::new(vec![[1; 32]]), Arc::new(SystemClock)).unwrap().unwrap()
    }

    fn behave(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap());
    }

    /// A token with these claims, some of them replaced.
    fn token(&self, header: &Value, nonce: &str, others: &Value) -> String {
        let now = SystemClock.wall().0 / 1_000;
        let mut claims = json!({ "iss": format!("{}://{}", self.scheme, self.address), "sub": "7", "aud": "callboard",
            "exp": now + 300, "nonce": nonce });
        for (claim, value) in others.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(&claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.signer.sign(signed.as_bytes())))
    }

    /// Logs in; the provider gives a token with such a header and such claims.
    async fn log_in(&self, oidc: &Oidc, header: Value, claims: Value) -> Result<(Person, String), ApiError> {
        let (kept, state, nonce) = begun(oidc).await;
        let id_token = self.token(&header, &nonce, &claims);
        self.behave(|plan| plan.id_token = id_token);
        oidc.end(&kept, Returned { state: &state, code: Some("c"), error: None, issuer: None }).await
    }

    async fn refused(&self, oidc: &Oidc, header: Value, claims: Value) -> (ErrorCode, String) {
        let error = self.log_in(oidc, header, claims).await.unwrap_err();
        (error.code(), error.detail().to_owned())
    }
}

/// What is kept, the state and the nonce of a log-in that has begun.
async fn begun(oidc: &Oidc) -> (String, String, String) {
    let Begun { location, kept } = oidc.begin(REDIRECT.to_owned(), "/console").await.unwrap();
    let location = Url::parse(&location).unwrap();
    let get = |name: &str| location.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!((get("code_challenge_method"), get("redirect_uri")), ("S256".to_owned(), REDIRECT.to_owned()));
    assert_eq!(get("scope"), "openid groups", "what the provider does not know is not asked for");
    (kept, get("state"), get("nonce"))
}

fn good() -> Value {
    json!({ "alg": "EdDSA", "kid": "1" })
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    base: &str,
    signer: &Ed25519KeyPair,
    plan: &Mutex<Plan>,
    asked: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let manner = plan.lock().unwrap().manner;
    let (status, document) = match manner {
        Manner::Silent => return std::future::pending().await,
        Manner::Huge => ("200 OK", Value::String("x".repeat(1024 * 1024))),
        Manner::Broken => ("500 X", json!({ "error": "server_error" })),
        Manner::Redirecting => ("302 X\r\nlocation: /jwks", Value::Null),
        Manner::Well | Manner::AnotherName | Manner::WithoutTls => {
            answer(&head, &body, base, signer, &plan.lock().unwrap())
        }
    };
    let text = document.to_string();
    let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    // Who has heard enough goes.
    drop(stream.write_all(answer.as_bytes()).await);
}

fn answer(head: &str, body: &[u8], base: &str, signer: &Ed25519KeyPair, plan: &Plan) -> (&'static str, Value) {
    let path = head.split(' ').nth(1).unwrap();
    let document = match path {
        "/.well-known/openid-configuration" => {
            let issuer = if plan.manner == Manner::AnotherName { "http://127.0.0.1:1" } else { base };
            let tokens = if plan.manner == Manner::WithoutTls { "http://id.example" } else { base };
            json!({ "issuer": issuer, "authorization_endpoint": format!("{base}/auth?x=1"),
                "token_endpoint": format!("{tokens}/token"), "jwks_uri": format!("{base}/jwks"),
                "userinfo_endpoint": format!("{base}/me"), "device_authorization_endpoint": format!("{base}/device"),
                "end_session_endpoint": format!("{base}/end"), "scopes_supported": ["openid", "groups"] })
        }
        "/jwks" => json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": plan.key,
            "x": URL_SAFE_NO_PAD.encode(signer.public_key()) }] }),
        "/token" if plan.id_token.is_empty() => return ("400 X", plan.device.clone()),
        "/token" => {
            let form = String::from_utf8(body.to_vec()).unwrap();
            let is_whole = form.contains("code_verifier=") || form.contains("device_code=");
            assert!(is_whole && form.contains("client_id=callboard"), "{form}");
            json!({ "id_token": plan.id_token, "access_token": "a" })
        }
        "/device" => plan.device.clone(),
        "/me" => {
            assert!(head.contains("authorization: Bearer a"), "{head}");
            plan.user_info.clone()
        }
        other => unreachable!("{other}"),
    };
    ("200 OK", document)
}

#[actix_rt::test]
async fn whom_the_provider_knows_is_somebody_with_the_roles_of_his_groups() {
    let little = Little::start().await;
    let oidc = little.oidc();
    let (person, back) = little.log_in(&oidc, good(), json!({})).await.unwrap();
    assert_eq!((person.name.as_str(), back.as_str()), ("eve", "/console"));
    assert_eq!(person.external.subject, "7");
    assert_eq!(person.external.roles.into_iter().collect::<Vec<_>>(), ["reader"]);
    // What the token says itself counts, and nobody is asked for more than is missing.
    let before = little.asked.load(Ordering::Relaxed);
    let claims = json!({ "preferred_username": "ann", "groups": "none such" });
    let (person, _) = little.log_in(&oidc, good(), claims).await.unwrap();
    assert!(person.name == "ann" && person.external.roles.is_empty());
    assert_eq!(little.asked.load(Ordering::Relaxed), before + 1);
    let end = oidc.end_session().unwrap();
    assert_eq!(end, format!("http://{}/end?client_id=callboard", little.address));
}

#[actix_rt::test]
async fn what_the_provider_states_is_not_believed_when_anything_is_wrong() {
    let little = Little::start().await;
    let oidc = little.oidc();
    let wrong = [
        (json!({ "alg": "none" }), json!({}), "not signed by"),
        (json!({ "alg": "HS256", "kid": "1" }), json!({}), "not signed by"),
        (json!({ "alg": "EdDSA", "kid": "2" }), json!({}), "does not publish"),
        (good(), json!({ "aud": "other" }), "another client"),
        (good(), json!({ "iss": "https://id.example" }), "another issuer"),
        (good(), json!({ "exp": 1_000 }), "has expired"),
        (good(), json!({ "exp": null }), "does not state"),
        (good(), json!({ "nonce": "of another log-in" }), "another log-in"),
        (good(), json!({ "sub": "" }), "names nobody"),
    ];
    for (header, claims, reason) in wrong {
        let (code, detail) = little.refused(&oidc, header, claims).await;
        assert!(code == ErrorCode::Unauthenticated && detail.contains(reason), "{code:?}: {detail}");
    }
    let other = Little::start().await;
    let (kept, state, nonce) = begun(&oidc).await;
    let forged = other.token(&good(), &nonce, &json!({ "iss": oidc.issuer() }));
    little.behave(|plan| plan.id_token = forged);
    let returned = Returned { state: &state, code: Some("c"), error: None, issuer: None };
    assert!(oidc.end(&kept, returned).await.unwrap_err().detail().contains("signature is wrong"));
    little.behave(|plan| plan.user_info["sub"] = json!("8"));
    assert!(little.refused(&oidc, good(), json!({})).await.1.contains("somebody else"));
}

#[actix_rt::test]
async fn a_log_in_ends_only_in_the_browser_that_began_it() {
    let little = Little::start().await;
    let oidc = little.oidc();
    let (kept, state, nonce) = begun(&oidc).await;
    let (other_kept, other_state, _) = begun(&oidc).await;
    let id_token = little.token(&good(), &nonce, &json!({}));
    little.behave(|plan| plan.id_token = id_token);
    let returned = |state| Returned { state, code: Some("c"), error: None, issuer: None };
    let device = OnDevice { code: "c".to_owned(), until: i64::MAX };
    let device = oidc.seal(FOR_DEVICE, &device).unwrap();
    for (kept, state) in [
        (other_kept.as_str(), state.as_str()),
        (&kept, &other_state),
        (&kept, ""),
        ("", &state),
        ("00", &state),
        (&device, &state),
        (&"0".repeat(100_000), &state),
    ] {
        assert_eq!(oidc.end(kept, returned(state)).await.unwrap_err().code(), ErrorCode::InvalidParameter);
    }
    assert_eq!(oidc.end_device(&kept).await.unwrap_err().code(), ErrorCode::InvalidParameter);
    let refused = Returned { code: None, error: Some("access_denied"), ..returned(&state) };
    let error = oidc.end(&kept, refused).await.unwrap_err();
    assert_eq!((error.code(), &error.members["providerError"]), (ErrorCode::Forbidden, &json!("access_denied")));
    let strange = Returned { error: Some("<script>"), ..refused };
    assert_eq!(oidc.end(&kept, strange).await.unwrap_err().members["providerError"], "unknown_error");
    let elsewhere = Returned { issuer: Some("https://evil.example"), ..returned(&state) };
    assert_eq!(oidc.end(&kept, elsewhere).await.unwrap_err().code(), ErrorCode::Unauthenticated);
    assert!(oidc.end(&kept, returned(&state)).await.is_ok());
    // Another node of the cluster can end it, too; one that has other secrets can't.
    assert!(little.oidc().end(&kept, returned(&state)).await.is_ok());
    let stranger = Secrets::new(vec![[2; 32]]);
    let stranger = Oidc::open(&oidc.options, &stranger, Arc::new(SystemClock)).unwrap().unwrap();
    assert_eq!(stranger.end(&kept, returned(&state)).await.unwrap_err().code(), ErrorCode::InvalidParameter);
}

#[actix_rt::test]
async fn a_new_key_of_the_provider_is_found_and_not_looked_for_all_the_time() {
    let little = Little::start().await;
    let oidc = little.oidc();
    assert!(little.log_in(&oidc, good(), json!({})).await.is_ok());
    little.behave(|plan| plan.key = "2");
    let next = json!({ "alg": "EdDSA", "kid": "2" });
    assert_eq!(little.refused(&oidc, next.clone(), json!({})).await.0, ErrorCode::Unauthenticated);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert!(little.log_in(&oidc, next, json!({})).await.is_ok());
    assert_eq!(little.refused(&oidc, good(), json!({})).await.0, ErrorCode::Unauthenticated, "the old one has gone");
}

#[actix_rt::test]
async fn a_provider_that_misbehaves_makes_log_ins_unavailable_and_is_not_pressed() {
    let little = Little::start().await;
    for (manner, reason) in [
        (Manner::Huge, "too much"),
        (Manner::Broken, "answers 500"),
        (Manner::Redirecting, "answers 302"),
        (Manner::AnotherName, "names itself"),
        (Manner::WithoutTls, "without TLS"),
    ] {
        little.behave(|plan| plan.manner = manner);
        let oidc = little.oidc();
        let asked = || little.asked.load(Ordering::Relaxed);
        let refused = async || oidc.begin(REDIRECT.to_owned(), "/").await.unwrap_err();
        let error = refused().await;
        assert!(error.code() == ErrorCode::Unavailable && error.detail().contains(reason), "{error}");
        let before = asked();
        assert_eq!((refused().await, asked()), (error, before), "it was asked again at once");
    }
    little.behave(|plan| plan.manner = Manner::Silent);
    tokio::time::pause();
    let error = little.oidc().begin(REDIRECT.to_owned(), "/").await.unwrap_err();
    assert!(error.code() == ErrorCode::Unavailable && error.detail().contains("in time"), "{error}");
}

#[actix_rt::test]
async fn few_speak_with_the_provider_at_a_time_and_further_ones_are_refused_at_once() {
    let little = Little::start().await;
    little.behave(|plan| plan.manner = Manner::Silent);
    let oidc = little.oidc();
    let mut waiting: Vec<_> = (0..AT_ONCE + WAITING).map(|_| Box::pin(oidc.begin_device())).collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    assert_eq!(oidc.begin_device().await.unwrap_err().code(), ErrorCode::Overloaded);
    drop(waiting);
    little.behave(|plan| {
        plan.manner = Manner::Well;
        plan.device = json!({ "device_code": "d", "user_code": "U", "verification_uri": "http://u", "expires_in": 60 });
    });
    assert!(oidc.begin_device().await.is_ok(), "turns come back");
}

#[actix_rt::test]
async fn only_a_provider_whose_certificate_is_trusted_is_asked() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let little = Little::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let stranger = little.oidc().begin(REDIRECT.to_owned(), "/").await.unwrap_err();
    assert!(stranger.code() == ErrorCode::Unavailable && stranger.detail().contains("certificate"), "{stranger}");
    assert_eq!(little.asked.load(Ordering::Relaxed), 0);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    assert_eq!(little.log_in(&little.trusted_by(ca), good(), json!({})).await.unwrap().0.name, "eve");
}

#[test]
fn files_that_can_not_be_used_stop_the_start_with_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let refused = |options: OidcOptions| {
        let issuer = "https://id.example".to_owned();
        let options = OidcOptions { issuer, client_id: "callboard".to_owned(), ..options };
        let opened = Oidc::open(&options, &Secrets::new(vec![[1; 32]]), Arc::new(SystemClock));
        format!("{:#}", opened.unwrap_err())
    };
    let secret = |client_secret_file| OidcOptions { client_secret_file, ..OidcOptions::default() };
    assert!(refused(secret(file("open", "a secret", 0o644))).contains("can be read by others"));
    assert!(refused(secret(directory.path().join("gone"))).contains("gone"));
    let ca = |ca_file| OidcOptions { ca_file, ..OidcOptions::default() };
    for path in [file("empty.pem", "", 0o644), directory.path().join("gone.pem")] {
        let refusal = refused(ca(path.clone()));
        assert!(refusal.contains("oidc.ca_file") && refusal.contains(&path.display().to_string()), "{refusal}");
    }
}

#[actix_rt::test]
async fn what_the_provider_says_of_another_device_is_passed_on() {
    let little = Little::start().await;
    let oidc = little.oidc();
    little.behave(|plan| {
        plan.device = json!({ "device_code": "secret", "user_code": "U", "verification_uri": "http://u",
            "expires_in": 60 });
    });
    let begun = oidc.begin_device().await.unwrap();
    assert_eq!((begun.user_code.as_str(), begun.interval, begun.expires_in), ("U", 5, 60));
    for (code, told) in [
        ("authorization_pending", ErrorCode::AuthorizationPending),
        ("slow_down", ErrorCode::SlowDown),
        ("expired_token", ErrorCode::ExpiredDeviceCode),
        ("access_denied", ErrorCode::Forbidden),
        ("invalid_client", ErrorCode::Unavailable),
    ] {
        little.behave(|plan| plan.device = json!({ "error": code }));
        assert_eq!(oidc.end_device(&begun.kept).await.unwrap_err().code(), told, "{code}");
    }
    let id_token = little.token(&good(), "any", &json!({}));
    little.behave(|plan| plan.id_token = id_token);
    assert_eq!(oidc.end_device(&begun.kept).await.unwrap().name, "eve");
    let late = OnDevice { code: "secret".to_owned(), until: 1 };
    let late = oidc.seal(FOR_DEVICE, &late).unwrap();
    assert_eq!(oidc.end_device(&late).await.unwrap_err().code(), ErrorCode::ExpiredDeviceCode);
}
