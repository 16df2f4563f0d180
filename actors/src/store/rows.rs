//! Between the columns of a row and the words of the protocol. Owns the order of the columns and the forms in which
//! tags, digests and gray contents are stored; runs no statement.

use bytes::Bytes;
use callboard_protocol::commit::Operation;
use callboard_protocol::config::{ConfigState, ConfigType, Metadata, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::gray::GrayRules;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::Timeline;
use callboard_protocol::time::WallMillis;
use callboard_protocol::unit::{Channel, Origin, RequestId};
use sea_orm::{QueryResult, TryGetable, Value};

use super::error::Fault;

/// The columns that [`Facts`] reads, of `cc_config` and of `cc_change`.
pub(super) const FACTS: [&str; 11] = [
    "formal_present",
    "md5",
    "kind",
    "description",
    "tags",
    "application",
    "usage_note",
    "effect",
    "schema_text",
    "encrypted_data_key",
    "gray",
];

/// [`FACTS`] of `table`, for a select list.
pub(super) fn facts_of(table: &str) -> String {
    FACTS.map(|column| format!("{table}.{column}")).join(", ")
}

/// What a row says besides its key, version, times and content.
pub(super) struct Facts {
    pub(super) md5: Option<Md5>,
    pub(super) metadata: Metadata,
    pub(super) gray: GrayRules,
}

/// As of when an answer is, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: Version,
    pub(super) timeline: Timeline,
    /// The server takes writes: it is no standby.
    pub(super) is_writable: bool,
}

