//! Who is answered what. Every read, listen and push carries a [`ClientIdentity`] and asks [`select`]; gray release
//! adds rules here and nowhere else. Today no rule can be stored, so everybody gets the formal content, and what is a
//! secret only who may see it.

use serde::{Deserialize, Serialize};

use crate::access::grant::{Action, Demand, Rights};
use crate::config::ConfigState;
use crate::content::Content;
use crate::key::ConfigKey;

/// Which secrets somebody may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Secrets {
    /// None.
    #[default]
    Hidden,
    /// All: nobody has to be known.
    Shown,
    /// Those for which there is a grant.
    Granted(Rights),
}

impl Secrets {
    /// Whether the secret of this key may be seen.
    #[must_use]
    pub fn may_see(&self, key: &ConfigKey) -> bool {
        match self {
            Self::Hidden => false,
            Self::Shown => true,
            Self::Granted(rights) => rights.allow(&Demand::Key(Action::Secret, key)),
        }
    }
}

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
    /// Which secrets it may see; none that another node hears of.
    #[serde(skip)]
    pub secrets: Secrets,
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

/// Chooses the content that `client` gets of `state`; `None` when there is none for it: to who may not see a secret it
/// is as if it were not there.
#[must_use]
pub fn select<'a>(state: &'a ConfigState, client: &ClientIdentity) -> Option<(Variant, &'a Content)> {
    if state.metadata.is_secret && !client.secrets.may_see(&state.key) {
        return None;
    }
    // No rule can match yet; the identity is part of the question from the first day.
    state.formal.as_ref().map(|content| (Variant::Formal, content))
}

#[cfg(test)]
mod tests {
    //! A secret is there only for who may see it.

    use std::sync::Arc;

    use super::{ClientIdentity, Secrets, select};
    use crate::access::grant::{Action, Grant, Pattern, Rights, Scope};
    use crate::config::{ConfigState, Metadata, Version};
    use crate::content::Content;
    use crate::key::ConfigKey;

    fn state(data_id: &str, is_secret: bool) -> ConfigState {
        let key = ConfigKey::new("public", "g", data_id).expect("it is a key");
        let formal = Some(Content::new("x".into()).expect("it is a content"));
        let metadata = Metadata { is_secret, ..Metadata::default() };
        ConfigState { formal, metadata, ..ConfigState::absent(key, Version(1)) }
    }

    fn granted(data_id: &str, action: Action) -> Secrets {
        let data_id = Pattern::new(data_id).expect("it is a pattern");
        let scope = Scope { data_id, ..Scope::everything() };
        Secrets::Granted(Rights { granted: Arc::from([Grant { scope, actions: [action].into() }]), limit: None })
    }

    #[test]
    fn a_secret_is_chosen_only_for_who_may_see_it_and_anything_else_for_everybody() {
        let all = [
            (Secrets::Hidden, false),
            (Secrets::Shown, true),
            (granted("db.*", Action::Secret), true),
            (granted("db.*", Action::Admin), true),
            (granted("db.*", Action::Read), false),
            (granted("other", Action::Secret), false),
        ];
        for (secrets, is_seen) in all {
            let client = ClientIdentity { secrets, ..ClientIdentity::default() };
            assert_eq!(select(&state("db.password", true), &client).is_some(), is_seen, "{client:?}");
            assert!(select(&state("db.password", false), &client).is_some(), "{client:?}");
        }
    }
}
