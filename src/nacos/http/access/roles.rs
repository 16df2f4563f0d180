//! Roles as Nacos has them: a role is there when somebody holds it. Here it stays when nobody does any longer, until it
//! is deleted without naming a user.

use callboard_protocol::access::change::{Change, Refusal};
use serde_json::{Value, json};

use super::{NACOS_ADMIN, change, directory, done, fits, nacos_role, our_role, page, refused, required, shown};
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::is_v3;
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::Parameters;

/// `POST` of a role for a user; made when it is not there.
pub(in crate::nacos::http) async fn assign(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let (role, user) = (required(&parameters, "role")?, required(&parameters, "username")?);
    // Both names of the role of administrators.
    if role == NACOS_ADMIN || our_role(role).is_none() {
        return Err(Fault::invalid(format!("role '{role}' is not permitted to create!")));
    }
    let present = directory(&call.state)?.users.get(user).cloned();
    if present.is_some_and(|present| present.roles.contains(role)) {
        return Err(Fault::invalid(format!("user '{user}' already bound to the role '{role}'!")));
    }
    let assign = Change::Assign { user: user.to_owned(), role: role.to_owned(), makes: true };
    change(&call, assign).await?.map_err(refused)?;
    done(&call.request, "add role ok!")
}

/// `DELETE` of a role of a user, or of the role with its permissions where none is named.
pub(in crate::nacos::http) async fn withdraw(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let (role, user) = (required(&parameters, "role")?, parameters.filled("username"));
    let protected = || Fault::invalid(format!("role '{role}' is not permitted to delete!"));
    if role == NACOS_ADMIN && is_v3(call.request.path()) {
        return Err(protected());
    }
    if let Some(role) = our_role(role) {
        let withdraw = Change::Withdraw { user: user.map(str::to_owned), role: role.to_owned() };
        match change(&call, withdraw).await? {
            Ok(()) | Err(Refusal::Missing { .. }) => {}
            Err(Refusal::BuiltIn | Refusal::LastAdministrator { .. }) => return Err(protected()),
            Err(refusal) => return Err(refused(refusal)),
        }
    }
    done(&call.request, &format!("delete role of user {} ok!", user.unwrap_or_default()))
}

/// `GET` of a page of who holds which role.
pub(in crate::nacos::http) async fn list(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let directory = directory(&call.state)?;
    let users = directory.users.iter().filter(|(name, _)| fits(&parameters, "username", name));
    let held = users.flat_map(|(name, user)| user.roles.iter().filter_map(move |role| Some((name, nacos_role(role)?))));
    let fitting = held.filter(|(_, role)| fits(&parameters, "role", role));
    let rows: Vec<Value> = fitting.map(|(name, role)| json!({ "role": role, "username": name })).collect();
    page(&call.request, &parameters, &rows)
}

/// `GET` of the names of roles that hold a text.
pub(in crate::nacos::http) async fn search(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let wanted = required(&parameters, "role")?;
    let directory = directory(&call.state)?;
    let made = directory.roles.keys().filter_map(|role| nacos_role(role));
    let names: Vec<&str> = [NACOS_ADMIN].into_iter().chain(made).filter(|role| role.contains(wanted)).collect();
    shown(&call.request, &json!(names))
}
