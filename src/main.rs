//! The `callboard` program: parses the command line, loads the settings and hands over to the library.
//! Owns the exit code: 0 clean stop, 1 failure while running, 2 wrong usage or settings; a client command has codes of
//! its own.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use callboard::cli::{self, Command, Invocation};
use callboard::data_dir::DataDir;
use callboard::peer::key::ClusterKey;
use callboard::settings::{self, InForce};
use callboard::tls::trial;
use callboard::{backup, fixed_answer, logging, lossy, open_files, serve};

/// Many small values live and die on several threads at once; the system's allocator spends a seventh of a publish on
/// it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(answer) => answer.exit(),
    };
    match run(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = match failure.downcast_ref::<callboard_cli::Failure>() {
                Some(failure) => failure.exit_code(),
                None if failure.is::<settings::Error>() => 2,
                None => 1,
            };
            if code != 0 {
                lossy::remark(format_args!("callboard: {failure:#}"));
            }
            ExitCode::from(code)
        }
    }
}

fn run(Invocation { command, flags }: Invocation) -> anyhow::Result<()> {
    let in_force = || settings::load(flags, std::env::vars_os());
    match command {
        Command::Bench(measure) => {
            if let Err(error) = open_files::raise_open_files() {
                lossy::remark(format_args!("callboard: cannot raise the limit of open files: {error}"));
            }
            callboard_bench::run(&measure)
        }
        Command::FixedAnswer => fixed_answer::serve(callboard_bench::FIXED_ANSWER),
        Command::Client(request) => Ok(callboard_cli::run(*request)?),
        Command::Completions(shell) => print(&cli::completions(shell)),
        Command::Manual => print(&cli::manual()?),
        Command::ClusterKey => print(format!("{}\n", ClusterKey::generate()?.to_line()).as_bytes()),
        Command::Certificates(request) => {
            let made: Vec<String> = trial::make(&request)?.iter().map(|file| format!("{}\n", file.display())).collect();
            print(made.concat().as_bytes())
        }
        Command::RemoveNode { id } => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(serve::remove_node(settings, &id))
        }
        Command::Backup { file } => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(backup::back_up(&settings, &file))
        }
        Command::Restore { file } => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(backup::restore(settings, &file))
        }
        Command::Restored => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(backup::restored(settings))
        }
        Command::ShowConfig { with_origin } => {
            let text = in_force()?.to_toml(with_origin)?;
            print(text.as_bytes())
        }
        Command::Migrate => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(serve::migrate(settings))
        }
        Command::Serve => {
            let InForce { settings, .. } = in_force()?;
            let held_back = logging::start_serving(&settings.log)?;
            if let Err(error) = open_files::raise_open_files() {
                tracing::warn!(%error, "cannot raise the limit of open files; fewer connections may be open at a time");
            }
            let data_dir = DataDir::open(&settings.data.dir)?;
            actix_rt::System::new().block_on(serve::run(settings, data_dir, held_back))
        }
    }
}

fn print(text: &[u8]) -> anyhow::Result<()> {
    std::io::stdout().write_all(text).context("cannot write to standard output")
}
