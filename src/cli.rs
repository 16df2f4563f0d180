//! The command line: which command was asked for and which settings were given as flags.
//! Every setting gets its flag from the table of keys; values are only checked by [`crate::settings::load`].

mod manual;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use callboard_bench::Measure;
use callboard_cli::{EXIT_CODES, Request};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches as _, Subcommand as _};
pub use clap_complete::Shell;

use crate::settings::{Flags, Key};
use crate::tls::trial;

/// The command under `bench` that serves what `bench static` measures.
const FIXED_ANSWER: &str = "static-server";

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run the node. Also when no command is given.
    Serve,
    /// Bring the database to the form this version expects, then stop.
    Migrate,
    /// Print the settings in force.
    ShowConfig {
        /// Say for each value where it came from.
        with_origin: bool,
    },
    /// Measure a server. Takes no settings.
    Bench(Measure),
    /// Serve the fixed answer that a measure asks for, until standard input ends. Takes no settings.
    FixedAnswer,
    /// Print a new cluster key. Takes no settings.
    ClusterKey,
    /// Make certificates for a trial. Takes no settings.
    Certificates(trial::Request),
    /// Take the row of a dead node out of the database.
    RemoveNode {
        /// Its id.
        id: String,
    },
    /// Copy the SQLite file of a node, which may serve it meanwhile.
    Backup {
        /// Where to.
        file: PathBuf,
    },
    /// Put a copy in the place of the SQLite file of a node that is stopped.
    Restore {
        /// Where from.
        file: PathBuf,
    },
    /// Say that the database was restored: a new timeline begins.
    Restored,
    /// Ask something of a running cluster. Takes no settings.
    Client(Box<Request>),
    /// Print the completions of the command line for a shell. Takes no settings.
    Completions(Shell),
    /// Print the manual page. Takes no settings.
    Manual,
}

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// The settings given as flags.
    pub flags: Flags,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Wrong usage, and also `--help` and `--version`: the error prints itself to the right stream and knows its exit code.
pub fn parse<I>(arguments: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let matches = grammar(WithSettings::Everywhere).try_get_matches_from(arguments)?;
    let (flags, command) = (flags_of(&matches), command_of(&matches)?);
    if !takes_settings(&command) && (flags.config.is_some() || !flags.values.is_empty()) {
        let word = matches.subcommand_name().unwrap_or_default();
        let message = format!("the settings of a node do not apply to {word}\n");
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
    }
    Ok(Invocation { command, flags })
}

/// The completions of the command line for a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    manual::completions(shell, grammar(WithSettings::Everywhere))
}

/// The manual page, as the source of `man`.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn manual() -> io::Result<Vec<u8>> {
    manual::page(grammar(WithSettings::AtTheTop).override_usage("callboard [OPTIONS] [COMMAND]"))
}

fn takes_settings(command: &Command) -> bool {
    match command {
        Command::Serve
        | Command::Migrate
        | Command::ShowConfig { .. }
        | Command::RemoveNode { .. }
        | Command::Backup { .. }
        | Command::Restore { .. }
        | Command::Restored => true,
        Command::Bench(_)
        | Command::FixedAnswer
        | Command::ClusterKey
        | Command::Certificates(_)
        | Command::Client(_)
        | Command::Completions(_)
        | Command::Manual => false,
    }
}

/// Where the flags of the settings are taken. The manual page lists them once.
#[derive(Debug, Clone, Copy, PartialEq)]
enum WithSettings {
    /// Before and after each command that has use for them.
    Everywhere,
    /// Before the command.
    AtTheTop,
}

fn grammar(with: WithSettings) -> clap::Command {
    let node_command = |name: &'static str, about: &'static str| {
        let command = clap::Command::new(name).about(about);
        if with == WithSettings::Everywhere { command.args(settings()) } else { command }
    };
    clap::Command::new("callboard")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A configuration centre: publish over REST, hear of it within milliseconds.")
        .after_help(format!(
            "Without a command the node is served. Flags win over CALLBOARD_… variables, these over --config.\n\n\
             {EXIT_CODES}"
        ))
        .args(settings())
        .subcommand(node_command("serve", "Run the node (the default)"))
        .subcommands(client_commands())
        .subcommand(node_command("migrate", "Bring the database to the form this version expects"))
        .subcommand(
            node_command("backup", "Copy the SQLite file of a node to FILE, while it serves or not")
                .arg(file_argument()),
        )
        .subcommand(
            node_command("restore", "Put the copy FILE in the place of the SQLite file of a stopped node")
                .arg(file_argument()),
        )
        .subcommand(node_command(
            "restored",
            "Say that the database was restored by its own tools: a new timeline begins, and every cache is emptied",
        ))
        .subcommand(config_commands(node_command))
        .subcommand(clap::Command::new("cluster").about("Prepare a cluster").subcommand_required(true).subcommand(
            clap::Command::new("key").about("Print a new cluster key, the line of a file for --cluster-key-file"),
        ))
        .subcommand(certificate_command())
        .subcommand(
            node_command("node", "Look after the nodes of a cluster").subcommand_required(true).subcommand(
                node_command("rm", "Take the row of a dead node out of the database, when no node is left to do it")
                    .arg(Arg::new("id").required(true).value_name("ID").help("The id of the node")),
            ),
        )
        .subcommand(
            callboard_bench::grammar()
                .name("bench")
                .about("Measure a node, or another server that speaks the Nacos v1 interface")
                .subcommand(clap::Command::new(FIXED_ANSWER).hide(true)),
        )
        .subcommand(
            clap::Command::new("completions").about("Print the completions of this command line for a shell").arg(
                Arg::new("shell")
                    .required(true)
                    .value_name("SHELL")
                    .value_parser(clap::value_parser!(Shell))
                    .help("The shell"),
            ),
        )
        .subcommand(clap::Command::new("man").about("Print the manual page; read it by: callboard man | man -l -"))
}