/// Reads a row column by column, in the order of the select list.
pub(super) struct Columns<'a> {
    row: &'a QueryResult,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a QueryResult) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(super) fn take<T: TryGetable>(&mut self) -> Result<T, Fault> {
        let index = self.next;
        self.next += 1;
        self.row.try_get_by_index(index).map_err(|error| Fault::Broken(format!("column {index}: {error}")))
    }

    /// Leaves so many columns out.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        let number = self.take::<i64>()?;
        u64::try_from(number).map_err(|_negative| Fault::Broken(format!("{number} where a count was expected")))
    }

    pub(super) fn version(&mut self) -> Result<Version, Fault> {
        self.number().map(Version)
    }

    pub(super) fn timeline(&mut self) -> Result<Timeline, Fault> {
        self.number().map(Timeline)
    }

    /// What [`Backend::head`] asks for.
    ///
    /// [`Backend::head`]: super::Backend::head
    pub(super) fn head(&mut self) -> Result<Head, Fault> {
        let (revision, timeline) = (self.version()?, self.timeline()?);
        let read_only = self.take::<String>()?;
        Ok(Head { revision, timeline, is_writable: read_only == "0" || read_only.eq_ignore_ascii_case("off") })
    }

    pub(super) fn time(&mut self) -> Result<WallMillis, Fault> {
        self.take().map(WallMillis)
    }

    pub(super) fn key(&mut self) -> Result<ConfigKey, Fault> {
        let namespace = self.take::<String>()?;
        self.key_in(&namespace)
    }

    /// The rest of a key whose namespace was read already.
    pub(super) fn key_in(&mut self, namespace: &str) -> Result<ConfigKey, Fault> {
        let (group, data_id) = (self.take::<String>()?, self.take::<String>()?);
        ConfigKey::stored(namespace, &group, &data_id).map_err(|error| Fault::Broken(format!("a stored key: {error}")))
    }

    pub(super) fn request_id(&mut self) -> Result<RequestId, Fault> {
        RequestId::new(&self.take::<String>()?).map_err(|error| Fault::Broken(format!("a stored request id: {error}")))
    }

    pub(super) fn operation(&mut self) -> Result<Operation, Fault> {
        let name = self.take::<String>()?;
        [Operation::Create, Operation::Update, Operation::Remove]
            .into_iter()
            .find(|operation| operation.as_str() == name)
            .ok_or_else(|| Fault::Broken("an unknown operation".to_owned()))
    }

    pub(super) fn origin(&mut self) -> Result<Origin, Fault> {
        let channel = self.take::<String>()?;
        let channel = [Channel::Rest, Channel::NacosHttp, Channel::Grpc, Channel::Session, Channel::System]
            .into_iter()
            .find(|known| known.as_str() == channel)
            .ok_or_else(|| Fault::Broken("an unknown channel".to_owned()))?;
        Ok(Origin {
            channel,
            operator: self.take()?,
            source_address: self.take()?,
            client_id: self.take()?,
            note: self.take()?,
        })
    }

    pub(super) fn kind(&mut self) -> Result<ConfigType, Fault> {
        self.take::<String>()?.parse().map_err(|error| Fault::Broken(format!("a stored type: {error}")))
    }

    pub(super) fn tags(&mut self) -> Result<Vec<String>, Fault> {
        let tags = self.take::<String>()?;
        serde_json::from_str(&tags).map_err(|_inner| Fault::Broken("stored tags".to_owned()))
    }

    pub(super) fn md5(&mut self) -> Result<Option<Md5>, Fault> {
        let digits = self.take::<Option<String>>()?;
        digits.map(|digits| Md5::parse(&digits).ok_or_else(|| Fault::Broken("a stored digest".to_owned()))).transpose()
    }

    /// The columns [`FACTS`].
    pub(super) fn facts(&mut self) -> Result<Facts, Fault> {
        let formal_present = self.take::<bool>()?;
        let md5 = self.md5()?;
        if formal_present != md5.is_some() {
            return Err(Fault::Broken("a formal content without digest, or a digest without content".to_owned()));
        }
        let metadata = Metadata {
            kind: self.kind()?,
            description: self.take()?,
            tags: self.tags()?,
            application: self.take()?,
            usage: self.take()?,
            effect: self.take()?,
            schema: self.take()?,
            encrypted_data_key: self.take()?,
        };
        let gray = match self.take::<Option<String>>()? {
            None => GrayRules::default(),
            Some(text) => {
                serde_json::from_str(&text).map_err(|_inner| Fault::Broken("stored gray contents".to_owned()))?
            }
        };
        Ok(Facts { md5, metadata, gray })
    }

    /// A content that belongs to `md5`.
    pub(super) fn content(&mut self, md5: Option<Md5>) -> Result<Option<Content>, Fault> {
        let bytes = self.take::<Option<Vec<u8>>>()?;
        match (bytes, md5) {
            (None, None) => Ok(None),
            (Some(bytes), Some(md5)) => Ok(Some(Content::stored(Bytes::from(bytes), md5))),
            _ => Err(Fault::Broken("a formal content without digest, or a digest without content".to_owned())),
        }
    }

    /// Version, [`FACTS`], the two times and the content: a state of `key`.
    pub(super) fn state(&mut self, key: ConfigKey) -> Result<ConfigState, Fault> {
        let version = self.version()?;
        let facts = self.facts()?;
        let (created_at, modified_at) = (self.time()?, self.time()?);
        let formal = self.content(facts.md5)?;
        Ok(ConfigState { key, version, formal, gray: facts.gray, metadata: facts.metadata, created_at, modified_at })
    }
}

/// The values of a key's three columns.
pub(super) fn key_values(key: &ConfigKey) -> [Value; 3] {
    [key.namespace(), key.group(), key.data_id()].map(Value::from)
}

/// The values of the columns [`FACTS`].
pub(super) fn fact_values(state: &ConfigState) -> Result<[Value; 11], Fault> {
    let metadata = &state.metadata;
    let json = |_inner| Fault::Broken("tags or gray contents that can't be written".to_owned());
    let tags = serde_json::to_string(&metadata.tags).map_err(json)?;
    let gray = if state.gray.is_empty() { None } else { Some(serde_json::to_string(&state.gray).map_err(json)?) };
    Ok([
        state.formal.is_some().into(),
        state.formal.as_ref().map(|content| content.md5().hex()).into(),
        metadata.kind.as_str().into(),
        metadata.description.clone().into(),
        tags.into(),
        metadata.application.clone().into(),
        metadata.usage.clone().into(),
        metadata.effect.clone().into(),
        metadata.schema.clone().into(),
        metadata.encrypted_data_key.clone().into(),
        gray.into(),
    ])
}

/// The value of a content column.
pub(super) fn content_value(state: &ConfigState) -> Value {
    state.formal.as_ref().map(|content| content.bytes().to_vec()).into()
}

/// A revision as the database counts: it never comes near the end of 63 bits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Bytes of text and content in a state, about.
pub(super) fn state_bytes(state: &ConfigState) -> usize {
    state.weight()
}
