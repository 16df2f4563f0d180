//! The running node. Owns nothing yet; serving is not part of this version of the program.

use crate::data_dir::DataDir;
use crate::settings::Settings;

/// Serves until the process is told to stop.
///
/// # Errors
/// Always: this version cannot serve.
pub async fn run(_settings: Settings, _data_dir: DataDir) -> anyhow::Result<()> {
    anyhow::bail!("this version of callboard cannot serve")
}

/// Brings the tables of the database to the form this version expects.
///
/// # Errors
/// Always: this version cannot migrate.
pub async fn migrate(_settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("this version of callboard cannot migrate a database")
}
