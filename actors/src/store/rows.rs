//! Between the rows of the database and the words of the protocol. Owns what is read together, by name, and the forms
//! in which tags, digests and gray contents are stored; runs no statement.

use bytes::Bytes;
use callboard_protocol::commit::Operation;
use callboard_protocol::config::{ConfigState, ConfigType, Metadata, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::gray::GrayRules;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{Incarnation, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{Origin, Recorded, RequestId, Source};
use sea_orm::{FromQueryResult, QueryResult, Value};
use uuid::Uuid;

use super::error::Fault;
use super::seals::{self, Purpose, SEAL, Seals};
use crate::codec;

/// What a result begins with that is sealed. What is not begins with a digest, which nobody makes come out so.
const SEALED_RESULT: [u8; 16] = *b"sealed outcome 1";

/// Reads one row.
pub(super) fn read<T: FromQueryResult>(row: &QueryResult) -> Result<T, Fault> {
    T::from_query_result(row, "").map_err(|error| Fault::Broken(error.to_string()))
}

/// Reads every row.
pub(super) fn read_all<T: FromQueryResult>(rows: &[QueryResult]) -> Result<Vec<T>, Fault> {
    rows.iter().map(read).collect()
}

/// Reads of every row what a left join found.
pub(super) fn read_present<T: FromQueryResult>(rows: &[QueryResult]) -> Result<Vec<T>, Fault> {
    rows.iter().filter_map(|row| read::<Option<T>>(row).transpose()).collect()
}

/// As of when the rows are, the same in each of them.
pub(super) fn head_of(rows: &[QueryResult]) -> Result<Head, Fault> {
    read::<HeadRow>(rows.first().ok_or_else(no_meta)?)?.head()
}

/// As of when an answer is, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: Version,
    pub(super) timeline: Timeline,
    /// Revisions up to here may be missing in the feed.
    pub(super) floor: Version,
    /// The server takes writes: it is no standby.
    pub(super) is_writable: bool,
}

/// What [`Backend::head`] asks for.
///
/// [`Backend::head`]: super::Backend::head
#[derive(Debug, FromQueryResult)]
pub(super) struct HeadRow {
    head_rev: i64,
    head_timeline: i64,
    head_floor: i64,
    head_read_only: String,
}

impl HeadRow {
    pub(super) fn head(&self) -> Result<Head, Fault> {
        Ok(Head {
            revision: version(self.head_rev)?,
            timeline: timeline(self.head_timeline)?,
            floor: version(self.head_floor)?,
            is_writable: self.head_read_only == "0" || self.head_read_only.eq_ignore_ascii_case("off"),
        })
    }
}

/// The key of a configuration: [`KEY`].
///
/// [`KEY`]: super::schema::KEY
#[derive(Debug, FromQueryResult)]
pub(super) struct KeyRow {
    tenant: String,
    grp: String,
    data_id: String,
}

impl KeyRow {
    pub(super) fn key(&self) -> Result<ConfigKey, Fault> {
        ConfigKey::stored(&self.tenant, &self.grp, &self.data_id)
            .map_err(|error| Fault::Broken(format!("a stored key: {error}")))
    }
}

/// What a row says besides its key, version, times and content: [`ATTRIBUTES`].
///
/// [`ATTRIBUTES`]: super::schema::ATTRIBUTES
#[derive(Debug, FromQueryResult)]
pub(super) struct AttributesRow {
    formal_present: bool,
    md5: Option<String>,
    kind: String,
    description: Option<String>,
    tags: String,
    application: Option<String>,
    usage_note: Option<String>,
    effect: Option<String>,
    schema_text: Option<String>,
    encrypted_data_key: Option<String>,
    gray: Option<String>,
    sealed: Option<String>,
}

/// [`AttributesRow`], understood.
pub(super) struct Attributes {
    pub(super) md5: Option<Md5>,
    pub(super) metadata: Metadata,
    pub(super) gray: GrayRules,
}

impl AttributesRow {
    /// Those of a state of `key`.
    pub(super) fn attributes(self, key: &ConfigKey, seals: &dyn Seals) -> Result<Attributes, Fault> {
        let md5 = digest(self.md5.as_deref(), self.sealed.as_deref(), key, seals)?;
        if self.formal_present != md5.is_some() {
            return Err(digest_without_content());
        }
        let metadata = Metadata {
            kind: kind(&self.kind)?,
            description: self.description,
            tags: tags(&self.tags)?,
            application: self.application,
            usage: self.usage_note,
            effect: self.effect,
            schema: self.schema_text,
            encrypted_data_key: self.encrypted_data_key,
            is_secret: self.sealed.is_some(),
        };
        let gray = self.gray.map_or_else(|| Ok(GrayRules::default()), |text| serde_json::from_str(&text));
        let gray = gray.map_err(|_inner| Fault::Broken("stored gray contents".to_owned()))?;
        Ok(Attributes { md5, metadata, gray })
    }
}

/// A state: the present one of `cc_config`, or the one that a change made.
#[derive(Debug, FromQueryResult)]
pub(super) struct StateRow {
    #[sea_orm(nested)]
    key: KeyRow,
    version: i64,
    #[sea_orm(nested)]
    attributes: AttributesRow,
    created_at: i64,
    modified_at: i64,
    content: Option<Vec<u8>>,
}

impl StateRow {
    pub(super) fn state(self, seals: &dyn Seals) -> Result<ConfigState, Fault> {
        let key = self.key.key()?;
        let Attributes { md5, metadata, gray } = self.attributes.attributes(&key, seals)?;
        let formal = content(self.content, md5, (&key, metadata.is_secret), seals)?;
        Ok(ConfigState {
            key,
            version: version(self.version)?,
            formal,
            gray,
            metadata,
            created_at: WallMillis(self.created_at),
            modified_at: WallMillis(self.modified_at),
        })
    }
}

/// Who asked for a change: [`ORIGIN`].
///
/// [`ORIGIN`]: super::schema::ORIGIN
#[derive(Debug, FromQueryResult)]
pub(super) struct OriginRow {
    channel: String,
    operator: Option<String>,
    source_address: Option<String>,
    client_id: Option<String>,
    note: Option<String>,
}

impl OriginRow {
    pub(super) fn origin(self) -> Result<Origin, Fault> {
        let channel = Source::ALL
            .into_iter()
            .find(|known| known.as_str() == self.channel)
            .ok_or_else(|| Fault::Broken("an unknown channel".to_owned()))?;
        Ok(Origin {
            channel,
            operator: self.operator,
            source_address: self.source_address,
            client_id: self.client_id,
            note: self.note,
        })
    }
}

/// A request id with what is kept under it.
#[derive(Debug, FromQueryResult)]
pub(super) struct RequestRow {
    request_id: String,
    result: Vec<u8>,
}

impl RequestRow {
    pub(super) fn recorded(&self, seals: &dyn Seals) -> Result<(RequestId, Recorded), Fault> {
        let request_id = request_id(&self.request_id)?;
        let result = match self.result.strip_prefix(&SEALED_RESULT) {
            Some(sealed) => seals::open(seals, Purpose::Outcome(&request_id), sealed)?,
            None => self.result.clone(),
        };
        let recorded = codec::decode(&result)
            .map_err(|error| Fault::Broken(format!("the result kept for request {request_id}: {error}")))?;
        Ok((request_id, recorded))
    }
}

/// A number of rows.
#[derive(Debug, FromQueryResult)]
pub(super) struct CountRow {
    number: i64,
}

impl CountRow {
    /// The count of a statement that always answers with one.
    pub(super) fn of(row: Option<Self>) -> Result<u64, Fault> {
        let row = row.ok_or_else(|| Fault::Broken("a count without a row".to_owned()))?;
        count(row.number)
    }
}

/// One text.
#[derive(Debug, FromQueryResult)]
pub(super) struct TextRow {
    pub(super) text: String,
}

pub(super) fn count(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_negative| Fault::Broken(format!("{number} where a count was expected")))
}

