//! The connections for reads whose cost a client chooses: lists, searches, history, what a watch begins with, what
//! happened. They are apart from those that fills and the probe use, few run at a time, and a bounded number waits for
//! a bounded time, first come, first served ([ADR 0022](../../../docs/adr/0022-fair-work.md)). Owns how many run and
//! wait, for all threads of the node; asks nothing.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DatabaseConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialect::Backend;
use super::reader::ReadPool;

/// Where a read waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// What a client asks for anew: it can come again.
    New,
    /// What is owed already: the rest of a page that was begun, what a watch begins with.
    Owed,
}

impl Line {
    /// How many wait at most.
    fn places(self) -> usize {
        match self {
            Self::New => 64,
            Self::Owed => 4_096,
        }
    }

    /// How long one waits at most. Both wait in one line, so that what is owed waits no longer for new searches than
    /// those wait themselves.
    fn patience(self) -> Duration {
        match self {
            Self::New => Duration::from_secs(2),
            Self::Owed => Duration::from_secs(6),
        }
    }
}

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Searches {
    pub(super) connection: DatabaseConnection,
    pub(super) connections: u32,
    /// How many run at most.
    limit: u32,
    running: Arc<Semaphore>,
    new: Arc<Semaphore>,
    owed: Arc<Semaphore>,
}

impl Searches {
    /// So many connections at most. SQLite searches on the cores of this node, so one of them is left to everybody
    /// else.
    pub(super) fn new(connection: DatabaseConnection, connections: u32, backend: Backend) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let others = u32::try_from(cores.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        let limit = if backend == Backend::Sqlite { connections.min(others) } else { connections };
        let line = |line: Line| Arc::new(Semaphore::new(line.places()));
        let running = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { connection, connections, limit, running, new: line(Line::New), owed: line(Line::Owed) }
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_sub(self.running.available_permits())
    }

    async fn turn(&self, line: Line) -> Option<OwnedSemaphorePermit> {
        let places = match line {
            Line::New => &self.new,
            Line::Owed => &self.owed,
        };
        // It is kept until the turn comes.
        let _place = places.try_acquire().ok()?;
        let turn = Arc::clone(&self.running).acquire_owned();
        tokio::time::timeout(line.patience(), turn).await.ok()?.ok()
    }
}

/// A turn: as long as it lives, one search may run.
#[derive(Debug)]
pub struct Turn {
    reader: ReadPool,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// The same database over the connections for searches.
    #[must_use]
    pub fn reader(&self) -> &ReadPool {
        &self.reader
    }
}

impl ReadPool {
    /// Waits for the turn of a read whose cost a client chooses. `None` when too many wait before it.
    pub async fn turn(&self, line: Line) -> Option<Turn> {
        let permit = self.searches().turn(line).await?;
        Some(Turn { reader: self.over_searches(), _permit: permit })
    }

    /// How many searches run.
    #[must_use]
    pub fn searching(&self) -> usize {
        self.searches().running()
    }
}

#[cfg(test)]
mod tests;
