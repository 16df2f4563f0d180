//! The routes of Nacos over HTTP: every one, the access it needs and who handles it. Nacos specifies them; they
//! describe nothing.

use actix_web::http::Method;

use super::fault::{Fault, broken, turned_away};
use super::{configs, front, listener, login, namespaces, node, publishing};
use crate::api::access::Access;
use crate::http::route::{Family, Route};

/// Plain text from a route, the error document of Nacos's framework where no route was reached.
static NACOS: Family = Family { prefix: "/nacos", turned_away, broken };

macro_rules! nacos {
    ($method:ident $path:expr, $access:ident, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            family: &NACOS,
            handler: |call| Box::pin(async { $handler(call).await.unwrap_or_else(Fault::into_response) }),
            describe: None,
            opens: false,
        }
    };
}

const NACOS_CONFIGS: &str = "/nacos/v1/cs/configs";
const NACOS_NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// Every route of Nacos.
pub(crate) static ROUTES: [Route; 24] = [
    nacos!(GET NACOS_CONFIGS, Read, configs::get),
    nacos!(POST NACOS_CONFIGS, Write, publishing::publish),
    nacos!(DELETE NACOS_CONFIGS, Write, publishing::remove),
    nacos!(POST "/nacos/v1/cs/configs/listener", Read, listener::listen),
    nacos!(GET "/nacos/v1/cs/health", Public, node::up),
    nacos!(GET "/nacos/v1/console/health/liveness", Public, node::live),
    nacos!(GET "/nacos/v1/console/health/readiness", Public, node::ready),
    nacos!(GET "/nacos/v1/console/server/state", Public, node::state),
    nacos!(GET NACOS_NAMESPACES, Public, namespaces::get),
    nacos!(POST NACOS_NAMESPACES, Admin, namespaces::create),
    nacos!(PUT NACOS_NAMESPACES, Admin, namespaces::edit),
    nacos!(DELETE NACOS_NAMESPACES, Admin, namespaces::remove),
    nacos!(GET "/nacos/v1/ns/operator/metrics", Public, node::metrics),
    nacos!(GET "/nacos/v1/ns/service/list", Public, front::services),
    nacos!(GET "/nacos", Public, front::root),
    nacos!(GET "/nacos/", Public, front::page),
    nacos!(GET "/nacos/index.html", Public, front::page),
    nacos!(GET "/nacos/actuator/health", Public, front::health),
    nacos!(GET "/nacos/v1/core/cluster/nodes", Admin, node::members),
    nacos!(GET "/nacos/v1/core/cluster/self", Admin, node::this_member),
    nacos!(GET "/nacos/v1/core/cluster/simple/nodes", Admin, node::addresses),
    nacos!(GET "/nacos/v1/core/cluster/health", Admin, node::member_health),
    nacos!(POST "/nacos/v1/auth/login", Public, login::login),
    nacos!(POST "/nacos/v1/auth/users/login", Public, login::login),
];
