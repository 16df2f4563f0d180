//! Who is answered what. Every read, listen and push carries a [`ClientIdentity`] and asks [`select`]; gray release
//! adds rules here and nowhere else. Today no rule can be stored, so everybody gets the formal content.

use serde::{Deserialize, Serialize};

use crate::config::ConfigState;
use crate::content::Content;

/// What is known of a client when a content is chosen for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// The client's address, without port.
    pub address: String,
    /// The application it says it is.
    pub application: Option<String>,
    /// The tag it asks for.
    pub tag: Option<String>,
    /// Labels such as zone and version.
    pub labels: Vec<(String, String)>,
}

/// The gray contents of a key with the rules that choose them. Empty until gray release exists.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GrayRules {}

impl GrayRules {
    /// True when the key has formal content only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }
}

/// Which of a key's contents was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The content for everybody.
    Formal,
}

/// Chooses the content that `client` gets of `state`; `None` when there is none for it.
#[must_use]
pub fn select<'a>(state: &'a ConfigState, client: &ClientIdentity) -> Option<(Variant, &'a Content)> {
    // No rule can match yet; the identity is part of the question from the first day.
    let ClientIdentity { .. } = client;
    state.formal.as_ref().map(|content| (Variant::Formal, content))
}
