//! `session`: many native sessions watch the same key. Each round publishes that key once from another connection, and
//! sees when each of them hears of it and has answered that it uses it. With `--answers later` the answers wait until
//! all have heard: they then cost the time of no push, as those of clients elsewhere do not.
//!
//! A session counts as held when its watch was said to be complete, and the settling time has passed.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use callboard_proto::session as proto;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use callboard_proto::{MAX_FRAME, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::arguments::{Answers, SessionOptions};
use super::load;
use super::report::Report;
use super::rounds::{Heard, Rounds, open_all};

/// How the name of the key begins.
const PREFIX: &str = "session";

/// Measures native sessions.
///
/// # Errors
/// The server can't be reached, refuses the publishes or the sessions, or too few files may be open.
pub(super) fn measure(options: &SessionOptions) -> anyhow::Result<Report> {
    load::open_files_for(options.listening.listeners)?;
    load::runtime()?.block_on(run(options))
}

async fn run(options: &SessionOptions) -> anyhow::Result<Report> {
    let address = options.session.address()?;
    let mut rounds = Rounds::begin(&options.target, &options.listening, PREFIX, options.size).await?;
    let (news, heard) = mpsc::unbounded_channel();
    // Those who answer later do when the round is over.
    let (over, _) = watch::channel(0);
    let ends = Ends { news, over: (options.answers == Answers::Later).then(|| over.subscribe()) };
    let key = proto::Key {
        namespace: options.target.namespace.clone().unwrap_or_default(),
        group: options.target.group.clone(),
        data_id: rounds.contents.data_id(),
    };
    // Each goes on by itself, and reports what it hears, until it breaks.
    let mut sessions = JoinSet::new();
    let open = |number| {
        let opening = Session::open(address, number, key.clone(), ends.clone());
        async move { opening.await.context("a session could not be opened") }
    };
    open_all(&options.listening, open, |session: Session| drop(sessions.spawn(session.follow()))).await?;
    rounds.run(sessions, heard, || over.send_modify(|rounds| *rounds += 1)).await?;
    let [applied_p50_ms, applied_p99_ms, _] = rounds.then();
    Ok(Report { applied_p50_ms, applied_p99_ms, ..rounds.report("session") })
}

/// Where a session reports, and what it waits for.
#[derive(Clone)]
struct Ends {
    news: mpsc::UnboundedSender<Heard>,
    /// How many rounds are over, for one that answers then.
    over: Option<watch::Receiver<u64>>,
}

/// One session.
struct Session {
    stream: TcpStream,
    buffer: BytesMut,
    ends: Ends,
}

impl Session {
    async fn open(address: SocketAddr, number: u64, key: proto::Key, ends: Ends) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream, buffer: BytesMut::with_capacity(256), ends };
        let hello = proto::Hello {
            client_id: format!("bench-{number}"),
            min_version: 1,
            max_version: 1,
            ..proto::Hello::default()
        };
        session.send(1, Kind::Hello(hello)).await?;
        session.send(2, Kind::Watch(proto::Watch { keys: vec![key], prefixes: Vec::new() })).await?;
        loop {
            match session.receive().await?.kind {
                Some(Kind::Push(push)) => session.apply(push).await?,
                Some(Kind::Watching(_)) => return Ok(session),
                Some(Kind::Welcome(_)) => {}
                other => bail!("an unexpected answer: {other:?}"),
            }
        }
    }

    /// Answers every push until the connection breaks; why is returned.
    async fn follow(mut self) -> anyhow::Error {
        loop {
            match self.next().await {
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<()> {
        match self.receive().await?.kind {
            Some(Kind::Push(push)) => {
                let (at, content) = (Instant::now(), Some(push.content.clone().unwrap_or_default()));
                let Some(over) = &mut self.ends.over else {
                    self.apply(push).await?;
                    let heard = Heard { content, at, then: Some(Instant::now()) };
                    return self.ends.news.send(heard).context("the measure is over");
                };
                over.mark_unchanged();
                self.ends.news.send(Heard { content, at, then: None }).context("the measure is over")?;
                over.changed().await.context("the measure is over")?;
                self.apply(push).await
            }
            Some(Kind::Ping(ping)) => self.send(0, Kind::Pong(proto::Pong { number: ping.number })).await,
            Some(Kind::Error(error)) => bail!("the server says {}: {}", error.code, error.message),
            Some(Kind::GoAway(_)) => bail!("the server sends its clients away"),
            _ => Ok(()),
        }
    }

    async fn apply(&mut self, push: proto::Push) -> anyhow::Result<()> {
        self.send(0, Kind::Applied(proto::Applied { key: push.key, version: push.version })).await
    }

    async fn send(&mut self, id: u64, kind: Kind) -> anyhow::Result<()> {
        let frame = frame::encode(&Envelope { id, kind: Some(kind) })?;
        Ok(self.stream.write_all(&frame).await?)
    }

    async fn receive(&mut self) -> anyhow::Result<Envelope> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, MAX_FRAME)? {
                return Ok(frame::decode(frame)?);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}
