//! The parts of the manual page.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use clap::{Arg, Command};

use super::{below, page};

#[test]
fn sections_of_a_command_are_parts_of_one_section() {
    assert_eq!(below(".SH SYNOPSIS\na\n.SH OPTIONS\nb\n"), ".PP\na\n.SS OPTIONS\nb\n");
}

#[test]
fn a_command_with_commands_shows_these_and_hidden_ones_stay_hidden() {
    let inner = Command::new("show").about("Show it").arg(Arg::new("origin").long("origin"));
    let outer = Command::new("config").subcommand(inner).subcommand(Command::new("secret").hide(true));
    let grammar = Command::new("callboard").about("It").after_help("more").subcommand(outer);
    let page = String::from_utf8(page(grammar).unwrap()).unwrap();
    assert!(page.contains(".SH \"CALLBOARD CONFIG SHOW\"\n"), "{page}");
    assert!(!page.contains("SECRET") && !page.contains(".SH \"CALLBOARD CONFIG\"\n"), "{page}");
    assert!(page.ends_with(".SH \"EXIT STATUS\"\n.nf\nmore\n.fi\n"), "{page}");
}
