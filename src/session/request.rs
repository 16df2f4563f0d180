//! What a client sent, as the session actor takes it: names, contents and conditions are checked here, once. Owns the
//! translation; a message that breaks a rule is answered, and nothing else is harmed.

use callboard_actors::session::native::message::{Fault, Hello, InboundMessage, Listing, Request};
use callboard_actors::store::ListFilter;
use callboard_proto::session as proto;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use callboard_protocol::access::grant::{Area, Demand, Names};
use callboard_protocol::config::{ConfigType, MetadataEdit, Version, check_text};
use callboard_protocol::content::{Md5, Reported};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::key::{self, ConfigKey, check_group, check_prefix};
use callboard_protocol::link::Versions;
use callboard_protocol::session::client::{Client, ClientError, ClientId, MAX_REASON};
use callboard_protocol::session::position::Mark;
use callboard_protocol::watch::{Selector, SelectorError};
use callboard_protocol::wire::cursor::{FilterDigest, ListCursor};
use callboard_protocol::write_request::{Change, Condition, Expected, KeyWrite, Origin, RequestId, WriteRequest};
use uuid::Uuid;

use crate::api::access::{Access, require_selected};
use crate::api::auth::Shown;
use crate::api::error::ApiError;
use crate::api::off_worker;
use crate::api::paging::{MAX_PAGE, PAGE};
use crate::session::{Peer, access, door_of};

/// A message that came as `bytes` bytes.
pub(super) async fn heard(envelope: Envelope, bytes: usize, peer: &mut Peer) -> InboundMessage {
    let Envelope { id, kind } = envelope;
    let Some(kind) = kind else { return unknown(id, bytes, "this node does not know such a request") };
    let Some(row) = access::find(&kind) else { return unknown(id, bytes, "only nodes say this") };
    if let Err(refused) = show(&kind, peer).await.and_then(|()| admit(row, &kind, peer)) {
        peer.auth.tell_refused(&refused, peer.principal.operator(), peer.whence());
        return InboundMessage { id, bytes, request: Err(form(&refused)) };
    }
    if id == 0 && row.is_answered {
        let text = format!("{} needs an id above 0", row.kind);
        return InboundMessage { id, bytes, request: Err(Fault::Form(ErrorCode::MalformedRequest, text)) };
    }
    let request = request(kind, peer).await.map_err(|problem| form(&problem));
    peer.has_greeted |= matches!(request, Ok(Request::Hello(_)));
    InboundMessage { id, bytes, request }
}

/// What the client shows in its hello makes it known from then on.
async fn show(kind: &Kind, peer: &mut Peer) -> Result<(), ApiError> {
    let Kind::Hello(hello) = kind else { return Ok(()) };
    let shown = match hello.credentials.as_str() {
        "" => return Ok(()),
        text => Shown::read(text).unwrap_or(Shown::Token(text.into())),
    };
    peer.principal = peer.auth.authenticate(shown.credentials(), peer.whence()).await?;
    Ok(())
}

/// Whether the client may say this.
fn admit(row: &access::Row, kind: &Kind, peer: &Peer) -> Result<(), ApiError> {
    if matches!(kind, Kind::Hello(_)) {
        // Nobody can do anything else on a session where nobody is known.
        return peer.principal.admit(Access::Known);
    }
    peer.principal.admit(row.access)?;
    let Access::Named(action) = row.access else { return Ok(()) };
    match demanded(kind)? {
        Demanded::Key(key) => peer.principal.require(&Demand::Key(action, &key)),
        Demanded::Selected(selectors) => {
            selectors.iter().try_for_each(|selector| require_selected(&peer.principal, selector))
        }
        Demanded::Listed(filter) => {
            let data_id = filter.data_id_prefix.as_deref().map(Names::Beginning);
            let group = filter.group.as_deref().map(Names::One);
            peer.principal.require(&Demand::Area(action, Area { namespace: &filter.namespace, group, data_id }))
        }
        Demanded::Nothing => Ok(()),
    }
}

/// What a message is about.
enum Demanded {
    Key(ConfigKey),
    Selected(Vec<Selector>),
    Listed(Box<ListFilter>),
    Nothing,
}

