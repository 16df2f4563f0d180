//! The log of the process: one line per event on standard error, as `log.filter` and `log.format` say.
//! Installs the subscriber once; of what libraries say about strangers, `held_back` lets through a little.

mod held_back;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use self::held_back::HeldBack;
use crate::lossy::Lossy;
use crate::settings::{LogFormat, LogOptions};

/// Why the log could not be set up. Nothing is logged then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `log.filter` is not a filter.
    #[error("log.filter is not a filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber had been installed before; it stays in place.
    #[error("the log is set up already")]
    AlreadySetUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends all further events of the process to standard error.
///
/// # Errors
/// See [`Error`].
pub fn start(options: &LogOptions) -> Result<(), Error> {
    install(options, None)
}

/// The same for a node, whose libraries have strangers to speak of. Whoever runs it has [`HeldBack`] say now and then
/// what was not shown.
///
/// # Errors
/// See [`Error`].
pub fn start_serving(options: &LogOptions) -> Result<HeldBack, Error> {
    let held_back = HeldBack::default();
    install(options, Some(held_back.clone()))?;
    Ok(held_back)
}

fn install(options: &LogOptions, held_back: Option<HeldBack>) -> Result<(), Error> {
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(options.parsed_filter()?).with_writer(|| Lossy(io::stderr()));
    let outcome = match options.format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).finish().with(held_back).try_init(),
        LogFormat::Json => subscriber.json().finish().with(held_back).try_init(),
    };
    outcome.map_err(|error| Error::AlreadySetUp(error.into()))
}
