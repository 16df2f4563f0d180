//! What a fuzz target reaches of gossip. Present only with the feature `fuzzing`.

use std::net::SocketAddr;

use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::Status::Joining;
use callboard_protocol::time::Mono;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::engine::Engine;
use super::identity::Identity;

/// The content of a datagram at a node that knows nobody, twice: what it is refused for is nobody's, and what it is
/// taken for is worked off.
pub fn datagram(content: &[u8]) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let identity = Identity { node: NodeId("here".into()), ..Identity::whoever(address) }.with(Joining, 1);
    let mut engine = Engine::new(identity, StdRng::seed_from_u64(1));
    for now in [Mono::default(), Mono::default()] {
        if engine.datagram(now, content).is_err() {
            continue;
        }
        engine.tick(now);
        drop(engine.take_sends());
        drop(engine.sightings());
    }
}
