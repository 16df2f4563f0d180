//! The long polls of a worker thread as operators see them. Looks only.

use std::sync::Arc;

use actix::{Handler, MessageResult};
use callboard_protocol::clients::{ClientSeen, KeySeen, Page, Place};
use callboard_protocol::long_poll::Watched;
use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::session::client::{Client, ClientId, ClientKind};
use callboard_protocol::time::WallMillis;

use super::LongPoll;
use crate::coordinator::connections::ListClients;
use crate::runtime::Context;

impl Handler<ListClients> for LongPoll {
    type Result = MessageResult<ListClients>;

    fn handle(&mut self, ListClients(query): ListClients, _: &mut Context<Self>) -> Self::Result {
        let (node, first) = &self.shown_as;
        let shown = usize::try_from(query.keys).unwrap_or(usize::MAX);
        let wanted = query.filter.key.as_ref();
        let seen = self.polls.held().filter_map(|(id, identity, watched)| {
            // A poll lives for one answer, and has no other name.
            let name = ClientId(format!("long_poll-{}-{}", identity.address, id.serial()).into());
            let client = Client {
                id: name.clone(),
                kind: ClientKind::LongPoll,
                identity: identity.clone(),
                software: String::new(),
            };
            if !query.filter.fits(&client) {
                return None;
            }
            let watched: Vec<Watched> = watched.collect();
            if wanted.is_some_and(|wanted| watched.iter().all(|watched| watched.key != *wanted)) {
                return None;
            }
            let count = watched.len() as u64;
            let keys = watched.into_iter().filter(|watched| wanted.is_none_or(|wanted| watched.key == *wanted));
            let key = |Watched { key, held }| {
                let (version, md5) = held.named();
                KeySeen { key, version, md5, state: None }
            };
            let session = SessionNumber(first.wrapping_add(id.serial()));
            Some(ClientSeen {
                place: Place { client: name, node: Arc::clone(&node.0), session },
                client,
                since: WallMillis::default(),
                is_idle: false,
                keys: keys.take(shown).map(key).collect(),
                watched: count,
                prefixes: Vec::new(),
            })
        });
        MessageResult(Page::of(seen, query.after.as_ref(), query.limit))
    }
}
