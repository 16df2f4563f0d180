//! A node in this process, over SQLite in a directory of its own, asked through the routes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::pin::Pin;

use actix_http::Request;
use actix_rt::Arbiter;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use callboard_actors::audit::Trail;
use callboard_actors::cache::CacheOptions;
use callboard_actors::clock::SystemClock;
use callboard_actors::lease_keeper::LeaseOptions;
use callboard_actors::store;
use callboard_actors::wiring::{NodeOptions, Threads, Way};

use callboard_protocol::content::Md5;
use callboard_protocol::member::NodeId;
use callboard_protocol::{lease, publish, receiver};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::api::auth::{Authenticator, Secrets};
use crate::api::state::Options;

mod access;
mod routes;

const CONFIG: &str = "/api/v1/namespaces/public/groups/app/configs/a";
const NACOS: &str = "/nacos/v1/cs/configs?dataId=a&group=app&content=nacos";
const SOON: Duration = Duration::from_secs(10);

/// A running node with one worker.
pub(super) struct Rig {
    data: web::Data<State>,
    sessions: web::Data<session::Door>,
    draining: Draining,
    core: Arbiter,
    _dir: TempDir,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::waiting_for_publishes(|options| options.publish_wait).await
    }

    /// A node where callers have to be known.
    async fn guarded() -> Self {
        Self::with(
            |options| options.publish_wait,
            |node| {
                let secrets = Secrets::of_node(&Settings::default(), Path::new(""), vec![[1; 32]]).unwrap();
                let (known, clock) = (node.access.clone(), Arc::new(SystemClock));
                Arc::new(Authenticator::new((true, SOON), known, secrets, (clock, Trail::off())).unwrap())
            },
        )
        .await
    }

    /// A node whose callers wait for publishes for as long as `wait` makes of its limits.
    async fn waiting_for_publishes(wait: fn(&Options) -> Duration) -> Self {
        Self::with(wait, |_| Authenticator::off()).await
    }

    async fn with(wait: fn(&Options) -> Duration, auth: fn(&Node) -> Arc<Authenticator>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let url = settings.database.sqlite_url(dir.path());
        callboard_migration::run(&url, SOON).await.unwrap();
        let options = store::OpenOptions {
            url,
            read_connections: 2,
            search_connections: 2,
            connect_timeout: SOON,
            statement_timeout: SOON,
            on_refusal: store::OnRefusal::default(),
            seals: std::sync::Arc::new(store::NoSeals),
        };
        let database = store::open(options).await.unwrap();
        let lease = LeaseOptions {
            node: NodeId("test".into()),
            boot_id: "boot".to_owned(),
            address: "127.0.0.1:0".to_owned(),
            versions: (1, 1),
            lease: lease::Options { terms: lease::LeaseMode::Forever, ..lease::Options::default() },
            memory: None,
        };
        let options = NodeOptions {
            audit: None,
            lease,
            cache: CacheOptions { max_bytes: 1024 * 1024 },
            mark_wait: settings.cache.mark_wait,
            refresh_interval: settings.cache.refresh_interval,
            publish: publish::Options::default(),
            receiver: receiver::Options::default(),
            history_retention: settings.history.retention,
            max_held_per_worker: 2,
            max_session_watches_per_worker: 2,
        };
        let core = Arbiter::new();
        let handle = core.handle();
        let threads = Threads { core: &handle, lease: &handle };
        let node = Node::start(threads, options, database, Way::Alone, Arc::new(SystemClock));
        let admission = Arc::new(Admission::new(settings.session.max_sessions, settings.session.max_per_address));
        let draining = Draining::new(Arc::clone(&admission));
        let address = settings.http.addr;
        let told = ClientAddresses { http: address, tcp: address, grpc: address };
        let mut shared = Shared::new(
            &node,
            &settings,
            address,
            (admission, draining.clone()),
            (auth(&node), Memory::new(&settings.memory)),
        );
        shared.options.publish_wait = wait(&shared.options);
        let shared = Arc::new(shared);
        let data = web::Data::new(State::start(&node, 0, &shared));
        let sessions = web::Data::new(session::Door::new(&data, &settings, told));
        Self { data, sessions, draining, core, _dir: dir }
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> ServiceResponse<BoxBody> {
        ask(&self.app().await, method, path, headers, body).await
    }

    /// Every route, as a worker serves it.
    async fn app(
        &self,
    ) -> impl Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error> + use<> {
        let app = App::new().app_data(self.data.clone()).app_data(self.sessions.clone());
        init_service(app.configure(|services| route::register(ROUTES, services))).await
    }

    async fn get(&self, path: &str) -> ServiceResponse<BoxBody> {
        self.call(Method::GET, path, &[], "").await
    }

    async fn put(&self, content: &'static str) -> u64 {
        let response = self.call(Method::PUT, CONFIG, &[], content).await;
        assert!(response.status().is_success(), "{}", response.status());
        body(response).await["version"].as_u64().unwrap()
    }
}

