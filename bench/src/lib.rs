//! `callboard bench`: measures any server that speaks Nacos's interfaces, this one and its peers alike.
//!
//! Reading order: `arguments` (what can be asked for) · `get`, `publish`, `longpoll`, `session`, `grpcpush`, `fixed`
//! (one measure each) · `load`, `rounds` (the closed loop, and the rounds of those who listen) · `connection`,
//! `answer`, `grpc` (small clients of HTTP and gRPC that cost little) · `template`, `content`, `contents` (what is
//! sent) · `histogram`, `process`, `report` (what comes out).
//!
//! It is a client: it opens no data directory, reads no settings, and knows nothing of the server but its address and,
//! if told, its process id.

mod answer;
mod arguments;
mod connection;
mod content;
mod contents;
mod fixed;
mod get;
mod grpc;
mod grpcpush;
mod histogram;
mod load;
mod longpoll;
mod process;
mod publish;
mod publisher;
mod report;
mod rounds;
mod session;
mod template;

use std::io::Write as _;

use anyhow::Context as _;

pub use arguments::grammar;
pub use arguments::{
    Answers, ClosedLoop, Configurations, GrpcPushOptions, KeyOptions, Listening, LongPollOptions, Measure, Server,
    SessionOptions, StaticOptions, Target,
};
pub use fixed::FIXED_ANSWER;
pub use report::Report;

/// Measures, and prints the figures to standard output. Whoever calls this has raised the limit of open files.
///
/// # Errors
/// The server can't be reached, refuses what the measure needs, or its process can't be watched. What a server does
/// wrong during the measure is counted in the report and is no error here.
pub fn run(measure: &Measure) -> anyhow::Result<()> {
    let (report, json) = match measure {
        Measure::Get(options) => (get::measure(options)?, options.load.json),
        Measure::Publish(options) => (publish::measure(options)?, options.load.json),
        Measure::Longpoll(options) => (longpoll::measure(options)?, options.listening.json),
        Measure::Session(options) => (session::measure(options)?, options.listening.json),
        Measure::Grpcpush(options) => (grpcpush::measure(options)?, options.listening.json),
        Measure::Static(options) => (fixed::measure(options)?, options.load.json),
    };
    let text = if json { report.to_json()? } else { report.to_table() };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
