//! Users: made, listed, removed, and given another password; and the first administrator. Where Nacos shows a hash
//! stands a placeholder.

use std::collections::BTreeSet;

use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::directory::ADMIN_ROLE;
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::access::password;
use callboard_protocol::error_code::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{change, directory, done, fits, page, refused, required, shown};
use crate::api::access::Principal;
use crate::api::error::ApiError;
use crate::api::state::State;
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::{bare, is_v3};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::Parameters;

/// Stands where Nacos shows the hash of a password.
const HIDDEN: &str = "***";
/// The administrator whom Nacos makes first.
const FIRST: &str = "nacos";

/// `POST` of a new user.
pub(in crate::nacos::http) async fn create(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let (name, password) = (required(&parameters, "username")?, required(&parameters, "password")?);
    if name.trim().is_empty() {
        return Err(Fault::invalid("username is blank"));
    }
    let password_hash = Some(hash(&call.state, name, password).await?);
    let add = Change::AddUser { name: name.to_owned(), password_hash, roles: BTreeSet::new() };
    change(&call, add).await?.map_err(refused)?;
    done(&call.request, "create user ok!")
}

/// `PUT` of a new password: of oneself, or of anybody for who may administer.
pub(in crate::nacos::http) async fn set_password(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let (name, password) = (required(&parameters, "username")?, required(&parameters, "newPassword")?);
    if !is_own(call.caller.principal(), name) {
        call.caller.require(&Demand::Cluster(Action::Admin))?;
    }
    let missing = || Fault::invalid(format!("user {name} not exist!"));
    if !directory(&call.state)?.users.contains_key(name) {
        return Err(missing());
    }
    let password_hash = hash(&call.state, name, password).await?;
    let set = Change::SetPassword { name: name.to_owned(), password_hash };
    change(&call, set).await?.map_err(|_missing| missing())?;
    done(&call.request, "update user ok!")
}

/// A token with limits is for what they name.
fn is_own(principal: &Principal, name: &str) -> bool {
    matches!(principal, Principal::User(identity) if identity.name == name && identity.rights.limit.is_none())
}

/// `DELETE` of a user; one who is not there is removed, too. Administrators stay.
pub(in crate::nacos::http) async fn remove(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let name = required(&parameters, "username")?;
    let user = directory(&call.state)?.users.get(name).cloned();
    let protected = || Fault::invalid(format!("cannot delete admin: {name}"));
    if user.is_some_and(|user| user.roles.contains(ADMIN_ROLE)) {
        return Err(protected());
    }
    match change(&call, Change::RemoveUser { name: name.to_owned() }).await? {
        Ok(()) | Err(Refusal::Missing { .. }) => done(&call.request, "delete user ok!"),
        Err(Refusal::LastAdministrator { .. }) => Err(protected()),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// `GET` of a page of users.
pub(in crate::nacos::http) async fn list(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let directory = directory(&call.state)?;
    let names = directory.users.keys().filter(|name| fits(&parameters, "username", name));
    let rows: Vec<Value> = names.map(|name| json!({ "username": name, "password": HIDDEN })).collect();
    page(&call.request, &parameters, &rows)
}

/// `GET` of the names that hold a text.
pub(in crate::nacos::http) async fn search(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let wanted = required(&parameters, "username")?;
    let directory = directory(&call.state)?;
    let names: Vec<&String> = directory.users.keys().filter(|name| name.contains(wanted)).collect();
    shown(&call.request, &json!(names))
}

/// `POST` of the first administrator, from this machine and while there is none.
pub(in crate::nacos::http) async fn make_administrator(mut call: Call) -> Answer {
    let is_v3 = is_v3(call.request.path());
    // Anybody may ask: what he sends is not read for nothing.
    if directory(&call.state)?.administrators().next().is_some() {
        return conflict(is_v3);
    }
    if !call.request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Err(ApiError::new(ErrorCode::Forbidden, "the first administrator is made from the node itself").into());
    }
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let given = parameters.filled("password").map(str::to_owned);
    let password = given.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let password_hash = hash(&call.state, FIRST, &password).await?;
    match change(&call, Change::FirstAdministrator { name: FIRST.to_owned(), password_hash }).await? {
        Ok(()) => shown(&call.request, &json!({ "username": FIRST, "password": password })),
        Err(Refusal::Exists { what: "administrator", .. }) => conflict(is_v3),
        Err(refusal) => Err(refused(refusal)),
    }
}

fn conflict(is_v3: bool) -> Answer {
    bare(&if is_v3 {
        json!({ "code": 409, "message": "have admin user cannot use it.", "data": null })
    } else {
        json!({ "code": 409, "message": null, "data": "have admin user cannot use it" })
    })
}

async fn hash(state: &State, user: &str, password: &str) -> Result<String, Fault> {
    password::check(password, user).map_err(|weak| Fault::invalid(weak.to_string()))?;
    Ok(state.shared.auth.hash(password).await?)
}
