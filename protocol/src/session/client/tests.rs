//! What a client may say of itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Client, ClientError, ClientId, ClientKind, MAX_CLIENT_ID, MAX_LABELS};
use crate::gray::ClientIdentity;

fn client(labels: Vec<(String, String)>) -> Client {
    let identity = ClientIdentity { labels, ..ClientIdentity::default() };
    Client { id: ClientId::new("c").unwrap(), kind: ClientKind::Tcp, identity, software: String::new() }
}

#[test]
fn an_id_is_visible_ascii_of_a_bounded_length() {
    assert!(ClientId::new(&"x".repeat(MAX_CLIENT_ID)).is_ok());
    for bad in ["", "a b", "tab\t", "ünicode", &"x".repeat(MAX_CLIENT_ID + 1)] {
        assert_eq!(ClientId::new(bad), Err(ClientError::Id), "{bad:?}");
    }
}

#[test]
fn labels_are_counted_checked_and_put_in_order() {
    let label = |name: &str| (name.to_owned(), "v".to_owned());
    let sorted = client(vec![label("zone"), label("app")]).checked().unwrap();
    assert_eq!(sorted.identity.labels, [label("app"), label("zone")]);
    let many = (0..=MAX_LABELS).map(|number| label(&number.to_string())).collect();
    assert_eq!(client(many).checked(), Err(ClientError::TooManyLabels(MAX_LABELS + 1)));
    assert!(matches!(client(vec![label("a\0")]).checked(), Err(ClientError::Text(_))));
}
