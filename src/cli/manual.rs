//! Completions and the manual page, both made from the grammar of the whole command line.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// The script that teaches a shell the command line.
pub(super) fn completions(shell: Shell, mut grammar: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar, "callboard", &mut script);
    script
}

/// One manual page with a section for every command, as the source of `man`.
///
/// # Errors
/// None in practice: it is written to memory.
pub(super) fn page(grammar: Command) -> io::Result<Vec<u8>> {
    let mut grammar = grammar.disable_help_subcommand(true);
    grammar.build();
    let top = Man::new(grammar.clone()).manual("Callboard");
    let mut page = Vec::new();
    top.render_title(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(&part(|text| {
        top.render_name_section(text)?;
        top.render_synopsis_section(text)?;
        top.render_description_section(text)
    })?);
    commands(&grammar, &mut page)?;
    // The settings are many, and stand last.
    page.push_str(&part(|text| top.render_options_section(text))?);
    let remarks = part(|text| top.render_extra_section(text))?;
    page.push_str(".SH \"EXIT STATUS\"\n.nf\n");
    page.push_str(remarks.trim_start_matches(".SH EXTRA\n"));
    page.push_str(".fi\n");
    Ok(page.into_bytes())
}

/// The sections of the commands that do something themselves, in the order of the grammar.
fn commands(of: &Command, page: &mut String) -> io::Result<()> {
    for command in of.get_subcommands().filter(|command| !command.is_hide_set()) {
        if command.has_subcommands() {
            commands(command, page)?;
            continue;
        }
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_uppercase();
        let man = Man::new(command.clone());
        let text = part(|text| {
            man.render_synopsis_section(text)?;
            man.render_description_section(text)?;
            man.render_options_section(text)
        })?;
        page.push_str(&format!(".SH \"{name}\"\n{}", below(&text)));
    }
    Ok(())
}

/// What is rendered, without the definitions that stand before each part; those of the title are enough.
fn part(render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<String> {
    let mut text = Vec::new();
    render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let is_definition = |line: &&str| line.starts_with(".ie \\n(.g ") || line.starts_with(".el .ds ");
    Ok(text.lines().filter(|line| !is_definition(line)).map(|line| format!("{line}\n")).collect())
}

/// The text of a page, made part of a section: its own sections become paragraphs and subsections.
fn below(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix(".SH ") {
        Some("SYNOPSIS" | "DESCRIPTION") => ".PP\n".to_owned(),
        Some(heading) => format!(".SS {heading}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests;
