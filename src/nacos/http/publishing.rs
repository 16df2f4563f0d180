//! Publishing and removing one configuration. Owns the translation of Nacos's parameters into a publish and of its
//! outcome into `true` or a refusal.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use bytes::Bytes;
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::nacos::is_done_all_the_same;
use callboard_protocol::write_request::{Change, Condition, KeyWrite, Origin, Source};

use crate::api::access::Principal;
use crate::api::state::State;
use crate::api::{off_worker, outcome};
use crate::http::client;
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::truth;
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::{Parameters, deciding_header};
use crate::nacos::publish::{edit, in_words_of_nacos, refusal_of_content};

const CAS_MD5: HeaderName = HeaderName::from_static("casmd5");
const BETA_IPS: HeaderName = HeaderName::from_static("betaips");

/// `POST` of a configuration.
pub(super) async fn publish(mut call: Call) -> Answer {
    let mut parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    for (switch, what) in [("import", "import"), ("clone", "clone")] {
        if parameters.is_on(switch) {
            return Err(Fault::unsupported(what));
        }
    }
    let key = parameters.key(false)?;
    call.caller.require(&Demand::Key(Action::Write, &key))?;
    let content = parameters.take("content").ok_or_else(|| Fault::missing("content"))?;
    let content =
        off_worker::content(exactly(content)).await.map_err(|error| Fault::invalid(refusal_of_content(&error)))?;
    refuse_gray(&parameters, &call.request)?;
    let condition = match deciding_header(&call.request, &CAS_MD5)?.or_else(|| parameters.filled("casMd5")) {
        Some(expected) => Condition::NacosCas(expected.to_owned()),
        None => Condition::None,
    };
    let edit = edit(|name| parameters.filled(name), |name| parameters.text(name)).map_err(Fault::invalid)?;
    let change = Change::Put { content, edit: Box::new(edit) };
    let origin = origin(&parameters, call.caller.principal(), client::address(&call.request))?;
    settle(&call.state, KeyWrite { key, condition, change }, origin).await
}

/// `DELETE` of a configuration. One that is not there is removed, too.
pub(super) async fn remove(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    if parameters.get("delType") == Some("ids") {
        return Err(Fault::unsupported("delType=ids"));
    }
    refuse_gray(&parameters, &call.request)?;
    let key = parameters.key(false)?;
    call.caller.require(&Demand::Key(Action::Write, &key))?;
    let origin = origin(&parameters, call.caller.principal(), client::address(&call.request))?;
    settle(&call.state, KeyWrite { key, condition: Condition::None, change: Change::Remove }, origin).await
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

fn origin(parameters: &Parameters<'_>, principal: &Principal, from: Option<String>) -> Result<Origin, Fault> {
    // Who is known counts, whatever he says.
    let named = || parameters.filled("src_user").or_else(|| parameters.filled("username")).map(str::to_owned);
    let operator = principal.operator().or_else(named);
    let origin = Origin { channel: Source::NacosHttp, operator, source_address: from, client_id: None, note: None };
    Ok(origin.checked()?)
}

async fn settle(state: &State, item: KeyWrite, origin: Origin) -> Answer {
    match outcome::publish(state, item, None, origin).await {
        Ok(_) => Ok(truth(true)),
        Err(error) if is_done_all_the_same(error.code()) => Ok(truth(true)),
        Err(error) => Err(in_words_of_nacos(error).into()),
    }
}
