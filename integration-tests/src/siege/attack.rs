//! The attacks. Each goes on until it is dropped, with as many attackers as it says; an attacker that is refused or cut
//! off comes again. Owns that they come again; each module owns attacks of one kind.

pub(super) mod bodies;
pub(super) mod connections;
pub(super) mod decoding;
pub(super) mod http2;
pub(super) mod publishes;
pub(super) mod unread;
pub(super) mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::target::Target;

/// How long an attacker stays away that was refused or is done. Keeps attackers from costing more than the node.
const PAUSE: Duration = Duration::from_millis(20);
/// How long an attacker holds what it has, where nothing tells it that the node has let go.
const HOLD: Duration = Duration::from_secs(15);

/// Bytes that say nothing.
static FILLER: [u8; 64 * 1024] = [b'a'; 64 * 1024];

/// Lets so many attackers do something again and again.
async fn swarm<F>(target: Arc<Target>, attackers: usize, act: impl Fn(Arc<Target>, usize) -> F + Clone + Send + 'static)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut all = JoinSet::new();
    for attacker in 0..attackers {
        let (target, act) = (Arc::clone(&target), act.clone());
        all.spawn(async move {
            loop {
                // A refusal is what is hoped for.
                drop(act(Arc::clone(&target), attacker).await);
                sleep(PAUSE).await;
            }
        });
    }
    while all.join_next().await.is_some() {}
}
