//! Whether the node can serve: one rule for every interface that is asked. Asks, never repairs.

use std::time::Duration;

use callboard_actors::conf_manager::GetStall;
use callboard_actors::lease_keeper::{GetStanding, Standing};
use callboard_actors::runtime::ask;
use callboard_actors::store_reader::Probe;
use callboard_actors::store_writer::ProveWritable;

use super::state::State;

/// How long each check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// Whether the node can serve everything: the one rule for every interface that is asked.
pub(crate) struct Readiness {
    /// The database answers.
    pub(crate) database: bool,
    /// Why commits do not go through, as a sentence for anybody.
    pub(crate) commits: Result<(), String>,
    /// Why the node does not take part as it shall, as a sentence for anybody.
    pub(crate) membership: Result<(), String>,
}

impl Readiness {
    /// Asks the database and the parts of the node. A commit that went through a moment ago proves that others do; else
    /// one is tried. Publishes that fail all the same, for want of acknowledgements, say that the next one will.
    pub(crate) async fn of(state: &State) -> Self {
        let worker = &state.worker;
        let (database, commits, stall, standing) = futures_util::future::join4(
            ask(&worker.store, Probe, CHECK_DEADLINE),
            ask(&worker.node.store_writer, ProveWritable, CHECK_DEADLINE),
            ask(&worker.node.conf_manager, GetStall, CHECK_DEADLINE),
            ask(&worker.node.lease_keeper, GetStanding, CHECK_DEADLINE),
        )
        .await;
        Self {
            database: matches!(database, Ok(Ok(()))),
            commits: match (commits, stall) {
                (Ok(Ok(())), Ok(None)) => Ok(()),
                (Ok(Err(reason)), _) | (Ok(Ok(())), Ok(Some(reason))) => Err(reason),
                (Err(_late), _) | (_, Err(_late)) => Err("the database did not answer in time".to_owned()),
            },
            membership: match standing {
                Ok(Standing::Settled) => Ok(()),
                Ok(Standing::Split(split)) => Err(split.to_string()),
                Ok(Standing::Unknown | Standing::Elsewhere(_) | Standing::Direct) | Err(_) => {
                    Err("the node has not joined the cluster; its log says why".to_owned())
                }
            },
        }
    }

    /// Why the node can't serve everything; `None` when it can.
    pub(crate) fn refusal(&self) -> Option<String> {
        match (&self.commits, &self.membership) {
            _ if !self.database => Some("the database does not answer".to_owned()),
            (Err(reason), _) => Some(format!("no publish can succeed: {reason}")),
            (Ok(()), membership) => membership.clone().err(),
        }
    }
}
