//! Namespaces: list, create, edit, delete. A namespace need not be created before something is published in it.

use std::time::Duration;

use actix_web::http::StatusCode;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_actors::runtime::ask;
use callboard_actors::store::{Cause, CommitError, Namespace, NamespaceSummary, WriteError};
use callboard_actors::store_reader::ListNamespaces;
use callboard_actors::store_writer::{CreateNamespace, DeleteNamespace, EditNamespace};
use callboard_protocol::access::grant::{Action, Area, Demand};
use callboard_protocol::config::check_text;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::json_body;
use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::http::answer;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call};

/// Longest name and description, in characters.
const MAX_TEXT: usize = 256;
/// How long a change may take until its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// Every namespace, `public` first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Namespaces {
    items: Vec<CountedNamespace>,
}

/// A namespace and how many configurations it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountedNamespace {
    id: String,
    name: String,
    description: Option<String>,
    configs: u64,
}

/// A namespace as it was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NamedNamespace {
    id: String,
    name: String,
    description: Option<String>,
}

/// A namespace that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedNamespace {
    id: String,
}

/// A namespace to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNamespace {
    /// A UUID when nobody says.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    id: Option<String>,
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    name: String,
    #[schema(max_length = 256, pattern = "^[^\\x00]*$")]
    description: Option<String>,
}

/// What people see of a namespace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceText {
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    name: String,
    #[schema(max_length = 256, pattern = "^[^\\x00]*$")]
    description: Option<String>,
}

impl From<NamespaceSummary> for CountedNamespace {
    fn from(summary: NamespaceSummary) -> Self {
        let NamespaceSummary { id, name, description, configs } = summary;
        Self { id, name, description, configs }
    }
}

fn manage(id: &str) -> Demand<'_> {
    Demand::Area(Action::Manage, Area::of_namespace(id))
}

/// `GET` of all namespaces.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let found = ask(&call.state.worker.store, ListNamespaces, READ_DEADLINE).await??;
    // Whoever may do nothing in a namespace does not hear of it.
    let shown = found.into_iter().filter(|namespace| call.caller.may(&Demand::Namespace(&namespace.id)));
    answer::json(StatusCode::OK, &Namespaces { items: shown.map(Into::into).collect() })
}

/// `POST` of a new namespace.
pub(super) async fn create(mut call: Call) -> Answer {
    call.query(&[])?;
    let NewNamespace { id, name, description } = json_body(&mut call).await?;
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let id = key::namespace(&id)?.to_owned();
    call.caller.require(&manage(&id))?;
    let namespace = named(id, name, description)?;
    let message = CreateNamespace { namespace: namespace.clone(), at: SystemClock.wall(), by: call.who() };
    match ask(&call.state.worker.node.store_writer, message, WRITE_DEADLINE).await {
        Ok(Ok(())) => answer::json(StatusCode::CREATED, &shown(namespace)),
        // The one that is built in exists, too.
        Ok(Err(WriteError::NamespaceBuiltIn { id })) => {
            Err(ApiError::new(ErrorCode::NamespaceExists, format!("namespace {id} exists already")))
        }
        Ok(Err(error)) => Err(refused(error)),
        Err(_away) => Err(unknown()),
    }
}

/// `PUT` of what people see.
pub(super) async fn edit(mut call: Call) -> Answer {
    call.query(&[])?;
    let id = key::namespace(call.part("namespace"))?.to_owned();
    call.caller.require(&manage(&id))?;
    let NamespaceText { name, description } = json_body(&mut call).await?;
    let namespace = named(id, name, description)?;
    let message = EditNamespace { namespace: namespace.clone(), at: SystemClock.wall(), by: call.who() };
    match ask(&call.state.worker.node.store_writer, message, WRITE_DEADLINE).await {
        Ok(Ok(())) => answer::json(StatusCode::OK, &shown(namespace)),
        Ok(Err(error)) => Err(refused(error)),
        Err(_away) => Err(unknown()),
    }
}

