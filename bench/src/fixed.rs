//! `static`: a fixed 1 KiB answer from actix-web, with no actor and no configuration behind it, served by a process of
//! our own and measured like any other server. What it takes is the least that an answer over this stack can take. The
//! process is this program once more, called by `bench static-server`: it says its address on a line, and serves until
//! its standard input ends.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::answer::Reply;
use super::arguments::{Server, StaticOptions};
use super::load::{self, Work};
use super::report::Report;
use super::template;

/// Bytes of the fixed answer.
pub const FIXED_ANSWER: usize = 1024;

/// Measures a fixed answer.
///
/// # Errors
/// The process can't be started.
pub(super) fn measure(options: &StaticOptions) -> anyhow::Result<Report> {
    let (process, address) = Process::start()?;
    let request = template::root(Server::at(address).authority());
    let works = (0..options.load.conns).map(|_| Fixed { request: request.clone() }).collect();
    Ok(load::run(address, &options.load, Some(process.0.id()), works)?.report("static"))
}

struct Fixed {
    request: Vec<u8>,
}

impl Work for Fixed {
    fn prepare(&mut self) -> bool {
        true
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        reply.status == 200 && reply.body.len() == FIXED_ANSWER
    }
}

/// The serving process. It ends when its standard input does, so also when this process is killed.
struct Process(Child);

impl Process {
    fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut command = Command::new(program);
        command.args(["bench", "static-server"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self(command.spawn().context("cannot start the serving process")?);
        let output = process.0.stdout.take().context("the serving process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("cannot read from the serving process")?;
        let address = line.trim().parse().with_context(|| format!("the serving process says {line:?}"))?;
        Ok((process, address))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("callboard: the serving process may be left behind: {error}");
        }
    }
}
