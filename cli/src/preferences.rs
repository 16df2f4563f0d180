//! Which nodes a client command asks, in which namespace, and how it prints: from flags, the environment and the file
//! of the user. Reads that file and nothing else; the environment is an argument.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use callboard_client::Tls;

use super::arguments::{Common, Format, Namespace};
use super::failure::Failure;

/// The variable that names nodes, separated by commas.
const NODES_VARIABLE: &str = "CALLBOARD_CLIENT_NODES";
/// The variable that names the file of authorities.
const CA_VARIABLE: &str = "CALLBOARD_CLIENT_CA";
/// What stands before a node that is connected to by TLS.
const SECURE: &str = "callboards://";
/// The file of the user, in the directory for such files.
const FILE: &str = "callboard.toml";
/// The node when nobody names one.
const DEFAULT_NODE: &str = "127.0.0.1:8850";
const PUBLIC: &str = "public";

/// What holds for a client command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// Where native sessions of the nodes are reached; never empty.
    pub(crate) nodes: Vec<String>,
    /// How they are connected to securely; `None` for clear text.
    pub(crate) trust: Option<Trust>,
    pub(crate) namespace: String,
    pub(crate) output: Format,
}

/// Whom a client command trusts, and what it shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The file of the authorities; `None` for the public ones.
    ca: Option<PathBuf>,
    /// The files of a certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure::Usage`]: one can't be read, or can't be used.
    pub(crate) fn tls(&self) -> Result<Tls, Failure> {
        let read = |path: &PathBuf| {
            let refused = |error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
            std::fs::read(path).map_err(refused)
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        let identity = match &self.identity {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        };
        let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
        Tls::new(ca.as_deref(), identity).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// What the file says.
#[derive(Debug, Default, PartialEq)]
struct Kept {
    nodes: Option<Vec<String>>,
    ca: Option<PathBuf>,
    namespace: Option<String>,
    output: Option<Format>,
}

impl Preferences {
    /// The flags win over the environment, this over the file.
    ///
    /// # Errors
    /// [`Failure::Usage`]: the file can't be read or says something wrong, or the variable names no nodes.
    pub(crate) fn load(
        common: &Common,
        namespace: Option<&Namespace>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let kept = path(&environment).map_or(Ok(Kept::default()), |path| read(&path))?;
        let nodes = if common.nodes.is_empty() { from_variable(&environment)? } else { Some(common.nodes.clone()) };
        let nodes = nodes.or(kept.nodes).unwrap_or_else(|| vec![DEFAULT_NODE.to_owned()]);
        let named = environment(CA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let ca = common.ca.clone().or(named).or(kept.ca);
        let identity = common.client_certificate.clone().zip(common.client_key.clone());
        let is_secure = ca.is_some() || identity.is_some() || nodes.iter().any(|node| node.starts_with(SECURE));
        let given = namespace.and_then(|given| given.namespace.clone());
        Ok(Self {
            nodes: nodes.iter().map(|node| node.trim_start_matches(SECURE).to_owned()).collect(),
            trust: is_secure.then_some(Trust { ca, identity }),
            namespace: given.or(kept.namespace).unwrap_or_else(|| PUBLIC.to_owned()),
            output: common.output.or(kept.output).unwrap_or_default(),
        })
    }
}

/// Checks the address of a node, such as `10.0.0.1` or `n1:8850`.
pub(crate) fn node(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.trim_start_matches(SECURE);
    if host.is_empty() {
        return Err("expected HOST or HOST:PORT, several separated by commas".to_owned());
    }
    if host.contains('/') {
        return Err(format!("{text} is a URL; expected HOST or HOST:PORT, where native sessions are served"));
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(format!("{text:?} holds a blank; expected HOST or HOST:PORT, several separated by commas"));
    }
    Ok(text.to_owned())
}

fn nodes<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let nodes = texts.map(node).collect::<Result<Vec<String>, String>>()?;
    if nodes.is_empty() { Err("expected at least one node".to_owned()) } else { Ok(nodes) }
}

/// An empty variable counts as none, as it does in a shell.
fn from_variable(environment: &impl Fn(&str) -> Option<OsString>) -> Result<Option<Vec<String>>, Failure> {
    let Some(value) = environment(NODES_VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    let refused = |reason: String| Failure::Usage(format!("{NODES_VARIABLE}: {reason}"));
    let text = value.to_str().ok_or_else(|| refused("expected UTF-8 text".to_owned()))?;
    nodes(text.split(',')).map(Some).map_err(refused)
}

/// `$XDG_CONFIG_HOME/callboard.toml`, else `~/.config/callboard.toml`; `None` for a user without a home.
fn path(environment: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")))?;
    Some(directory.join(FILE))
}

fn read(path: &Path) -> Result<Kept, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|reason| Failure::Usage(format!("{}: {reason}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Reads the text of a file.
///
/// # Errors
/// What is wrong, with its key.
fn parse(text: &str) -> Result<Kept, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut kept = Kept::default();
    for (key, value) in table {
        let refused = |reason: &str| format!("{key}: {reason}");
        match key.as_str() {
            "nodes" => {
                let texts: Vec<String> =
                    value.try_into().map_err(|_other_type| refused("expected texts, such as [\"10.0.0.1:8850\"]"))?;
                let found = nodes(texts.iter().map(String::as_str)).map_err(|reason| refused(&reason))?;
                kept.nodes = Some(found);
            }
            "ca" => {
                kept.ca = Some(value.try_into().map_err(|_other_type| refused("expected the path of a file"))?);
            }
            "namespace" => {
                kept.namespace = Some(value.try_into().map_err(|_other_type| refused("expected a text"))?);
            }
            "output" => {
                let format = value.try_into().map_err(|_unknown| refused("expected \"table\" or \"json\""))?;
                kept.output = Some(format);
            }
            _ => return Err(refused("unknown key; known are nodes, ca, namespace and output")),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
