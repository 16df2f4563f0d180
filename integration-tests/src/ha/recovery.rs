//! How long the nodes take to serve again once their database takes writes. Owns the publishes that find out; their
//! keys are no part of what is judged.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use callboard_protocol::key::ConfigKey;
use futures_util::future::try_join_all;

use crate::cluster::{Cluster, Member};
use crate::poll;

/// Longest time that is waited for it.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest time for one answer: less than a publish may take, so that one which hangs is not waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// From `writable` on until every node has published what it was asked to afterwards, and says that it is ready.
pub(super) async fn measure(cluster: &Cluster, writable: Instant) -> anyhow::Result<Duration> {
    let nodes = cluster.members().map(|member| serves(member, writable));
    Ok(try_join_all(nodes).await?.into_iter().max().unwrap_or_default())
}

async fn serves(member: &Member, writable: Instant) -> anyhow::Result<Duration> {
    let key = ConfigKey::new("public", "ha", &member.id())?;
    poll::until(&format!("{} publishes", member.id()), LIMIT, async || {
        let published = member.client.put(&key, format!("{:?}", Instant::now())).limit(ANSWER).send().await;
        Ok(published.is_ok_and(|answer| answer.status < 300).then_some(()))
    })
    .await
    .with_context(|| member.node.log_tail())?;
    poll::until(&format!("{} is ready", member.id()), LIMIT, async || {
        let ready = member.client.get_path("/readyz").limit(ANSWER).send().await;
        Ok(ready.is_ok_and(|answer| answer.status == 200).then_some(()))
    })
    .await
    .with_context(|| member.node.log_tail())?;
    Ok(writable.elapsed())
}
