//! The table of all settings: for each key its names in file, environment and command line, its default and its texts.
//!
//! Built from two sources that a test holds equal: the serialised `Settings::default()` gives the values, and thereby
//! their types; the comments of `config/default.toml` give the texts and the order. A new field with a commented line
//! in the manual needs nothing else to be settable everywhere.

use std::sync::LazyLock;

use super::Settings;

/// The manual: every key with its default, under comments that explain it.
pub(super) const MANUAL: &str = include_str!("../../config/default.toml");

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let defaults = toml::Table::try_from(Settings::default()).expect("the defaults are plain TOML values");
    read_manual(MANUAL, &defaults)
});

/// One setting.
#[derive(Debug)]
pub struct Key {
    path: String,
    variable: String,
    flag: String,
    meaning: String,
    allowed: String,
    default: toml::Value,
}

impl Key {
    /// All settings, in the order of the manual.
    pub fn all() -> &'static [Self] {
        &KEYS
    }

    /// Name in the settings file, such as `http.max_held`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Name in the environment, such as `CALLBOARD_HTTP_MAX_HELD`.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// Name on the command line without the leading dashes, such as `http-max-held`.
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// What it does, in full; lines end where the manual's do.
    pub fn meaning(&self) -> &str {
        &self.meaning
    }

    /// The first sentence of [`Key::meaning`], without its full stop.
    pub fn summary(&self) -> String {
        let flowing = self.meaning.replace('\n', " ");
        flowing.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// Which values it takes.
    pub fn allowed(&self) -> &str {
        &self.allowed
    }

    /// The value when nobody sets it.
    pub fn default(&self) -> &toml::Value {
        &self.default
    }

    /// The two parts of the path.
    pub(super) fn section_and_name(&self) -> (&str, &str) {
        self.path.split_once('.').unwrap_or(("", &self.path))
    }
}

fn read_manual(manual: &str, defaults: &toml::Table) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut section = "";
    let mut comment: Vec<&str> = Vec::new();
    for line in manual.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            comment.clear();
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.trim();
            let default = defaults.get(section).and_then(|values| values.get(name));
            keys.extend(default.map(|default| key(section, name, &comment, default.clone())));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    keys
}

fn key(section: &str, name: &str, comment: &[&str], default: toml::Value) -> Key {
    let text = comment.join("\n");
    let (meaning, allowed) = text.split_once("\nAllowed: ").unwrap_or((&text, ""));
    Key {
        path: format!("{section}.{name}"),
        variable: format!("CALLBOARD_{section}_{name}").to_ascii_uppercase(),
        flag: format!("{section}-{name}").replace('_', "-"),
        meaning: meaning.to_owned(),
        allowed: allowed.to_owned(),
        default,
    }
}

/// The name among `known` that takes the fewest changed, added or dropped characters to become `name`.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> &'static str {
    known.min_by_key(|candidate| distance(name, candidate)).unwrap_or_default()
}

/// Levenshtein's distance, one row of the table at a time.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (done, from) in left.chars().enumerate() {
        let mut diagonal = done;
        let mut last = done + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(right.chars()) {
            let above = *cell;
            last = (diagonal + usize::from(from != to)).min(above + 1).min(last + 1);
            diagonal = above;
            *cell = last;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
