//! Turns among the connections of a worker: one that could read or write much at once lets the others go first every so
//! often. Owns how much is a turn; reads and writes nothing.

use std::task::{Context, Poll};

/// Bytes that pass a socket before others have their turn. The runtime looks for what else is ready after some sixty
/// turns only.
const TURN: usize = 32 * 1024;

/// What passed in the turn of one connection.
#[derive(Debug, Default)]
pub(crate) struct Turns(usize);

impl Turns {
    /// Ready when it is this connection's turn. The task is woken when it comes again.
    pub(crate) fn poll(&mut self, task: &Context<'_>) -> Poll<()> {
        if self.0 < TURN {
            return Poll::Ready(());
        }
        self.0 = 0;
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// So many bytes passed.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    //! A turn ends, and comes again.

    use std::task::{Context, Waker};

    use super::{TURN, Turns};

    #[test]
    fn after_a_turn_others_go_first() {
        let (mut turns, task) = (Turns::default(), Context::from_waker(Waker::noop()));
        assert!(turns.poll(&task).is_ready());
        turns.passed(TURN - 1);
        assert!(turns.poll(&task).is_ready());
        turns.passed(1);
        assert!(turns.poll(&task).is_pending() && turns.poll(&task).is_ready());
    }
}
