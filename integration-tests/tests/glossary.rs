//! The words hold: no public name is made of a word that `docs/glossary.md` says is not used, and every place that the
//! glossary names exists. Reads sources only; starts nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use callboard_integration_tests::binary::workspace;

/// Public names that are not used. Whole names: a word can be right as a part of another, as in `RowReader`.
const NOT_USED: &[&str] = &[
    "Adrift",
    "Announced",
    "Apply",
    "Attend",
    "Coming",
    "Confirm",
    "Down",
    "Ear",
    "Facts",
    "FactsRow",
    "Grant",
    "Ground",
    "Heard",
    "Held",
    "Holder",
    "Include",
    "Informants",
    "Item",
    "ItemOutcome",
    "Keeper",
    "Leave",
    "Limits",
    "Lobby",
    "Look",
    "LookLocked",
    "LookResult",
    "LookSoon",
    "Mouth",
    "Neighbours",
    "Parked",
    "Pipe",
    "Reader",
    "Resolution",
    "Resolve",
    "Resolving",
    "Roster",
    "RowSight",
    "Said",
    "Say",
    "Saying",
    "Seat",
    "Seats",
    "SetGrant",
    "Setup",
    "Sighted",
    "Sighting",
    "Silent",
    "Talk",
    "Terms",
    "Told",
    "Unit",
    "UnitOutcome",
    "Unmark",
    "Withdraw",
    "Word",
    "World",
    "cluster_hammer",
    "ground",
    "hammer",
    "hear",
    "is_deaf",
    "is_rested",
    "keeper",
    "lobby",
    "look_again",
    "roster",
    "say",
    "seats",
    "speak",
    "stage",
    "take_seat",
    "until_forgotten",
    "words",
    "world",
];

/// Names that are right where they stand: file, name, reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("protocol/src/access/grant.rs", "Grant", "what somebody may do, as everywhere where rights are spoken of"),
    ("actors/src/store/backup.rs", "Held", "a file that a copy holds open, no subscription"),
    ("src/http/connection.rs", "Held", "a request that is held: the setting says `max_held`"),
    ("src/nacos/http/search.rs", "Item", "Nacos calls a row of its answer so"),
    (
        "client/src/connection.rs",
        "Reader",
        "it reads envelopes off a connection; there is no other reader in the client",
    ),
    ("client/src/held.rs", "Held", "what the client holds of a configuration, no subscription"),
    ("integration-tests/src/heard.rs", "Heard", "what a subscriber of a check got so far; no message between actors"),
    ("bench/src/rounds.rs", "Heard", "what a client of the load heard of a publish; no message between actors"),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The name of the item that a line begins, when it is `pub`, `pub(crate)`, a module or a function: the methods of a
/// trait are as public as the trait is, and do not say so.
fn public_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let is_named_alone = ["mod ", "fn ", "async fn ", "const fn "].iter().any(|start| line.starts_with(start));
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None if is_named_alone => line,
        None => return None,
    };
    let mut words = rest.split_whitespace().skip_while(|word| ["async", "unsafe"].contains(word));
    let kind = words.next()?;
    if !["struct", "enum", "trait", "fn", "type", "mod", "const", "static"].contains(&kind) {
        return None;
    }
    let name = words.find(|word| *word != "fn")?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

#[test]
fn the_scanner_finds_the_names_of_items() {
    assert_eq!(public_name("pub struct Unit {"), Some("Unit"));
    assert_eq!(public_name("    pub(crate) async fn seats<'a>(&self)"), Some("seats"));
    assert_eq!(public_name("pub const fn look() {}"), Some("look"));
    assert_eq!(public_name("mod words;"), Some("words"));
    assert_eq!(public_name("    async fn hear(&mut self);"), Some("hear"));
    assert_eq!(public_name("    const fn look() {}"), Some("look"));
    assert_eq!(public_name("struct Unit;"), None);
    assert_eq!(public_name("// pub struct Unit"), None);
}

#[test]
fn no_public_name_is_a_word_that_is_not_used() {
    let mut found = Vec::new();
    for directory in
        ["protocol/src", "actors/src", "src", "bench/src", "cli/src", "client/src", "integration-tests/src"]
    {
        sources(&workspace().join(directory), &mut found);
    }
    assert!(!found.is_empty());
    let mut wrong = Vec::new();
    for path in found {
        let file = path.strip_prefix(workspace()).unwrap().to_string_lossy().into_owned();
        for (at, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let Some(name) = public_name(line).filter(|name| NOT_USED.contains(name)) else { continue };
            if !ALLOWED.iter().any(|(place, word, _)| *place == file && *word == name) {
                wrong.push(format!("{file}:{}: {name}", at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "see docs/glossary.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_place_that_the_glossary_names_exists() {
    let text = fs::read_to_string(workspace().join("docs/glossary.md")).unwrap();
    for row in text.lines().filter(|line| line.starts_with("| **")) {
        let cells: Vec<&str> = row.split('|').collect();
        assert_eq!(cells.len(), 6, "{row}");
        for place in cells[3].split('`').skip(1).step_by(2) {
            assert!(workspace().join(place).exists(), "{place} in: {row}");
        }
    }
}
