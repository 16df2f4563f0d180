//! A database for one scenario: made, migrated, opened, and dropped at the end, whatever the scenario did. Also the
//! short words in which scenarios speak.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::commit::{Decision, Standing, Writes};
use callboard_protocol::config::{MetadataEdit, SharedState, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{Ack, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{
    Change, Condition, Fingerprint, KeyWrite, Origin, RequestId, Source, WriteOutcome, WriteRequest,
};
use sea_orm::sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};
use sea_orm::{ConnectionTrait as _, Statement};
use uuid::Uuid;

use crate::store::{CommitRequest, NoSeals, OnRefusal, OpenOptions, ReadPool, Writer, open};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
    MySql,
}

pub(super) struct Testbed {
    pub(super) kind: Kind,
    pub(super) url: String,
    pub(super) writer: Writer,
    pub(super) reader: ReadPool,
}

/// Runs `scenario` on a fresh database, if there is a server for it.
pub(super) async fn play<F>(kind: Kind, scenario: fn(Arc<Testbed>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    play_on_empty(kind, async move |url| {
        callboard_migration::run(&url, Duration::from_secs(10)).await.unwrap();
        let (writer, reader) = open(options(&url)).await.unwrap();
        let testbed = Arc::new(Testbed { kind, url, writer, reader });
        let scenario = tokio::time::timeout(Duration::from_secs(60), scenario(Arc::clone(&testbed)));
        let ended = tokio::spawn(async move { scenario.await.unwrap() }).await;
        testbed.reader.close().await;
        testbed.writer.close().await;
        ended
    })
    .await;
}

/// Runs `scenario` with the address of a database without any tables.
pub(super) async fn play_on_empty(
    kind: Kind,
    scenario: impl AsyncFnOnce(String) -> Result<(), tokio::task::JoinError>,
) {
    let directory = tempfile::tempdir().unwrap();
    let Some(server) = server(kind) else { return };
    let name = format!("callboard_test_{}", Uuid::new_v4().simple());
    let url = match kind {
        Kind::Sqlite => format!("sqlite://{}/cc.db", directory.path().display()),
        Kind::Postgres | Kind::MySql => {
            let (place, _database) = server.rsplit_once('/').unwrap();
            format!("{place}/{name}")
        }
    };
    if kind != Kind::Sqlite {
        administer(kind, &server, &format!("CREATE DATABASE {name}")).await;
    }
    let ended = scenario(url).await;
    match kind {
        Kind::Sqlite => {}
        Kind::Postgres => administer(kind, &server, &format!("DROP DATABASE {name} WITH (FORCE)")).await,
        Kind::MySql => administer(kind, &server, &format!("DROP DATABASE {name}")).await,
    }
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn server(kind: Kind) -> Option<String> {
    let variable = match kind {
        Kind::Sqlite => return Some(String::new()),
        Kind::Postgres => "CALLBOARD_TEST_POSTGRES_URL",
        Kind::MySql => "CALLBOARD_TEST_MYSQL_URL",
    };
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let required = std::env::var("CALLBOARD_TEST_REQUIRE_DATABASES").is_ok_and(|value| value == "1");
        assert!(!required, "{variable} is not set, but CALLBOARD_TEST_REQUIRE_DATABASES=1 demands it");
        println!("not run: {variable} is not set");
    }
    url
}

/// Runs one statement outside of the store.
pub(super) async fn administer(kind: Kind, url: &str, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match kind {
        Kind::Sqlite => {
            let mut connection = sea_orm::sqlx::SqliteConnection::connect(url).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        Kind::MySql => {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

pub(super) fn options(url: &str) -> OpenOptions {
    OpenOptions {
        url: url.to_owned(),
        read_connections: 3,
        search_connections: 2,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        on_refusal: OnRefusal::default(),
        seals: Arc::new(NoSeals),
    }
}

/// The wall clock of every publish, unless a scenario says otherwise.
pub(super) const NOON: WallMillis = WallMillis(1_800_000_000_000);
pub(super) const TIMELINE: Timeline = Timeline(1);

pub(super) fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

pub(super) fn content(text: &str) -> Content {
    Content::new(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

pub(super) fn put(key: &ConfigKey, text: &str) -> KeyWrite {
    put_edited(key, text, MetadataEdit::default())
}

pub(super) fn put_edited(key: &ConfigKey, text: &str, edit: MetadataEdit) -> KeyWrite {
    let change = Change::Put { content: content(text), edit: Box::new(edit) };
    KeyWrite { key: key.clone(), condition: Condition::None, change }
}

pub(super) fn put_if(key: &ConfigKey, text: &str, condition: Condition) -> KeyWrite {
    KeyWrite { condition, ..put(key, text) }
}

pub(super) fn remove(key: &ConfigKey) -> KeyWrite {
    KeyWrite { key: key.clone(), condition: Condition::None, change: Change::Remove }
}

pub(super) fn request_id(text: &str) -> RequestId {
    RequestId::new(text).unwrap()
}

pub(super) fn origin() -> Origin {
    Origin {
        channel: Source::Rest,
        operator: Some("ann".to_owned()),
        source_address: Some("192.0.2.7".to_owned()),
        client_id: None,
        note: Some("why – 因为 😀".to_owned()),
    }
}

/// A unit under an id of its own.
pub(super) fn unit(items: Vec<KeyWrite>) -> Arc<WriteRequest> {
    unit_as(&Uuid::new_v4().to_string(), items)
}

pub(super) fn unit_as(id: &str, items: Vec<KeyWrite>) -> Arc<WriteRequest> {
    let fingerprint = Fingerprint(Md5::of(format!("{items:?}").as_bytes()));
    Arc::new(WriteRequest { request_id: request_id(id), repeatable: true, fingerprint, items, origin: origin() })
}

/// A commit by a publisher without a row.
pub(super) fn request(units: Vec<Arc<WriteRequest>>) -> CommitRequest {
    CommitRequest { units, timeline: TIMELINE, standing: Standing::Direct, acks: Vec::new(), at: NOON }
}

pub(super) fn acked(units: Vec<Arc<WriteRequest>>, acks: Vec<Ack>) -> CommitRequest {
    CommitRequest { acks, ..request(units) }
}

pub(super) fn written(decision: Decision) -> Writes {
    match decision {
        Decision::Write(writes) => writes,
        other => panic!("not written: {other:?}"),
    }
}

/// The versions and effects of a unit that was done.
pub(super) fn done(outcome: &WriteOutcome) -> &[callboard_protocol::write_request::KeyOutcome] {
    match outcome {
        WriteOutcome::Done { items, .. } => items,
        WriteOutcome::Refused(refusal) => panic!("refused: {refusal}"),
    }
}

impl Testbed {
    pub(super) async fn commit(&self, units: Vec<Arc<WriteRequest>>) -> Writes {
        written(self.writer.commit(request(units)).await.unwrap())
    }

    /// Publishes one content and returns its version.
    pub(super) async fn publish(&self, key: &ConfigKey, text: &str) -> Version {
        let writes = self.commit(vec![unit(vec![put(key, text)])]).await;
        done(&writes.outcomes[0])[0].version
    }

    pub(super) async fn state(&self, key: &ConfigKey) -> SharedState {
        let filled = self.reader.fill(std::slice::from_ref(key)).await.unwrap();
        Arc::clone(&filled.states[0])
    }

    pub(super) async fn revision(&self) -> Version {
        self.reader.fill(&[]).await.unwrap().revision
    }

    /// How many commits there were that nobody sees the effect of, joins included.
    pub(super) async fn commits_of_nothing(&self) -> i64 {
        let question = "SELECT member_epoch FROM cc_meta WHERE id = 1";
        let question = Statement::from_string(self.writer.backend().sea(), question);
        let row = self.writer.connection().query_one_raw(question).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    pub(super) async fn administer(&self, sql: &str) {
        administer(self.kind, &self.url, sql).await;
    }
}
