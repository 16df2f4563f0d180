//! What a publish has in common over both carriers of Nacos: its metadata, and the words in which it is refused. Owns
//! these words; decides nothing.

use actix_web::http::header::HeaderValue;
use callboard_protocol::config::{ConfigType, MetadataEdit};
use callboard_protocol::content::{ContentError, MAX_CONTENT};
use callboard_protocol::error_code::ErrorCode;

use crate::api::error::ApiError;

/// What to do to the metadata. `filled` gives a parameter unless it is blank, `text` one that may be.
///
/// # Errors
/// The text for the client, when one of them breaks its rule.
pub(super) fn edit<'a>(
    filled: impl Fn(&str) -> Option<&'a str>,
    text: impl Fn(&str) -> Option<String>,
) -> Result<MetadataEdit, String> {
    // A publish without a type keeps the stored one.
    let kind = filled("type").map(|text| text.parse().unwrap_or(ConfigType::Text));
    let data_key = text("encryptedDataKey");
    if data_key.as_deref().is_some_and(|data_key| HeaderValue::from_str(data_key).is_err()) {
        return Err("invalid encryptedDataKey".to_owned());
    }
    let edit = MetadataEdit {
        kind,
        description: text("desc"),
        tags: text("config_tags").map(|tags| tags.split(',').map(str::to_owned).collect()),
        application: text("appName"),
        usage: text("use"),
        effect: text("effect"),
        schema: text("schema"),
        encrypted_data_key: data_key,
        // Nacos knows no secrets: what is one stays one.
        is_secret: None,
    };
    edit.checked().map_err(|error| error.to_string())
}

/// Why a content is refused, in the words of Nacos.
pub(super) fn refusal_of_content(error: &ContentError) -> String {
    match error {
        ContentError::Blank => "content is blank : ".to_owned(),
        ContentError::TooLong { .. } => format!("invalid content, over {MAX_CONTENT}"),
        ContentError::NotUtf8 { .. } => "content is not UTF-8".to_owned(),
    }
}

/// How a publish came out, in words that clients of Nacos look for.
pub(super) fn in_words_of_nacos(error: ApiError) -> ApiError {
    match error.code() {
        ErrorCode::ConditionFailed => {
            ApiError::new(ErrorCode::ConditionFailed, "Cas publish fail, server md5 may have changed.")
        }
        ErrorCode::OutcomeUnknown => {
            let id = error.members.get("requestId").and_then(|id| id.as_str()).unwrap_or_default();
            let detail = format!("outcome unknown, request {id}, read the configuration to see");
            ApiError::new(ErrorCode::OutcomeUnknown, detail)
        }
        _ => error,
    }
}
