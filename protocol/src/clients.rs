//! The clients of a cluster and their pushes, as operators ask for them: filters, what is shown, and how pages of
//! several threads and nodes become one. Owns these words and rules; asks nobody.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Version;
use crate::content::Md5;
use crate::key::ConfigKey;
use crate::push_ledger::{PushState, Row, SessionNumber};
use crate::session::client::{Client, ClientId, ClientKind};
use crate::session::position::{Position, Reaction};
use crate::time::WallMillis;

/// Most items of a page.
pub const MAX_PAGE: u32 = 500;

/// Which clients; each part narrows them further.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientFilter {
    /// With this id.
    pub id: Option<String>,
    /// Of this application.
    pub application: Option<String>,
    /// From this address.
    pub address: Option<String>,
    /// With this label.
    pub label: Option<(String, String)>,
    /// Connected so.
    pub kind: Option<ClientKind>,
    /// Who watch this configuration.
    pub key: Option<ConfigKey>,
}

impl ClientFilter {
    /// True when everything but the key fits.
    #[must_use]
    pub fn fits(&self, client: &Client) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        is(&self.id, Some(&*client.id.0))
            && is(&self.application, client.identity.application.as_deref())
            && is(&self.address, Some(client.identity.address.as_str()))
            && self.label.as_ref().is_none_or(|label| client.identity.labels.contains(label))
            && self.kind.is_none_or(|kind| kind == client.kind)
    }
}

/// A place in a listing: what comes after it is on the next page. Pages are in the order of client id, node and
/// connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The id of the client.
    pub client: ClientId,
    /// The node it is connected to.
    pub node: Arc<str>,
    /// Its connection there.
    pub session: SessionNumber,
}

/// A page of clients that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientQuery {
    /// Which ones.
    pub filter: ClientFilter,
    /// Only those after this place.
    pub after: Option<Place>,
    /// How many at most.
    pub limit: u32,
    /// How many keys are shown of each at most.
    pub keys: u32,
}

/// A watched key of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySeen {
    /// Which.
    pub key: ConfigKey,
    /// The version that the client holds, as far as known.
    pub version: Option<Version>,
    /// The digest of the content that it holds; none for a configuration that does not exist.
    pub md5: Option<Md5>,
    /// What became of the last push; `None` when it has not been pushed on this connection.
    pub state: Option<PushState>,
}

/// A watched prefix of a client: namespace, group if it is one, prefix.
pub type PrefixSeen = (String, Option<String>, String);

/// A connected client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSeen {
    /// Where it stands in the listing; names the node and the connection.
    pub place: Place,
    /// Who it is.
    pub client: Client,
    /// Since when it is connected.
    pub since: WallMillis,
    /// True when nothing was heard of it for a while.
    pub is_idle: bool,
    /// The keys it watches, the first of them.
    pub keys: Vec<KeySeen>,
    /// How many there are.
    pub watched: u64,
    /// The prefixes it watches.
    pub prefixes: Vec<PrefixSeen>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// In the order of their places.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
    /// True when others follow.
    pub more: bool,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0, more: false }
    }
}

/// Something that has a place in a listing.
pub trait Placed {
    /// Where it stands.
    fn place(&self) -> &Place;
}

impl Placed for ClientSeen {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Placed for PushSeen {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl<T: Placed> Page<T> {
    /// The page of everything that fits, given in any order.
    #[must_use]
    pub fn of(all: impl IntoIterator<Item = T>, after: Option<&Place>, limit: u32) -> Self {
        let mut all: Vec<T> = all.into_iter().collect();
        let total = all.len() as u64;
        all.retain(|item| after.is_none_or(|after| item.place() > after));
        Self { items: all, total, more: false }.cut(limit)
    }

    /// One page made of the pages that several gave to the same question.
    #[must_use]
    pub fn merged(pages: impl IntoIterator<Item = Self>, limit: u32) -> Self {
        let all = pages.into_iter().reduce(|mut left, right| {
            left.items.extend(right.items);
            Self { items: left.items, total: left.total + right.total, more: left.more || right.more }
        });
        all.unwrap_or_default().cut(limit)
    }

