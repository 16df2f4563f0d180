//! The membership protocol (SWIM, by foca) as a machine: datagrams and time in, datagrams and sightings out.
//!
//! Owns the local node's identity, the members, the timers and the guards that foca needs in small clusters. Opens
//! nothing and reads no clock, so that a whole cluster runs in one test under virtual time. The one who drives it
//! calls [`Engine::tick`] at [`Engine::next_wakeup`] or later, begins a round when [`Engine::round_is_due`], and sends
//! [`Engine::take_sends`] after each call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{GossipObservation, Life, Status};
use callboard_protocol::time::Mono;
use foca::{AccumulatingRuntime, Codec as _, Foca, Header, NoCustomBroadcast, OwnedNotification, Timer};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::announcement::Announcement;
use super::config::config;
use super::identity::Identity;
use super::overtaking::{Namesakes, Renewals};
use super::timers::Timers;
use super::wire::Wire;

/// Members, dead ones included, beyond which only datagrams of known ones are taken.
const MOST_MEMBERS: usize = 1_024;
/// Farewells are not repeated by anybody, so they are sent this often at once.
const FAREWELLS: usize = 3;
/// A suspect that is heard for so long has not been told that it is one: foca tells so a few times and then no more,
/// and where a cut ate that it would be suspected for ever.
const HEARD_AS_SUSPECT: Duration = Duration::from_secs(1);
/// One that was told so often again, and was heard for [`DEAF_AFTER`] without an objection, is deaf. That is as bad as
/// dead.
const TELLINGS: u8 = 2;
const DEAF_AFTER: Duration = Duration::from_millis(3_500);
/// What a datagram was refused for. Nothing of it was believed, or only its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no gossip.
    Malformed,
    /// It comes from a node too many.
    Crowded,
}

/// The machine.
pub(super) struct Engine {
    foca: Foca<Identity, Wire, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
    timers: Timers<Timer<Identity>>,
    announcing: Announcement,
    chance: StdRng,
    sends: Vec<(SocketAddr, Bytes)>,
    /// Some member knows the present identity.
    is_known: bool,
    has_left: bool,
    has_changed: bool,
    renewals: Renewals,
    /// The membership row of this id belongs to this process.
    owns_id: bool,
    namesakes: Namesakes,
    /// Suspects that were heard.
    heard: BTreeMap<NodeId, Heard>,
}

/// A suspect that was heard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    first: Mono,
    /// When it was last told, or first heard.
    since: Mono,
    told: u8,
}

impl Engine {
    /// A machine of a node that has told nobody of itself yet.
    pub(super) fn new(identity: Identity, mut chance: StdRng) -> Self {
        let foca = Foca::new(identity, config(), StdRng::from_rng(&mut chance), Wire);
        Self {
            foca,
            runtime: AccumulatingRuntime::new(),
            timers: Timers::new(),
            announcing: Announcement::default(),
            chance,
            sends: Vec::new(),
            is_known: false,
            has_left: false,
            has_changed: true,
            renewals: Renewals::default(),
            owns_id: false,
            namesakes: Namesakes::default(),
            heard: BTreeMap::new(),
        }
    }

