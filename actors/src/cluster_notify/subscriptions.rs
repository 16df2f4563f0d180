//! What ClusterNotify hears of other actors, and that it subscribes again whenever one of them forgets. Owns no state.

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};

use super::ClusterNotify;
use crate::cache::writer::Follow;
use crate::lease_keeper::{self, Rejoin};
use crate::peer_links::SubscribeReach;
use crate::runtime::Context;
use crate::subscription::until_lost;

impl ClusterNotify {
    /// Subscribes to the membership, and again whenever the lease keeper forgets.
    pub(super) fn subscribe_to_membership(&mut self, context: &mut Context<Self>) {
        let (keeper, changes) = (self.down.lease_keeper.clone(), context.address().recipient());
        let forgotten = until_lost(async move { keeper.send(lease_keeper::Subscribe(changes)).await });
        context.spawn(
            wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.subscribe_to_membership(context)),
        );
    }

    /// Subscribes to who can be reached, and again whenever the links forget.
    pub(super) fn subscribe_to_reach(&mut self, context: &mut Context<Self>) {
        let Some(links) = self.down.links.clone() else { return };
        let me = context.address().recipient();
        let forgotten = until_lost(async move { links.send(SubscribeReach(me)).await });
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.subscribe_to_reach(context)));
    }

    /// Hears what peers say, and subscribes again whenever the transport forgets.
    pub(super) fn listen_to_peers(&mut self, context: &mut Context<Self>) {
        let forgotten = self.transport.listen(context.address().recipient());
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| notify.listen_to_peers(context)));
    }

    /// A cache that was rebuilt may have lost marks or their ends: only a new life of the membership is sure.
    pub(super) fn follow_cache(&mut self, context: &mut Context<Self>) {
        let cache = self.down.cache.clone();
        let forgotten = until_lost(async move { cache.send(Follow).await });
        context.spawn(wrap_future(forgotten).map(|(), notify: &mut Self, context| {
            notify.down.lease_keeper.do_send(Rejoin);
            notify.follow_cache(context);
        }));
    }
}