fn demanded(kind: &Kind) -> Result<Demanded, ApiError> {
    let named = |key: &Option<proto::Key>| Ok(Demanded::Key(self::key(key.clone())?));
    match kind {
        Kind::Get(get) => named(&get.key),
        Kind::Publish(publish) => named(&publish.key),
        Kind::Delete(delete) => named(&delete.key),
        Kind::Applied(applied) => named(&applied.key),
        Kind::Rejected(rejected) => named(&rejected.key),
        Kind::Watch(watch) => Ok(Demanded::Selected(selectors(watch.keys.clone(), watch.prefixes.clone())?)),
        Kind::List(list) => Ok(Demanded::Listed(Box::new(listing(list.clone())?.filter))),
        // What is no longer watched takes nothing.
        Kind::Unwatch(_)
        | Kind::Hello(_)
        | Kind::Hold(_)
        | Kind::Ping(_)
        | Kind::Pong(_)
        | Kind::Welcome(_)
        | Kind::Config(_)
        | Kind::Page(_)
        | Kind::Published(_)
        | Kind::Watching(_)
        | Kind::Unwatched(_)
        | Kind::Push(_)
        | Kind::GoAway(_)
        | Kind::Error(_) => Ok(Demanded::Nothing),
    }
}

fn unknown(id: u64, bytes: usize, text: &str) -> InboundMessage {
    InboundMessage { id, bytes, request: Err(Fault::Form(ErrorCode::UnknownRequest, text.to_owned())) }
}

/// What a problem is told as.
fn form(problem: &ApiError) -> Fault {
    Fault::Form(problem.code(), problem.detail().to_owned())
}

async fn request(kind: Kind, peer: &Peer) -> Result<Request, ApiError> {
    Ok(match kind {
        Kind::Hello(hello) => Request::Hello(Box::new(self::hello(hello, peer)?)),
        Kind::Get(get) => Request::Get(key(get.key)?),
        Kind::List(list) => Request::List(Box::new(listing(list)?)),
        Kind::Publish(publish) => Request::Change(Box::new(self::publish(publish, peer).await?)),
        Kind::Delete(delete) => Request::Change(Box::new(self::delete(delete, peer)?)),
        Kind::Watch(watch) => Request::Watch(selectors(watch.keys, watch.prefixes)?),
        Kind::Unwatch(unwatch) => Request::Unwatch(selectors(unwatch.keys, unwatch.prefixes)?),
        Kind::Applied(applied) => Request::Applied(key(applied.key)?, Version(applied.version)),
        Kind::Rejected(rejected) => {
            check_text("reason", &rejected.reason, MAX_REASON)?;
            Request::Rejected(key(rejected.key)?, Version(rejected.version), rejected.reason.into())
        }
        Kind::Ping(ping) => Request::Ping(ping.number),
        Kind::Pong(_) => Request::Pong,
        Kind::Hold(hold) => Request::Hold(held(hold.held)?),
        Kind::Welcome(_)
        | Kind::Config(_)
        | Kind::Page(_)
        | Kind::Published(_)
        | Kind::Watching(_)
        | Kind::Unwatched(_)
        | Kind::Push(_)
        | Kind::GoAway(_)
        | Kind::Error(_) => return Err(ApiError::new(ErrorCode::MalformedRequest, "only nodes say this")),
    })
}

fn key(key: Option<proto::Key>) -> Result<ConfigKey, ApiError> {
    let proto::Key { namespace, group, data_id } = key.ok_or_else(|| ApiError::parameter("key", "a key is missing"))?;
    Ok(ConfigKey::new(&namespace, &group, &data_id)?)
}

fn hello(hello: proto::Hello, peer: &Peer) -> Result<Hello, ApiError> {
    let refused = |error: ClientError| ApiError::new(ErrorCode::InvalidParameter, error.to_string());
    let identity = ClientIdentity {
        address: peer.address.clone(),
        application: Some(hello.application).filter(|application| !application.is_empty()),
        tag: None,
        labels: hello.labels.into_iter().collect(),
        secrets: peer.principal.secrets(),
    };
    let id = ClientId::new(&hello.client_id).map_err(refused)?;
    let client = Client { id, kind: peer.kind, identity, software: hello.software }.checked().map_err(refused)?;
    // Whoever says nothing of versions speaks the first.
    let version = |version: u32| u16::try_from(version.max(1)).unwrap_or(u16::MAX);
    let versions = Versions { min: version(hello.min_version), max: version(hello.max_version) };
    Ok(Hello { client, versions, held: held(hello.held)? })
}

fn held(held: Vec<proto::Held>) -> Result<Vec<(ConfigKey, Mark)>, ApiError> {
    let held = held.into_iter().map(|held| {
        let Reported::Content(md5) = Reported::read(&held.md5) else { return Err(no_digest("held.md5")) };
        let mark = Mark { version: Version(held.version), md5 };
        Ok((key(held.key)?, mark))
    });
    held.collect()
}

fn digest(name: &'static str, text: &str) -> Result<Option<Md5>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    Md5::parse(text).map(Some).ok_or_else(|| no_digest(name))
}

fn no_digest(name: &'static str) -> ApiError {
    ApiError::parameter(name, "a digest is 32 hexadecimal digits")
}

