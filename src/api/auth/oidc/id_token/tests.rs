//! Who is believed to have signed, and what no signature makes good.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::proptest;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

use super::{Flaw, Key, keys_of, verified};

/// A key of this test alone, as PKCS #8.
const RSA: &str = "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCffVSlMrpXVfpSzl7E2r1sqsDmOj9lFsj+NKeOR8/32KL4ZWWMt8RuMUZLxnIzWTAPZz \
     kljJTRr8ReEizxFF6bCFHDqHL9k0KPdzRC6WSHAHY31nTaD2DZil6z1w09tyFrxX/tAzKQLFiWYTy64/AwyFcTMWBk6F9qhdsVpfT68/bE1kPndNAAb+v+ \
     Lmf2rAE4OvQhLEPk3+R8CHZRTf1vyL9tlGh2dDzvpYlvpvXDHGl+nhfQ8LZwqn0ffREZc285uhOhrYOaG+lzi0wGir7Pb0gkJ7DabXeSx5dL5i5O2grQve \
     WxKumoFrDg5YpwYGHZTxkeP+wYUbLU4rOx7vJ3AgMBAAECggEABjiQ+V0FFRk2vLPtapeu2GyN19nnlVPyGBRJ56W+cDtXgM5EftyMjjdgat4KBoQdxbDW \
     WYDmLYp1FuEPnRtMMcp9YfirYsYZ/3DI+l+SYVlJXMk1LdJFI7pSRYjt+WPJkaOwNAVlaGekA8DPaemWxouLj4vKZ9uc6StHQRnQxSV4jtp5YlntUptuvL \
     bKj/jCySG3WRA5iMgVvIJoxGfcO+buLKAsIthBzJ/yXLb4naWnQnDwU70U/mbLVG8Mn6xebYqNhlKIKtIDwcKCZcxZg/hM+2H+rsqE/mav7t84tAsdg+PJ \
     vCsRICy73OLo/szJGRCquaHm4XtuqFV7KjSROQKBgQDaCTW8Aa2UaTM12ZELsmBuP3pPuuUUtFCoJleuCE4ho5yALy5H0Fr5gZsz1ER08JRL4pBnSVOapw \
     0+hvWi/FpRimQUOvq1/KrrPW8XEEzr754Sl22dQgRGt00PjvKJTtVpG+PaEu/2nR/T2+xTpMskgG2pdZyVb4fMJcvAytXGbwKBgQC7QnVvTzrDKc2vxOdM \
     tT8CnSFA/OYDnbchrUCnE16C7EC1f8I8BtRE7w/vDXdhXXcwxyA6wwTGb5NG569+Bj7uNIzmgfZSYbT0GWwOeboP2bd/MBNE1oKrT/BY2rq0Z+V4hDN7bx \
     863Mqn3E6zDcfSrY53nDzHafThFtiCOzJYeQKBgE8cVl3f8f5OaWFZjrJCx5BZAeUZ9/KaNkW8m8Wuh8LW3Xr5I361D71GFG0q0KfpfrVGAIUpaudLQ5fz \
     Wf8INzEs2IEqoTsU8WMnSD6DEJXuvFkcjo4nnOuXqKNDh6bgbriTgQnoIx9FBX5WZpo2yep1mtSIswbZj9k3wYUzU3uLAoGAUGEHjX7hx1ITUyZe7mNCJ7 \
     oQwxeLF/RD3nXCsbSztdj5Ma8kTaXUyb4gBcmu+6El/08J+48oZpEQE7hxcNP3gUIXVP5mIBiGltyusEv53MHkbPjS3JKDRkuq7Ej/KV8Ldb6xZoNdUWPi \
     rUj4kw0QP9N1usvanvJRRakLyGLmimkCgYBYbm/gpJHmx5d9oo6QwMuukQJWP0jkscVmZlrZIqWuYhw9sG8LjQU/PYIMLSglt5Dg0rZgB6kjQLYYEFyGh2 \
     2B0MZlGDouF6b5acLjsGSwp3FcvxC8tOXAZPRK8DKZBJJ9xQMUq7wPIglazcqvHtym1h6cWH3VtW2kaaJPq6v/0A==";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header, signed by `sign`.
fn token(header: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(json!({ "sub": "7" }).to_string()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encoded(signature))
}

struct Signers {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Signers {
    fn new() -> Self {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::from_pkcs8(&STANDARD.decode(RSA.replace(' ', "")).unwrap()).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        Self { rsa, ec, ed }
    }

