//! Work on long messages, where it keeps nobody waiting: a worker has many clients, and what takes it milliseconds
//! takes them from all of these. Owns what is long, and how much of such work a worker hands out at a time; knows no
//! message.

use std::cell::Cell;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use callboard_protocol::content::{Content, ContentError, MAX_CONTENT};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Longest message that is worked on at once, in bytes: it takes less than half a millisecond.
pub(crate) const SHORT: usize = 64 * 1024;

thread_local! {
    /// The turn of what this worker has done elsewhere. There is one: more would only take the cores from the workers.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// Does work on a message of so many bytes: at once when it is short, else on a thread that may be kept busy. What has
/// begun there goes on when nobody waits for it any longer.
pub(crate) async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= SHORT {
        return work();
    }
    let turn = TURN.with(Arc::clone).acquire_owned().await;
    let work = spawn_blocking(move || {
        let _turn = turn;
        give_way();
        work()
    });
    match work.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The process ends, and with it whoever waits.
        Err(Err(_stopping)) => pending().await,
    }
}

thread_local! {
    /// Whether this thread gives way to others.
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Lets the workers go before the present thread, which is none of them: where there are as many cores as workers, what
/// is done here takes them from those. Linux knows how urgent a thread is; others know it of processes alone.
#[cfg(target_os = "linux")]
fn give_way() {
    const LESS: i32 = 10;
    if !GIVES_WAY.replace(true)
        && let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LESS)
    {
        tracing::debug!(%error, "work on long messages is as urgent as that of workers");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {
    GIVES_WAY.set(true);
}

/// The content that these bytes are, looked through and digested.
///
/// # Errors
/// As [`Content::new`].
pub(crate) async fn content(bytes: Bytes) -> Result<Content, ContentError> {
    // What is too long is refused at a glance.
    let work = if bytes.len() > MAX_CONTENT { 0 } else { bytes.len() };
    run(work, || Content::new(bytes)).await
}

#[cfg(test)]
mod tests {
    //! Short work is done here, long work elsewhere and one after the other.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::mpsc;
    use std::thread;

    use bytes::Bytes;
    use callboard_protocol::content::{Content, MAX_CONTENT};
    use futures_util::FutureExt as _;
    use futures_util::poll;

    use super::{SHORT, content, run};

    #[tokio::test]
    async fn the_size_says_where_it_is_done() {
        let here = thread::current().id();
        assert_eq!(run(SHORT, || thread::current().id()).now_or_never(), Some(here));
        assert_ne!(run(SHORT + 1, || thread::current().id()).await, here);
    }

    #[tokio::test]
    async fn long_work_waits_for_its_turn_and_short_work_does_not() {
        let (go, gone) = mpsc::channel::<()>();
        let mut first = Box::pin(run(SHORT + 1, move || gone.recv().is_ok()));
        let mut second = Box::pin(run(SHORT + 1, || true));
        assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
        assert!(run(1, || true).now_or_never().is_some());
        // Given up, and still the turn is its own until it is done.
        drop(first);
        tokio::task::yield_now().await;
        assert!(poll!(second.as_mut()).is_pending());
        go.send(()).unwrap();
        assert!(second.await);
    }

    #[tokio::test]
    async fn a_panic_is_that_of_who_waits() {
        let failed = tokio::spawn(run(SHORT + 1, || panic!("on purpose"))).await.unwrap_err();
        assert!(failed.is_panic());
        assert!(run(SHORT + 1, || true).await);
    }

    #[tokio::test]
    async fn a_content_is_the_same_wherever_it_is_looked_through() {
        for length in [1, SHORT + 1, MAX_CONTENT, MAX_CONTENT + 1] {
            let bytes = Bytes::from(vec![b'x'; length]);
            assert_eq!(content(bytes.clone()).await, Content::new(bytes));
        }
    }
}
