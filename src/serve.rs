//! The running node: brings its parts up in order, keeps them until a signal comes, and takes them down in order.
//!
//! Owns start and stop of the process. A part that can't come up stops the start with a message that names it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use anyhow::Context as _;
use callboard_actors::cache::CacheOptions;
use callboard_actors::clock::{LeaseClock, SharedClock, SystemClock};
use callboard_actors::lease_keeper::{GetStanding, LeaseOptions, Standing};
use callboard_actors::peer_links::PEER_VERSIONS;
use callboard_actors::push_ledger::HasBegun;
use callboard_actors::runtime::ask;
use callboard_actors::store::{self, FileHold, NoSeals, OpenError, Seals};
use callboard_actors::store_writer::ProveWritable;
use callboard_actors::wiring::{AuditOptions, Node, NodeOptions, Threads, Way};
use callboard_protocol::lease::{self, LeaseMode};
use callboard_protocol::member::{Elsewhere, MemberRow, NodeId};
use callboard_protocol::membership_view::Addresses;
use callboard_protocol::{publish, receiver};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::api::admission::Admission;
use crate::api::auth::{self, Authenticator, ContentKeys};
use crate::api::draining::Draining;
use crate::data_dir::{DataDir, DatabaseLock};
use crate::database_link::Way as DatabaseWay;
use crate::logging::HeldBack;
use crate::lossy::{print, remark};
use crate::settings::{DatabaseKind, Settings};
use crate::tls::Tls;
use crate::{listener, peer};

/// Watches that there is room for, for each session that may be open.
const WATCHES_PER_SESSION: usize = 20;
/// How long the database may take to close its connections.
const CLOSE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then stops within `shutdown.grace`.
///
/// # Errors
/// When a part can't come up; nothing is left running or locked.
pub async fn run(settings: Settings, data_dir: DataDir, held_back: HeldBack) -> anyhow::Result<()> {
    let _survived = survive_full_files()?;
    let (tls, (sockets, bound)) = (Tls::open(&settings.tls)?, listener::bind(&settings)?);
    // Kept until the end: the node is the only one on this file.
    let _only_one = settings.database.sqlite_file(data_dir.path()).map(|file| DatabaseLock::take(&file)).transpose()?;
    // Outlives the connections, which lead through it.
    let database_way = DatabaseWay::of_node(&settings.database, &data_dir)?;
    let node_id = NodeId(data_dir.node_id(&settings.node.id)?.into());
    let hold = hold_file(database_way.url(), settings.database.statement_timeout).await?;
    let clock: SharedClock = Arc::new(LeaseClock::new(SystemClock));
    let content_keys = Arc::new(ContentKeys::new(auth::Secrets::of_contents(&settings)?, clock.clone()));
    let (writer, reader) = listener::until_open((&sockets.http, &tls, &settings), async || {
        open_database(&settings, &database_way, (content_keys.clone(), &node_id)).await
    })
    .await?;
    // The writer has its own.
    release(hold).await;
    let cluster = peer::node::open(&settings, &node_id, bound).await?;
    let alone =
        || Addresses { http: Some(bound.http), session: Some(bound.tcp), grpc: Some(bound.grpc), peer: None }.to_text();
    let told = peer::node::told_to_clients(&settings, bound).await?;
    let row = cluster.as_ref().map_or_else(alone, peer::node::Opened::row_text);
    let options = node_options(&settings, &data_dir, (node_id.clone(), row), writer.backend());
    let (core, lease) = (Arbiter::new(), Arbiter::new());
    let (core_handle, lease_handle) = (core.handle(), lease.handle());
    let (database, threads) = ((writer.clone(), reader.clone()), Threads { core: &core_handle, lease: &lease_handle });
    let linked = |cluster: &peer::node::Opened| Way::Linked(Box::new(cluster.peers(&settings.cluster.seeds)));
    let way = cluster.as_ref().map_or(Way::Alone, linked);
    let node = Node::start(threads, options, (writer, reader), way, clock);
    drop(actix_rt::spawn(held_back.summarise(node.metrics.log.suppressed.clone())));
    let mut addresses = named(&[("http", bound.http), ("tcp", bound.tcp), ("grpc", bound.grpc)]);
    if let Some(cluster) = cluster {
        addresses.insert("peer".to_owned(), cluster.address);
        cluster.listen(&core_handle, &node)?;
    }
    wait_until_ready(&node, settings.database.connect_timeout).await?;
    let auth = authenticator(&settings, &data_dir, &node, content_keys).await?;
    let admission = Arc::new(Admission::new(settings.session.max_sessions, settings.session.max_per_address));
    let draining = Draining::new(Arc::clone(&admission));
    let server = listener::serve(sockets, (told, tls), node.clone(), &settings, (admission, draining.clone()), auth)
        .with_context(|| format!("cannot serve HTTP on {}", bound.http))?;
    let (handle, mut serving) = (server.handle(), actix_rt::spawn(server));
    // Whoever learns from the next line that the node serves may end it at once, in good order.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if let Err(error) = data_dir.write_addresses(&addresses) {
        tracing::warn!(error = &error as &dyn std::error::Error, "the addresses are in the log alone");
    }
    announce(&settings, &data_dir, &node_id, &addresses);

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        ended = &mut serving => {
            ended.context("the HTTP server panicked")?.context("the HTTP server failed")?;
            anyhow::bail!("the HTTP server ended by itself");
        }
    }
    listener::stop(&node, &handle, &draining, settings.shutdown.grace).await;
    finish(&node, database).await;
    core.stop();
    lease.stop();
    data_dir.close()?;
    tracing::info!("stopped");
    Ok(())
}

