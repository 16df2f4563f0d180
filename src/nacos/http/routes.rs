//! The routes of Nacos over HTTP: every one, the access it needs and who handles it. Nacos specifies them; they
//! describe nothing.

use actix_web::http::Method;

use super::access::{permissions, roles, users};
use super::fault::{Fault, broken, turned_away};
use super::{configs, front, listener, login, namespaces, node, publishing};
use callboard_protocol::access::grant::Action::{Admin, Manage, Read, Write};
use callboard_protocol::write_request::Source;

use crate::api::access::Access::{Cluster, Known, Named, Public};
use crate::http::route::{Family, Route};

/// Plain text from a route, the error document of Nacos's framework where no route was reached.
static NACOS: Family =
    Family { prefix: "/nacos", takes_parameters: true, door: Source::NacosHttp, turned_away, broken };

/// The same for what Nacos serves at the port of its console.
static CONSOLE: Family = Family { prefix: "/v3/auth", ..NACOS };

macro_rules! nacos {
    ($method:ident $path:expr, $access:expr, $handler:path) => {
        nacos!(NACOS, $method $path, $access, $handler)
    };
    ($family:ident, $method:ident $path:expr, $access:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: $access,
            family: &$family,
            handler: |call| {
                Box::pin(async {
                    let request = call.request.clone();
                    $handler(call).await.unwrap_or_else(|fault: Fault| fault.into_response(request.path()))
                })
            },
            describe: None,
            opens: false,
        }
    };
}