fn certificate_command() -> clap::Command {
    let out = Arg::new("out").long("out").required(true).value_name("DIR").value_parser(clap::value_parser!(PathBuf));
    let name = Arg::new("name").long("name").value_name("HOST").action(ArgAction::Append);
    let client = Arg::new("client").long("client").value_name("USER").required_unless_present("name");
    clap::Command::new("cert")
        .about("Make certificates for a trial: an authority, and what it signs")
        .long_about(
            "Make certificates for a trial: an authority, ca.pem and ca-key.pem, and what it signs for a node and for a \
             client. An authority that is in the directory signs once more. No file is overwritten.",
        )
        .arg(out.help("The directory of the files, made when it is missing"))
        .arg(name.help("Name or IP address under which clients reach the node; may be given several times"))
        .arg(client.help("Name of a user, for a certificate that a client shows"))
}

fn file_argument() -> Arg {
    let parser = clap::value_parser!(PathBuf);
    Arg::new("file").required(true).value_name("FILE").value_parser(parser).help("The file of the copy")
}

fn config_commands(node_command: impl Fn(&'static str, &'static str) -> clap::Command) -> clap::Command {
    let origin = Arg::new("origin").long("origin").action(ArgAction::SetTrue);
    node_command("config", "Look at the settings").subcommand_required(true).subcommand(
        node_command("show", "Print the settings in force as TOML, passwords masked")
            .arg(origin.help("Say for each value where it came from")),
    )
}

/// The commands that ask a running cluster, without the settings of a node.
fn client_commands() -> Vec<clap::Command> {
    let all = Request::augment_subcommands(clap::Command::new("client"));
    all.get_subcommands().map(|command| command.clone().after_help(EXIT_CODES)).collect()
}

fn settings() -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("TOML file with settings [env: CALLBOARD_CONFIG]");
    std::iter::once(config).chain(Key::all().iter().map(setting)).collect()
}

fn setting(key: &'static Key) -> Arg {
    let usage = format!("Allowed: {}\n[default: {}] [env: {}]", key.allowed(), key.default(), key.variable());
    let alias = (key.path() == "cluster.seeds").then_some("seeds");
    let flag = Arg::new(key.path())
        .long(key.flag())
        .visible_aliases(alias)
        .help_heading("Settings")
        .help(key.summary())
        .long_help(format!("{}\n{usage}", key.meaning()));
    if key.default().is_bool() {
        flag.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag.value_name("VALUE")
    }
}

fn command_of(matches: &ArgMatches) -> Result<Command, clap::Error> {
    Ok(match matches.subcommand() {
        Some(("serve", _)) | None => Command::Serve,
        Some(("migrate", _)) => Command::Migrate,
        Some(("backup", backup)) => Command::Backup { file: file_of(backup) },
        Some(("restore", restore)) => Command::Restore { file: file_of(restore) },
        Some(("restored", _)) => Command::Restored,
        Some(("cluster", _)) => Command::ClusterKey,
        Some(("cert", cert)) => {
            let names = cert.get_many::<String>("name").into_iter().flatten().cloned().collect();
            let out = cert.get_one::<PathBuf>("out").cloned().unwrap_or_default();
            Command::Certificates(trial::Request { out, names, client: cert.get_one::<String>("client").cloned() })
        }
        Some(("node", node)) => {
            let id = node.subcommand().and_then(|(_, remove)| remove.get_one::<String>("id")).cloned();
            Command::RemoveNode { id: id.unwrap_or_default() }
        }
        Some(("config", config)) => {
            let with_origin = config.subcommand().is_some_and(|(_, show)| show.get_flag("origin"));
            Command::ShowConfig { with_origin }
        }
        Some(("bench", bench)) if bench.subcommand_name() == Some(FIXED_ANSWER) => Command::FixedAnswer,
        Some(("bench", bench)) => Command::Bench(Measure::from_arg_matches(bench)?),
        Some(("completions", completions)) => {
            let shell = completions.get_one::<Shell>("shell").copied();
            Command::Completions(shell.ok_or_else(|| clap::Error::new(ErrorKind::MissingRequiredArgument))?)
        }
        Some(("man", _)) => Command::Manual,
        Some((_, _)) => Command::Client(Box::new(Request::from_arg_matches(matches)?)),
    })
}

fn file_of(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("file").cloned().unwrap_or_default()
}

/// The settings given at any word of the command line, the innermost last: it wins.
fn flags_of(matches: &ArgMatches) -> Flags {
    let mut flags = Flags::default();
    let mut at = Some(matches);
    while let Some(matches) = at {
        // A command that takes no settings does not know their names.
        let given = |key: &'static Key| Some((key, matches.try_get_one::<String>(key.path()).ok()??.clone()));
        flags.values.extend(Key::all().iter().filter_map(given));
        let config = matches.try_get_one::<PathBuf>("config").ok().flatten();
        flags.config = config.cloned().or(flags.config);
        at = matches.subcommand().map(|(_, inner)| inner);
    }
    flags
}

#[cfg(test)]
mod tests;