/// Asks for a path.
async fn ask(
    app: &impl Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> ServiceResponse<BoxBody> {
    let request = TestRequest::default().method(method).uri(path).set_payload(body);
    let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
    tokio::time::timeout(SOON, call_service(app, request.to_request())).await.unwrap()
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.core.stop();
    }
}

/// The body as JSON; null when there is none.
pub(super) async fn body(response: ServiceResponse<BoxBody>) -> Value {
    let bytes = to_bytes(response.into_body()).await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn header<'a>(response: &'a ServiceResponse<BoxBody>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[actix_web::test]
async fn a_configuration_is_published_read_and_removed() {
    let rig = Rig::start().await;
    let never = rig.get(CONFIG).await;
    assert_eq!((never.status(), header(&never, "x-callboard-version")), (StatusCode::NOT_FOUND, "0"));

    let created = rig.call(Method::PUT, &format!("{CONFIG}?type=json&tags=b,a&note=why"), &[], "{}").await;
    let tag = format!("\"{}\"", Md5::of(b"{}"));
    assert_eq!((created.status(), header(&created, "etag")), (StatusCode::CREATED, tag.as_str()));
    let created = body(created).await;
    assert_eq!((&created["effect"], &created["replayed"]), (&json!("created"), &json!(false)));

    let read = rig.get(CONFIG).await;
    assert_eq!((read.status(), header(&read, "content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(header(&read, "x-callboard-version"), created["version"].to_string());
    assert_eq!(to_bytes(read.into_body()).await.unwrap(), "{}");
    let same = rig.call(Method::GET, CONFIG, &[("If-None-Match", &tag)], "").await;
    assert_eq!((same.status(), header(&same, "etag")), (StatusCode::NOT_MODIFIED, tag.as_str()));

    let refused = rig.call(Method::PUT, CONFIG, &[("If-Match", "\"v999\"")], "[]").await;
    assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
    let refused = body(refused).await;
    assert_eq!((&refused["version"], &refused["md5"]), (&created["version"], &created["md5"]));

    let removed = rig.call(Method::DELETE, CONFIG, &[("If-Match", &tag)], "").await;
    assert_eq!((removed.status(), header(&removed, "etag")), (StatusCode::OK, ""));
    let removed = body(removed).await;
    assert_eq!((&removed["effect"], &removed["md5"]), (&json!("removed"), &Value::Null));
    let gone = rig.call(Method::DELETE, CONFIG, &[], "").await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);

    let history = body(rig.get(&format!("{CONFIG}/history")).await).await;
    let operations: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|item| item["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["remove", "create"]);
    assert_eq!((&history["items"][1]["note"], &history["items"][1]["tags"]), (&json!("why"), &json!(["a", "b"])));
    let entry = body(rig.get(&format!("{CONFIG}/history/{}", created["version"])).await).await;
    assert_eq!((&entry["content"], &entry["type"]), (&json!("{}"), &json!("json")));
    assert_eq!(rig.get(&format!("{CONFIG}/history/999")).await.status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn a_repeated_request_is_answered_as_the_first_time() {
    let rig = Rig::start().await;
    let key = [("Idempotency-Key", "k")];
    let first = body(rig.call(Method::PUT, CONFIG, &key, "one").await).await;
    rig.put("two").await;
    let again = body(rig.call(Method::PUT, CONFIG, &key, "one").await).await;
    assert_eq!((&again["version"], &again["replayed"]), (&first["version"], &json!(true)));
    let other = rig.call(Method::PUT, CONFIG, &key, "three").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[actix_web::test]
async fn lists_page_and_namespaces_count() {
    let rig = Rig::start().await;
    for name in ["a", "b", "c"] {
        rig.call(Method::PUT, &format!("/api/v1/namespaces/dev/groups/g/configs/{name}"), &[], "x").await;
    }
    let list = "/api/v1/namespaces/dev/configs?limit=2";
    let first = body(rig.get(list).await).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let second = body(rig.get(&format!("{list}&cursor={}", first["next"].as_str().unwrap())).await).await;
    assert_eq!((&second["items"][0]["dataId"], &second["next"]), (&json!("c"), &Value::Null));
    let other_filter = rig.get(&format!("{list}&group=g&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!(body(other_filter).await["code"], "invalid_cursor");

    let json = [("Content-Type", "application/json")];
    let named = rig.call(Method::POST, "/api/v1/namespaces", &json, r#"{"id":"dev","name":"Development"}"#).await;
    assert_eq!(named.status(), StatusCode::CREATED);
    let twice = rig.call(Method::POST, "/api/v1/namespaces", &json, r#"{"id":"dev","name":"Development"}"#).await;
    assert_eq!(body(twice).await["code"], "namespace_exists");
    let all = body(rig.get("/api/v1/namespaces").await).await;
    let expected = json!([
        {"id": "public", "name": "public", "description": null, "configs": 0},
        {"id": "dev", "name": "Development", "description": null, "configs": 3},
    ]);
    assert_eq!(all["items"], expected);
    let used = rig.call(Method::DELETE, "/api/v1/namespaces/dev", &[], "").await;
    assert_eq!(body(used).await["code"], "namespace_in_use");
    let built_in = rig.call(Method::DELETE, "/api/v1/namespaces/public", &[], "").await;
    assert_eq!(body(built_in).await["code"], "namespace_protected");
}

/// The next piece of a stream that is no heartbeat.
async fn next(stream: &mut BoxBody) -> Option<String> {
    loop {
        let chunk = std::future::poll_fn(|task| Pin::new(&mut *stream).poll_next(task));
        let chunk = tokio::time::timeout(SOON, chunk).await.unwrap()?;
        let text = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
        if !text.starts_with(':') {
            return Some(text);
        }
    }
}

#[actix_web::test]
async fn a_watch_tells_the_present_state_and_each_change_until_the_node_stops() {
    let rig = Rig::start().await;
    let first = rig.put("one").await;
    let response = rig.get("/api/v1/watch?group=app&prefix=").await;
    assert_eq!((response.status(), header(&response, "content-type")), (StatusCode::OK, "text/event-stream"));
    let mut stream = response.into_body();
    assert!(next(&mut stream).await.unwrap().starts_with(&format!("id: {first}\nevent: config\n")));
    let second = rig.put("two").await;
    assert!(next(&mut stream).await.unwrap().starts_with(&format!("id: {second}\nevent: config\n")));
    assert_eq!(rig.draining.in_flight(), 1);
    assert_eq!(rig.draining.drain(&rig.data.worker.node).await, 1);
    assert_eq!(next(&mut stream).await, None);
    drop(stream);
    assert_eq!(rig.draining.in_flight(), 0);
    assert_eq!(body(rig.get("/api/v1/watch?prefix=").await).await["code"], "shutting_down");
    assert_eq!(body(rig.get("/readyz").await).await["code"], "shutting_down");
}

#[actix_web::test]
async fn a_node_that_has_left_refuses_publishes_and_answers_reads() {
    let rig = Rig::start().await;
    rig.put("one").await;
    rig.draining.drain(&rig.data.worker.node).await;
    rig.put("two").await;
    rig.draining.leave(&rig.data.worker.node).await;
    for method in [Method::PUT, Method::DELETE] {
        let refused = rig.call(method, CONFIG, &[], "three").await;
        assert_eq!((refused.status(), header(&refused, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert_eq!(body(refused).await["code"], "shutting_down");
    }
    let refused = rig.call(Method::POST, NACOS, &[], "").await;
    assert_eq!((refused.status(), header(&refused, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    let read = to_bytes(rig.get(CONFIG).await.into_body()).await.unwrap();
    assert_eq!(read, "two");
}

#[actix_web::test]
async fn a_publish_of_unknown_outcome_is_answered_with_the_id_of_its_request() {
    let rig = Rig::waiting_for_publishes(|_| Duration::ZERO).await;
    // No wait is shorter than a tick of the timers, within which some publishes are done.
    let unknown = async |method: Method, path: &str, content: &'static str| {
        for _ in 0..1_000 {
            let answer = rig.call(method.clone(), path, &[], content).await;
            if answer.status() == StatusCode::GATEWAY_TIMEOUT {
                return answer;
            }
        }
        panic!("every publish was done within a tick")
    };
    let put = unknown(Method::PUT, CONFIG, "x").await;
    assert!(body(put).await["requestId"].is_string());
    let unknown = unknown(Method::POST, NACOS, "").await;
    let text = String::from_utf8(to_bytes(unknown.into_body()).await.unwrap().to_vec()).unwrap();
    let id = text.strip_prefix("caused: outcome unknown, request ").and_then(|rest| rest.split(',').next());
    assert!(id.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()), "{text}");
}

#[actix_web::test]
async fn a_held_read_answers_the_change_and_too_many_are_refused() {
    let rig = Rig::start().await;
    let version = rig.put("one").await;
    let tag = format!("\"v{version}\"");
    let held = [("If-None-Match", tag.as_str())];
    let path = format!("{CONFIG}?wait=30s");
    let waiting =
        async { tokio::join!(rig.call(Method::GET, &path, &held, ""), rig.call(Method::GET, &path, &held, "")) };
    let changing = async {
        while body(rig.get("/api/v1/actors/long_poll-0").await).await["snapshot"]["polls"] != 2 {
            tokio::task::yield_now().await;
        }
        let refused = rig.call(Method::GET, &path, &held, "").await;
        assert_eq!((refused.status(), header(&refused, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
        rig.put("two").await
    };
    let ((one, other), changed) = tokio::join!(waiting, changing);
    for answer in [one, other] {
        assert_eq!(
            (answer.status(), header(&answer, "x-callboard-version")),
            (StatusCode::OK, changed.to_string().as_str())
        );
    }
    let blind = rig.get(&path).await;
    assert_eq!(body(blind).await["code"], "invalid_parameter");
}

#[actix_web::test]
async fn a_node_says_how_it_is() {
    let rig = Rig::start().await;
    rig.put("x").await;
    assert_eq!(body(rig.get("/healthz").await).await, json!({"status": "up"}));
    let ready = body(rig.get("/readyz").await).await;
    assert_eq!(
        ready["checks"],
        json!({"database": "up", "commits": "up", "migrations": "up", "membership": "up"}),
        "{ready}"
    );
    let metrics = to_bytes(rig.get("/metrics").await.into_body()).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let counted =
        metrics.lines().find(|line| line.starts_with("callboard_http_requests_total{") && line.contains("PUT"));
    assert!(counted.is_some_and(|line| line.ends_with("{dataId}\",method=\"PUT\",status=\"201\"} 1")), "{metrics}");
    assert!(metrics.contains("callboard_actor_messages_total{actor=\"conf_manager\""), "{metrics}");
    let actors = body(rig.get("/api/v1/actors").await).await;
    assert!(actors["actors"].as_array().unwrap().iter().any(|actor| actor["name"] == "reader-0"));
    let reader = body(rig.get("/api/v1/actors/reader-0").await).await;
    assert!(reader["snapshot"].is_object(), "{reader}");
    assert_eq!(body(rig.get("/api/v1/actors/nobody").await).await["code"], "not_found");
}
