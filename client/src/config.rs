//! The state of a configuration as a program gets it, and how sure it can be of it. Owns the reading of both from
//! messages.

use std::sync::Arc;
use std::time::SystemTime;

use callboard_proto::session as wire;

use crate::key::ConfigKey;

/// The state of a configuration at one version. Cheap to clone: the content is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub key: ConfigKey,
    /// The version of the content, or of the removal; 0 when it never existed.
    pub version: u64,
    /// The digest of the content, in hexadecimal; empty when it does not exist.
    pub md5: String,
    /// The type that was given to it, such as `yaml`; empty when it does not exist.
    pub kind: String,
    /// The content; `None` when it does not exist.
    pub content: Option<Arc<str>>,
}

impl Config {
    /// True when there is such a configuration.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.content.is_some()
    }

    /// A configuration that does not exist.
    pub(crate) fn missing(key: ConfigKey, version: u64) -> Self {
        Self { key, version, md5: String::new(), kind: String::new(), content: None }
    }

    /// Reads the answer to a `get` of `key`.
    pub(crate) fn from_answer(key: ConfigKey, config: wire::Config) -> Self {
        if !config.exists {
            return Self::missing(key, config.version);
        }
        let content = Some(config.content.into());
        Self { key, version: config.version, md5: config.md5, kind: config.r#type, content }
    }

    /// Reads a push about `key`; `None` when its content has to be asked for.
    pub(crate) fn from_push(key: ConfigKey, push: wire::Push) -> Option<Self> {
        if push.removed {
            return Some(Self::missing(key, push.version));
        }
        let content = Some(push.content?.into());
        Some(Self { key, version: push.version, md5: push.md5, kind: push.r#type, content })
    }

    pub(crate) fn to_held(&self) -> wire::Held {
        wire::Held { key: Some(self.key.to_wire()), version: self.version, md5: self.md5.clone() }
    }
}

/// How sure it is that a state is the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A session is there, over which every change comes.
    Live,
    /// A node confirmed the state, but no session has been there since then.
    Disconnected {
        /// When the session was lost.
        since: SystemTime,
    },
    /// The state was read from the disk, and no node has confirmed it since this program started.
    Snapshot {
        /// When it was written.
        saved_at: SystemTime,
    },
}

/// A state from memory, and how sure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The state; its content is `None` for a configuration that is known not to exist.
    pub config: Config,
    /// How sure it is that it is the present one.
    pub freshness: Freshness,
}

/// What [`Client::list`](crate::Client::list) asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// The namespace; empty stands for the one of the client.
    pub namespace: String,
    /// The group; empty stands for all.
    pub group: String,
    /// What data ids begin with; empty stands for all.
    pub prefix: String,
    /// Items of a page, at most 500; 0 stands for 100.
    pub limit: u32,
    /// [`Page::next`] of the page before; `None` for the first one.
    pub cursor: Option<String>,
}

/// A page of a listing, in the order of group and data id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What is on it.
    pub items: Vec<Summary>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

/// A configuration without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub key: ConfigKey,
    /// The version of its content.
    pub version: u64,
    /// The digest of its content, in hexadecimal.
    pub md5: String,
    /// Its type.
    pub kind: String,
    /// Bytes of its content.
    pub size: u64,
}

impl Page {
    /// Reads a page. An item without a name that can be is left out.
    pub(crate) fn from_wire(page: wire::Page) -> Self {
        let items = page.items.into_iter().filter_map(|item| {
            let key = ConfigKey::from_wire(item.key.as_ref())?;
            Some(Summary { key, version: item.version, md5: item.md5, kind: item.r#type, size: item.size })
        });
        Self { items: items.collect(), next: Some(page.next).filter(|next| !next.is_empty()) }
    }
}
