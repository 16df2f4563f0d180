//! What the cluster listener hears of membership rows, and what it answers to the listeners of other nodes.

use std::pin::Pin;
use std::time::Duration;

use actix::{Handler, ResponseFuture};
use callboard_protocol::config::Version;
use callboard_protocol::lease::LeaseObservation;
use callboard_protocol::member::MemberRow;
use callboard_protocol::membership_view::{Addresses, RowObservation, Status};

use super::{ClusterListener, Deps, PeersKnown, RowsSeen};
use crate::change_feed::GetCursor;
use crate::gossip::{self, SetOwnsId, SetStatus};
use crate::lease_keeper::{self, MembershipChanged};
use crate::peer_links::{PeerAsked, PeerLinks, PeerQuery, PeerReply, PeerStatus, SetPeers, SubscribeQueries};
use crate::push_ledger::{GetClients, GetPushes};
use crate::runtime::{Context, ask};
use crate::subscription::{keep_subscribed, keep_subscribed_or};

/// How long the change feed may take to say where it is.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long the account of pushes may take to answer.
const ASK: Duration = Duration::from_secs(5);

impl ClusterListener {
    /// Subscribes to gossip, to the membership rows and to what peers ask. Gossip tells the present sightings each
    /// time.
    pub(super) fn subscribe(&self, context: &mut Context<Self>) {
        if let Some(gossip) = self.arguments.gossip.clone() {
            // It forgot the addresses of the rows as well; the next rows bring them again.
            let lost = |listener: &mut Self| listener.announced.clear();
            keep_subscribed_or(context, async move |me| gossip.send(gossip::Subscribe(me.recipient())).await, lost);
        }
        let Some(Deps { lease_keeper, links, .. }) = self.arguments.deps.clone() else { return };
        keep_subscribed(context, async move |me| lease_keeper.send(lease_keeper::Subscribe(me.recipient())).await);
        if let Some(links) = links {
            // They forgot the peers as well.
            let lost = |listener: &mut Self| listener.tell(listener.peers());
            keep_subscribed_or(context, async move |me| links.send(SubscribeQueries(me.recipient())).await, lost);
        }
    }
}

fn sight((row, lease): &(MemberRow, LeaseObservation)) -> RowObservation {
    let Addresses { peer, http, .. } = Addresses::parse(&row.address);
    RowObservation { node: row.node.clone(), incarnation: row.incarnation, lease: *lease, peer, http }
}

impl Handler<MembershipChanged> for ClusterListener {
    type Result = ();

    fn handle(&mut self, changed: MembershipChanged, context: &mut Context<Self>) {
        if self.incarnation.is_some() != changed.incarnation.is_some()
            && let Some(gossip) = &self.arguments.gossip
        {
            // Gossip that is rebuilt remembers it.
            gossip.do_send(SetOwnsId(changed.incarnation.is_some()));
        }
        (self.incarnation, self.has_namesake) = (changed.incarnation, changed.namesake.is_some());
        if changed.incarnation.is_some() && !self.was_member {
            self.was_member = true;
            if let Some(gossip) = &self.arguments.gossip {
                // Gossip that is rebuilt remembers what the node wants to be.
                gossip.do_send(SetStatus(Status::Up));
            }
        }
        self.handle(RowsSeen(changed.rows.iter().map(sight).collect()), context);
    }
}

impl Handler<PeerAsked> for ClusterListener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, asked: PeerAsked, _: &mut Context<Self>) -> Self::Result {
        let PeerAsked { query, reply, .. } = asked;
        let ledger = self.arguments.deps.as_ref().map(|deps| deps.ledger.clone());
        let answering: Pin<Box<dyn Future<Output = Option<PeerReply>>>> = match query {
            PeerQuery::Status => Box::pin(self.status()),
            PeerQuery::Clients(query) => {
                Box::pin(async move { ask(&ledger?, GetClients(*query), ASK).await.ok().map(PeerReply::Clients) })
            }
            PeerQuery::Pushes(query) => Box::pin(async move {
                let pushes = ask(&ledger?, GetPushes(*query), ASK).await.ok()?;
                Some(PeerReply::Pushes(Box::new(pushes)))
            }),
        };
        Box::pin(async move {
            // A reply that is dropped says that there is no answer; an asker that stopped waiting needs none.
            if let Some(answer) = answering.await {
                drop(reply.send(answer));
            }
        })
    }
}

impl ClusterListener {
    /// How this node is.
    fn status(&self) -> impl Future<Output = Option<PeerReply>> + use<> {
        let view = self.roster.view().into_iter().find(|node| node.id == self.arguments.node);
        let (state, version) = view.map_or_else(Default::default, |own| {
            (own.state.as_str().to_owned(), own.version.map(|version| version.to_string()).unwrap_or_default())
        });
        let feed = self.arguments.deps.as_ref().map(|deps| deps.feed.clone());
        let incarnation = self.incarnation;
        async move {
            let cursor = match feed {
                Some(feed) => ask(&feed, GetCursor, DEADLINE).await.ok().flatten(),
                None => None,
            };
            let revision = cursor.unwrap_or(Version::ZERO);
            Some(PeerReply::Status(PeerStatus { revision, incarnation, version, state }))
        }
    }
}

impl Handler<PeersKnown> for PeerLinks {
    type Result = ();

    fn handle(&mut self, PeersKnown(peers): PeersKnown, context: &mut Context<Self>) {
        self.handle(SetPeers(peers), context);
    }
}
