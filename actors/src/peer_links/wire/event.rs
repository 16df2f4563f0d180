//! What nodes say about publishes, as it is written. States are sent along as far as the limits allow: who gets a
//! change without its state looks in the database. Whatever is read is checked; nothing is trusted.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use callboard_protocol::commit::{BatchId, Operation};
use callboard_protocol::config::{ConfigState, Metadata, MetadataEdit, Version};
use callboard_protocol::content::Content;
use callboard_protocol::extent::{Extent, Fingerprint};
use callboard_protocol::gray::GrayRules;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::lease::Announcement;
use callboard_protocol::member::{Ack, AckNo, Incarnation, Timeline};
use callboard_protocol::receiver::{Ack2, CommittedChange, NotifyCommitEvent, NotifyEvent};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::RequestId;
use serde::{Deserialize, Serialize};

use super::{DATABASES, WireError, node_id, text};
use crate::transport::PeerMessage;

/// Longest content that is sent along with a change, in bytes.
pub(super) const MAX_CONTENT_ALONG: usize = 64 * 1024;
/// Most that the states of one commit event may take together, in bytes.
pub(super) const MAX_STATES_ALONG: usize = 4 * 1024 * 1024;

/// A message. The order of the variants is part of the form.
#[derive(Serialize, Deserialize)]
pub(super) enum Message<'a> {
    Notify(Notify<'a>),
    Ack {
        batch: BatchId,
        node: Cow<'a, str>,
        incarnation: Incarnation,
        number: AckNo,
    },
    Nack {
        batch: BatchId,
        reason: Cow<'a, str>,
    },
    Commit(Commit<'a>),
    Abort(BatchId),
    Ack2 {
        batch: BatchId,
        node: Cow<'a, str>,
    },
    /// From version 5 on, in place of the first three of their kind; they say of which database.
    NotifyIn {
        database: Fingerprint,
        notify: Notify<'a>,
    },
    AckKnowing {
        batch: BatchId,
        node: Cow<'a, str>,
        incarnation: Incarnation,
        number: AckNo,
        known: Extent,
    },
    CommitIn {
        database: Fingerprint,
        commit: Commit<'a>,
    },
    /// From version 5 on.
    Announcement(LeasePlace<'a>),
}

/// Where a node has its lease.
#[derive(Serialize, Deserialize)]
pub(super) struct LeasePlace<'a> {
    node: Cow<'a, str>,
    incarnation: Option<Incarnation>,
    renew_seq: u64,
    database: Fingerprint,
    extent: Extent,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Notify<'a> {
    timeline: Timeline,
    batch: BatchId,
    publisher: Cow<'a, str>,
    publisher_incarnation: Incarnation,
    items: Vec<(Key<'a>, Cow<'a, str>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Commit<'a> {
    timeline: Timeline,
    batch: BatchId,
    revision: Version,
    changes: Vec<Change<'a>>,
}

/// Namespace, group and data id.
#[derive(Serialize, Deserialize)]
struct Key<'a>(Cow<'a, str>, Cow<'a, str>, Cow<'a, str>);

/// A change; its state stands under its key and version.
#[derive(Serialize, Deserialize)]
struct Change<'a> {
    key: Key<'a>,
    version: Version,
    operation: Operation,
    state: Option<State<'a>>,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    formal: Option<Bytes>,
    metadata: Cow<'a, Metadata>,
    created_at: WallMillis,
    modified_at: WallMillis,
}