fn listing(list: proto::List) -> Result<Listing, ApiError> {
    let namespace = key::namespace(&list.namespace)?.to_owned();
    let group = Some(list.group).filter(|group| !group.is_empty());
    if let Some(group) = &group {
        check_group(group)?;
    }
    let prefix = Some(list.prefix).filter(|prefix| !prefix.is_empty());
    if let Some(prefix) = &prefix {
        check_prefix(prefix)?;
    }
    let limit = match list.limit {
        0 => PAGE,
        limit if limit <= MAX_PAGE => limit,
        _ => return Err(ApiError::parameter("limit", format!("at most {MAX_PAGE} items make a page"))),
    };
    let digest = FilterDigest::of(&[Some(&namespace), group.as_deref(), prefix.as_deref(), None]);
    let after = match list.cursor.as_str() {
        "" => None,
        cursor => {
            let ListCursor { group, data_id } = ListCursor::decode(cursor, &digest)?;
            Some((group, data_id))
        }
    };
    let filter = ListFilter { namespace, group, data_id_prefix: prefix, text: None };
    Ok(Listing { filter, after, limit, digest })
}

fn selectors(keys: Vec<proto::Key>, prefixes: Vec<proto::Prefix>) -> Result<Vec<Selector>, ApiError> {
    if keys.is_empty() && prefixes.is_empty() {
        return Err(ApiError::parameter("keys", "name at least one key or prefix"));
    }
    let exact = keys.into_iter().map(|named| Ok(Selector::of_key(&key(Some(named))?)));
    let by_prefix = prefixes.into_iter().map(|proto::Prefix { namespace, group, prefix }| {
        let group = Some(group.as_str()).filter(|group| !group.is_empty());
        Selector::prefix(&namespace, group, &prefix).map_err(|error| match error {
            SelectorError::Name(error) => error.into(),
            SelectorError::NoDataId => ApiError::parameter("prefixes", error.to_string()),
        })
    });
    exact.chain(by_prefix).collect()
}

fn condition(condition: Option<proto::Condition>) -> Result<Condition, ApiError> {
    let Some(proto::Condition { if_version, if_md5, if_absent }) = condition else { return Ok(Condition::None) };
    let md5 = digest("ifMd5", &if_md5)?;
    match (if_version, md5, if_absent) {
        (0, None, false) => Ok(Condition::None),
        (version, None, false) => Ok(Condition::Matches(vec![Expected::Version(Version(version))])),
        (0, Some(md5), false) => Ok(Condition::Matches(vec![Expected::Md5(md5)])),
        (0, None, true) => Ok(Condition::Absent),
        _ => Err(ApiError::new(ErrorCode::InvalidCondition, "give ifVersion, ifMd5 or ifAbsent, not several")),
    }
}

async fn publish(publish: proto::Publish, peer: &Peer) -> Result<WriteRequest, ApiError> {
    let kind = match publish.r#type.as_str() {
        "" => None,
        text => Some(text.parse::<ConfigType>().map_err(|error| ApiError::parameter("type", error.to_string()))?),
    };
    let said =
        MetadataEdit { kind, description: publish.description, is_secret: publish.secret, ..MetadataEdit::default() };
    let edit = said.checked()?;
    let content = off_worker::content(publish.content.into_bytes().into()).await?;
    let change = Change::Put { content, edit: Box::new(edit) };
    let item = KeyWrite { key: key(publish.key)?, condition: condition(publish.condition)?, change };
    unit(item, (publish.idempotency_key, publish.note), peer)
}

fn delete(delete: proto::Delete, peer: &Peer) -> Result<WriteRequest, ApiError> {
    let condition = condition(delete.condition)?;
    if condition == Condition::Absent {
        return Err(ApiError::new(ErrorCode::InvalidCondition, "what does not exist can't be removed"));
    }
    let item = KeyWrite { key: key(delete.key)?, condition, change: Change::Remove };
    unit(item, (delete.idempotency_key, delete.note), peer)
}

fn unit(item: KeyWrite, (id, note): (String, String), peer: &Peer) -> Result<WriteRequest, ApiError> {
    let chosen = match id.as_str() {
        "" => None,
        text => {
            let refused = |error: callboard_protocol::write_request::BadRequestId| {
                ApiError::parameter("idempotencyKey", error.to_string())
            };
            Some(RequestId::new(text).map_err(refused)?)
        }
    };
    let origin = Origin {
        channel: door_of(peer.kind),
        operator: peer.principal.operator(),
        source_address: Some(peer.address.clone()),
        client_id: None,
        note: Some(note).filter(|note| !note.is_empty()),
    };
    Ok(WriteRequest::of_one(item, chosen, origin.checked()?, Uuid::now_v7()))
}

#[cfg(test)]
mod tests;
