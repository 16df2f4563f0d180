//! The `callboard` program: parses the command line, loads the settings and hands over to the library.
//! Owns the exit code: 0 clean stop, 1 failure while running, 2 wrong usage or settings.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use callboard::cli::{self, Command};
use callboard::data_dir::DataDir;
use callboard::settings::{self, InForce};
use callboard::{logging, open_files, serve};

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(answer) => answer.exit(),
    };
    let in_force = match settings::load(invocation.flags, std::env::vars_os()) {
        Ok(in_force) => in_force,
        Err(refusal) => return fail(&refusal.into(), 2),
    };
    match run(invocation.command, in_force) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure, 1),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("callboard: {error:#}");
    ExitCode::from(code)
}

fn run(command: Command, in_force: InForce) -> anyhow::Result<()> {
    match command {
        Command::ShowConfig { with_origin } => {
            let text = in_force.to_toml(with_origin)?;
            std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
        }
        Command::Migrate => {
            logging::start(&in_force.settings.log)?;
            actix_rt::System::new().block_on(serve::migrate(in_force.settings))
        }
        Command::Serve => {
            logging::start(&in_force.settings.log)?;
            if let Err(error) = open_files::raise_open_files() {
                tracing::warn!(%error, "cannot raise the limit of open files; fewer connections may be open at a time");
            }
            let data_dir = DataDir::open(&in_force.settings.data.dir)?;
            actix_rt::System::new().block_on(serve::run(in_force.settings, data_dir))
        }
    }
}