impl<'a> Message<'a> {
    /// The message in this version; some of it has no place in an earlier one.
    pub(super) fn of(message: &'a PeerMessage, version: u16) -> Self {
        match message {
            PeerMessage::Notify(event) if version >= DATABASES => {
                Self::NotifyIn { database: event.database, notify: Notify::of(event) }
            }
            PeerMessage::Notify(event) => Self::Notify(Notify::of(event)),
            PeerMessage::Ack { batch, ack } if version >= DATABASES => Self::AckKnowing {
                batch: *batch,
                node: Cow::Borrowed(&ack.node.0),
                incarnation: ack.incarnation,
                number: ack.number,
                known: ack.known,
            },
            PeerMessage::Ack { batch, ack } => Self::Ack {
                batch: *batch,
                node: Cow::Borrowed(&ack.node.0),
                incarnation: ack.incarnation,
                number: ack.number,
            },
            PeerMessage::Nack { batch, reason } => Self::Nack { batch: *batch, reason: Cow::Borrowed(reason) },
            PeerMessage::Commit(event) if version >= DATABASES => {
                Self::CommitIn { database: event.database, commit: Commit::of(event) }
            }
            PeerMessage::Commit(event) => Self::Commit(Commit::of(event)),
            PeerMessage::Abort(batch) => Self::Abort(*batch),
            PeerMessage::Ack2(Ack2 { batch, node }) => Self::Ack2 { batch: *batch, node: Cow::Borrowed(&node.0) },
            PeerMessage::Announcement(said) => Self::Announcement(LeasePlace {
                node: Cow::Borrowed(&said.node.0),
                incarnation: said.incarnation,
                renew_seq: said.renew_seq,
                database: said.database,
                extent: said.extent,
            }),
        }
    }

    /// Whether a version has this form of a message.
    pub(super) fn is_in(&self, version: u16) -> bool {
        match self {
            Self::Notify(_) | Self::Ack { .. } | Self::Commit(_) => true,
            Self::Nack { .. } | Self::Abort(_) | Self::Ack2 { .. } => true,
            Self::NotifyIn { .. } | Self::AckKnowing { .. } | Self::CommitIn { .. } | Self::Announcement(_) => {
                version >= DATABASES
            }
        }
    }

    pub(super) fn checked(self) -> Result<PeerMessage, WireError> {
        Ok(match self {
            Self::Notify(event) => PeerMessage::Notify(event.checked(Fingerprint::UNKNOWN)?),
            Self::NotifyIn { database, notify } => PeerMessage::Notify(notify.checked(database)?),
            Self::Ack { batch, node, incarnation, number } => PeerMessage::Ack {
                batch,
                ack: Ack { node: node_id(&node)?, incarnation, number, known: Extent::default() },
            },
            Self::AckKnowing { batch, node, incarnation, number, known } => {
                PeerMessage::Ack { batch, ack: Ack { node: node_id(&node)?, incarnation, number, known } }
            }
            Self::Nack { batch, reason } => {
                text("reason", &reason)?;
                PeerMessage::Nack { batch, reason: reason.into_owned() }
            }
            Self::Commit(event) => PeerMessage::Commit(event.checked(Fingerprint::UNKNOWN)?),
            Self::CommitIn { database, commit } => PeerMessage::Commit(commit.checked(database)?),
            Self::Abort(batch) => PeerMessage::Abort(batch),
            Self::Ack2 { batch, node } => PeerMessage::Ack2(Ack2 { batch, node: node_id(&node)? }),
            Self::Announcement(LeasePlace { node, incarnation, renew_seq, database, extent }) => {
                let node = node_id(&node)?;
                PeerMessage::Announcement(Announcement { node, incarnation, renew_seq, database, extent })
            }
        })
    }
}

impl<'a> Notify<'a> {
    fn of(event: &'a NotifyEvent) -> Self {
        let item = |(key, id): &'a (ConfigKey, RequestId)| (Key::of(key), Cow::Borrowed(id.as_str()));
        Self {
            timeline: event.timeline,
            batch: event.batch,
            publisher: Cow::Borrowed(&event.publisher.0),
            publisher_incarnation: event.publisher_incarnation,
            items: event.items.iter().map(item).collect(),
        }
    }

