//! Who is let in where: every route of every door is walked, with every kind of caller and by every way of writing its
//! path, and the tables of all doors stand in `docs/security.md` as they are.

use actix_web::HttpResponse;
use callboard_actors::access_directory::ChangeAccess;
use callboard_protocol::access::audit::Who;
use callboard_protocol::access::change::Change;
use callboard_protocol::access::directory::{ADMIN_ROLE, Role, Token};
use callboard_protocol::access::grant::{Action, Grant, Pattern, Scope};
use callboard_protocol::time::WallMillis;

use super::*;
use crate::api::access::Access;
use crate::api::auth::new_token;
use crate::http::route::{Call, Handling, NATIVE, Route};

/// What the walk asks about lies in this namespace.
const HERE: &str = "public";
/// Callers who are known have their rights in one of these.
const READER: &str = "reader";
const WRITER: &str = "writer";
const ELSEWHERE: &str = "elsewhere";
const ADMINISTRATOR: &str = "root";

/// A node with users, and what each of them shows.
struct Guarded {
    rig: Rig,
    tokens: HashMap<&'static str, String>,
}

impl Guarded {
    async fn start() -> Self {
        let mut guarded = Self { rig: Rig::guarded().await, tokens: HashMap::new() };
        let (read, write) = (vec![Action::Read], vec![Action::Read, Action::Write, Action::Gray]);
        guarded.add(READER, HERE, read).await;
        guarded.add(WRITER, HERE, write).await;
        guarded.add(ELSEWHERE, "other", Action::ALL.to_vec()).await;
        guarded.change(user(ADMINISTRATOR, ADMIN_ROLE)).await;
        guarded.give_token(ADMINISTRATOR).await;
        guarded
    }

    async fn change(&self, change: Change) {
        let directory = self.rig.data.worker.node.access_directory.clone();
        directory.send(ChangeAccess { change, by: Who::SERVER }).await.unwrap().unwrap();
    }

    async fn add(&mut self, name: &'static str, namespace: &str, actions: Vec<Action>) {
        let scope = Scope { namespace: Pattern::new(namespace).unwrap(), ..Scope::everything() };
        let grants = vec![Grant { scope, actions: actions.into_iter().collect() }];
        let role = Role { grants, description: String::new() };
        self.change(Change::SetRole { name: name.to_owned(), role }).await;
        self.change(user(name, name)).await;
        self.give_token(name).await;
    }

    async fn give_token(&mut self, name: &'static str) {
        let (id, digest, shown) = new_token().unwrap();
        let (created, description) = (WallMillis(0), String::new());
        let token = Token { user: name.to_owned(), digest, grants: None, expires: None, created, description };
        self.change(Change::AddToken { id, token }).await;
        self.tokens.insert(name, shown);
    }

    /// Asks as `caller`; as nobody when there is no such one, and with a token that is none for `"wrong"`.
    async fn ask(&self, app: &impl Routes, row: &Route, caller: &str, path: &str) -> StatusCode {
        let shown = match caller {
            "nobody" => None,
            "wrong" => Some("Bearer rubbish".to_owned()),
            known => Some(format!("Bearer {}", self.tokens[known])),
        };
        let mut headers = vec![("content-type", content_type(row))];
        headers.extend(shown.as_deref().map(|shown| ("authorization", shown)));
        ask(app, row.method.clone(), path, &headers, body_of(row)).await.status()
    }
}

/// What serves the routes.
trait Routes: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error> {}

impl<S> Routes for S where S: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error> {}

fn user(name: &str, role: &str) -> Change {
    Change::AddUser { name: name.to_owned(), password_hash: None, roles: [role.to_owned()].into() }
}

fn is_of_nacos(row: &Route) -> bool {
    row.family.takes_parameters
}

fn content_type(row: &Route) -> &'static str {
    if is_of_nacos(row) || row.path.ends_with("/configs/{dataId}") { "text/plain" } else { "application/json" }
}

fn body_of(row: &Route) -> &'static str {
    match (&row.method, row.path) {
        (&Method::POST, "/api/v1/namespaces") => r#"{"id":"public","name":"n"}"#,
        (&Method::PUT, "/api/v1/namespaces/{namespace}") => r#"{"name":"n"}"#,
        (&Method::PUT, _) => "text",
        _ => "",
    }
}

