//! The `callboard` program: parses the command line, loads the settings and hands over to the library.
//! Owns the exit code: 0 clean stop, 1 failure while running, 2 wrong usage or settings.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use callboard::cli::{self, Command, Invocation};
use callboard::cluster::key::ClusterKey;
use callboard::data_dir::DataDir;
use callboard::settings::{self, InForce};
use callboard::{bench, logging, open_files, serve};

/// Many small values live and die on several threads at once; the system's allocator spends a seventh of a publish on it.
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
            eprintln!("callboard: {failure:#}");
            ExitCode::from(if failure.is::<settings::Error>() { 2 } else { 1 })
        }
    }
}

fn run(Invocation { command, flags }: Invocation) -> anyhow::Result<()> {
    let in_force = || settings::load(flags, std::env::vars_os());
    match command {
        Command::Bench(measure) => bench::run(&measure),
        Command::ClusterKey => {
            let line = ClusterKey::generate()?.to_line();
            writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
        }
        Command::RemoveNode { id } => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(serve::remove_node(settings, &id))
        }
        Command::ShowConfig { with_origin } => {
            let text = in_force()?.to_toml(with_origin)?;
            std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
        }
        Command::Migrate => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            actix_rt::System::new().block_on(serve::migrate(settings))
        }
        Command::Serve => {
            let InForce { settings, .. } = in_force()?;
            logging::start(&settings.log)?;
            if let Err(error) = open_files::raise_open_files() {
                tracing::warn!(%error, "cannot raise the limit of open files; fewer connections may be open at a time");
            }
            let data_dir = DataDir::open(&settings.data.dir)?;
            actix_rt::System::new().block_on(serve::run(settings, data_dir))
        }
    }
}