    fn cut(mut self, limit: u32) -> Self {
        self.items.sort_by(|left, right| left.place().cmp(right.place()));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.more |= self.items.len() > limit;
        self.items.truncate(limit);
        self
    }
}

/// What became of one version of a configuration, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushQuery {
    /// The configuration.
    pub key: ConfigKey,
    /// The version.
    pub version: Version,
    /// Only pushes that stand so.
    pub state: Option<PushState>,
    /// Only those after this place.
    pub after: Option<Place>,
    /// How many at most.
    pub limit: u32,
}

/// What became of a version at one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSeen {
    /// Where it stands in the listing; names the node and the connection.
    pub place: Place,
    /// Who it is.
    pub client: Client,
    /// What became of it.
    pub state: PushState,
    /// Why the client can't use it.
    pub reason: Option<String>,
    /// When that came to be; `None` when nothing has happened yet.
    pub at: Option<WallMillis>,
    /// True while the client is connected.
    pub is_connected: bool,
}

/// What one node knows of the pushes of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePushes {
    /// Those that were asked for.
    pub page: Page<PushSeen>,
    /// How many stand in each state, in the order of [`PushState::ALL`].
    pub counts: [u64; PushState::ALL.len()],
    /// False when the node may have pushed this version to others, and does not know of it any longer.
    pub is_whole: bool,
}

/// Where a version stands at a client that is connected and watches the key. What its session says is newer than the
/// account, whose `row` may be on its way.
#[must_use]
pub fn standing(position: &Position, row: Option<&Row>, version: Version) -> PushState {
    if let Some(pushed) = position.pushed.filter(|pushed| pushed.version == version) {
        return state_of(pushed.reaction);
    }
    match (row, position.holds) {
        (Some(row), _) => row.state,
        (None, Some(holds)) if holds.version == version => PushState::Held,
        (None, Some(holds)) if holds.version > version => PushState::Superseded,
        (None, Some(_) | None) => PushState::Pending,
    }
}

fn state_of(reaction: Reaction) -> PushState {
    match reaction {
        Reaction::Unanswered => PushState::Sent,
        Reaction::Received => PushState::Received,
        Reaction::Applied => PushState::Applied,
        Reaction::Rejected => PushState::Rejected,
    }
}

/// What is shown of a key.
#[must_use]
pub fn key_seen(key: ConfigKey, position: &Position) -> KeySeen {
    let state = position.pushed.map(|pushed| state_of(pushed.reaction));
    let (version, md5) = position.holds.map_or((None, None), |holds| (Some(holds.version), holds.md5));
    KeySeen { key, version, md5, state }
}

impl PushSeen {
    /// A push to a client that is connected, or of which there is a row.
    #[must_use]
    pub fn new(
        (node, session): (&Arc<str>, SessionNumber),
        client: &Client,
        (state, row): (PushState, Option<&Row>),
        is_connected: bool,
    ) -> Self {
        let place = Place { client: client.id.clone(), node: Arc::clone(node), session };
        let row = row.filter(|row| row.state == state);
        let reason = row.and_then(|row| row.reason.as_deref()).map(str::to_owned);
        Self { place, client: client.clone(), state, reason, at: row.map(|row| row.at), is_connected }
    }
}

impl NodePushes {
    /// What a node answers, made of all that it knows.
    #[must_use]
    pub fn of(all: Vec<PushSeen>, query: &PushQuery, is_whole: bool) -> Self {
        let mut counts = [0; PushState::ALL.len()];
        for push in &all {
            let place = PushState::ALL.iter().position(|state| *state == push.state);
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
        }
        let wanted = all.into_iter().filter(|push| query.state.is_none_or(|state| state == push.state));
        Self { page: Page::of(wanted, query.after.as_ref(), query.limit), counts, is_whole }
    }
}

#[cfg(test)]
mod tests;
