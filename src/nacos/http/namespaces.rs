//! Namespaces in the form of Nacos: the default one is called `""`, and most refusals are a bare `false`.

use std::time::Duration;

use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_actors::runtime::{AskError, ask};
use callboard_actors::store::{CommitError, Namespace, NamespaceSummary, WriteError};
use callboard_actors::store_reader::ListNamespaces;
use callboard_actors::store_writer::{CreateNamespace, DeleteNamespace, EditNamespace};
use callboard_protocol::access::grant::{Action, Area, Demand};
use callboard_protocol::config::check_text;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::{PUBLIC_NAMESPACE, namespace, namespace_of};
use serde::Serialize;
use uuid::Uuid;

use crate::api::READ_DEADLINE;
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::{bare, enveloped, truth};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::Parameters;

/// Longest name and description, in characters.
const MAX_TEXT: usize = 256;
/// How long a change may take until its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);
/// How many configurations a namespace may hold in Nacos; here there is no such limit.
const QUOTA: u32 = 200;

/// A namespace as Nacos shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    namespace: String,
    namespace_show_name: String,
    namespace_desc: Option<String>,
    quota: u32,
    config_count: u64,
    /// 0 for the default one, 2 for those that people made.
    r#type: u8,
}

impl From<NamespaceSummary> for Shown {
    fn from(NamespaceSummary { id, name, description, configs }: NamespaceSummary) -> Self {
        let is_default = id == PUBLIC_NAMESPACE;
        Self {
            namespace: if is_default { String::new() } else { id },
            namespace_show_name: name,
            namespace_desc: description.or_else(|| is_default.then(|| "Default Namespace".to_owned())),
            quota: QUOTA,
            config_count: configs,
            r#type: if is_default { 0 } else { 2 },
        }
    }
}

fn manage(id: &str) -> Demand<'_> {
    Demand::Area(Action::Manage, Area::of_namespace(id))
}

/// `GET` of all namespaces, of one, or of whether one exists.
pub(super) async fn get(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let mut all = ask(&call.state.worker.store, ListNamespaces, READ_DEADLINE).await??;
    all.retain(|namespace| call.caller.may(&Demand::Namespace(&namespace.id)));
    if parameters.is_on("checkNamespaceIdExist") {
        let wanted = parameters.filled("customNamespaceId").map(|id| namespace_of(Some(id)));
        return Ok(truth(wanted.is_some_and(|wanted| all.iter().any(|namespace| namespace.id == wanted))));
    }
    if parameters.get("show") == Some("all") {
        let wanted = namespace_of(parameters.get("namespaceId"));
        let found = all.into_iter().find(|namespace| namespace.id == wanted);
        let missing = || Fault::caused(ErrorCode::NotFound, format!("namespaceId [ {wanted} ] not exist"));
        return bare(&Shown::from(found.ok_or_else(missing)?));
    }
    enveloped(all.into_iter().map(Shown::from).collect::<Vec<_>>())
}

/// `POST` of a new namespace; a UUID when nobody says.
pub(super) async fn create(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let id = parameters.filled("customNamespaceId").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    call.caller.require(&manage(&id))?;
    let Some(namespace) = named(id, parameters.get("namespaceName"), parameters.text("namespaceDesc")) else {
        return Ok(truth(false));
    };
    verdict(
        ask(
            &call.state.worker.node.store_writer,
            CreateNamespace { namespace, at: SystemClock.wall(), by: call.who() },
            WRITE_DEADLINE,
        )
        .await,
    )
}

/// `PUT` of what people see.
pub(super) async fn edit(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let id = parameters.filled("namespace").unwrap_or_default().to_owned();
    call.caller.require(&manage(&id))?;
    let Some(namespace) = named(id, parameters.get("namespaceShowName"), parameters.text("namespaceDesc")) else {
        return Ok(truth(false));
    };
    verdict(
        ask(
            &call.state.worker.node.store_writer,
            EditNamespace { namespace, at: SystemClock.wall(), by: call.who() },
            WRITE_DEADLINE,
        )
        .await,
    )
}

/// `DELETE` of a namespace. One that holds configurations stays, and so does the default one.
pub(super) async fn remove(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let id = namespace_of(parameters.get("namespaceId")).to_owned();
    call.caller.require(&manage(&id))?;
    match ask(
        &call.state.worker.node.store_writer,
        DeleteNamespace { id, at: SystemClock.wall(), by: call.who() },
        WRITE_DEADLINE,
    )
    .await
    {
        // What is not there is removed, too.
        Ok(Err(WriteError::NamespaceMissing { .. })) => Ok(truth(true)),
        answer => verdict(answer),
    }
}

/// A namespace whose texts keep their rules.
fn named(id: String, name: Option<&str>, description: Option<String>) -> Option<Namespace> {
    let name = name.filter(|name| !name.trim().is_empty() && !name.contains(['@', '#', '$', '%', '^', '&', '*']))?;
    let id = namespace(&id).ok()?.to_owned();
    check_text("namespaceName", name, MAX_TEXT).ok()?;
    let description = description.filter(|description| !description.is_empty());
    check_text("namespaceDesc", description.as_deref().unwrap_or_default(), MAX_TEXT).ok()?;
    Some(Namespace { id, name: name.to_owned(), description })
}

fn verdict(answer: Result<Result<(), WriteError>, AskError>) -> Answer {
    let unknown = || Fault::caused(ErrorCode::OutcomeUnknown, "outcome unknown, read the list of namespaces to see");
    match answer {
        Ok(Ok(())) => Ok(truth(true)),
        Ok(Err(WriteError::Failed(CommitError::Aborted { cause, .. }))) => {
            Err(Fault::overloaded(format!("{cause}, nothing was written")))
        }
        Ok(Err(WriteError::Failed(CommitError::Unknown { .. }))) | Err(_) => Err(unknown()),
        Ok(Err(refused)) => {
            tracing::debug!(error = %refused, "a change of a namespace was refused");
            Ok(truth(false))
        }
    }
}
