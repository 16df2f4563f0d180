//! Cursors: where a list goes on. Owns their form; a client sends back what it was given and reads nothing into it.
//!
//! A list cursor is `1~<filter>~<group>~<dataId>`: the form's number, a short digest of the filter of the list, and
//! the last key of the page before. No name can hold a tilde and every character is safe in a URL. It names a place
//! in the order of keys, not a row, so it stays good when that key is removed.

use crate::clients::Place;
use crate::config::Version;
use crate::content::Md5;
use crate::hex;
use crate::key::{ConfigKey, PUBLIC_NAMESPACE};
use crate::push_ledger::SessionNumber;
use crate::session::client::{ClientId, MAX_CLIENT_ID};

use super::parse_version;

const FORM: &str = "1";
const PLACE_FORM: &str = "2";
const SEPARATOR: char = '~';

/// Why a cursor was refused. Nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not a cursor that was given out.
    #[error("cursor is malformed; send the one of the page before, or none to begin anew")]
    Malformed,
    /// Given out for another filter.
    #[error("cursor belongs to a list with another filter; repeat the filter of the page before, or begin anew")]
    OtherFilter,
}

/// Tells the filters of lists apart: 32 bits of a digest, against mistakes rather than malice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterDigest(String);

impl FilterDigest {
    /// The digest of everything that decides which keys are listed, in a fixed order; `None` for what was not given.
    #[must_use]
    pub fn of(parts: &[Option<&str>]) -> Self {
        let mut text = String::new();
        for part in parts {
            // With the length in front, no two lists of parts give the same text.
            text.push_str(&part.map_or_else(|| "-".to_owned(), |part| format!("{}:{part}", part.len())));
        }
        let mut digest = Md5::of(text.as_bytes()).hex();
        digest.truncate(8);
        Self(digest)
    }
}

/// The place after this key, within the namespace that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// The group of the last key of the page.
    pub group: String,
    /// Its data id.
    pub data_id: String,
}

impl ListCursor {
    /// The text for the client.
    #[must_use]
    pub fn encode(&self, filter: &FilterDigest) -> String {
        [FORM, &filter.0, &self.group, &self.data_id].join("~")
    }

    /// Reads what a client sent back with a list of this filter.
    ///
    /// # Errors
    /// [`CursorError`] when it was not given out by [`encode`](Self::encode), or for another filter.
    pub fn decode(text: &str, filter: &FilterDigest) -> Result<Self, CursorError> {
        let mut fields = text.split(SEPARATOR);
        let (Some(FORM), Some(digest), Some(group), Some(data_id), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(CursorError::Malformed);
        };
        let digest_is_legal = digest.len() == filter.0.len() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digest_is_legal || ConfigKey::stored(PUBLIC_NAMESPACE, group, data_id).is_err() {
            return Err(CursorError::Malformed);
        }
        if digest != filter.0 {
            return Err(CursorError::OtherFilter);
        }
        Ok(Self { group: group.to_owned(), data_id: data_id.to_owned() })
    }
}

/// The text for a place in a list of clients: `2~<filter>~<connection>~<node>~<client>`, the last two in hexadecimal.
#[must_use]
pub fn encode_place(place: &Place, filter: &FilterDigest) -> String {
    let hex = |text: &str| hex::encode(text.as_bytes());
    [PLACE_FORM, &filter.0, &place.session.0.to_string(), &hex(&place.node), &hex(&place.client.0)].join("~")
}

/// Reads what a client sent back with a list of this filter.
///
/// # Errors
/// [`CursorError`] when it was not given out by [`encode_place`], or for another filter.
pub fn decode_place(text: &str, filter: &FilterDigest) -> Result<Place, CursorError> {
    let mut fields = text.split(SEPARATOR);
    let (Some(PLACE_FORM), Some(digest), Some(session), Some(node), Some(client), None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(CursorError::Malformed);
    };
    let session = session.parse().map_err(|_no_number| CursorError::Malformed)?;
    let (node, client) = (unhex(node)?, unhex(client)?);
    if digest != filter.0 {
        return Err(CursorError::OtherFilter);
    }
    let client = ClientId::new(&client).map_err(|_no_id| CursorError::Malformed)?;
    Ok(Place { client, node: node.into(), session: SessionNumber(session) })
}

/// The text that hexadecimal digits stand for; at most as long as the name of a client or node.
fn unhex(digits: &str) -> Result<String, CursorError> {
    let digits = Some(digits).filter(|digits| digits.len() <= 2 * MAX_CLIENT_ID);
    let text = digits.and_then(hex::decode).and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or(CursorError::Malformed)
}

/// Reads the cursor of a history, which is the version that the page before ended with.
///
/// # Errors
/// [`CursorError::Malformed`] for anything but decimal digits of a number that a version can be.
pub fn decode_history(text: &str) -> Result<Version, CursorError> {
    parse_version(text).ok_or(CursorError::Malformed)
}

#[cfg(test)]
mod tests;
