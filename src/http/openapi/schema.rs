//! The schemas of parameters and of documents without a type of their own, with the limits of the protocol.

use callboard_protocol::key::{MAX_DATA_ID, MAX_GROUP, MAX_NAMESPACE};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};

/// A text.
pub(crate) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text of at most `max` characters, without NUL.
pub(crate) fn free(max: usize) -> ObjectBuilder {
    text().max_length(Some(max)).pattern(Some("^[^\\x00]*$"))
}

fn name(alphabet: &str, least: usize, max: usize) -> ObjectBuilder {
    text().pattern(Some(format!("^[{alphabet}]{{{least},{max}}}$")))
}

/// A namespace id.
pub(crate) fn namespace() -> ObjectBuilder {
    name("A-Za-z0-9_-", 1, MAX_NAMESPACE)
}

/// A group.
pub(crate) fn group() -> ObjectBuilder {
    name("A-Za-z0-9_.:-", 1, MAX_GROUP)
}

/// A data id.
pub(crate) fn data_id() -> ObjectBuilder {
    name("A-Za-z0-9_.:-", 1, MAX_DATA_ID)
}

/// The beginning of a data id, which may be empty.
pub(crate) fn prefix() -> ObjectBuilder {
    name("A-Za-z0-9_.:-", 0, MAX_DATA_ID)
}

/// A number from one to `most`.
pub(crate) fn count(most: u32) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1.0)).maximum(Some(f64::from(most)))
}

/// A version: 63 bits.
pub(crate) fn version() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(isize::MAX))
}

const TAG: &str = "\"(v[0-9]{1,18}|[0-9a-f]{32})\"";

/// Entity tags, strong or weak, or a star.
pub(crate) fn tags() -> ObjectBuilder {
    text().pattern(Some(format!("^(\\*|(W/)?{TAG}(, (W/)?{TAG})*)$")))
}

/// Strong entity tags, or a star.
pub(crate) fn strong_tags() -> ObjectBuilder {
    text().pattern(Some(format!("^(\\*|{TAG}(, {TAG})*)$")))
}

/// An object that has these members, and may have others.
pub(crate) fn object(required: &[&str]) -> ObjectBuilder {
    let object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)));
    required.iter().fold(object, |object, member| object.required(*member))
}

/// A list of such objects.
pub(crate) fn array(items: ObjectBuilder) -> ArrayBuilder {
    ArrayBuilder::new().items(items.build())
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

/// The report of an actor.
pub(crate) fn actor() -> ObjectBuilder {
    let times = || {
        let times = object(&["p50_us", "p99_us", "max_us"]);
        times.property("p50_us", integer()).property("p99_us", integer()).property("max_us", integer())
    };
    let message = object(&["message", "count", "cancelled", "queue", "handle"])
        .property("message", text())
        .property("count", integer())
        .property("cancelled", integer())
        .property("queue", times())
        .property("handle", times());
    object(&["name", "kind", "arbiter", "live", "mailbox_depth", "messages", "restarts", "panics"])
        .property("name", text())
        .property("kind", text())
        .property("arbiter", text())
        .property("live", integer())
        .property("uptime_ms", integer())
        .property("mailbox_depth", integer())
        .property("messages", array(message))
        .property("restarts", integer())
        .property("panics", integer())
        .property("cancelled", integer())
        .property("snapshot", ObjectBuilder::new().schema_type(SchemaType::AnyValue))
}

/// A problem document (RFC 9457).
pub(crate) fn problem() -> ObjectBuilder {
    object(&["type", "title", "status", "detail", "code"])
        .property("type", text().pattern(Some("^urn:callboard:problem:[a-z_]+$")))
        .property("title", text())
        .property("status", integer())
        .property("detail", text())
        .property("code", text().pattern(Some("^[a-z_]+$")))
}
