//! A database that is set back to an earlier state while its node is down, and of which nobody tells: whoever knew what
//! it lost gets to what it has, is answered from no other history, and no version is given twice. On SQLite, and on
//! PostgreSQL and MariaDB where servers can be started.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::{Result, bail, ensure};
use callboard_integration_tests::client::Event;
use callboard_integration_tests::database_server::{DatabaseServer, Engine, can_start};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{self, Session};
use callboard_proto::session::{Held, Hello};
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;

const TABLES: [&str; 5] = ["cc_meta", "cc_config", "cc_change", "cc_request", "cc_node"];

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

/// A key as native sessions name those of their tests.
fn session_key(data_id: &str) -> ConfigKey {
    let key = session::key(data_id);
    ConfigKey::new("public", &key.group, &key.data_id).unwrap()
}

/// Keeps what a database has now, and sets it back to that.
trait Copied {
    async fn keep(&mut self, node: &Node) -> Result<()>;
    async fn set_back(&mut self, node: &Node) -> Result<()>;
}

/// The file of a node, with its log.
#[derive(Default)]
struct File(Vec<(&'static str, Vec<u8>)>);

impl Copied for File {
    async fn keep(&mut self, node: &Node) -> Result<()> {
        for name in ["callboard.db", "callboard.db-wal"] {
            // A node that ended in order leaves no log.
            if let Ok(bytes) = std::fs::read(node.data_dir().join(name)) {
                self.0.push((name, bytes));
            }
        }
        Ok(())
    }

    async fn set_back(&mut self, node: &Node) -> Result<()> {
        for rest in ["callboard.db-wal", "callboard.db-shm"] {
            drop(std::fs::remove_file(node.data_dir().join(rest)));
        }
        for (name, bytes) in &self.0 {
            std::fs::write(node.data_dir().join(name), bytes)?;
        }
        Ok(())
    }
}

/// A database of a server.
struct OfServer(DatabaseServer);

impl Copied for OfServer {
    async fn keep(&mut self, _: &Node) -> Result<()> {
        let copy = TABLES.map(|table| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
        self.0.query("d", &copy.join("; ")).await.map(drop)
    }

    async fn set_back(&mut self, _: &Node) -> Result<()> {
        let back = TABLES.map(|table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"));
        self.0.query("d", &back.join("; ")).await.map(drop)
    }
}

/// What was acknowledged and lost.
struct Lost {
    version: u64,
    newest: u64,
}

async fn goes_back(options: NodeOptions, mut copied: impl Copied, clean: bool) -> Result<()> {
    let mut node = Node::start(options).await?;
    let client = node.client();
    for (data_id, content) in [("hot", "old"), ("quiet", "same")] {
        client.put(&key(data_id), content).send().await?.expect(201)?;
    }
    client.put(&session_key("held"), "old").send().await?.expect(201)?;
    end(&mut node, clean).await?;
    copied.keep(&node).await?;
    node.start_again().await?;
    let client = node.client();
    let quiet = client.get(&key("quiet")).send().await?.version().unwrap();
    let hot = client.put(&key("hot"), "lost").send().await?.expect(200)?.version().unwrap();
    client.put(&key("made"), "lost").send().await?.expect(201)?;
    let held = client.put(&session_key("held"), "lost").send().await?.expect(200)?.version().unwrap();
    let lost = Lost { version: hot, newest: held };
    end(&mut node, clean).await?;
    copied.set_back(&node).await?;
    node.start_again().await?;
    reads_are_of_one_history(&node, &lost, quiet).await?;
    ensure!(std::fs::read_to_string(node.log())?.matches("the database has lost commits").count() >= 1);
    Ok(())
}

async fn end(node: &mut Node, clean: bool) -> Result<()> {
    if clean { node.terminate().await.map(drop) } else { node.kill() }
}

async fn reads_are_of_one_history(node: &Node, lost: &Lost, quiet: u64) -> Result<()> {
    let client = node.client();
    let tag = format!("\"v{}\"", lost.version);
    // The lost version is nobody's any more.
    let get = client.get(&key("hot")).header("If-None-Match", &tag).send().await?.expect(200)?;
    assert_eq!(get.text(), "old");
    let now = get.version().unwrap();
    assert!(now > lost.newest, "{now} is not above {}", lost.newest);
    assert!(client.get(&key("quiet")).send().await?.version().unwrap() > quiet);
    client.get(&key("made")).send().await?.expect(404)?;
    let put = client.put(&key("hot"), "by who saw what was lost").header("If-Match", &tag).send().await?;
    assert_eq!((put.status, put.code()), (412, "condition_failed".to_owned()));
    let waited = client.wait(&key("hot"), lost.version, 30).send().await?.expect(200)?;
    assert_eq!(waited.version(), Some(now));
    // A stream that goes on after what was lost begins anew.
    let mut watch = client.watch("group=app&prefix=", Some(lost.newest)).await?;
    assert!(matches!(watch.expect().await?, Event::Reset));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let Event::Config { key, version, content, .. } = watch.expect().await? else { bail!("{seen:?}") };
        assert!(version > lost.newest);
        seen.push(format!("{}={content}", key.data_id()));
    }
    seen.sort();
    assert_eq!(seen, ["held=old", "hot=old", "quiet=same"]);
    // A session that holds what was lost is pushed what is there.
    let mut watcher = Session::connect(node.session_address()).await?;
    let held =
        |data_id: &str| Held { key: Some(session::key(data_id)), version: lost.newest, md5: Md5::of(b"lost").hex() };
    watcher.greet(Hello { held: vec![held("held")], ..session::hello("watcher") }).await?;
    watcher.watch(session::watch(&["held"])).await?;
    let push = watcher.push().await?;
    assert_eq!(push.content.as_deref(), Some("old"));
    assert!(push.version > lost.newest);
    // Nothing is given twice.
    let again = client.put(&key("hot"), "new").send().await?.expect(200)?;
    assert!(again.version().unwrap() > now);
    let event = watch.expect().await?;
    assert_eq!(event.subject().map(|(_, version)| version), again.version());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_was_set_back_is_found_out() -> Result<()> {
    for clean in [true, false] {
        goes_back(NodeOptions::new(), File::default(), clean).await?;
    }
    Ok(())
}

async fn on_a_server(engine: Engine) -> Result<()> {
    if !can_start(engine)? {
        return Ok(());
    }
    for clean in [true, false] {
        let server = DatabaseServer::start(engine).await?;
        server.create_database("d").await?;
        let options = NodeOptions::new().variable("CALLBOARD_DATABASE_URL", &server.url("d"));
        goes_back(options, OfServer(server), clean).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_was_set_back_is_found_out() -> Result<()> {
    on_a_server(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_was_set_back_is_found_out() -> Result<()> {
    on_a_server(Engine::MariaDb).await
}
