//! The log of the process: one line per event on standard error, as `log.filter` and `log.format` say.
//! Installs the subscriber once; never logs anything itself.

use std::io::{self, IsTerminal as _};

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
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(options.parsed_filter()?).with_writer(|| Lossy(io::stderr()));
    let outcome = match options.format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    outcome.map_err(Error::AlreadySetUp)
}