    fn checked(self, database: Fingerprint) -> Result<NotifyEvent, WireError> {
        let item = |(key, id): (Key<'_>, Cow<'_, str>)| Ok((key.checked()?, RequestId::new(&id)?));
        Ok(NotifyEvent {
            timeline: self.timeline,
            batch: self.batch,
            publisher: node_id(&self.publisher)?,
            publisher_incarnation: self.publisher_incarnation,
            items: self.items.into_iter().map(item).collect::<Result<_, WireError>>()?,
            database,
        })
    }
}

impl<'a> Commit<'a> {
    fn of(event: &'a NotifyCommitEvent) -> Self {
        let mut room = MAX_STATES_ALONG;
        Self {
            timeline: event.timeline,
            batch: event.batch,
            revision: event.revision,
            changes: event.changes.iter().map(|change| Change::of(change, &mut room)).collect(),
        }
    }

    fn checked(self, database: Fingerprint) -> Result<NotifyCommitEvent, WireError> {
        Ok(NotifyCommitEvent {
            timeline: self.timeline,
            batch: self.batch,
            revision: self.revision,
            changes: self.changes.into_iter().map(Change::checked).collect::<Result<_, _>>()?,
            database,
        })
    }
}

impl<'a> Key<'a> {
    fn of(key: &'a ConfigKey) -> Self {
        Self(key.namespace().into(), key.group().into(), key.data_id().into())
    }

    fn checked(self) -> Result<ConfigKey, WireError> {
        Ok(ConfigKey::stored(&self.0, &self.1, &self.2)?)
    }
}

impl<'a> Change<'a> {
    /// Takes the state along while there is room. The first that finds none is the last that was looked at.
    fn of(change: &'a CommittedChange, room: &mut usize) -> Self {
        let state = change.state.as_deref().filter(|state| is_sent_along(state)).filter(|state| {
            *room = room.checked_sub(state.weight()).unwrap_or_default();
            *room > 0
        });
        Self {
            key: Key::of(&change.key),
            version: change.version,
            operation: change.operation,
            state: state.map(State::of),
        }
    }

    fn checked(self) -> Result<CommittedChange, WireError> {
        let (key, version) = (self.key.checked()?, self.version);
        let state = self.state.map(|state| state.checked(key.clone(), version)).transpose()?;
        Ok(CommittedChange { key, version, operation: self.operation, state: state.map(Arc::new) })
    }
}

/// These versions of the form have no place for gray contents, for secrets, and for large contents.
fn is_sent_along(state: &ConfigState) -> bool {
    !state.metadata.is_secret
        && state.gray.is_empty()
        && state.formal.as_ref().is_none_or(|content| content.bytes().len() <= MAX_CONTENT_ALONG)
}

impl<'a> State<'a> {
    fn of(state: &'a ConfigState) -> Self {
        Self {
            formal: state.formal.as_ref().map(|content| content.bytes().clone()),
            metadata: Cow::Borrowed(&state.metadata),
            created_at: state.created_at,
            modified_at: state.modified_at,
        }
    }

    fn checked(self, key: ConfigKey, version: Version) -> Result<ConfigState, WireError> {
        Ok(ConfigState {
            key,
            version,
            formal: self.formal.map(Content::new).transpose()?,
            gray: GrayRules::default(),
            metadata: checked(self.metadata.into_owned())?,
            created_at: self.created_at,
            modified_at: self.modified_at,
        })
    }
}

/// The same metadata, once it has passed the rules of an edit.
fn checked(metadata: Metadata) -> Result<Metadata, WireError> {
    let edit = MetadataEdit {
        kind: Some(metadata.kind),
        description: metadata.description,
        tags: Some(metadata.tags),
        application: metadata.application,
        usage: metadata.usage,
        effect: metadata.effect,
        schema: metadata.schema,
        encrypted_data_key: metadata.encrypted_data_key,
        is_secret: None,
    };
    Ok(edit.checked()?.applied_to(&Metadata::default(), false))
}