    /// The set that the provider publishes, with things in it that nobody knows.
    fn set(&self) -> Vec<Value> {
        let rsa: PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let point = self.ec.public_key().as_ref();
        vec![
            json!("no key"),
            json!({ "kty": "new", "kid": "new" }),
            json!({ "kty": "RSA", "kid": "r", "use": "sig", "n": encoded([&[0], rsa.n.as_slice()].concat()), "e": encoded(rsa.e) }),
            json!({ "kty": "EC", "kid": "c", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) }),
            json!({ "kty": "OKP", "kid": "d", "crv": "Ed25519", "alg": "EdDSA", "x": encoded(self.ed.public_key()) }),
        ]
    }

    fn keys(&self) -> Vec<Key> {
        keys_of(self.set())
    }

    fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |how| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(how, &random, signed, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&random, signed).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(signed).as_ref().to_vec(),
        }
    }

    fn token(&self, algorithm: &str, key: Option<&str>) -> String {
        let header = json!({ "alg": algorithm, "kid": key });
        token(&header, |signed| self.sign(algorithm, signed))
    }
}

const ALGORITHMS: [(&str, &str); 4] = [("RS256", "r"), ("PS256", "r"), ("ES256", "c"), ("EdDSA", "d")];

#[test]
fn what_a_published_key_has_signed_is_believed() {
    let signers = Signers::new();
    for (algorithm, key) in ALGORITHMS {
        for named in [Some(key), None] {
            let claims = verified(&signers.token(algorithm, named), &signers.keys());
            assert_eq!(claims.map(|claims| claims["sub"].clone()), Ok(json!("7")), "{algorithm}");
        }
    }
}

#[test]
fn what_another_key_has_signed_is_not() {
    let (signers, others) = (Signers::new(), Signers::new());
    for (algorithm, key) in ALGORITHMS {
        let good = signers.token(algorithm, Some(key));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let mut other = URL_SAFE_NO_PAD.decode(signature).unwrap();
        other[8] ^= 1;
        let altered = format!("{signed}.{}", encoded(other));
        assert_eq!(verified(&altered, &signers.keys()), Err(Flaw::Signature), "{algorithm}");
        assert_eq!(verified(&format!("{signed}."), &signers.keys()), Err(Flaw::Signature), "{algorithm}");
        assert_eq!(verified(&signers.token(algorithm, Some("other")), &signers.keys()), Err(Flaw::UnknownKey));
        assert_eq!(verified(&good, &[]), Err(Flaw::UnknownKey));
        let body = encoded(json!({ "sub": "8" }).to_string());
        let parts: Vec<&str> = good.split('.').collect();
        let forged = format!("{}.{body}.{}", parts[0], parts[2]);
        assert_eq!(verified(&forged, &signers.keys()), Err(Flaw::Signature), "{algorithm}");
    }
    for (algorithm, key) in [("ES256", "c"), ("EdDSA", "d")] {
        assert_eq!(verified(&others.token(algorithm, Some(key)), &signers.keys()), Err(Flaw::Signature));
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_looked_at() {
    let signers = Signers::new();
    let keys = signers.keys();
    for unsigned in ["none", "None", "HS256", "RS1", ""] {
        let header = json!({ "alg": unsigned, "kid": "r" });
        assert_eq!(verified(&token(&header, |_| Vec::new()), &keys), Err(Flaw::Algorithm), "{unsigned:?}");
    }
    // By what everybody knows, taken for a secret.
    let public = signers.set()[2]["n"].as_str().unwrap().to_owned();
    let by_public =
        |signed: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), signed).as_ref().to_vec();
    assert_eq!(verified(&token(&json!({ "alg": "HS256", "kid": "r" }), by_public), &keys), Err(Flaw::Algorithm));
    // By a key of another kind, and by one that is for something else.
    assert_eq!(verified(&signers.token("ES256", Some("r")), &keys), Err(Flaw::UnknownKey));
    let mut set = signers.set();
    set[2]["use"] = json!("enc");
    set[3]["alg"] = json!("ES512");
    let others = keys_of(set);
    assert_eq!(verified(&signers.token("RS256", Some("r")), &others), Err(Flaw::UnknownKey));
    assert_eq!(verified(&signers.token("ES256", Some("c")), &others), Err(Flaw::UnknownKey));
    let critical = json!({ "alg": "EdDSA", "kid": "d", "crit": ["exp"] });
    let critical = token(&critical, |signed| signers.sign("EdDSA", signed));
    assert_eq!(verified(&critical, &keys), Err(Flaw::Malformed));
}

proptest! {
    #[test]
    fn no_text_is_taken_for_a_token(text in ".*", parts in "[A-Za-z0-9_.-]{0,200}") {
        let keys = keys_of(vec![json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" })]);
        assert!(verified(&text, &keys).is_err() && verified(&parts, &keys).is_err());
    }
}