/// The path of a row with something in each of its places, and all the parameters that anybody may ask for.
fn path_of(row: &Route) -> String {
    let mut path = row.path.replace("{namespace}", HERE).replace("{version}", "1");
    for part in ["group", "dataId", "client", "name", "user", "role", "token"] {
        path = path.replace(&format!("{{{part}}}"), "x");
    }
    let query = match row.path {
        path if is_of_nacos(row) && path.ends_with("/listener") => "?Listening-Configs=x%02x%02%01",
        _ if is_of_nacos(row) => {
            "?dataId=x&group=x&content=x&customNamespaceId=public&namespaceName=n&namespace=public&namespaceShowName=n"
        }
        "/api/v1/watch" => "?prefix=",
        _ => "",
    };
    path + query
}

/// Whether a caller who has these actions in [`HERE`] is let in.
fn is_let_in(access: Access, actions: &[Action], is_known: bool) -> bool {
    match access {
        Access::Public => true,
        Access::Known => is_known,
        Access::Named(action) => actions.contains(&action),
        Access::Cluster(_) => false,
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// What ends something that the walk itself needs comes last.
fn rows() -> Vec<&'static Route> {
    let mut rows: Vec<_> = ROUTES.routes().collect();
    rows.sort_by_key(|row| (row.path.ends_with("/drain"), row.path.ends_with("/logout"), row.method == Method::DELETE));
    rows
}

#[actix_web::test]
async fn every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let guarded = Guarded::start().await;
    let app = guarded.rig.app().await;
    for row in rows() {
        let path = path_of(row);
        let callers: [(&str, &[Action], bool); 5] = [
            ("nobody", &[], false),
            ("wrong", &[], false),
            (READER, &[Action::Read], true),
            (WRITER, &[Action::Read, Action::Write, Action::Gray], true),
            (ELSEWHERE, &[], true),
        ];
        for (caller, actions, is_known) in callers {
            let status = guarded.ask(&app, row, caller, &path).await;
            let expected = is_let_in(row.access, actions, is_known);
            let shown = format!("{} {path} as {caller}: {status}, {:?}", row.method, row.access);
            // What is shown where nothing has to be has to be right all the same.
            let is_log_in = row.path.ends_with("/login") || (row.opens && caller == "wrong");
            assert_eq!(!is_refusal(status) || (is_log_in && expected), expected, "{shown}");
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{shown}");
        }
    }
}

#[actix_web::test]
async fn administrators_are_let_in_everywhere() {
    let guarded = Guarded::start().await;
    let app = guarded.rig.app().await;
    for row in rows() {
        let status = guarded.ask(&app, row, ADMINISTRATOR, &path_of(row)).await;
        let is_about_passwords = row.path.ends_with("/login") || row.path.ends_with("/auth/password");
        assert!(!is_refusal(status) || is_about_passwords, "{} {}: {status}", row.method, row.path);
    }
}

