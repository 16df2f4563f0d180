//! Permissions: the grants of roles as Nacos writes them. One that nothing here would be granted by is refused.

use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::grant::Grant;
use callboard_protocol::nacos::permission::{InvalidPermission, grant_of, permission_of};
use serde_json::{Value, json};

use super::{change, directory, done, fits, nacos_role, our_role, page, refused, required};
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::{is_v3, outcome};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::Parameters;

/// Grants of one role.
const MAX_GRANTS: usize = 1_000;

/// What the parameters name: the role as it is called here, and the grant.
struct Named<'p> {
    role: Option<&'p str>,
    grant: Result<Grant, InvalidPermission>,
}

impl<'p> Named<'p> {
    fn of(parameters: &'p Parameters<'_>) -> Result<Self, Fault> {
        let role = our_role(required(parameters, "role")?);
        let grant = grant_of(required(parameters, "resource")?, required(parameters, "action")?);
        Ok(Self { role, grant })
    }
}

/// `POST` of a permission; one that is there is added, too.
pub(in crate::nacos::http) async fn grant(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let Named { role, grant } = Named::of(&parameters)?;
    let grant = grant.map_err(|invalid| Fault::invalid(invalid.to_string()))?;
    let missing =
        || Refusal::Missing { what: "role", name: required(&parameters, "role").unwrap_or_default().to_owned() };
    let role = role.ok_or_else(|| refused(missing()))?.to_owned();
    let grants = directory(&call.state)?.roles.get(&role).map_or(0, |role| role.grants.len());
    if grants >= MAX_GRANTS {
        return Err(Fault::invalid(format!("a role has at most {MAX_GRANTS} grants")));
    }
    change(&call, Change::Grant { role, grant }).await?.map_err(refused)?;
    done(&call.request, "add permission ok!")
}

/// `DELETE` of a permission; one that is not there is removed, too.
pub(in crate::nacos::http) async fn revoke(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    if let Named { role: Some(role), grant: Ok(grant) } = Named::of(&parameters)? {
        match change(&call, Change::Revoke { role: role.to_owned(), grant }).await? {
            Ok(()) | Err(Refusal::Missing { .. }) => {}
            Err(refusal) => return Err(refused(refusal)),
        }
    }
    done(&call.request, "delete permission ok!")
}

/// `GET` of a page in version 1, or of whether a permission is there.
pub(in crate::nacos::http) async fn get(call: Call) -> Answer {
    let is_one = {
        let parameters = Parameters::of_query(&call.request)?;
        parameters.get("search").is_none() && parameters.get("resource").is_some()
    };
    if is_one { is_granted(call).await } else { list(call).await }
}

/// `GET` of whether a permission is there.
pub(in crate::nacos::http) async fn is_granted(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let directory = directory(&call.state)?;
    let is_there = match Named::of(&parameters)? {
        Named { role: Some(role), grant: Ok(asked) } => directory.roles.get(role).is_some_and(|role| {
            role.grants.iter().any(|grant| grant.scope == asked.scope && asked.actions.is_subset(&grant.actions))
        }),
        _ => false,
    };
    outcome(is_there)
}

/// `GET` of a page of permissions.
pub(in crate::nacos::http) async fn list(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let directory = directory(&call.state)?;
    // Each version has its name for the namespace that everybody has.
    let default = if is_v3(call.request.path()) { "public" } else { "" };
    let roles = directory.roles.iter().filter_map(|(name, role)| Some((nacos_role(name)?, role)));
    let fitting = roles.filter(|(name, _)| fits(&parameters, "role", name));
    let rows: Vec<Value> = fitting
        .flat_map(|(name, role)| role.grants.iter().map(move |grant| (name, grant)))
        .filter_map(|(name, grant)| Some((name, permission_of(grant, default)?)))
        .map(|(name, shown)| json!({ "role": name, "resource": shown.resource, "action": shown.action }))
        .collect();
    page(&call.request, &parameters, &rows)
}
