//! The text with which Nacos clients ask, by long polling, whether what they hold has changed, and the text that
//! tells them what has. Owns the two formats; compares nothing.
//!
//! The question is a row of records, each ended by `\x01`, its fields parted by `\x02`: data id, group, md5 and,
//! for clients that name one, the tenant. The answer lists data id, group and tenant in the same form, URL-encoded.

use std::time::Duration;

use crate::hex;
use crate::key::{ConfigKey, KeyError, namespace_of};

/// Most records of one question.
pub const MAX_RECORDS: usize = 10_000;

const FIELD_END: char = '\u{2}';
const RECORD_END: char = '\u{1}';

/// The value is no list of records; the text is Nacos's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid probeModify")]
pub struct InvalidProbe;

/// What a client holds of one configuration. The texts are the client's own, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The data id.
    pub data_id: String,
    /// The group.
    pub group: String,
    /// The digest of what it holds, as it wrote it; `None` when it holds nothing.
    pub md5: Option<String>,
    /// The tenant, as it wrote it, blank ones included; `None` when the record had no such field.
    pub tenant: Option<String>,
}

impl Record {
    /// The key that the record stands for.
    ///
    /// # Errors
    /// [`KeyError`] names the first part that breaks its rule.
    pub fn key(&self) -> Result<ConfigKey, KeyError> {
        ConfigKey::new(namespace_of(self.tenant.as_deref()), &self.group, &self.data_id)
    }

    /// The tenant as it is echoed: a client finds its entry again by exactly what it sent.
    fn echoed_tenant(&self) -> Option<&str> {
        self.tenant.as_deref().filter(|tenant| !tenant.trim().is_empty())
    }
}

/// The value says no time; the text is that of Nacos's platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("For input string: {0:?}")]
pub struct InvalidTimeout(String);

/// Shortest time that a poll is held.
const SHORTEST_HANG: u64 = 10_000;
/// Longest time that a client may ask for.
const LONGEST_TIMEOUT: u64 = 60_000;
/// How much earlier than the client's patience ends it is answered.
const HEAD_START: u64 = 500;

/// For how long a poll is held whose client says in `Long-Pulling-Timeout` how long it waits, in milliseconds.
///
/// # Errors
/// [`InvalidTimeout`] when that is no whole number.
pub fn hang(value: &[u8]) -> Result<Duration, InvalidTimeout> {
    const SHOWN: usize = 32;
    let text = std::str::from_utf8(value).unwrap_or_default().trim();
    let asked = text.parse::<i64>().map_err(|_no_number| InvalidTimeout(text.chars().take(SHOWN).collect()))?;
    let asked = u64::try_from(asked).unwrap_or(0).min(LONGEST_TIMEOUT);
    Ok(Duration::from_millis(asked.saturating_sub(HEAD_START).max(SHORTEST_HANG)))
}

/// Whether a client of this version, when it does not wait, looks for the answer in headers: those before 2.0.4 do, and
/// those that name none.
#[must_use]
pub fn wants_headers(client_version: Option<&str>) -> bool {
    let Some(client_version) = client_version else { return true };
    let mut numbers = client_version.trim().trim_start_matches(['v', 'V']).splitn(3, '.').map(|part| {
        let digits = part.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(part.len());
        part.get(..digits).and_then(|digits| digits.parse::<u32>().ok())
    });
    match (numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) < (2, 0, 4),
        _ => false,
    }
}

/// Reads the value of `Listening-Configs`, after the form was decoded. Clients encode it twice, so it is decoded
/// once more; a last record without its end is ignored, also where it is the only one.
///
/// # Errors
/// [`InvalidProbe`] when the value is blank or holds nothing like a record, when a record that has its end has fewer
/// than three or more than four fields, and when there are more than [`MAX_RECORDS`] records.
pub fn parse(value: &str) -> Result<Vec<Record>, InvalidProbe> {
    let decoded = decode_again(value);
    let Some((ended, _unended)) = decoded.rsplit_once(RECORD_END) else {
        return parse_record(&decoded).map(|_ignored| Vec::new());
    };
    let mut records = Vec::new();
    for record in ended.split(RECORD_END) {
        if records.len() == MAX_RECORDS {
            return Err(InvalidProbe);
        }
        records.push(parse_record(record)?);
    }
    Ok(records)
}

fn parse_record(text: &str) -> Result<Record, InvalidProbe> {
    let mut fields = text.split(FIELD_END).map(str::to_owned);
    let (Some(data_id), Some(group), Some(md5)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(InvalidProbe);
    };
    let tenant = fields.next();
    if fields.next().is_some() {
        return Err(InvalidProbe);
    }
    Ok(Record { data_id, group, md5: Some(md5).filter(|md5| !md5.is_empty()), tenant })
}

/// Decodes percent signs and plus signs. What is not properly encoded stays as it is: a client that encodes once
/// sends no such sign in a legal name.
fn decode_again(value: &str) -> String {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, beyond @ ..]) => match (hex::value(*high), hex::value(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = beyond;
                }
                _ => decoded.push(byte),
            },
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_not_utf8| value.to_owned())
}

/// The answer that names what changed, in the order given; empty when nothing did.
#[must_use]
pub fn encode_changed<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut answer = String::new();
    for record in records {
        push_encoded(&mut answer, &record.data_id);
        answer.push_str("%02");
        push_encoded(&mut answer, &record.group);
        if let Some(tenant) = record.echoed_tenant() {
            answer.push_str("%02");
            push_encoded(&mut answer, tenant);
        }
        answer.push_str("%01");
    }
    answer
}

/// `text` encoded as Java's `URLEncoder` does it; ASCII without control characters, whatever `text` is.
#[must_use]
pub fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_encoded(&mut encoded, text);
    encoded
}

/// Encodes as Java's `URLEncoder` does: letters, digits and `.-_*` stay, a space becomes a plus.
fn push_encoded(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests;
