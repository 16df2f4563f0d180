//! `grpcpush`: many connections of Nacos's gRPC listen to the same key. Each round publishes that key once over HTTP,
//! and sees when each of them is told that it changed, and when it has the new content, for which it asks at once, as
//! SDKs do.
//!
//! With `--churn` it does not measure a push: connections come, listen, publish and go, again and again for so long,
//! and the memory of the server is looked at when a tenth of that time is over and at the end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use callboard_proto::nacos::{Metadata, Payload};
use prost::Message as _;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::arguments::GrpcPushOptions;
use super::contents::Contents;
use super::grpc::{Connection, Stream};
use super::load;
use super::process::{self, Times};
use super::publisher::Publisher;
use super::report::{Report, micros_per, millis};
use super::rounds::{Heard, Rounds};
use super::template::Read;

/// How the name of the key begins.
const PREFIX: &str = "grpcpush";
/// Where requests go that have one answer.
const UNARY: &str = "/Request/request";
/// How long the opening of one connection may take.
const OPENING: Duration = Duration::from_secs(30);
/// Connections that are opened at the same time.
const OPENED_AT_ONCE: usize = 64;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Measures notices to clients of Nacos.
///
/// # Errors
/// The server can't be reached, refuses the publishes or the connections, or too few files may be open.
pub(super) fn measure(options: &GrpcPushOptions) -> anyhow::Result<Report> {
    load::open_files_for(options.listening.listeners)?;
    let runtime = load::runtime()?;
    match options.churn {
        Some(time) => runtime.block_on(churn(options, time)),
        None => runtime.block_on(run(options)),
    }
}

/// What all listen to.
#[derive(Debug)]
struct Key {
    data_id: String,
    group: String,
    tenant: String,
    /// How many others each listens to besides.
    others: u64,
}

async fn run(options: &GrpcPushOptions) -> anyhow::Result<Report> {
    let publisher =
        Publisher::start(options.target.url.address()?, Read::new(&options.target, PREFIX).bytes().to_vec())?;
    let mut contents = Contents::new(&options.target, PREFIX, options.size)?;
    publisher.publish(contents.publish()).await?;
    let before = options.target.pid.map(process::resident).transpose()?;
    let (news, mut heard) = mpsc::unbounded_channel();
    let key = Arc::new(key(options, &contents));
    let (mut open, listened) = open_all(options, &key, &contents.digest(), &news).await?;
    let scene = (&options.target, &options.listening);
    let rounds = Rounds::run(scene, (&publisher, &mut contents), &mut heard, || {}).await?;
    if let Some(ended) = open.try_join_next() {
        let reason = ended.context("a listener panicked")?;
        eprintln!("callboard: a listener ended early: {reason:#}");
    }
    open.shutdown().await;
    let [content_p50_ms, content_p99_ms, content_last_ms] = rounds.then();
    let listened_ms = Some(millis(listened));
    let report = rounds.report("grpcpush", &options.listening, before);
    Ok(Report { content_p50_ms, content_p99_ms, content_last_ms, listened_ms, ..report })
}

fn key(options: &GrpcPushOptions, contents: &Contents<'_>) -> Key {
    Key {
        data_id: contents.data_id(),
        group: options.target.group.clone(),
        tenant: options.target.namespace.clone().unwrap_or_default(),
        others: options.keys.saturating_sub(1),
    }
}

/// Opens the listeners; each goes on by itself until it breaks. Also gives the longest time that it took until the
/// server had answered what they listen to.
async fn open_all(
    options: &GrpcPushOptions,
    key: &Arc<Key>,
    held: &str,
    news: &mpsc::UnboundedSender<Heard>,
) -> anyhow::Result<(JoinSet<anyhow::Error>, Duration)> {
    let address = options.grpc.address()?;
    let (mut opening, mut open, mut listened) = (JoinSet::new(), JoinSet::new(), Duration::ZERO);
    let mut left = options.listening.listeners;
    while left > 0 || !opening.is_empty() {
        while left > 0 && opening.len() < OPENED_AT_ONCE {
            let (key, held) = (Arc::clone(key), held.to_owned());
            opening.spawn(async move {
                let opened = async {
                    let mut listener = Listener::open(address).await?;
                    let began = Instant::now();
                    listener.listen(&key, &held).await?;
                    Ok::<_, anyhow::Error>((listener, began.elapsed()))
                };
                timeout(OPENING, opened).await.context("it takes too long")?
            });
            left -= 1;
        }
        let Some(opened) = opening.join_next().await else { break };
        let (listener, took) = opened.context("an opening panicked")?.context("a listener could not be opened")?;
        listened = listened.max(took);
        open.spawn(listener.follow(Arc::clone(key), news.clone()));
    }
    Ok((open, listened))
}

