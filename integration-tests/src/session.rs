//! A native session by hand over TCP: it sends exactly what it is told, in any pieces, and shows everything that comes.
//! Owns the connection, what has arrived of it, and what came while an answer was awaited. Answers nothing by itself,
//! not even a ping. What a good client does is in the crate `callboard-client`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{
    Applied, Config, Delete, Envelope, Error, Get, Hello, Key, Ping, Pong, Prefix, Publish, Published, Push, Unwatch,
    Watch, Welcome,
};
use callboard_proto::{MAX_FRAME, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::poll;

/// The key of a configuration of the group that all these tests use.
#[must_use]
pub fn key(data_id: &str) -> Key {
    Key { namespace: "public".to_owned(), group: "app".to_owned(), data_id: data_id.to_owned() }
}

/// The first message of a client that holds nothing.
#[must_use]
pub fn hello(client_id: &str) -> Hello {
    Hello {
        client_id: client_id.to_owned(),
        application: "tests".to_owned(),
        min_version: 1,
        max_version: 1,
        ..Hello::default()
    }
}

/// The question for a configuration.
#[must_use]
pub fn get(data_id: &str) -> Kind {
    Kind::Get(Get { key: Some(key(data_id)) })
}

/// A publish without any condition.
#[must_use]
pub fn publish(data_id: &str, content: &str) -> Publish {
    Publish { key: Some(key(data_id)), content: content.to_owned(), ..Publish::default() }
}

/// A removal without any condition.
#[must_use]
pub fn delete(data_id: &str) -> Delete {
    Delete { key: Some(key(data_id)), ..Delete::default() }
}

/// A watch of single configurations.
#[must_use]
pub fn watch(data_ids: &[&str]) -> Kind {
    Kind::Watch(Watch { keys: data_ids.iter().map(|data_id| key(data_id)).collect(), prefixes: Vec::new() })
}

/// A watch of all data ids that begin so.
#[must_use]
pub fn watch_prefix(prefix: &str) -> Kind {
    Kind::Watch(Watch { keys: Vec::new(), prefixes: vec![self::prefix(prefix)] })
}

/// All data ids of the group that begin so.
#[must_use]
pub fn prefix(prefix: &str) -> Prefix {
    Prefix { namespace: String::new(), group: "app".to_owned(), prefix: prefix.to_owned() }
}

/// The end of a watch of single configurations.
#[must_use]
pub fn unwatch(data_ids: &[&str]) -> Kind {
    Kind::Unwatch(Unwatch { keys: data_ids.iter().map(|data_id| key(data_id)).collect(), prefixes: Vec::new() })
}

/// What a client says once it uses a version.
#[must_use]
pub fn applied(data_id: &str, version: u64) -> Kind {
    Kind::Applied(Applied { key: Some(key(data_id)), version })
}

/// The frame of a message.
///
/// # Panics
/// It is longer than frames are.
#[must_use]
pub fn framed(id: u64, kind: Kind) -> Vec<u8> {
    frame::encode(&Envelope { id, kind: Some(kind) }).expect("tests make short messages").to_vec()
}

/// Which configuration a push is about, by its data id.
#[must_use]
pub fn subject(push: &Push) -> &str {
    push.key.as_ref().map(|key| key.data_id.as_str()).unwrap_or_default()
}

/// A connection to the port of native sessions.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    buffer: BytesMut,
    aside: VecDeque<Envelope>,
    last: u64,
}