/// Addresses as they are written down.
fn named(addresses: &[(&str, SocketAddr)]) -> BTreeMap<String, SocketAddr> {
    addresses.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
}

/// What makes callers known on this node, and what seals secrets, with what has to be there for that.
async fn authenticator(
    settings: &Settings,
    data_dir: &DataDir,
    node: &Node,
    content_keys: Arc<ContentKeys>,
) -> anyhow::Result<Arc<Authenticator>> {
    content_keys.prepare(node, settings.database.connect_timeout).await?;
    let cluster = if settings.cluster.has_key() {
        let keys = peer::key::ClusterKeys::load(&settings.cluster.key_file)?;
        keys.iter().map(|key| key.derive("auth", &settings.cluster.name)).collect()
    } else {
        Vec::new()
    };
    let secrets = auth::Secrets::of_node(settings, data_dir.path(), cluster)?;
    let how = (settings.auth.is_on(), settings.auth.lifetime);
    let oidc = auth::Oidc::open(&settings.oidc, &secrets, node.clock.clone())?;
    let made = Authenticator::new(how, node.access.clone(), secrets, (node.clock.clone(), node.audit.clone()));
    let made = made.map_err(|_unspecified| anyhow::anyhow!("the system gives no random bytes"))?;
    let made = made.with_content_keys(content_keys).with_directory(node.access_directory.clone().recipient());
    let auth = Arc::new(made.with_provider(oidc));
    if auth.is_on() {
        auth::prepare(settings, node, &auth).await?;
        return Ok(auth);
    }
    // Nobody needs it yet: a database that takes no writes at the moment keeps nobody from reading.
    let (settings, node, later) = (settings.clone(), node.clone(), Arc::clone(&auth));
    drop(actix_rt::spawn(async move {
        if let Err(error) = auth::prepare(&settings, &node, &later).await {
            tracing::warn!(error = %format_args!("{error:#}"), "log-ins can't be signed; it is tried at the next start");
        }
    }));
    Ok(auth)
}

/// Brings the tables of the database to the form this version expects.
///
/// # Errors
/// When the database can't be reached, a node uses the SQLite file, or a step fails; the steps before it stay.
pub async fn migrate(settings: Settings) -> anyhow::Result<()> {
    let data_dir = match settings.database.url.kind() {
        Some(DatabaseKind::Sqlite) => Some(DataDir::open(&settings.data.dir)?),
        Some(DatabaseKind::Postgres | DatabaseKind::Mysql) | None => None,
    };
    let path = data_dir.as_ref().map_or(settings.data.dir.as_path(), DataDir::path);
    // A node may run on a file outside of its data directory.
    let _only_one = settings.database.sqlite_file(path).map(|file| DatabaseLock::take(&file)).transpose()?;
    let way = DatabaseWay::of_command(&settings.database, path)?;
    let hold = hold_file(way.url(), settings.database.statement_timeout).await?;
    let migrate = async || anyhow::Ok(callboard_migration::run(way.url(), settings.database.connect_timeout).await?);
    let applied = way.try_hosts(migrate).await?;
    release(hold).await;
    print(format_args!("{applied} migrations applied to {}", settings.database.url));
    if let Some(data_dir) = data_dir {
        data_dir.close()?;
    }
    Ok(())
}

/// Takes the row of a dead node out of the database, so that publishes do not wait for it any longer.
///
/// # Errors
/// When the database can't be reached, has no such row, or the node behind it still renews it.
pub async fn remove_node(settings: Settings, id: &str) -> anyhow::Result<()> {
    let kind = settings.database.url.kind();
    if !matches!(kind, Some(DatabaseKind::Postgres | DatabaseKind::Mysql)) {
        anyhow::bail!(
            "nodes are rows of a shared database; name it with --database-url. On SQLite a start takes the rows of other \
             nodes away by itself"
        );
    }
    let way = DatabaseWay::of_command(&settings.database, &settings.data.dir)?;
    let (writer, reader) = open_store(&settings, &way).await?;
    let removed = fence_dead(&writer, &NodeId(id.into())).await;
    close((writer, reader)).await;
    let incarnation = removed?;
    print(format_args!("removed the row of {id} (life {incarnation}); publishes do not wait for it any longer"));
    Ok(())
}