/// One connection.
struct Listener {
    connection: Connection,
    stream: Stream,
    /// How often it was told that something changed.
    noticed: u64,
}

impl Listener {
    /// Connects, and sets the connection up.
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address).await?;
        let mut stream = connection.begin("/BiRequestStream/requestBiStream").await?;
        let setup = json!({
            "module": "internal",
            "clientVersion": "Nacos-Rust-Client:0.8.3",
            "labels": { "source": "sdk", "module": "config", "AppName": "bench" },
        });
        stream.send(&message("ConnectionSetupRequest", &setup))?;
        let mut listener = Self { connection, stream, noticed: 0 };
        // As SDKs do that set up first: asked again until the server has taken that in.
        for attempt in 0_u32.. {
            let health = listener.ask("HealthCheckRequest", &json!({ "module": "internal" })).await?;
            if health["resultCode"] == 200 {
                break;
            }
            anyhow::ensure!(attempt < 10, "the connection was not set up: {health}");
            sleep(Duration::from_millis(20) * 2_u32.pow(attempt.min(5))).await;
        }
        Ok(listener)
    }

    /// Listens to the key, of which it holds the content of this digest, and to others that do not exist.
    async fn listen(&mut self, key: &Key, held: &str) -> anyhow::Result<Value> {
        let one = |data_id: &str, md5: &str| json!({ "dataId": data_id, "group": key.group, "tenant": key.tenant, "md5": md5 });
        let others = (0..key.others).map(|number| one(&format!("{PREFIX}-other-{number}"), ""));
        let contexts: Vec<Value> = [one(&key.data_id, held)].into_iter().chain(others).collect();
        let body = json!({ "module": "config", "listen": true, "configListenContexts": contexts });
        let answer = self.ask("ConfigBatchListenRequest", &body).await?;
        anyhow::ensure!(answer["resultCode"] == 200, "listening failed: {answer}");
        Ok(answer)
    }

    async fn publish(&mut self, key: &Key, content: &str) -> anyhow::Result<()> {
        let body = json!({
            "module": "config", "dataId": key.data_id, "group": key.group, "tenant": key.tenant, "content": content,
        });
        let answer = self.ask("ConfigPublishRequest", &body).await?;
        anyhow::ensure!(answer["resultCode"] == 200, "publishing failed: {answer}");
        Ok(())
    }

    /// Asks, and waits for the answer; what the server says by itself meanwhile is acknowledged.
    async fn ask(&mut self, class: &str, body: &Value) -> anyhow::Result<Value> {
        let mut answer = pin!(self.connection.ask(UNARY, &message(class, body)));
        let answered = async {
            loop {
                tokio::select! {
                    answer = &mut answer => return Ok(parts(&answer?)?.1),
                    said = self.stream.next() => self.acknowledge(&said?)?,
                }
            }
        };
        timeout(ANSWER, answered).await.with_context(|| format!("{class} is not answered"))?
    }

    /// Takes in the next message that the server says by itself.
    async fn next(&mut self) -> anyhow::Result<()> {
        let said = self.stream.next().await?;
        self.acknowledge(&said)
    }

    fn acknowledge(&mut self, said: &[u8]) -> anyhow::Result<()> {
        let (class, body) = parts(said)?;
        self.noticed += u64::from(class == "ConfigChangeNotifyRequest");
        let answer = format!("{}Response", class.trim_end_matches("Request"));
        let good = json!({ "resultCode": 200, "errorCode": 0, "success": true, "requestId": body["requestId"] });
        self.stream.send(&message(&answer, &good))
    }

    /// Asks for the content at every notice, until the connection breaks; why is returned.
    async fn follow(mut self, key: Arc<Key>, news: mpsc::UnboundedSender<Heard>) -> anyhow::Error {
        let query = json!({ "module": "config", "dataId": key.data_id, "group": key.group, "tenant": key.tenant });
        let mut seen = self.noticed;
        loop {
            let step = async {
                // One that came while the content was asked for is looked into as well.
                while self.noticed == seen {
                    self.next().await?;
                }
                let told = Instant::now();
                seen = self.noticed;
                let answer = self.ask("ConfigQueryRequest", &query).await?;
                let content = answer["content"].as_str().with_context(|| format!("no content: {answer}"))?;
                let heard = Heard { content: content.to_owned(), at: told, then: Some(Instant::now()) };
                news.send(heard).context("the measure is over")
            };
            if let Err(error) = step.await {
                return error;
            }
        }
    }
}

