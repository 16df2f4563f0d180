//! What can be asked about who did what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Bound, Common};

/// `callboard audit …`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AuditCommand {
    /// List who did what, newest first
    #[command(visible_alias = "list")]
    Ls(AuditList),
    /// Write all of it as lines of JSON, with all that it takes to verify it
    Export(AuditExport),
    /// Verify that nothing was changed or taken away; exit code 1 names what was
    ///
    /// Everything is computed here, from what a node exports or from a file. Whoever can write the database can compute
    /// all of it anew: keep exports elsewhere, and name one with --since.
    Verify(AuditVerify),
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AuditTime {
    /// Not before this moment, such as 2026-11-30T16:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Only what this node wrote down
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

/// Options of `audit ls`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AuditList {
    /// Only what this user did
    #[arg(long = "by", value_name = "USER")]
    pub by: Option<String>,
    /// Only this kind, such as publish or log_in_refused
    #[arg(long, value_name = "KIND")]
    pub what: Option<String>,
    /// When.
    #[command(flatten)]
    pub time: AuditTime,
    /// How many.
    #[command(flatten)]
    pub bound: Bound,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `audit export`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AuditExport {
    /// When. What is left out can't be verified.
    #[command(flatten)]
    pub time: AuditTime,
    /// The file to write, which must not be there; standard output when none is named
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `audit verify`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AuditVerify {
    /// The file of an export; what a node has now when none is named
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The file of an older export: what was there must be there still, unless it was removed for its age
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

impl AuditCommand {
    /// Where to ask.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Ls(options) => &options.common,
            Self::Export(options) => &options.common,
            Self::Verify(options) => &options.common,
        }
    }
}

impl AuditTime {
    /// As the interface of nodes has it.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let given = [("from", &self.from), ("to", &self.to), ("node", &self.node)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}