impl Session {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new(), aside: VecDeque::new(), last: 0 })
    }

    /// Connects with little room for what it does not read.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn connect_narrow(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4 * 1024)?;
        let stream = socket.connect(address).await?;
        Ok(Self { stream, buffer: BytesMut::new(), aside: VecDeque::new(), last: 0 })
    }

    /// Connects and is welcomed.
    ///
    /// # Errors
    /// As [`Session::connect`] and [`Session::greet`].
    pub async fn open(address: SocketAddr, client_id: &str) -> anyhow::Result<Self> {
        let mut session = Self::connect(address).await?;
        session.greet(hello(client_id)).await?;
        Ok(session)
    }

    /// Says hello.
    ///
    /// # Errors
    /// It is not welcomed.
    pub async fn greet(&mut self, hello: Hello) -> anyhow::Result<Welcome> {
        match self.ask(Kind::Hello(hello)).await? {
            Kind::Welcome(welcome) => Ok(welcome),
            other => bail!("instead of a welcome: {other:?}"),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, id: u64, kind: Kind) -> anyhow::Result<()> {
        self.send_bytes(&framed(id, kind)).await
    }

    /// Says that nothing more will be sent; what comes can still be read.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn finish_sending(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Sends a request under a number of its own, and returns the number.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn request(&mut self, kind: Kind) -> anyhow::Result<u64> {
        self.last += 1;
        let id = self.last;
        self.send(id, kind).await?;
        Ok(id)
    }

    /// Sends a request and waits for its answer. What comes before is kept for [`Session::next`].
    ///
    /// # Errors
    /// No answer comes.
    pub async fn ask(&mut self, kind: Kind) -> anyhow::Result<Kind> {
        let id = self.request(kind).await?;
        self.answer(id).await
    }

    /// Waits for the answer to a request. What comes before is kept for [`Session::next`].
    ///
    /// # Errors
    /// None comes.
    pub async fn answer(&mut self, id: u64) -> anyhow::Result<Kind> {
        if let Some(place) = self.aside.iter().position(|envelope| envelope.id == id) {
            return self.aside.remove(place).and_then(|envelope| envelope.kind).context("an answer is of a kind");
        }
        let deadline = Instant::now() + poll::SOON;
        loop {
            let envelope = self.arrive(deadline).await?.with_context(|| format!("no answer to request {id}"))?;
            if envelope.id == id {
                return envelope.kind.context("an answer is of a kind");
            }
            self.aside.push_back(envelope);
        }
    }

    /// Asks what has to be refused, and returns the refusal.
    ///
    /// # Errors
    /// It is not refused.
    pub async fn refused(&mut self, kind: Kind) -> anyhow::Result<Error> {
        let asked = format!("{kind:?}").chars().take(200).collect::<String>();
        match self.ask(kind).await? {
            Kind::Error(error) => Ok(error),
            other => bail!("{asked} was answered {other:?}"),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// It is not answered.
    pub async fn get(&mut self, data_id: &str) -> anyhow::Result<Config> {
        match self.ask(get(data_id)).await? {
            Kind::Config(config) => Ok(config),
            other => bail!("instead of {data_id}: {other:?}"),
        }
    }

    /// Makes a change.
    ///
    /// # Errors
    /// It is not made.
    pub async fn change(&mut self, kind: Kind) -> anyhow::Result<Published> {
        match self.ask(kind).await? {
            Kind::Published(published) => Ok(published),
            other => bail!("the change was answered {other:?}"),
        }
    }

    /// Publishes a content, and returns the version.
    ///
    /// # Errors
    /// It is not published.
    pub async fn publish(&mut self, data_id: &str, content: &str) -> anyhow::Result<u64> {
        Ok(self.change(Kind::Publish(publish(data_id, content))).await?.version)
    }

    /// Watches, and waits until the watch is complete.
    ///
    /// # Errors
    /// It does not become so.
    pub async fn watch(&mut self, kind: Kind) -> anyhow::Result<()> {
        match self.ask(kind).await? {
            Kind::Watching(_) => Ok(()),
            other => bail!("the watch was answered {other:?}"),
        }
    }

    /// The next message, or `None` when none comes within `limit`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection ended, or what came is no frame.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<Option<Envelope>> {
        if let Some(envelope) = self.aside.pop_front() {
            return Ok(Some(envelope));
        }
        self.arrive(Instant::now() + limit).await
    }

    /// The next message.
    ///
    /// # Errors
    /// As [`Session::next`]; also when none comes soon.
    pub async fn expect(&mut self) -> anyhow::Result<Envelope> {
        self.next(poll::SOON).await?.context("no message came")
    }

    /// The next message, which has to be a push.
    ///
    /// # Errors
    /// As [`Session::expect`]; also when it is something else.
    pub async fn push(&mut self) -> anyhow::Result<Push> {
        loop {
            match self.expect().await? {
                Envelope { id: 0, kind: Some(Kind::Push(push)) } => return Ok(push),
                // Who reads late is asked whether it is there.
                Envelope { id: 0, kind: Some(Kind::Ping(Ping { number })) } => {
                    self.send(0, Kind::Pong(Pong { number })).await?;
                }
                other => bail!("instead of a push: {other:?}"),
            }
        }
    }

    /// Everything that still comes until the node closes the connection.
    ///
    /// # Errors
    /// It does not do so soon, or what came is no frame.
    pub async fn rest(&mut self) -> anyhow::Result<Vec<Envelope>> {
        let mut bytes = self.buffer.split().to_vec();
        let reading = timeout(poll::SOON, self.stream.read_to_end(&mut bytes)).await;
        // A client that goes on sending may be told by a reset; what it was sent is there all the same.
        reading
            .context("the connection stays open")?
            .or_else(|error| if error.kind() == std::io::ErrorKind::ConnectionReset { Ok(0) } else { Err(error) })?;
        self.buffer.extend_from_slice(&bytes);
        let mut all: Vec<Envelope> = self.aside.drain(..).collect();
        while let Some(frame) = frame::split(&mut self.buffer, MAX_FRAME)? {
            all.push(frame::decode(frame)?);
        }
        Ok(all)
    }

    /// The last word of the node: the error with id 0 after which it closes.
    ///
    /// # Errors
    /// As [`Session::rest`]; also when there is none, or something follows it.
    pub async fn last_word(&mut self) -> anyhow::Result<Error> {
        match self.rest().await?.pop() {
            Some(Envelope { id: 0, kind: Some(Kind::Error(error)) }) => Ok(error),
            other => bail!("the last word was {other:?}"),
        }
    }

    /// The next message from the connection itself; `None` at the deadline.
    async fn arrive(&mut self, deadline: Instant) -> anyhow::Result<Option<Envelope>> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, MAX_FRAME)? {
                return Ok(Some(frame::decode(frame)?));
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
                Err(_elapsed) => return Ok(None),
                Ok(read) => anyhow::ensure!(read? > 0, "the node closed the connection"),
            }
        }
    }
}
