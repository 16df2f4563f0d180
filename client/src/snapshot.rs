//! The form in which a state is kept on the disk: one JSON file for each configuration. Pure; [`files`] reads and
//! writes them. Decoding is total: what is no snapshot is an error.

pub(crate) mod files;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::key::ConfigKey;

/// The form that is written and read.
const FORMAT: u32 = 1;
/// Longest part of a data id that is shown in the name of a file, in bytes.
const MAX_SHOWN: usize = 80;

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    format: u32,
    saved_at_ms: u64,
    namespace: String,
    group: String,
    data_id: String,
    version: u64,
    md5: String,
    #[serde(rename = "type")]
    kind: String,
    /// Absent for a configuration that does not exist.
    content: Option<String>,
}

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// Not the JSON that is written here.
    #[error("not a snapshot: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of a form that this client does not know.
    #[error("a snapshot of the unknown form {0}")]
    Format(u32),
    /// Of a time that can't be told.
    #[error("a snapshot of an impossible time")]
    Time,
}

/// The bytes of a file that keeps `config`.
///
/// # Errors
/// The serialiser's own; never in practice.
pub(crate) fn encode(config: &Config, saved_at: SystemTime) -> Result<Vec<u8>, SnapshotError> {
    // A clock before 1970 counts as 1970: the time is for people.
    let saved_at_ms = saved_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let saved = Saved {
        format: FORMAT,
        saved_at_ms: u64::try_from(saved_at_ms).unwrap_or(u64::MAX),
        namespace: config.key.namespace().to_owned(),
        group: config.key.group().to_owned(),
        data_id: config.key.data_id().to_owned(),
        version: config.version,
        md5: config.md5.clone(),
        kind: config.kind.clone(),
        content: config.content.as_deref().map(str::to_owned),
    };
    Ok(serde_json::to_vec(&saved)?)
}

/// The state that the bytes of a file keep, and when it was written.
///
/// # Errors
/// [`SnapshotError`] says why there is none.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Config, SystemTime), SnapshotError> {
    let saved: Saved = serde_json::from_slice(bytes)?;
    if saved.format != FORMAT {
        return Err(SnapshotError::Format(saved.format));
    }
    let saved_at = UNIX_EPOCH.checked_add(Duration::from_millis(saved.saved_at_ms)).ok_or(SnapshotError::Time)?;
    let config = Config {
        key: ConfigKey::new(&saved.namespace, &saved.group, &saved.data_id),
        version: saved.version,
        md5: saved.md5,
        kind: saved.kind,
        content: saved.content.map(Into::into),
    };
    Ok((config, saved_at))
}

/// The name of the file that keeps `key`: a digest of the whole name, and as much of the data id as people need.
pub(crate) fn file_name(key: &ConfigKey) -> String {
    let shown = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let shown: String = key.data_id().chars().take(MAX_SHOWN).map(shown).collect();
    format!("{:016x}-{shown}.json", fnv1a(key.to_string().as_bytes()))
}

/// FNV-1a, 64 bits: a digest that stays the same from one release to the next. Nothing rests on its strength; two
/// names with the same one share a file, and one of them has no snapshot.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