fn message(class: &str, body: &Value) -> Vec<u8> {
    let payload = Payload {
        metadata: Some(Metadata { r#type: class.to_owned(), ..Metadata::default() }),
        body: Some(Any { type_url: String::new(), value: body.to_string().into_bytes() }),
    };
    payload.encode_to_vec()
}

fn parts(message: &[u8]) -> anyhow::Result<(String, Value)> {
    let payload = Payload::decode(message).context("the server sends no message of Nacos")?;
    let class = payload.metadata.map(|metadata| metadata.r#type).unwrap_or_default();
    let body = payload.body.map(|body| body.value).unwrap_or_default();
    Ok((class, serde_json::from_slice(&body).context("the server sends no JSON")?))
}

/// Connections come, listen, publish, hear and go, for so long.
async fn churn(options: &GrpcPushOptions, time: Duration) -> anyhow::Result<Report> {
    let (address, contents) = (options.grpc.address()?, Contents::new(&options.target, PREFIX, options.size)?);
    let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for number in 0..options.listening.listeners {
        let key = Key { data_id: format!("{PREFIX}-churn-{}", number % 64), ..key(options, &contents) };
        let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
        workers.spawn(async move {
            while began.elapsed() < time {
                let turn = done.load(Ordering::Relaxed);
                match timeout(OPENING, one_life(address, &key, number, turn)).await {
                    Ok(Ok(())) => done.fetch_add(1, Ordering::Relaxed),
                    Ok(Err(_)) | Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                };
            }
        });
    }
    let times = Times::now(options.target.pid)?;
    sleep(time / 10).await;
    let before = options.target.pid.map(process::resident).transpose()?;
    while workers.join_next().await.is_some() {}
    sleep(options.listening.settle).await;
    let after = options.target.pid.map(process::resident).transpose()?;
    let (server_cpu, own_cpu) = Times::now(options.target.pid)?.since(&times);
    let lives = done.load(Ordering::Relaxed);
    Ok(Report {
        measure: "grpcpush churn",
        connections: options.listening.listeners,
        operations: lives,
        rate: Some(lives as f64 / began.elapsed().as_secs_f64()),
        errors: failed.load(Ordering::Relaxed),
        server_cpu_us_per_op: server_cpu.and_then(|cpu| micros_per(cpu, lives)),
        generator_cpu_us_per_op: micros_per(own_cpu, lives),
        server_bytes_before: before,
        server_bytes_after: after,
        ..Report::default()
    })
}

/// A connection that comes, listens, publishes, hears of a change, and goes without a word.
async fn one_life(address: SocketAddr, key: &Key, number: u64, turn: u64) -> anyhow::Result<()> {
    let mut listener = Listener::open(address).await?;
    listener.listen(key, "").await?;
    listener.publish(key, &format!("worker {number}, turn {turn}, {}", turn.wrapping_mul(2_654_435_761))).await?;
    let heard = pin!(timeout(ANSWER, async {
        // It may have been told before the publish was answered.
        while listener.noticed == 0 {
            listener.next().await?;
        }
        Ok::<_, anyhow::Error>(())
    }));
    match heard.await {
        Ok(heard) => heard,
        Err(_late) => bail!("it has not heard of its own change"),
    }
}
