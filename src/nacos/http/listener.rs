//! Long polling: which of the configurations that a client holds have changed. Owns the headers that say how long to
//! wait and the form of the answer; the waiting is the long-poll actor's, on the same thread.

use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use callboard_actors::cache::ReadFailure;
use callboard_actors::coordinator::WatchRefused;
use callboard_actors::long_poll::{Hold, PollAnswer};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::content::Reported;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::long_poll::Watched;
use callboard_protocol::wire::listening::{self, Record};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::api::READ_DEADLINE;
use crate::api::access::Principal;
use crate::api::error::ApiError;
use crate::api::off_worker;
use crate::api::state::State;
use crate::http::connection::hold;
use crate::http::route::Call;
use crate::nacos::http::answer::{JSON, uncached};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::{Parameters, deciding_header, filled_header, refused_key};
use crate::nacos::http::{Answer, client};

const TIMEOUT: HeaderName = HeaderName::from_static("long-pulling-timeout");
const NO_HANGUP: HeaderName = HeaderName::from_static("long-pulling-timeout-no-hangup");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("client-version");
const PROBE_RESPONSE: HeaderName = HeaderName::from_static("probe-modify-response");
const PROBE_RESPONSE_NEW: HeaderName = HeaderName::from_static("probe-modify-response-new");

/// Longest answer that is given in headers to a client that has it in the body as well, in bytes: many take no longer
/// headers.
const MAX_PROBE: usize = 4 * 1024;

/// How long a refusal that is not the client's fault is held back: some clients come again without a pause.
const PAUSE: Duration = Duration::from_secs(1);

/// `POST` of what a client holds.
pub(super) async fn listen(mut call: Call) -> Answer {
    let mut parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let held = parameters.take("Listening-Configs").unwrap_or_default();
    let records = off_worker::run(held.len(), move || listening::parse(&held))
        .await
        .map_err(|error| Fault::invalid(error.to_string()))?;
    // Where nobody has to be known names are read once, below.
    let is_known = *call.caller.principal() != Principal::Unrestricted;
    for record in records.iter().filter(|_| is_known) {
        let key = record.key().map_err(refused_key)?;
        call.caller.require(&Demand::Key(Action::Read, &key))?;
    }
    if records.is_empty() {
        call.caller.require_nothing();
    }
    let wait = wait(&call.request)?;
    let client = client::identity(&call, None).into_owned();
    let held = wait.map(|_| hold(&call.request));
    let refused = call.caller.changed(&call.state);
    let changed = tokio::select! {
        changed = changed(&call.state, &records, client, wait) => changed?,
        // What the client asks next is answered by what it may then.
        () = refused => Vec::new(),
    };
    drop(held);
    let version = filled_header(&call.request, &CLIENT_VERSION);
    let in_headers = wait.is_none() && listening::wants_headers(version);
    // Whoever names no timeout looks nowhere else.
    let most = if call.request.headers().contains_key(TIMEOUT) { MAX_PROBE } else { usize::MAX };
    Ok(answer(&records, &changed, in_headers.then_some(most)))
}

/// How long the client wants to wait; `None` for not at all.
fn wait(request: &HttpRequest) -> Result<Option<Duration>, Fault> {
    let Some(value) = request.headers().get(TIMEOUT) else { return Ok(None) };
    let wait = listening::hang(value.as_bytes()).map_err(|error| Fault::invalid(error.to_string()))?;
    let no_hangup = deciding_header(request, &NO_HANGUP)?.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Some(wait).filter(|_| !no_hangup))
}

/// The places of the records that differ from what the client gets, in order; none when nothing did in time.
async fn changed(
    state: &State,
    records: &[Record],
    client: ClientIdentity,
    wait: Option<Duration>,
) -> Result<Vec<usize>, Fault> {
    let (mut watched, mut places, mut changed) = (Vec::with_capacity(records.len()), Vec::new(), Vec::new());
    for (place, record) in records.iter().enumerate() {
        let key = record.key().map_err(refused_key)?;
        match Reported::read(record.md5.as_deref().unwrap_or_default()) {
            // It differs from whatever there is.
            Reported::Other => changed.push(place),
            Reported::Content(held) => {
                watched.push(Watched { key, held: held.into() });
                places.push(place);
            }
        }
    }
    if watched.is_empty() && !changed.is_empty() {
        return Ok(changed);
    }
    let wait = wait.filter(|_| changed.is_empty());
    let found = poll(state, watched, client, wait).await?;
    changed.extend(found.into_iter().filter_map(|index| places.get(index).copied()));
    changed.sort_unstable();
    Ok(changed)
}

/// Has the records compared and held. A poll that ends without having been compared is refused: that nothing has
/// changed would be a stale read.
async fn poll(
    state: &State,
    records: Vec<Watched>,
    client: ClientIdentity,
    wait: Option<Duration>,
) -> Result<Vec<usize>, Fault> {
    let (sender, answer) = oneshot::channel();
    // Not asked but sent: the answer comes through its own channel, and its drop ends the poll.
    state.worker.long_poll.do_send(Hold { records, client, wait, answer: sender });
    // The actor ends the wait; the deadline is for one that can't.
    match timeout(wait.unwrap_or_default() + READ_DEADLINE * 2, answer).await {
        Ok(Ok(PollAnswer::Changed(changed))) => Ok(changed),
        Ok(Ok(PollAnswer::Quiet)) => Ok(Vec::new()),
        Ok(Ok(PollAnswer::Refused(WatchRefused::Stopping))) => Err(ApiError::from(WatchRefused::Stopping).into()),
        Ok(Ok(PollAnswer::Refused(WatchRefused::Full))) => {
            sleep(PAUSE).await;
            Err(Fault::overloaded("as many polls are held as are allowed"))
        }
        Ok(Ok(PollAnswer::Failed(failure))) => {
            sleep(PAUSE).await;
            Err(failure.into())
        }
        Ok(Err(_dropped)) => {
            sleep(PAUSE).await;
            Err(Fault::overloaded("the poll was broken off; come again"))
        }
        Err(_late) => Err(ReadFailure::TimedOut.into()),
    }
}

/// The answer, in headers as well when they may be as long as `in_headers`.
fn answer(records: &[Record], changed: &[usize], in_headers: Option<usize>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    uncached(&mut response).insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    let changed = || changed.iter().filter_map(|place| records.get(*place));
    let mut body = listening::encode_changed(changed());
    if in_headers.is_some_and(|most| body.len() <= most) {
        let names: String = changed().map(|record| format!("{}:{};", record.data_id, record.group)).collect();
        response.insert_header((PROBE_RESPONSE, names)).insert_header((PROBE_RESPONSE_NEW, body.as_str()));
    }
    if body.is_empty() {
        return response.finish();
    }
    body.push('\n');
    response.body(body)
}
