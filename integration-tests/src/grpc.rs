//! The bare protocol of Nacos's gRPC clients: one connection, its requests and its stream. Owns what SDKs have in
//! common, and the order in which each of them begins; expects nothing that a test has not asked for.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use callboard_proto::nacos::{Metadata, Payload};
use callboard_proto::nacos_client::{self, Methods};
use callboard_protocol::content::Md5;
use futures_util::stream::poll_fn;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::{Status, Streaming};

use crate::poll;

/// Group of the configurations of tests.
pub const GROUP: &str = "G";

/// A connection.
pub struct Connection {
    methods: Methods,
    stream: Option<Stream>,
}

struct Stream {
    said: mpsc::Sender<Payload>,
    told: Streaming<Payload>,
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its class.
    pub class: String,
    /// Its body.
    pub body: Value,
}

/// In which order an SDK begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// Check, stream with abilities, acknowledgement awaited, requests.
    Java,
    /// Check, stream, a pause, requests.
    Go,
    /// As Java, with other words.
    Python,
    /// Stream, health until it is good, check.
    Rust,
    /// Check, stream, requests at once.
    CSharp,
}

impl Sdk {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Java, Self::Go, Self::Python, Self::Rust, Self::CSharp];

    /// What it sends first on its stream.
    #[must_use]
    pub fn setup(self) -> Value {
        let labels = json!({ "source": "sdk", "module": "config", "taskId": "0", "AppName": "shop" });
        match self {
            Self::Java => json!({
                "clientVersion": "Nacos-Java-Client:v2.5.1", "tenant": "", "labels": labels,
                "abilityTable": { "supportPersistentInstanceByGrpc": true },
            }),
            Self::Go => json!({
                "clientVersion": "Nacos-Go-Client:v2.3.5", "tenant": "", "labels": labels, "clientAbilities": {},
            }),
            Self::Python => json!({
                "headers": {}, "requestId": "", "module": "", "clientVersion": "Nacos-Python-Client:v3.2.0",
                "tenant": "", "labels": labels, "abilityTable": {},
            }),
            Self::Rust => json!({
                "requestId": null, "module": "internal", "clientVersion": "Nacos-Rust-Client:0.8.3", "tenant": "",
                "labels": labels, "abilities": { "remoteAbility": {} },
            }),
            Self::CSharp => json!({ "clientVersion": "Nacos-CSharp-Client:v1.3.10", "labels": labels, "tenant": null }),
        }
    }

    /// The class of its acknowledgement of a change.
    #[must_use]
    pub fn acknowledgement(self) -> &'static str {
        match self {
            Self::Go | Self::Python => "NotifySubscriberResponse",
            Self::Java | Self::Rust | Self::CSharp => "ConfigChangeNotifyResponse",
        }
    }
}

impl Message {
    /// Whether it says that all went well, in each of the ways that SDKs look at.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let Self { body, .. } = self;
        body["resultCode"] == 200 && body["errorCode"] == 0 && body["success"] == true
    }

    /// The code of a refusal, which is told in each of the ways that SDKs look at.
    ///
    /// # Errors
    /// It is none, or is told in some of them alone.
    pub fn refusal(&self) -> anyhow::Result<i64> {
        let Self { class, body } = self;
        let code = body["errorCode"].as_i64().unwrap_or_default();
        let is_told = body["resultCode"] == 500 && code != 0 && body["success"] == false && body["message"].is_string();
        anyhow::ensure!(is_told && body["requestId"].is_string(), "no refusal: {class} {body}");
        Ok(code)
    }
}