const NACOS_CONFIGS: &str = "/nacos/v1/cs/configs";
const NACOS_NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// Every route of Nacos.
pub(crate) static ROUTES: [Route; 67] = [
    nacos!(GET NACOS_CONFIGS, Named(Read), configs::get),
    nacos!(POST NACOS_CONFIGS, Named(Write), publishing::publish),
    nacos!(DELETE NACOS_CONFIGS, Named(Write), publishing::remove),
    nacos!(POST "/nacos/v1/cs/configs/listener", Named(Read), listener::listen),
    nacos!(GET "/nacos/v1/cs/health", Public, node::up),
    nacos!(GET "/nacos/v1/console/health/liveness", Public, node::live),
    nacos!(GET "/nacos/v1/console/health/readiness", Public, node::ready),
    nacos!(GET "/nacos/v1/console/server/state", Public, node::state),
    nacos!(GET NACOS_NAMESPACES, Known, namespaces::get),
    nacos!(POST NACOS_NAMESPACES, Named(Manage), namespaces::create),
    nacos!(PUT NACOS_NAMESPACES, Named(Manage), namespaces::edit),
    nacos!(DELETE NACOS_NAMESPACES, Named(Manage), namespaces::remove),
    nacos!(GET "/nacos/v1/ns/operator/metrics", Public, node::metrics),
    nacos!(GET "/nacos/v1/ns/service/list", Public, front::services),
    nacos!(GET "/nacos", Public, front::root),
    nacos!(GET "/nacos/", Public, front::page),
    nacos!(GET "/nacos/index.html", Public, front::page),
    nacos!(GET "/nacos/actuator/health", Public, front::health),
    nacos!(GET "/nacos/v1/core/cluster/nodes", Cluster(Read), node::members),
    nacos!(GET "/nacos/v1/core/cluster/self", Cluster(Read), node::this_member),
    nacos!(GET "/nacos/v1/core/cluster/simple/nodes", Cluster(Read), node::addresses),
    nacos!(GET "/nacos/v1/core/cluster/health", Cluster(Read), node::member_health),
    nacos!(POST "/nacos/v1/auth/login", Public, login::login),
    nacos!(POST "/nacos/v1/auth/users/login", Public, login::login),
    nacos!(POST "/nacos/v1/auth/users", Cluster(Admin), users::create),
    nacos!(PUT "/nacos/v1/auth/users", Known, users::set_password),
    nacos!(DELETE "/nacos/v1/auth/users", Cluster(Admin), users::remove),
    nacos!(GET "/nacos/v1/auth/users", Cluster(Admin), users::list),
    nacos!(GET "/nacos/v1/auth/users/search", Cluster(Admin), users::search),
    nacos!(POST "/nacos/v1/auth/users/admin", Public, users::make_administrator),
    nacos!(POST "/nacos/v1/auth/roles", Cluster(Admin), roles::assign),
    nacos!(DELETE "/nacos/v1/auth/roles", Cluster(Admin), roles::withdraw),
    nacos!(GET "/nacos/v1/auth/roles", Cluster(Admin), roles::list),
    nacos!(GET "/nacos/v1/auth/roles/search", Cluster(Admin), roles::search),
    nacos!(POST "/nacos/v1/auth/permissions", Cluster(Admin), permissions::grant),
    nacos!(DELETE "/nacos/v1/auth/permissions", Cluster(Admin), permissions::revoke),
    nacos!(GET "/nacos/v1/auth/permissions", Cluster(Admin), permissions::get),
    nacos!(POST "/nacos/v3/auth/user/login", Public, login::login),
    nacos!(POST "/nacos/v3/auth/user/admin", Public, users::make_administrator),
    nacos!(POST "/nacos/v3/auth/user", Cluster(Admin), users::create),
    nacos!(PUT "/nacos/v3/auth/user", Known, users::set_password),
    nacos!(DELETE "/nacos/v3/auth/user", Cluster(Admin), users::remove),
    nacos!(GET "/nacos/v3/auth/user/list", Cluster(Admin), users::list),
    nacos!(GET "/nacos/v3/auth/user/search", Cluster(Admin), users::search),
    nacos!(POST "/nacos/v3/auth/role", Cluster(Admin), roles::assign),
    nacos!(DELETE "/nacos/v3/auth/role", Cluster(Admin), roles::withdraw),
    nacos!(GET "/nacos/v3/auth/role/list", Cluster(Admin), roles::list),
    nacos!(GET "/nacos/v3/auth/role/search", Cluster(Admin), roles::search),
    nacos!(POST "/nacos/v3/auth/permission", Cluster(Admin), permissions::grant),
    nacos!(DELETE "/nacos/v3/auth/permission", Cluster(Admin), permissions::revoke),
    nacos!(GET "/nacos/v3/auth/permission", Cluster(Admin), permissions::is_granted),
    nacos!(GET "/nacos/v3/auth/permission/list", Cluster(Admin), permissions::list),
    nacos!(CONSOLE, POST "/v3/auth/user/login", Public, login::login),
    nacos!(CONSOLE, POST "/v3/auth/user/admin", Public, users::make_administrator),
    nacos!(CONSOLE, POST "/v3/auth/user", Cluster(Admin), users::create),
    nacos!(CONSOLE, PUT "/v3/auth/user", Known, users::set_password),
    nacos!(CONSOLE, DELETE "/v3/auth/user", Cluster(Admin), users::remove),
    nacos!(CONSOLE, GET "/v3/auth/user/list", Cluster(Admin), users::list),
    nacos!(CONSOLE, GET "/v3/auth/user/search", Cluster(Admin), users::search),
    nacos!(CONSOLE, POST "/v3/auth/role", Cluster(Admin), roles::assign),
    nacos!(CONSOLE, DELETE "/v3/auth/role", Cluster(Admin), roles::withdraw),
    nacos!(CONSOLE, GET "/v3/auth/role/list", Cluster(Admin), roles::list),
    nacos!(CONSOLE, GET "/v3/auth/role/search", Cluster(Admin), roles::search),
    nacos!(CONSOLE, POST "/v3/auth/permission", Cluster(Admin), permissions::grant),
    nacos!(CONSOLE, DELETE "/v3/auth/permission", Cluster(Admin), permissions::revoke),
    nacos!(CONSOLE, GET "/v3/auth/permission", Cluster(Admin), permissions::is_granted),
    nacos!(CONSOLE, GET "/v3/auth/permission/list", Cluster(Admin), permissions::list),
];