#[actix_web::test]
async fn what_a_browser_sends_along_changes_something_only_for_a_page_of_this_host() {
    let guarded = Guarded::start().await;
    let app = guarded.rig.app().await;
    let cookie = format!("callboard_login={}", guarded.tokens[ADMINISTRATOR]);
    let is_changing = |row: &&Route| !is_of_nacos(row) && row.access != Access::Public && row.changes();
    for row in rows().into_iter().filter(is_changing) {
        for page in [None, Some(("sec-fetch-site", "none")), Some(("origin", "https://evil.example"))] {
            let headers = [Some(("content-type", content_type(row))), Some(("cookie", cookie.as_str())), page];
            let headers: Vec<_> = headers.into_iter().flatten().collect();
            let answer = ask(&app, row.method.clone(), &path_of(row), &headers, body_of(row)).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{} {} {page:?}", row.method, row.path);
            assert_eq!(body(answer).await["code"], "foreign_origin");
        }
    }
    let cookies = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let asks = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        ask(&app, method, path, headers, "").await.status()
    };
    assert_eq!(asks(Method::POST, "/api/v1/auth/keys", &cookies).await, StatusCode::CREATED);
    assert_eq!(asks(Method::GET, "/api/v1/users", &cookies[..1]).await, StatusCode::OK);
    // What is shown otherwise counts, and of two of a name none does.
    let wrong = [cookies[0], ("authorization", "Bearer rubbish")];
    assert_eq!(asks(Method::GET, "/api/v1/users", &wrong).await, StatusCode::UNAUTHORIZED);
    let twice = format!("{cookie}; callboard_login=other");
    assert_eq!(asks(Method::GET, "/api/v1/users", &[("cookie", &twice)]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(asks(Method::GET, "/nacos/v1/auth/users", &cookies).await, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn no_other_way_of_writing_a_path_leads_past_its_rule() {
    let guarded = Guarded::start().await;
    let app = guarded.rig.app().await;
    for row in rows().into_iter().filter(|row| row.access != Access::Public) {
        let (path, query) = path_of(row)
            .split_once('?')
            .map_or((path_of(row), String::new()), |(path, query)| (path.to_owned(), format!("?{query}")));
        let slash = path.rfind('/').unwrap_or_default();
        // Nothing that the harness can ask stands before the first part of a path.
        let slash = if slash == 0 { path.len() - 1 } else { slash };
        let variants = [
            format!("{path}/{query}"),
            format!("{}/{}{query}", &path[..slash], &path[slash..]),
            format!("{}%2F{}{query}", &path[..slash], &path[slash + 1..]),
            format!("{}%2f{}{query}", &path[..slash], &path[slash + 1..]),
            format!("/x/..{path}{query}"),
            format!("/.{path}{query}"),
            format!("{path};x=1{query}"),
            format!("{path}%00{query}"),
            format!("{}{query}", path.to_uppercase()),
            format!("{path}.json{query}"),
        ];
        for variant in variants {
            let status = guarded.ask(&app, row, "nobody", &variant).await;
            assert!(!status.is_success(), "{} {variant}: {status}", row.method);
        }
    }
}

fn forgetful(_call: Call) -> Handling {
    Box::pin(async { HttpResponse::Ok().finish() })
}

static FORGOTTEN: [Route; 1] = [Route {
    method: Method::GET,
    path: "/forgotten",
    access: Access::Named(Action::Read),
    family: &NATIVE,
    handler: forgetful,
    describe: None,
    opens: false,
}];

const FORGETFUL: Tables = Tables(&[&FORGOTTEN]);

#[actix_web::test]
async fn a_handler_that_never_asks_does_not_answer() {
    let guarded = Guarded::start().await;
    let app = App::new().app_data(guarded.rig.data.clone());
    let app = init_service(app.configure(|services| route::register(FORGETFUL, services))).await;
    for caller in [READER, ADMINISTRATOR] {
        let shown = ("authorization", format!("Bearer {}", guarded.tokens[caller]));
        let request = TestRequest::default().uri("/forgotten").insert_header(shown).to_request();
        assert_eq!(call_service(&app, request).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

fn shown(access: Access) -> String {
    match access {
        Access::Public => "nothing".to_owned(),
        Access::Known => "to be known".to_owned(),
        Access::Named(action) => format!("{action} of what is named"),
        Access::Cluster(action) => format!("{action} of the cluster"),
    }
}

#[test]
fn the_tables_stand_in_the_documents() {
    let mut table = "| what | takes |\n|---|---|\n".to_owned();
    let routes = ROUTES.routes().map(|row| (format!("{} {}", row.method, row.path), row.access));
    let classes = nacos::grpc::accesses().into_iter().map(|(class, access)| (format!("gRPC {class}"), access));
    let kinds = session::accesses().into_iter().map(|(kind, access)| (format!("session {kind}"), access));
    for (what, access) in routes.chain(classes).chain(kinds) {
        table += &format!("| `{what}` | {} |\n", shown(access));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("CALLBOARD_WRITE_DOCS").is_some() {
        let (before, rest) = page.split_once("<!-- routes -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end of routes -->").unwrap();
        let page = format!("{before}<!-- routes -->\n{table}<!-- end of routes -->{after}");
        std::fs::write(&path, page).unwrap();
        return;
    }
    assert!(page.contains(&table), "write it by CALLBOARD_WRITE_DOCS=1 cargo test -p callboard the_tables_stand");
}
