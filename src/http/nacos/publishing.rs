//! Publishing and removing one configuration. Owns the translation of Nacos's parameters into a publish and of its
//! outcome into `true` or a refusal.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use callboard_protocol::config::{ConfigType, MetadataEdit};
use callboard_protocol::content::{Content, ContentError, MAX_CONTENT};
use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::unit::{Change, Channel, Condition, Item, Origin, Refusal, UnitOutcome};

use super::super::access::{Call, Principal};
use super::super::publishing::hand_over;
use super::super::{State, configs};
use super::Answer;
use super::answer::truth;
use super::fault::Fault;
use super::parameters::{Parameters, deciding_header};

const CAS_MD5: HeaderName = HeaderName::from_static("casmd5");
const BETA_IPS: HeaderName = HeaderName::from_static("betaips");

/// `POST` of a configuration.
pub(in crate::http) async fn publish(mut call: Call) -> Answer {
    let mut parameters = Parameters::of_form(&call.request, &mut call.payload, &call.state).await?;
    for (switch, what) in [("import", "import"), ("clone", "clone")] {
        if parameters.is_on(switch) {
            return Err(Fault::unsupported(what));
        }
    }
    let key = parameters.key(false)?;
    let content = parameters.take("content").ok_or_else(|| Fault::missing("content"))?;
    let content = Content::new(exactly(content)).map_err(|error| Fault::invalid(refusal_of_content(&error)))?;
    refuse_gray(&parameters, &call.request)?;
    let condition = match deciding_header(&call.request, &CAS_MD5)?.or_else(|| parameters.filled("casMd5")) {
        Some(expected) => Condition::NacosCas(expected.to_owned()),
        None => Condition::None,
    };
    let edit = edit(|name| parameters.filled(name), |name| parameters.text(name)).map_err(Fault::invalid)?;
    let change = Change::Put { content, edit: Box::new(edit) };
    let origin = origin(&parameters, &call.principal, configs::address(&call.request))?;
    settle(&call.state, Item { key, condition, change }, origin).await
}

/// `DELETE` of a configuration. One that is not there is removed, too.
pub(in crate::http) async fn remove(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, &call.state).await?;
    if parameters.get("delType") == Some("ids") {
        return Err(Fault::unsupported("delType=ids"));
    }
    refuse_gray(&parameters, &call.request)?;
    let key = parameters.key(false)?;
    let origin = origin(&parameters, &call.principal, configs::address(&call.request))?;
    settle(&call.state, Item { key, condition: Condition::None, change: Change::Remove }, origin).await
}

/// The bytes of `text` in memory of exactly their size.
fn exactly(text: String) -> Bytes {
    Bytes::from(text.into_boxed_str().into_boxed_bytes())
}

/// What is meant for some clients must not become the content for all, nor be removed for all.
fn refuse_gray(parameters: &Parameters<'_>, request: &HttpRequest) -> Result<(), Fault> {
    let beta = deciding_header(request, &BETA_IPS)?.or_else(|| parameters.filled("betaIps"));
    if beta.is_some() || parameters.is_on("beta") {
        return Err(Fault::unsupported("beta"));
    }
    if parameters.filled("tag").is_some() {
        return Err(Fault::unsupported("tag"));
    }
    Ok(())
}

/// What to do to the metadata. `filled` gives a parameter unless it is blank, `text` one that may be.
///
/// # Errors
/// The text for the client, when one of them breaks its rule.
pub(crate) fn edit<'a>(
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
    };
    edit.checked().map_err(|error| error.to_string())
}

fn origin(parameters: &Parameters<'_>, principal: &Principal, from: Option<String>) -> Result<Origin, Fault> {
    let named = parameters.filled("src_user").map(str::to_owned);
    let operator = named.or_else(|| principal.operator()).or_else(|| parameters.filled("username").map(str::to_owned));
    let origin = Origin { channel: Channel::NacosHttp, operator, source_address: from, client_id: None, note: None };
    Ok(origin.checked()?)
}

async fn settle(state: &State, item: Item, origin: Origin) -> Answer {
    let key = item.key.clone();
    let (request_id, outcome) = hand_over(state, item, None, origin).await?;
    match outcome {
        Some(PublishOutcome::Settled(UnitOutcome::Done { .. } | UnitOutcome::Refused(Refusal::NotFound { .. }))) => {
            Ok(truth(true))
        }
        Some(PublishOutcome::Settled(UnitOutcome::Refused(Refusal::Conflict { .. }))) => {
            let message = "Cas publish fail, server md5 may have changed.";
            Err(Fault::caused(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
        Some(PublishOutcome::Settled(UnitOutcome::Refused(Refusal::RequestIdReused { .. }))) => {
            Err(Fault::caused(StatusCode::INTERNAL_SERVER_ERROR, "two requests were given one id"))
        }
        Some(PublishOutcome::Busy) => Err(Fault::overloaded("too many publishes wait, nothing was written")),
        Some(PublishOutcome::Failed { reason }) => {
            tracing::debug!(config.key = %key, reason, "a publish failed");
            Err(Fault::overloaded(format!("the publish failed: {reason}, nothing was written")))
        }
        Some(PublishOutcome::Rejected { reason }) => {
            Err(Fault::caused(StatusCode::UNPROCESSABLE_ENTITY, format!("{reason}, nothing was written")))
        }
        Some(PublishOutcome::Unknown { .. }) | None => {
            tracing::debug!(config.key = %key, request.id = %request_id, "the outcome of a publish is not known");
            let message = format!("outcome unknown, request {request_id}, read the configuration to see");
            Err(Fault::caused(StatusCode::GATEWAY_TIMEOUT, message))
        }
    }
}

/// Why a content is refused, in the words of Nacos.
pub(crate) fn refusal_of_content(error: &ContentError) -> String {
    match error {
        ContentError::Blank => "content is blank : ".to_owned(),
        ContentError::TooLong { .. } => format!("invalid content, over {MAX_CONTENT}"),
        ContentError::NotUtf8 { .. } => "content is not UTF-8".to_owned(),
    }
}
