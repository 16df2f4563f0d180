//! From the sources to the settings in force: defaults, overlaid by the file, the environment and the flags.
//! Reads the settings file and nothing else; the environment is an argument.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Settings;
use super::database;
use super::error::{Error, Invalid, Origin};
use super::keys::{self, Key};

/// The variable that names the settings file.
const CONFIG_VARIABLE: &str = "CALLBOARD_CONFIG";
/// What all our variables begin with.
const PREFIX: &str = "CALLBOARD_";
/// Variables with these beginnings belong to tests, simulations and the client commands, and are no settings.
const FOREIGN_PREFIXES: [&str; 3] = ["CALLBOARD_TEST_", "CALLBOARD_SIM_", "CALLBOARD_CLIENT_"];

/// What the command line gave.
#[derive(Debug, Default)]
pub struct Flags {
    /// The settings file; wins over `CALLBOARD_CONFIG`.
    pub config: Option<PathBuf>,
    /// Settings with their values as typed.
    pub values: Vec<(&'static Key, String)>,
}

/// Checked settings, and where each came from.
#[derive(Debug)]
pub struct InForce {
    /// The settings.
    pub settings: Settings,
    /// The origin of each key that is not at its default, by its path.
    origins: BTreeMap<&'static str, Origin>,
}

/// A value for a key from one of the sources.
struct Overlay {
    key: &'static Key,
    value: toml::Value,
    origin: Origin,
}

/// Merges default, file, environment and flags, the later winning over the earlier, and checks the outcome.
///
/// # Errors
/// The first thing that is wrong, whichever source it is in; also a wrong value that a stronger source would replace.
pub fn load(flags: Flags, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<InForce, Error> {
    let (config, variables) = from_environment(environment)?;
    let mut overlays = match flags.config.or(config) {
        Some(path) => from_file(&path)?,
        None => Vec::new(),
    };
    overlays.extend(variables);
    for (key, text) in flags.values {
        overlays.push(overlay_from_text(key, text, Origin::Flag(format!("--{}", key.flag())))?);
    }
    merge(overlays)
}

impl InForce {
    /// Where the value of a key, such as `http.addr`, came from.
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// The settings as a TOML file in the order of the manual, passwords masked; `with_origin` adds to each line a
    /// comment with its source.
    ///
    /// # Errors
    /// A value that TOML cannot hold; checked settings have none.
    pub fn to_toml(&self, with_origin: bool) -> Result<String, toml::ser::Error> {
        let table = toml::Table::try_from(&self.settings)?;
        let mut text = String::new();
        let mut current = "";
        for key in Key::all() {
            let (section, name) = key.section_and_name();
            if section != current {
                let gap = if current.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{section}]\n"));
                current = section;
            }
            if let Some(value) = value_at(&table, key) {
                text.push_str(&format!("{name} = {value}"));
            }
            if with_origin {
                text.push_str(&format!("  # {}", self.origin(key.path())));
            }
            text.push('\n');
        }
        Ok(text)
    }
}

fn merge(overlays: Vec<Overlay>) -> Result<InForce, Error> {
    let mut table = toml::Table::new();
    for key in Key::all() {
        set(&mut table, key, key.default().clone());
    }
    let mut settings = Settings::default();
    let mut origins = BTreeMap::new();
    for Overlay { key, value, origin } in overlays {
        set(&mut table, key, value.clone());
        // Everything before this value was accepted, so what fails now is this value's fault.
        settings = Settings::try_from_table(&table).map_err(|reason| {
            let reason = format!("{reason}; allowed: {}", key.allowed().replace('\n', " "));
            refused(key.path(), &value, origin.clone(), reason)
        })?;
        origins.insert(key.path(), origin);
    }
    settings.validate().map_err(|Invalid { key, reason }| {
        let known = Key::all().iter().find(|candidate| candidate.path() == key);
        let value = known.and_then(|known| value_at(&table, known)).cloned();
        let origin = origins.get(key).cloned().unwrap_or(Origin::Default);
        refused(key, &value.unwrap_or(toml::Value::String(String::new())), origin, reason)
    })?;
    Ok(InForce { settings, origins })
}

impl Settings {
    fn try_from_table(table: &toml::Table) -> Result<Self, String> {
        table.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

fn from_file(path: &Path) -> Result<Vec<Overlay>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Malformed {
        path: path.to_owned(),
        line: line_of(&text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut overlays = Vec::new();
    for (section, values) in table {
        let toml::Value::Table(values) = values else {
            return Err(unknown_key(path, &section));
        };
        for (name, value) in values {
            let written = format!("{section}.{name}");
            let key = Key::all().iter().find(|key| key.path() == written);
            let key = key.ok_or_else(|| unknown_key(path, &written))?;
            overlays.push(Overlay { key, value, origin: Origin::File(path.to_owned()) });
        }
    }
    Ok(overlays)
}

/// The settings file that the environment names, and its settings.
fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Option<PathBuf>, Vec<Overlay>), Error> {
    let mut config = None;
    let mut overlays = Vec::new();
    for (name, value) in environment {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if name == CONFIG_VARIABLE {
            config = Some(PathBuf::from(value));
            continue;
        }
        let key = Key::all().iter().find(|key| key.variable() == name).ok_or_else(|| unknown_variable(&name))?;
        let origin = Origin::Environment(name.into_owned());
        overlays.push(overlay_from_text(key, utf8(key, &value, &origin)?, origin)?);
    }
    Ok((config, overlays))
}

fn utf8(key: &'static Key, value: &OsStr, origin: &Origin) -> Result<String, Error> {
    let refuse = || {
        let shown = toml::Value::String(value.to_string_lossy().into_owned());
        refused(key.path(), &shown, origin.clone(), "must be UTF-8 text".to_owned())
    };
    value.to_str().map(str::to_owned).ok_or_else(refuse)
}

/// Turns a text from the environment or a flag into the type that the key's default has.
fn overlay_from_text(key: &'static Key, text: String, origin: Origin) -> Result<Overlay, Error> {
    let refuse = |expected: &str| {
        let reason = format!("expected {expected}; allowed: {}", key.allowed().replace('\n', " "));
        refused(key.path(), &toml::Value::String(text.clone()), origin.clone(), reason)
    };
    let value = match key.default() {
        toml::Value::Integer(_) => match text.parse() {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => return Err(refuse("a whole number")),
        },
        toml::Value::Boolean(_) => match text.parse() {
            Ok(choice) => toml::Value::Boolean(choice),
            Err(_) => return Err(refuse("true or false")),
        },
        toml::Value::Array(_) => toml::Value::Array(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(toml::Value::from).collect(),
        ),
        _ => toml::Value::String(text),
    };
    Ok(Overlay { key, value, origin })
}

fn refused(key: &'static str, value: &toml::Value, origin: Origin, reason: String) -> Error {
    let mut shown = String::new();
    match value {
        toml::Value::String(text) if key == "database.url" => write!(shown, "{:?}", database::mask(text)),
        // Whatever else stands here is no URL, but it may hold one.
        _ if key == "database.url" => write!(shown, "***"),
        other => write!(shown, "{other}"),
    }
    .expect("writing to a String never fails");
    Error::Refused { key, value: shown, origin, reason }
}

fn unknown_key(path: &Path, name: &str) -> Error {
    let nearest = keys::nearest(name, Key::all().iter().map(Key::path));
    Error::UnknownKey { path: path.to_owned(), name: name.to_owned(), nearest }
}

fn unknown_variable(name: &str) -> Error {
    let known = Key::all().iter().map(Key::variable).chain([CONFIG_VARIABLE]);
    Error::UnknownVariable { name: name.to_owned(), nearest: keys::nearest(name, known) }
}

fn set(table: &mut toml::Table, key: &Key, value: toml::Value) {
    let (section, name) = key.section_and_name();
    let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let toml::Value::Table(values) = section {
        values.insert(name.to_owned(), value);
    }
}

fn value_at<'a>(table: &'a toml::Table, key: &Key) -> Option<&'a toml::Value> {
    let (section, name) = key.section_and_name();
    table.get(section)?.get(name)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