/// Watches the row of `node` for longer than a lease can last, and deletes it when it stood still.
async fn fence_dead(writer: &store::Writer, node: &NodeId) -> anyhow::Result<Uuid> {
    let row_of = async || -> anyhow::Result<Option<MemberRow>> {
        Ok(writer.observe().await?.rows.into_iter().find(|row| row.node == *node))
    };
    let row = row_of().await?.with_context(|| format!("the database has no row of node {node}"))?;
    let still = lease::Options::default().fenced_after();
    remark(format_args!("watching the row of {node} for {}", humantime::format_duration(still)));
    actix_rt::time::sleep(still).await;
    if writer.fence(node, row.incarnation, row.renew_seq).await? {
        return Ok(row.incarnation.0);
    }
    match row_of().await? {
        Some(_) => anyhow::bail!("node {node} renews its lease: it is alive; stop it instead"),
        None => anyhow::bail!("the row of {node} is gone already; another node has taken it away"),
    }
}

/// A file that may not grow (`ulimit -f`) is a full disk, not the end of the process: the signal that comes with it is
/// taken and overlooked, for as long as the value lives.
fn survive_full_files() -> anyhow::Result<tokio::signal::unix::Signal> {
    let number = rustix::process::Signal::XFSZ.as_raw();
    signal(SignalKind::from_raw(number)).context("cannot take the signal of files that may not grow")
}

/// Keeps the files of SQLite open while the database is migrated and opened, or tells why they take no writes. Another
/// database has none.
async fn hold_file(url: &str, patience: Duration) -> Result<Option<FileHold>, OpenError> {
    if !url.starts_with("sqlite:") {
        return Ok(None);
    }
    FileHold::open(url, true, patience).await.map(Some)
}

async fn release(hold: Option<FileHold>) {
    if let Some(hold) = hold {
        hold.release().await;
    }
}

async fn open_database(
    settings: &Settings,
    way: &DatabaseWay,
    (seals, node): (Arc<dyn Seals>, &NodeId),
) -> anyhow::Result<(store::Writer, store::ReadPool)> {
    let open = async || {
        let applied = callboard_migration::run(way.url(), settings.database.connect_timeout).await?;
        if applied > 0 {
            tracing::debug!(applied, "database migrated");
        }
        anyhow::Ok(store::open(open_options(settings, way, Arc::clone(&seals))).await?)
    };
    let (writer, reader) = way.try_hosts(open).await?;
    Ok((audited(writer, settings, node), reader))
}

/// Opens a database as it is, without the keys of secrets.
pub(crate) async fn open_store(
    settings: &Settings,
    way: &DatabaseWay,
) -> anyhow::Result<(store::Writer, store::ReadPool)> {
    way.try_hosts(async || anyhow::Ok(store::open(open_options(settings, way, Arc::new(NoSeals))).await?)).await
}

fn open_options(settings: &Settings, way: &DatabaseWay, seals: Arc<dyn Seals>) -> store::OpenOptions {
    store::OpenOptions {
        url: way.url().to_owned(),
        read_connections: u32::try_from(settings.database.read_connections).unwrap_or(u32::MAX),
        search_connections: u32::try_from(settings.database.search_connections).unwrap_or(u32::MAX),
        connect_timeout: settings.database.connect_timeout,
        statement_timeout: settings.database.statement_timeout,
        on_refusal: way.on_refusal(),
        seals,
    }
}

