//! The routes of Nacos over HTTP: every one, the access it needs and who handles it. Nacos specifies them; they
//! describe nothing.

use actix_web::http::Method;

use super::fault::{Fault, broken, turned_away};
use super::{configs, front, listener, login, namespaces, node, publishing};
use callboard_protocol::access::grant::Action::{Manage, Read, Write};

use crate::api::access::Access::{Cluster, Known, Named, Public};
use crate::http::route::{Family, Route};

/// Plain text from a route, the error document of Nacos's framework where no route was reached.
static NACOS: Family = Family { prefix: "/nacos", takes_parameters: true, turned_away, broken };

macro_rules! nacos {
    ($method:ident $path:expr, $access:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            access: $access,
            family: &NACOS,
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
pub(crate) static ROUTES: [Route; 24] = [
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
];