/// A message of this class.
#[must_use]
pub fn payload(class: &str, body: &[u8]) -> Payload {
    Payload {
        metadata: Some(Metadata { r#type: class.to_owned(), client_ip: "10.1.2.3".to_owned(), ..Metadata::default() }),
        body: Some(Any { type_url: String::new(), value: body.to_vec() }),
    }
}

fn message(payload: Payload) -> anyhow::Result<Message> {
    let class = payload.metadata.context("a message has a class")?.r#type;
    let body = payload.body.context("a message has a body")?.value;
    let body = serde_json::from_slice(&body).with_context(|| format!("{class} is no JSON"))?;
    Ok(Message { class, body })
}

/// The digest as clients report it.
#[must_use]
pub fn md5(content: &str) -> String {
    Md5::of(content.as_bytes()).hex()
}

impl Connection {
    /// Connects, and says nothing.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Says nothing yet over a connection that is there.
    ///
    /// # Errors
    /// It breaks.
    pub async fn over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> anyhow::Result<Self> {
        let (methods, connection) = nacos_client::over(io, "http://localhost".parse()?).await?;
        drop(tokio::spawn(connection));
        Ok(Self { methods, stream: None })
    }

    /// Another user of the same connection, without the stream.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { methods: self.methods.clone(), stream: None }
    }

    /// Another user of the same connection, whose requests are compressed.
    #[must_use]
    pub fn compressed(&self) -> Self {
        let unary = self.methods.unary.clone().send_compressed(CompressionEncoding::Gzip);
        Self { methods: Methods { unary, stream: self.methods.stream.clone() }, stream: None }
    }

    /// Connects and begins as this SDK does.
    ///
    /// # Errors
    /// The server does not answer as the SDK needs it.
    pub async fn of(sdk: Sdk, address: SocketAddr) -> anyhow::Result<Self> {
        Self::open(address).await?.begin(sdk).await
    }

    /// Begins as this SDK does.
    ///
    /// # Errors
    /// The server does not answer as the SDK needs it.
    pub async fn begin(self, sdk: Sdk) -> anyhow::Result<Self> {
        let mut connection = self;
        if sdk != Sdk::Rust {
            connection.check().await?;
        }
        connection.open_stream().await?;
        connection.send("ConnectionSetupRequest", &sdk.setup()).await?;
        match sdk {
            Sdk::Java | Sdk::Python => {
                let ready = timeout(Duration::from_secs(5), connection.next()).await.context("no ack within 5 s")??;
                anyhow::ensure!(ready.class == "SetupAckRequest", "no ack: {ready:?}");
                anyhow::ensure!(ready.body["abilityTable"].is_object(), "no abilities: {ready:?}");
                anyhow::ensure!(ready.body["headers"].is_object(), "no headers: {ready:?}");
            }
            Sdk::Rust => {
                let asked = json!({ "module": "internal", "requestId": null });
                let health = connection.ask("HealthCheckRequest", &asked).await?;
                anyhow::ensure!(health.is_good(), "not healthy: {health:?}");
                connection.check().await?;
            }
            Sdk::Go | Sdk::CSharp => {}
        }
        Ok(connection)
    }

    /// Asks for the name of the connection.
    ///
    /// # Errors
    /// There is none.
    pub async fn check(&mut self) -> anyhow::Result<String> {
        let checked = self.ask("ServerCheckRequest", &json!({ "module": "internal" })).await?;
        anyhow::ensure!(checked.class == "ServerCheckResponse" && checked.is_good(), "{checked:?}");
        let id = checked.body["connectionId"].as_str().filter(|id| !id.is_empty());
        Ok(id.context("a connection has a name")?.to_owned())
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn open_stream(&mut self) -> anyhow::Result<()> {
        let (said, mut saying) = mpsc::channel(64);
        let told =
            self.methods.stream.request_bi_stream(poll_fn(move |task| saying.poll_recv(task))).await?.into_inner();
        self.stream = Some(Stream { said, told });
        Ok(())
    }

    /// Ends the stream, as a client that has nothing more to say.
    pub fn close_stream(&mut self) {
        self.stream = None;
    }

    /// Says something over the stream.
    ///
    /// # Errors
    /// There is none.
    pub async fn send(&self, class: &str, body: &Value) -> anyhow::Result<()> {
        self.say_bytes(class, body.to_string().as_bytes()).await
    }

    /// Says something over the stream that may be no JSON.
    ///
    /// # Errors
    /// There is no stream.
    pub async fn say_bytes(&self, class: &str, body: &[u8]) -> anyhow::Result<()> {
        let stream = self.stream.as_ref().context("the stream is open")?;
        stream.said.send(payload(class, body)).await.context("the stream has ended")
    }

    /// The next thing that the server says.
    ///
    /// # Errors
    /// It says nothing soon, or has ended the stream.
    pub async fn next(&mut self) -> anyhow::Result<Message> {
        match timeout(poll::SOON, self.told()).await {
            Ok(told) => told?.context("the server has ended the stream"),
            Err(_late) => bail!("the server says nothing"),
        }
    }

    /// The next thing that the server says, however long that takes.
    ///
    /// # Errors
    /// It has ended the stream.
    pub async fn next_of_any_time(&mut self) -> anyhow::Result<Message> {
        self.told().await?.context("the server has ended the stream")
    }

    /// What the server says within this time; `None` when that is nothing.
    ///
    /// # Errors
    /// It has ended the stream.
    pub async fn within(&mut self, limit: Duration) -> anyhow::Result<Option<Message>> {
        match timeout(limit, self.told()).await {
            Ok(told) => Ok(Some(told?.context("the server has ended the stream")?)),
            Err(_nothing) => Ok(None),
        }
    }

    /// Waits until the server ends the stream.
    ///
    /// # Errors
    /// It says something, or does not end.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<()> {
        match timeout(limit, self.told()).await.context("the stream goes on")? {
            Ok(Some(message)) => bail!("the server says {message:?}"),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Waits until the server completes the stream, as one that has nothing more to say.
    ///
    /// # Errors
    /// It says something, breaks the stream off, or does not end.
    pub async fn completed(&mut self, limit: Duration) -> anyhow::Result<()> {
        match timeout(limit, self.told()).await.context("the stream goes on")?? {
            Some(message) => bail!("the server says {message:?}"),
            None => Ok(()),
        }
    }

    async fn told(&mut self) -> anyhow::Result<Option<Message>> {
        let stream = self.stream.as_mut().context("the stream is open")?;
        stream.told.message().await?.map(message).transpose()
    }

    /// Acknowledges what the server said, by an answer of this class.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn acknowledge(&self, notice: &Message, class: &str) -> anyhow::Result<()> {
        // As the Go SDK writes it: what counts is the result code.
        let body = json!({ "resultCode": 200, "success": false, "requestId": notice.body["requestId"] });
        self.send(class, &body).await
    }

    /// Waits for the notice that a configuration changed, and acknowledges it.
    ///
    /// # Errors
    /// Something else is said.
    pub async fn noticed(&mut self, sdk: Sdk, data_id: &str) -> anyhow::Result<Message> {
        let notice = self.next().await?;
        anyhow::ensure!(notice.class == "ConfigChangeNotifyRequest", "{notice:?}");
        anyhow::ensure!(notice.body["dataId"] == data_id && notice.body["group"] == GROUP, "{notice:?}");
        anyhow::ensure!(notice.body["headers"].is_object() && notice.body["requestId"].is_string(), "{notice:?}");
        self.acknowledge(&notice, sdk.acknowledgement()).await?;
        Ok(notice)
    }

    /// Asks, and gives the answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn ask(&mut self, class: &str, body: &Value) -> anyhow::Result<Message> {
        self.ask_bytes(class, body.to_string().as_bytes()).await?.with_context(|| format!("{class} {body}"))
    }

    /// Asks, and shows these headers.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask_showing(
        &mut self,
        headers: &[(&str, &str)],
        class: &str,
        body: &Value,
    ) -> anyhow::Result<Message> {
        let mut asked = payload(class, body.to_string().as_bytes());
        let shown = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        asked.metadata.get_or_insert_default().headers = shown.collect();
        let asking = self.methods.unary.request(asked);
        message(timeout(poll::SOON, asking).await.with_context(|| format!("{class} is not answered"))??.into_inner())
    }

    /// Asks something that may be no JSON. The inner error is the status of a request that has no answer.
    ///
    /// # Errors
    /// The answer is late, or is no message.
    pub async fn ask_bytes(&mut self, class: &str, body: &[u8]) -> anyhow::Result<Result<Message, Status>> {
        let asking = self.methods.unary.request(payload(class, body));
        match timeout(poll::SOON, asking).await.with_context(|| format!("{class} is not answered"))? {
            Ok(answer) => Ok(Ok(message(answer.into_inner())?)),
            Err(status) => Ok(Err(status)),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn query(&mut self, data_id: &str) -> anyhow::Result<Message> {
        let answer =
            self.ask("ConfigQueryRequest", &json!({ "dataId": data_id, "group": GROUP, "tenant": "" })).await?;
        anyhow::ensure!(answer.class == "ConfigQueryResponse", "{answer:?}");
        Ok(answer)
    }

    /// Publishes a configuration.
    ///
    /// # Errors
    /// It is refused.
    pub async fn publish(&mut self, data_id: &str, content: &str) -> anyhow::Result<()> {
        let body = json!({ "dataId": data_id, "group": GROUP, "tenant": "", "content": content });
        let answer = self.ask("ConfigPublishRequest", &body).await?;
        anyhow::ensure!(answer.class == "ConfigPublishResponse" && answer.is_good(), "{answer:?}");
        Ok(())
    }

    /// Listens to configurations of which it holds these digests, under this tenant. Gives those that are said to
    /// differ.
    ///
    /// # Errors
    /// It is refused.
    pub async fn listen(&mut self, held: &[(&str, &str)], tenant: &Value) -> anyhow::Result<Vec<Value>> {
        let contexts = held
            .iter()
            .map(|(data_id, md5)| json!({ "dataId": data_id, "group": GROUP, "tenant": tenant, "md5": md5 }));
        let body = json!({ "listen": true, "configListenContexts": contexts.collect::<Vec<_>>() });
        let answer = self.ask("ConfigBatchListenRequest", &body).await?;
        anyhow::ensure!(answer.class == "ConfigChangeBatchListenResponse" && answer.is_good(), "{answer:?}");
        Ok(answer.body["changedConfigs"].as_array().context("a list")?.clone())
    }
}
