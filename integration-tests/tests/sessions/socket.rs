//! WebSocket (RFC 6455) by hand: frames exactly as the test wants them, right and wrong. Owns the connection and what
//! has arrived of it; answers nothing by itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use callboard_integration_tests::poll;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

/// The bit that says that a frame is the last one of its message.
pub(super) const FIN: u8 = 0x80;
/// A frame that goes on with a message.
pub(super) const CONTINUATION: u8 = 0x0;
/// The opcode of a text.
pub(super) const TEXT: u8 = 0x1;
/// The opcode of bytes.
pub(super) const BINARY: u8 = 0x2;
/// The opcode of a close.
pub(super) const CLOSE: u8 = 0x8;
/// The opcode of a ping of WebSocket itself.
pub(super) const PING: u8 = 0x9;
/// The opcode of its answer.
pub(super) const PONG: u8 = 0xa;

/// The example of RFC 6455, section 1.3, and what has to be answered to it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The key of a configuration as JSON.
pub(super) fn key(data_id: &str) -> Value {
    json!({"group": "app", "dataId": data_id})
}

/// A frame as clients send it, masked.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len());
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The beginning of a masked frame that announces so many bytes.
pub(super) fn header(first: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 126 => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Came {
    /// A text, as JSON.
    Message(Value),
    /// The end, with its code.
    Close(Option<u16>),
    /// A ping or pong of WebSocket itself.
    Control(u8, Vec<u8>),
}

/// A WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The message of which more is to come.
    pieces: Vec<u8>,
    aside: VecDeque<Came>,
    last: u64,
}

impl Socket {
    /// Asks for a WebSocket with further header lines, each ended by CR LF; the status code of the answer, and the rest
    /// of it.
    pub(super) async fn ask_for(address: SocketAddr, lines: &str) -> Result<(u16, Self)> {
        let socket = TcpSocket::new_v4()?;
        // Little room for what is not read.
        socket.set_recv_buffer_size(4 * 1024)?;
        let mut stream = socket.connect(address).await?;
        let (key, accept) = KEY;
        let head = format!(
            "GET /api/v1/session HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte, so that nothing behind the head is taken.
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(poll::SOON, stream.read_u8()).await.context("no answer came")??);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not an HTTP answer: {answer}"))?;
        ensure!(status != 101 || answer.contains(accept), "the key was not answered: {answer}");
        Ok((status, Self { stream, buffer: Vec::new(), pieces: Vec::new(), aside: VecDeque::new(), last: 0 }))
    }

    /// Opens a WebSocket and says nothing.
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let (status, socket) = Self::ask_for(address, "").await?;
        ensure!(status == 101, "answered {status}");
        Ok(socket)
    }

    /// Opens a WebSocket and is welcomed.
    pub(super) async fn open(address: SocketAddr, client_id: &str) -> Result<Self> {
        let mut socket = Self::connect(address).await?;
        let welcome = socket.ask(json!({"hello": {"clientId": client_id, "maxVersion": 1}})).await?;
        ensure!(welcome["welcome"]["version"] == 1, "{welcome}");
        Ok(socket)
    }

    /// Sends bytes as they are.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a text.
    pub(super) async fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_bytes(&frame(FIN | TEXT, text.as_bytes())).await
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: &Value) -> Result<()> {
        self.send_text(&message.to_string()).await
    }

    /// Sends a request under a number of its own and waits for its answer. What comes before is kept for
    /// [`Socket::next`].
    pub(super) async fn ask(&mut self, mut message: Value) -> Result<Value> {
        self.last += 1;
        message["id"] = self.last.into();
        self.send(&message).await?;
        self.answer(self.last).await
    }

    /// Waits for the answer to a request. What comes before is kept for [`Socket::next`].
    pub(super) async fn answer(&mut self, id: u64) -> Result<Value> {
        let deadline = Instant::now() + poll::SOON;
        loop {
            match self.arrive(deadline).await?.with_context(|| format!("no answer to request {id}"))? {
                Came::Message(message) if message["id"] == id => return Ok(message),
                other => self.aside.push_back(other),
            }
        }
    }

    /// The code of the error that a request is answered with.
    pub(super) async fn refused(&mut self, message: Value) -> Result<String> {
        let answer = self.ask(message).await?;
        Ok(answer["error"]["code"].as_str().with_context(|| format!("not refused: {answer}"))?.to_owned())
    }

    /// What comes next, or `None` when nothing does within `limit`.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Option<Came>> {
        match self.aside.pop_front() {
            Some(came) => Ok(Some(came)),
            None => self.arrive(Instant::now() + limit).await,
        }
    }

    /// The next message.
    pub(super) async fn expect(&mut self) -> Result<Value> {
        match self.next(poll::SOON).await?.context("nothing came")? {
            Came::Message(message) => Ok(message),
            other => bail!("instead of a message: {other:?}"),
        }
    }

    /// The push that comes next.
    pub(super) async fn push(&mut self) -> Result<Value> {
        let mut message = self.expect().await?;
        ensure!(message["id"] == 0 && message["push"].is_object(), "instead of a push: {message}");
        Ok(message["push"].take())
    }

    /// Every message up to the close, and the code of the close.
    pub(super) async fn rest(&mut self) -> Result<(Vec<Value>, Option<u16>)> {
        let mut messages = Vec::new();
        loop {
            match self.next(poll::SOON).await?.context("the connection stays open")? {
                Came::Message(message) => messages.push(message),
                Came::Close(code) => return Ok((messages, code)),
                Came::Control(..) => {}
            }
        }
    }

    /// The code of the error with number 0 after which the node closes.
    pub(super) async fn last_word(&mut self) -> Result<String> {
        let (messages, _) = self.rest().await?;
        let last = messages.last().context("nothing was said")?;
        ensure!(last["id"] == 0, "{last}");
        Ok(last["error"]["code"].as_str().with_context(|| format!("no error: {last}"))?.to_owned())
    }

    async fn arrive(&mut self, deadline: Instant) -> Result<Option<Came>> {
        loop {
            if let Some(came) = self.split()? {
                return Ok(Some(came));
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
                Err(_elapsed) => return Ok(None),
                Ok(read) => ensure!(read? > 0, "the connection ended without a close"),
            }
        }
    }

    /// Takes the first frame off what has arrived.
    fn split(&mut self) -> Result<Option<Came>> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(None) };
        ensure!(
            first & 0x70 == 0 && second & 0x80 == 0,
            "{first:#x} {second:#x} is no beginning of a frame of a server"
        );
        let (first, short) = (*first, usize::from(*second));
        let (head, length) = match (short, rest) {
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (10, usize::try_from(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))?)
            }
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (126 | 127, _) => return Ok(None),
            (short, _) => (2, short),
        };
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        let payload: Vec<u8> = self.buffer.drain(..head + length).skip(head).collect();
        let (opcode, is_last) = (first & 0x0f, first & FIN != 0);
        if matches!(opcode, TEXT | CONTINUATION) {
            ensure!(self.pieces.is_empty() == (opcode == TEXT), "a piece of no message, or a message within another");
            self.pieces.extend_from_slice(&payload);
            if !is_last {
                return self.split();
            }
            return Ok(Some(Came::Message(serde_json::from_slice(&std::mem::take(&mut self.pieces))?)));
        }
        ensure!(is_last, "a control frame is one");
        Ok(Some(match opcode {
            CLOSE => Came::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            PING | PONG => Came::Control(first & 0x0f, payload),
            other => bail!("the node sent a frame of kind {other}"),
        }))
    }
}