pub(super) fn version(number: i64) -> Result<Version, Fault> {
    count(number).map(Version)
}

pub(super) fn timeline(number: i64) -> Result<Timeline, Fault> {
    count(number).map(Timeline)
}

pub(super) fn incarnation(text: &str) -> Result<Incarnation, Fault> {
    Uuid::parse_str(text).map(Incarnation).map_err(|_inner| Fault::Broken("a stored incarnation".to_owned()))
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Fault> {
    RequestId::new(text).map_err(|error| Fault::Broken(format!("a stored request id: {error}")))
}

pub(super) fn operation(name: &str) -> Result<Operation, Fault> {
    [Operation::Create, Operation::Update, Operation::Remove]
        .into_iter()
        .find(|operation| operation.as_str() == name)
        .ok_or_else(|| Fault::Broken("an unknown operation".to_owned()))
}

pub(super) fn kind(name: &str) -> Result<ConfigType, Fault> {
    name.parse().map_err(|error| Fault::Broken(format!("a stored type: {error}")))
}

pub(super) fn tags(text: &str) -> Result<Vec<String>, Fault> {
    serde_json::from_str(text).map_err(|_inner| Fault::Broken("stored tags".to_owned()))
}

pub(super) fn md5(digits: Option<&str>) -> Result<Option<Md5>, Fault> {
    digits.map(|digits| Md5::parse(digits).ok_or_else(|| Fault::Broken("a stored digest".to_owned()))).transpose()
}

/// The digest of a content of `key`: as it is, or sealed.
pub(super) fn digest(
    plain: Option<&str>,
    sealed: Option<&str>,
    key: &ConfigKey,
    seals: &dyn Seals,
) -> Result<Option<Md5>, Fault> {
    match sealed {
        Some(sealed) => seals::open_digest(seals, key, sealed).map(Some),
        None => md5(plain),
    }
}

/// A content that belongs to `md5`, sealed where it is a secret.
pub(super) fn content(
    bytes: Option<Vec<u8>>,
    md5: Option<Md5>,
    (key, is_secret): (&ConfigKey, bool),
    seals: &dyn Seals,
) -> Result<Option<Content>, Fault> {
    match (bytes, md5) {
        (None, None) => Ok(None),
        (Some(sealed), Some(md5)) if is_secret => {
            let bytes = seals::open(seals, Purpose::Content(key), &sealed)?;
            Ok(Some(Content::stored(Bytes::from(bytes), md5)))
        }
        (Some(bytes), Some(md5)) => Ok(Some(Content::stored(Bytes::from(bytes), md5))),
        _ => Err(digest_without_content()),
    }
}

fn digest_without_content() -> Fault {
    Fault::Broken("a formal content without digest, or a digest without content".to_owned())
}

pub(super) fn no_meta() -> Fault {
    Fault::Broken("the row of cc_meta is missing".to_owned())
}

/// The values of a key's three columns.
pub(super) fn key_values(key: &ConfigKey) -> [Value; 3] {
    [key.namespace(), key.group(), key.data_id()].map(Value::from)
}

/// The length of a content whose row holds this many bytes.
pub(super) fn content_length(stored: i64, is_secret: bool) -> Result<u64, Fault> {
    Ok(count(stored)?.saturating_sub(if is_secret { SEAL as u64 } else { 0 }))
}

/// The values of the columns [`ATTRIBUTES`].
///
/// [`ATTRIBUTES`]: super::schema::ATTRIBUTES
pub(super) fn fact_values(state: &ConfigState, seals: &dyn Seals) -> Result<[Value; 12], Fault> {
    let metadata = &state.metadata;
    let digest = state.formal.as_ref().map(Content::md5);
    let (digest, secret) = if metadata.is_secret { (None, digest) } else { (digest, None) };
    let sealed = secret.map(|digest| seals::seal_digest(seals, &state.key, digest)).transpose()?;
    let json = |_inner| Fault::Broken("tags or gray contents that can't be written".to_owned());
    let tags = serde_json::to_string(&metadata.tags).map_err(json)?;
    let gray = if state.gray.is_empty() { None } else { Some(serde_json::to_string(&state.gray).map_err(json)?) };
    Ok([
        state.formal.is_some().into(),
        digest.map(|digest| digest.hex()).into(),
        metadata.kind.as_str().into(),
        metadata.description.clone().into(),
        tags.into(),
        metadata.application.clone().into(),
        metadata.usage.clone().into(),
        metadata.effect.clone().into(),
        metadata.schema.clone().into(),
        metadata.encrypted_data_key.clone().into(),
        gray.into(),
        sealed.into(),
    ])
}

/// The value of a content column.
pub(super) fn content_value(state: &ConfigState, seals: &dyn Seals) -> Result<Value, Fault> {
    let stored = |content: &Content| match state.metadata.is_secret {
        true => seals::seal(seals, Purpose::Content(&state.key), content.bytes()),
        false => Ok(content.bytes().to_vec()),
    };
    Ok(state.formal.as_ref().map(stored).transpose()?.into())
}

/// How a request came out that told of a secret, as it is kept.
pub(super) fn sealed_result(request_id: &RequestId, result: &[u8], seals: &dyn Seals) -> Result<Vec<u8>, Fault> {
    Ok([&SEALED_RESULT[..], &seals::seal(seals, Purpose::Outcome(request_id), result)?].concat())
}

/// A revision as the database counts: it never comes near the end of 63 bits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Bytes of text and content in a state, about.
pub(super) fn state_bytes(state: &ConfigState) -> usize {
    state.weight()
}
