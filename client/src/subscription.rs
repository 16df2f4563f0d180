//! A watch that calls back. Owns the task that takes one state after the other and says what the callback made of it.

use std::fmt::Display;
use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Cached;
use crate::error::Error;
use crate::watch::Watch;

/// A callback that is called for each state of a selection, one after the other. Dropping it ends the calls; one that
/// is under way goes on to its end.
#[derive(Debug)]
#[must_use = "dropping it ends the calls"]
pub struct Subscription {
    /// Ends the task when it is dropped.
    _stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Subscription {
    pub(crate) fn new<F, Fut, E>(watch: Watch, callback: F) -> Self
    where
        F: FnMut(Cached) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { _stop: stop, task: tokio::spawn(call(watch, callback, stopped)) }
    }

    /// Waits until no calls come any more.
    ///
    /// # Errors
    /// A node refused to watch; the callback panicked ([`Error::Panicked`]); the client ended.
    pub async fn finished(self) -> Result<(), Error> {
        match self.task.await {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => Err(Error::Panicked),
            Err(_aborted) => Err(Error::Closed),
        }
    }
}

async fn call<F, Fut, E>(mut watch: Watch, mut callback: F, mut stopped: oneshot::Receiver<()>) -> Result<(), Error>
where
    F: FnMut(Cached) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    loop {
        let next = tokio::select! {
            _ = &mut stopped => return Ok(()),
            next = watch.next() => next,
        };
        let Some(change) = next else { return watch.error().map_or(Ok(()), Err) };
        let state = Cached { config: change.config.clone(), freshness: change.freshness };
        match callback(state).await {
            Ok(()) => change.applied(),
            Err(error) => change.reject(error),
        }
    }
}