    /// What was to be sent since the last call, in order.
    pub(super) fn take_sends(&mut self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut self.sends)
    }

    /// True when something about a member has changed since the last call. That one is suspected never tells so.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// When time alone makes the machine act next.
    pub(super) fn next_wakeup(&self) -> Option<Mono> {
        self.timers.next_due()
    }

    /// The local node's latest word of itself.
    pub(super) fn generation(&self) -> u64 {
        self.foca.identity().generation
    }

    /// How many others are not down.
    pub(super) fn members(&self) -> usize {
        self.foca.num_members()
    }

    /// Takes a datagram.
    pub(super) fn datagram(&mut self, now: Mono, bytes: &[u8]) -> Result<(), Refused> {
        if self.has_left {
            return Ok(());
        }
        if self.foca.iter_membership_state().len() >= MOST_MEMBERS && !self.is_of_member(bytes) {
            return Err(Refused::Crowded);
        }
        let result = self.foca.handle_data(bytes, &mut self.runtime);
        self.absorb(now);
        if let Ok(Header { src, .. }) = Wire.decode_header(bytes) {
            self.observe_namesake(now, &src);
            self.tell_suspect(now, src);
        }
        match result {
            Ok(()) => Ok(()),
            // The own address may be among the seeds.
            Err(foca::Error::DataFromOurselves) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a datagram of gossip was refused");
                Err(Refused::Malformed)
            }
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Mono) {
        self.timers.mend_pause(now);
        while let Some(timer) = self.timers.take_due(now) {
            if let Err(error) = self.foca.handle_timer(timer, &mut self.runtime) {
                // It recovers by itself: the next timer is on its way.
                tracing::debug!(%error, "a timer of gossip failed");
            }
            self.absorb(now);
        }
    }

    /// True when the node should announce itself; the seeds are best resolved anew then.
    pub(super) fn round_is_due(&self, now: Mono) -> bool {
        !self.has_left && self.announcing.is_due(now, self.is_alone())
    }

    /// Announces the node to the addresses whose turn it is.
    pub(super) fn begin_round(&mut self, now: Mono) {
        let members: BTreeSet<SocketAddr> = self.foca.iter_members().map(|member| member.id().peer).collect();
        let (is_alone, me) = (self.is_alone(), self.foca.identity().peer);
        let to = self.announcing.begin(now, is_alone, &members, me, &mut self.chance);
        self.announce(now, to);
    }

    /// Replaces the addresses of the seeds.
    pub(super) fn set_seeds(&mut self, now: Mono, seeds: Vec<SocketAddr>) {
        let new = self.announcing.set_seeds(seeds);
        self.greet(now, new);
    }

    /// Replaces the addresses that membership rows tell.
    pub(super) fn set_peers(&mut self, now: Mono, peers: Vec<SocketAddr>) {
        let new = self.announcing.set_peers(peers);
        self.greet(now, new);
    }

    /// Tells everybody that the node is now this.
    pub(super) fn set_status(&mut self, now: Mono, status: Status) {
        if self.has_left || self.foca.identity().status == status {
            return;
        }
        self.become_later(status, 1);
        self.absorb(now);
        self.begin_round(now);
    }

    /// Tells everybody that the node is gone, by its own will. It says nothing from then on.
    pub(super) fn leave(&mut self, now: Mono) {
        if self.has_left {
            return;
        }
        if self.foca.identity().status != Status::Leaving {
            self.become_later(Status::Leaving, 1);
            self.absorb(now);
        }
        self.has_left = true;
        let left = self.foca.leave_cluster(&mut self.runtime);
        let repeated = (1..FAREWELLS).try_for_each(|_| self.foca.gossip(&mut self.runtime));
        if let Err(error) = left.and(repeated) {
            // The others find out by themselves.
            tracing::warn!(%error, "leaving could not be told");
        }
        self.absorb(now);
        self.timers = Timers::new();
        self.has_changed = true;
    }

    /// Every node that is known, the local one included: its latest word at each of its addresses.
    pub(super) fn sightings(&self) -> Vec<GossipObservation> {
        let me = self.foca.identity();
        let own = me.sighting(if self.has_left { Life::Down } else { Life::Alive });
        let others = self.foca.iter_membership_state().filter(|member| member.id().node != me.node);
        let others = others.map(|member| {
            member.id().sighting(match member.state() {
                foca::State::Alive => Life::Alive,
                foca::State::Suspect => Life::Suspect,
                foca::State::Down => Life::Down,
            })
        });
        [own].into_iter().chain(others).collect()
    }

    /// Says whether the membership row of this id belongs to this process.
    pub(super) fn set_owns_id(&mut self, owns_id: bool) {
        self.owns_id = owns_id;
    }

    /// Becomes later than every other word under the own id, if the id belongs to this process: those who go by the
    /// latest word then go by its. One to whom it does not belong leaves the other one alone.
    pub(super) fn overtake(&mut self, now: Mono) {
        let me = self.foca.identity();
        let (own, status) = (me.generation, me.status);
        let others = self.foca.iter_membership_state().filter(|member| member.id().node == me.node);
        let Some(latest) = others.map(|member| member.id().generation).max() else { return };
        let leap = latest.saturating_add(1).saturating_sub(own);
        if !self.owns_id || self.has_left || leap == 0 || own == u64::MAX {
            return;
        }
        self.become_later(status, leap);
        self.absorb(now);
        self.begin_round(now);
    }

    /// Whoever speaks under the own id from another address is another process.
    fn observe_namesake(&mut self, now: Mono, source: &Identity) {
        let me = self.foca.identity();
        if source.node != me.node || source.peer == me.peer || !self.namesakes.observe(now, source.peer) {
            return;
        }
        tracing::error!(
            node.id = %me.node,
            peer.address = %source.peer,
            http.address = %source.http,
            "{}",
            if self.owns_id {
                "another process at this address was started with the id of this node; stop it, or give it another node.id"
            } else {
                "another process at this address has the id of this node; stop one of the two, or give it another node.id"
            }
        );
    }

    /// Nobody is known, or nobody is known to know the present identity.
    fn is_alone(&self) -> bool {
        !self.is_known || self.foca.num_members() == 0
    }

    fn is_of_member(&self, mut bytes: &[u8]) -> bool {
        let Ok(header) = Wire.decode_header(&mut bytes) else { return false };
        self.foca.iter_membership_state().any(|member| member.id().peer == header.src.peer)
    }

    /// Has a suspect told that it is one, when it was heard again and again and has not objected. The word is of a
    /// later incarnation than the suspicion before, so that foca takes it for news, which the suspect then outdoes. As
    /// it starts foca's time-out anew it is not said for ever.
    fn tell_suspect(&mut self, now: Mono, source: Identity) {
        let id = source.node.clone();
        let known = self.foca.iter_membership_state().find(|member| *member.id() == source);
        let Some(suspect) = known.filter(|member| member.state() == foca::State::Suspect) else {
            self.heard.remove(&id);
            return;
        };
        let incarnation = suspect.incarnation();
        let heard = self.heard.entry(id).or_insert(Heard { first: now, since: now, told: 0 });
        if now.since(heard.since) < HEARD_AS_SUSPECT {
            return;
        }
        let is_deaf = heard.told >= TELLINGS && now.since(heard.first) >= DEAF_AFTER;
        let word = if is_deaf {
            foca::Member::new(source, incarnation, foca::State::Down)
        } else {
            foca::Member::new(source, incarnation.saturating_add(1), foca::State::Suspect)
        };
        (heard.since, heard.told) = (now, heard.told.saturating_add(1));
        if let Err(error) = self.foca.apply_many([word].into_iter(), true, &mut self.runtime) {
            tracing::debug!(%error, "a suspect could not be told that it is one");
        }
        self.absorb(now);
    }

    fn greet(&mut self, now: Mono, new: Vec<SocketAddr>) {
        if !self.has_left && self.is_alone() {
            let me = self.foca.identity().peer;
            self.announce(now, new.into_iter().filter(|address| *address != me).collect());
        }
    }

    fn announce(&mut self, now: Mono, to: Vec<SocketAddr>) {
        for address in to {
            if let Err(error) = self.foca.announce(Identity::whoever(address), &mut self.runtime) {
                tracing::warn!(%error, "the node could not announce itself");
            }
        }
        self.absorb(now);
    }

    /// Says something later of itself.
    fn become_later(&mut self, status: Status, leap: u64) {
        let identity = self.foca.identity();
        let later = identity.with(status, identity.generation.saturating_add(leap));
        if let Err(error) = self.foca.change_identity(later, &mut self.runtime) {
            tracing::warn!(%error, "the node could not change its identity");
        }
        self.be_unknown();
    }

    /// Comes back, `leap` later, as one that has no word to pass on. What a node takes for true that hears nobody, or
    /// is taken for dead, is most likely its own fault: once it is heard again, others would take those who live for
    /// dead on its word.
    fn begin_anew(&mut self, leap: u64) {
        let known: Vec<_> = self.foca.iter_membership_state().cloned().collect();
        let identity = self.foca.identity();
        let later = identity.with(identity.status, identity.generation.saturating_add(leap));
        self.foca = Foca::new(later, config(), StdRng::from_rng(&mut self.chance), Wire);
        self.timers = Timers::new();
        let known = known.into_iter().map(|member| match member.state() {
            foca::State::Suspect => foca::Member::new(member.id().clone(), member.incarnation(), foca::State::Alive),
            foca::State::Alive | foca::State::Down => member,
        });
        if let Err(error) = self.foca.apply_many(known, false, &mut self.runtime) {
            tracing::debug!(%error, "what was known of the others is forgotten in part");
        }
        self.be_unknown();
    }

    fn be_unknown(&mut self) {
        (self.is_known, self.has_changed) = (false, true);
        self.announcing.hurry();
    }

    /// Takes over what foca wants, until it wants nothing more.
    fn absorb(&mut self, now: Mono) {
        let before = self.sends.len();
        loop {
            while let Some((to, bytes)) = self.runtime.to_send() {
                self.sends.push((to.peer, bytes));
            }
            while let Some((after, timer)) = self.runtime.to_schedule() {
                self.timers.add(now.after(after), timer);
            }
            match self.runtime.to_notify() {
                Some(notification) => {
                    if matches!(notification, OwnedNotification::Rejoin(_)) {
                        // Said together with the news of the later identity, and not to be said: see there.
                        self.sends.truncate(before);
                    }
                    self.heed(now, notification);
                }
                None => return,
            }
        }
    }

    fn heed(&mut self, now: Mono, notification: OwnedNotification<Identity>) {
        match notification {
            // A rename between two identities that live is a later word of the same node.
            OwnedNotification::MemberUp(_) | OwnedNotification::MemberDown(_) | OwnedNotification::Rename(..) => {
                self.has_changed = true;
            }
            OwnedNotification::Active => self.is_known = true,
            OwnedNotification::Idle | OwnedNotification::Defunct if !self.has_left => {
                // All others are gone. They may well think so of this node: come back as a later one.
                self.begin_anew(1);
            }
            OwnedNotification::Idle | OwnedNotification::Defunct => {}
            OwnedNotification::Rejoin(_) => {
                let leap = self.renewals.count(now);
                self.begin_anew(leap);
            }
        }
    }
}
