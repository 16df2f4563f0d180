//! Random messages that keep every rule.

use std::sync::Arc;

use callboard_protocol::commit::{BatchId, Operation};
use callboard_protocol::config::{ConfigState, ConfigType, Metadata, MetadataEdit, Version};
use callboard_protocol::content::Content;
use callboard_protocol::extent::{Extent, Fingerprint};
use callboard_protocol::gray::GrayRules;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{Ack, AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::receiver::{Ack2, CommittedChange, NotifyCommitEvent, NotifyEvent};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::RequestId;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};
use uuid::Uuid;

use crate::transport::PeerMessage;

pub(super) fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn keys() -> impl Strategy<Value = ConfigKey> {
    ("[a-z0-9_-]{1,64}", "[a-zA-Z:._-]{1,128}", "[a-zA-Z:._-]{1,256}")
        .prop_map(|(namespace, group, data_id)| ConfigKey::stored(&namespace, &group, &data_id).unwrap())
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn batch() -> impl Strategy<Value = BatchId> {
    id().prop_map(BatchId)
}

fn node() -> impl Strategy<Value = NodeId> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|text| NodeId(text.into()))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let text = || option::of("[^\0]{0,32}");
    let kind = proptest::sample::select(ConfigType::ALL.to_vec());
    (kind, text(), vec("[^\0]{0,20}", 0..5), text(), text(), text(), (text(), text())).prop_map(
        |(kind, description, tags, application, usage, effect, (schema, encrypted_data_key))| {
            let edit = MetadataEdit {
                kind: Some(kind),
                description,
                tags: Some(tags),
                application,
                usage,
                effect,
                schema,
                encrypted_data_key,
                is_secret: None,
            };
            edit.checked().unwrap().applied_to(&Metadata::default(), false)
        },
    )
}

fn change() -> impl Strategy<Value = CommittedChange> {
    let operation = proptest::sample::select(vec![Operation::Create, Operation::Update, Operation::Remove]);
    let formal = option::of("\\PC{0,50}x");
    let state = option::of((formal, metadata(), any::<(i64, i64)>()));
    (keys(), any::<u64>(), operation, state).prop_map(|(key, version, operation, state)| {
        let version = Version(version);
        let state = state.map(|(formal, metadata, (created_at, modified_at))| {
            Arc::new(ConfigState {
                key: key.clone(),
                version,
                formal: formal.map(|text| Content::new(text.into()).unwrap()),
                gray: GrayRules::default(),
                metadata,
                created_at: WallMillis(created_at),
                modified_at: WallMillis(modified_at),
            })
        });
        CommittedChange { key, version, operation, state }
    })
}

fn notify() -> impl Strategy<Value = NotifyEvent> {
    let request = "[!-~]{1,128}".prop_map(|text| RequestId::new(&text).unwrap());
    (any::<u64>(), batch(), node(), id(), vec((keys(), request), 0..8)).prop_map(
        |(timeline, batch, publisher, life, items)| NotifyEvent {
            timeline: Timeline(timeline),
            batch,
            publisher,
            publisher_incarnation: Incarnation(life),
            items,
            database: Fingerprint::UNKNOWN,
        },
    )
}

fn commit() -> impl Strategy<Value = NotifyCommitEvent> {
    (any::<u64>(), batch(), any::<u64>(), vec(change(), 0..8)).prop_map(|(timeline, batch, revision, changes)| {
        let (timeline, revision, database) = (Timeline(timeline), Version(revision), Fingerprint::UNKNOWN);
        NotifyCommitEvent { timeline, batch, revision, changes, database }
    })
}

/// Any message.
pub(super) fn message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![
        notify().prop_map(PeerMessage::Notify),
        (batch(), node(), id(), any::<u64>()).prop_map(|(batch, node, life, number)| PeerMessage::Ack {
            batch,
            ack: Ack { node, incarnation: Incarnation(life), number: AckNo(number), known: Extent::default() },
        }),
        (batch(), "\\PC{0,30}").prop_map(|(batch, reason)| PeerMessage::Nack { batch, reason }),
        commit().prop_map(PeerMessage::Commit),
        batch().prop_map(PeerMessage::Abort),
        (batch(), node()).prop_map(|(batch, node)| PeerMessage::Ack2(Ack2 { batch, node })),
    ]
}