/// `DELETE` of a namespace.
pub(super) async fn remove(call: Call) -> Answer {
    call.query(&[])?;
    let id = key::namespace(call.part("namespace"))?.to_owned();
    call.caller.require(&manage(&id))?;
    let message = DeleteNamespace { id: id.clone(), at: SystemClock.wall(), by: call.who() };
    match ask(&call.state.worker.node.store_writer, message, WRITE_DEADLINE).await {
        Ok(Ok(())) => answer::json(StatusCode::OK, &DeletedNamespace { id }),
        Ok(Err(error)) => Err(refused(error)),
        Err(_away) => Err(unknown()),
    }
}

fn named(id: String, name: String, description: Option<String>) -> Result<Namespace, ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::parameter("name", "name is blank"));
    }
    check_text("name", &name, MAX_TEXT)?;
    let description = description.filter(|description| !description.is_empty());
    check_text("description", description.as_deref().unwrap_or_default(), MAX_TEXT)?;
    Ok(Namespace { id, name, description })
}

fn shown(namespace: Namespace) -> NamedNamespace {
    let Namespace { id, name, description } = namespace;
    NamedNamespace { id, name, description }
}

fn refused(error: WriteError) -> ApiError {
    let code = match &error {
        WriteError::NamespaceExists { .. } => ErrorCode::NamespaceExists,
        WriteError::NamespaceMissing { .. } => ErrorCode::NotFound,
        WriteError::NamespaceInUse { .. } => ErrorCode::NamespaceInUse,
        WriteError::NamespaceBuiltIn { .. } => ErrorCode::NamespaceProtected,
        // It is said of other changes.
        WriteError::AccessRefused(_) => ErrorCode::Internal,
        WriteError::Failed(CommitError::Aborted { cause: Cause::Refused, .. }) => {
            return ApiError::rejected(&Cause::Refused.to_string());
        }
        WriteError::Failed(CommitError::Aborted { cause, .. }) => {
            return ApiError::new(ErrorCode::Unavailable, format!("{cause}; nothing was written"));
        }
        WriteError::Failed(CommitError::Unknown { .. }) => return unknown(),
    };
    ApiError::new(code, error.to_string())
}

fn unknown() -> ApiError {
    ApiError::new(ErrorCode::OutcomeUnknown, "it is not known whether this was done; look at the list of namespaces")
}

/// The description of the list.
pub(super) fn describe_list() -> Described {
    Described::new("namespaces", "listNamespaces", "List the namespaces")
        .json::<Namespaces>(200, "Every namespace, public first")
        .refuses(&[ErrorCode::InvalidParameter, ErrorCode::Overloaded])
}

const WRITE_REFUSALS: [ErrorCode; 3] = [ErrorCode::InvalidName, ErrorCode::InvalidParameter, ErrorCode::OutcomeUnknown];
const BODY_REFUSALS: [ErrorCode; 3] = [ErrorCode::BodyTimeout, ErrorCode::TooLarge, ErrorCode::UnsupportedType];

/// The description of creating.
pub(super) fn describe_create() -> Described {
    Described::new("namespaces", "createNamespace", "Create a namespace")
        .json_body::<NewNamespace>("The namespace")
        .json::<NamedNamespace>(201, "Created")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
        .refuses(&[ErrorCode::NamespaceExists])
}

/// The description of editing.
pub(super) fn describe_edit() -> Described {
    Described::new("namespaces", "editNamespace", "Change what people see of a namespace")
        .namespace()
        .json_body::<NamespaceText>("What people see")
        .json::<NamedNamespace>(200, "Changed")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
        .refuses(&[ErrorCode::NotFound, ErrorCode::NamespaceProtected])
}

/// The description of deleting.
pub(super) fn describe_remove() -> Described {
    Described::new("namespaces", "deleteNamespace", "Delete a namespace that holds no configuration")
        .namespace()
        .json::<DeletedNamespace>(200, "Deleted")
        .refuses(&WRITE_REFUSALS)
        .refuses(&[ErrorCode::NotFound, ErrorCode::NamespaceInUse, ErrorCode::NamespaceProtected])
}
