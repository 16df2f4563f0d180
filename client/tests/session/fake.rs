//! A node that says what the test tells it to say. Owns a listener on a free port and the frames of its connections;
//! every wait has a deadline.

use std::time::Duration;

use bytes::BytesMut;
use callboard_client::{Client, ConfigKey, Options};
use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use callboard_proto::{MAX_FRAME, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// No wait of a test takes longer, unless something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `what`, and not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it came to nothing in time")
}

/// A node.
pub(crate) struct FakeNode {
    listener: TcpListener,
    pub(crate) address: String,
}

impl FakeNode {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        Self { listener, address }
    }

    /// Waits for a connection.
    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = within(self.listener.accept()).await.expect("a connection");
        Peer { stream, buffer: BytesMut::new() }
    }

    /// Waits for a session, and welcomes it.
    pub(crate) async fn session(&self) -> (Peer, wire::Hello) {
        self.session_of(wire::Welcome { idle_timeout_ms: 60_000, ..self.welcome() }).await
    }

    /// Waits for a session, and welcomes it so.
    pub(crate) async fn session_of(&self, welcome: wire::Welcome) -> (Peer, wire::Hello) {
        let mut peer = self.accept().await;
        let (id, Kind::Hello(hello)) = peer.next().await else { panic!("no hello") };
        peer.send(id, Kind::Welcome(welcome)).await;
        (peer, hello)
    }

    pub(crate) fn welcome(&self) -> wire::Welcome {
        wire::Welcome {
            version: 1,
            node: format!("node at {}", self.address),
            http: "127.0.0.1:80".into(),
            nodes: vec![self.address.clone()],
            max_watches: 100,
            ..wire::Welcome::default()
        }
    }
}

/// A connection of a client.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    /// Waits for the next message.
    pub(crate) async fn next(&mut self) -> (u64, Kind) {
        self.next_or_end().await.expect("the client left")
    }

    /// Waits for the next message; `None` when the client leaves.
    pub(crate) async fn next_or_end(&mut self) -> Option<(u64, Kind)> {
        within(async {
            loop {
                if let Some(frame) = frame::split(&mut self.buffer, MAX_FRAME).expect("a frame") {
                    let Envelope { id, kind } = frame::decode(frame).expect("a message");
                    return Some((id, kind.expect("a known kind")));
                }
                if matches!(self.stream.read_buf(&mut self.buffer).await, Ok(0) | Err(_)) {
                    return None;
                }
            }
        })
        .await
    }

    pub(crate) async fn send(&mut self, id: u64, kind: Kind) {
        let frame = frame::encode(&Envelope { id, kind: Some(kind) }).expect("short enough");
        self.stream.write_all(&frame).await.expect("sent");
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Waits for a request to watch one key, and says that it is watched, after these pushes.
    pub(crate) async fn watching(&mut self, pushes: impl IntoIterator<Item = wire::Push>) -> wire::Watch {
        let (id, Kind::Watch(watch)) = self.next().await else { panic!("no watch") };
        for push in pushes {
            self.send(0, Kind::Push(push)).await;
        }
        self.send(id, Kind::Watching(wire::Watching {})).await;
        watch
    }

    pub(crate) async fn push(&mut self, push: wire::Push) {
        self.send(0, Kind::Push(push)).await;
    }

    /// Waits until the client has taken everything that was sent before.
    pub(crate) async fn settle(&mut self) {
        self.send(0, Kind::Ping(wire::Ping { number: 77 })).await;
        let (_, Kind::Pong(wire::Pong { number: 77 })) = self.next().await else { panic!("no pong") };
    }

    pub(crate) async fn applied(&mut self) -> u64 {
        match self.next().await {
            (0, Kind::Applied(applied)) => applied.version,
            other => panic!("not applied: {other:?}"),
        }
    }
}

/// Options that try soon and give up soon.
pub(crate) fn options(nodes: &[&FakeNode]) -> Options {
    let mut options = Options::new(nodes.iter().map(|node| node.address.clone()));
    options.client_id = "test-client".into();
    options.request_timeout = PATIENCE;
    options.back_off.first = Duration::from_millis(5);
    options.back_off.most = Duration::from_millis(50);
    options
}

pub(crate) fn connect(nodes: &[&FakeNode]) -> Client {
    Client::connect(options(nodes)).expect("valid options")
}

pub(crate) fn key() -> ConfigKey {
    ConfigKey::public("shop", "a")
}

pub(crate) fn wire_key() -> Option<wire::Key> {
    Some(wire::Key { namespace: "public".into(), group: "shop".into(), data_id: "a".into() })
}

/// A push whose content is its version.
pub(crate) fn push(version: u64) -> wire::Push {
    wire::Push {
        key: wire_key(),
        version,
        md5: format!("md5 of {version}"),
        content: Some(version.to_string()),
        ..wire::Push::default()
    }
}

/// A configuration whose content is its version.
pub(crate) fn config(version: u64) -> Kind {
    Kind::Config(wire::Config {
        key: wire_key(),
        version,
        exists: true,
        md5: format!("md5 of {version}"),
        r#type: "text".into(),
        content: version.to_string(),
    })
}

pub(crate) fn error(code: &str) -> Kind {
    Kind::Error(wire::Error { code: code.into(), message: "as the test has it".into(), ..wire::Error::default() })
}