fn node_options(
    settings: &Settings,
    data_dir: &DataDir,
    (node, address): (NodeId, String),
    backend: store::Backend,
) -> NodeOptions {
    let terms = match backend {
        // The locks on the data directory and the file prove that no other process serves this database.
        store::Backend::Sqlite => LeaseMode::Forever,
        store::Backend::Postgres | store::Backend::MySql if settings.cluster.has_key() => LeaseMode::Renewed,
        // Others may share the database and could not ask this node for its acknowledgement.
        store::Backend::Postgres | store::Backend::MySql => LeaseMode::Direct,
    };
    let lease = LeaseOptions {
        node,
        boot_id: data_dir.boot_id(),
        address,
        versions: (PEER_VERSIONS.min, PEER_VERSIONS.max),
        lease: lease::Options { terms, ..lease::Options::default() },
        memory: data_dir.database_memory(),
    };
    let publish = publish::Options {
        max_queued: settings.publish.max_queued,
        max_queued_bytes: usize::try_from(settings.publish.max_queued_bytes.bytes()).unwrap_or(usize::MAX),
        max_batch_items: settings.publish.max_batch_items,
        max_batch_bytes: usize::try_from(settings.publish.max_batch_bytes.bytes()).unwrap_or(usize::MAX),
        deadline: settings.publish.timeout,
        ..publish::Options::default()
    };
    NodeOptions {
        lease,
        cache: CacheOptions { max_bytes: settings.cache.max_bytes.bytes() },
        mark_wait: settings.cache.mark_wait,
        refresh_interval: settings.cache.refresh_interval,
        publish,
        receiver: receiver::Options::default(),
        history_retention: settings.history.retention,
        audit: settings.audit.is_on(&settings.auth).then(|| AuditOptions { retention: settings.audit.kept() }),
        max_held_per_worker: settings.http.max_held.div_ceil(settings.http.worker_count()),
        max_session_watches_per_worker: WATCHES_PER_SESSION
            .saturating_mul(settings.session.max_sessions)
            .div_ceil(settings.http.worker_count())
            .max(settings.session.max_watches)
            .max(settings.grpc.max_listens),
    }
}

/// The first answers should not be refusals, and the first pushes should be accounted for: waits for the membership and
/// for the account, and starts without them when the database is slow.
async fn wait_until_ready(node: &Node, at_most: Duration) -> anyhow::Result<()> {
    /// Most nodes have joined within milliseconds.
    const SLOW_START: Duration = Duration::from_secs(1);
    let begun = Instant::now();
    let end = begun + at_most;
    loop {
        let standing =
            ask(&node.lease_keeper, GetStanding, at_most).await.context("the lease keeper did not answer")?;
        let has_begun = ask(&node.push_ledger, HasBegun, at_most).await.context("the push ledger did not answer")?;
        if standing == Standing::Settled && has_begun {
            return Ok(());
        }
        if let Standing::Elsewhere(Some(Elsewhere { node, theirs, ours })) = standing {
            anyhow::bail!(
                "this node reaches member {ours} of the database and node {node} reaches member {theirs}: what one publishes \
                 the other would read late; give all nodes the same database.url, with one member for writes behind it"
            );
        }
        // Others may be about to follow to this member, or dead; that is known before long.
        if matches!(standing, Standing::Elsewhere(None)) {
            actix_rt::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        if Instant::now() >= end {
            tracing::warn!("the node has not joined yet; it goes on trying");
            return Ok(());
        }
        if begun.elapsed() >= SLOW_START
            && let Ok(Err(reason)) = ask(&node.store_writer, ProveWritable, at_most).await
        {
            tracing::warn!(reason, "no publish can succeed yet; the node is there to be read from");
            return Ok(());
        }
        actix_rt::time::sleep(Duration::from_millis(1)).await;
    }
}

fn announce(settings: &Settings, data_dir: &DataDir, node: &NodeId, addresses: &BTreeMap<String, SocketAddr>) {
    let served = |name: &str| addresses.get(name).map_or_else(|| "none".to_owned(), SocketAddr::to_string);
    let (address, sessions, grpc, peers) = (served("http"), served("tcp"), served("grpc"), served("peer"));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        http = address,
        tcp = sessions,
        grpc,
        peers,
        database = %describe(settings, data_dir),
        node.id = %node,
        "callboard serves"
    );
    if settings.insecure.no_auth && !settings.auth.is_on() {
        tracing::warn!(http = address, "insecure.no_auth: whoever reaches this address may read and change everything");
    }
}

fn describe(settings: &Settings, data_dir: &DataDir) -> String {
    if settings.database.url.expose().is_empty() {
        return format!("SQLite in {}", data_dir.path().display());
    }
    settings.database.url.to_string()
}

/// Writes down what happens through `writer`, if it is to be.
pub(crate) fn audited(writer: store::Writer, settings: &Settings, node: &NodeId) -> store::Writer {
    if settings.audit.is_on(&settings.auth) { writer.audited(node) } else { writer }
}

/// Writes down what is left to be, and closes the database.
async fn finish(node: &Node, database: (store::Writer, store::ReadPool)) {
    if !matches!(node.audit.flush(CLOSE).await, Ok(true)) {
        tracing::warn!("the last of what happened could not be written down");
    }
    close(database).await;
}

/// Closes the connections to the database while everything that uses them still stands.
pub(crate) async fn close((writer, reader): (store::Writer, store::ReadPool)) {
    let closing = async {
        reader.close().await;
        writer.close().await;
    };
    if actix_rt::time::timeout(CLOSE, closing).await.is_err() {
        tracing::warn!("the connections to the database could not be closed in time");
    }
}
