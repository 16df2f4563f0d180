//! HTTP/2 by hand (RFC 9113), and gRPC over it: frames exactly as an attacker wants them. Owns the windows that the
//! node gives, since it ends connections that exceed them, and the acknowledgements that it insists on; checks nothing
//! that the node says.

use std::collections::BTreeMap;

use callboard_proto::nacos::{Metadata, Payload};
use prost_types::Any;
use tokio::io::AsyncReadExt as _;

use super::target::{Door, Line, Target};

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a window is before anybody says otherwise, and the longest frame.
const WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16_384;

/// The kind of a frame of a body.
pub const DATA: u8 = 0;
/// The kind of a frame of a head.
pub const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// The flag of the last frame of a stream.
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
/// The flag of the last frame of a head.
pub const END_HEADERS: u8 = 4;
/// Settings.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The code of a stream that nobody wants any longer.
const CANCEL: u32 = 8;

/// The method that answers one message by one.
pub const UNARY: &str = "/Request/request";
/// The method whose two streams stay open.
pub const STREAM: &str = "/BiRequestStream/requestBiStream";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(length.get(1..).unwrap_or_default());
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The settings with which a connection begins: the window of answers.
pub fn settings(window: u32) -> Vec<u8> {
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &setting)
}

/// The fields of a call of gRPC: literals that are never indexed (RFC 7541, section 6.2.2), and three of the static
/// table.
pub fn fields(path: &str, is_compressed: bool) -> Vec<u8> {
    // `:method: POST` and `:scheme: http`.
    let mut fields = vec![0x83, 0x86];
    // Names that the static table has: `:path`, `:authority`.
    for (index, value) in [(4, path), (1, "localhost")] {
        fields.push(index);
        text(&mut fields, value);
    }
    let encoding = is_compressed.then_some(("grpc-encoding", "gzip"));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].into_iter().chain(encoding) {
        fields.push(0);
        text(&mut fields, name);
        text(&mut fields, value);
    }
    fields
}

/// A text without Huffman's code; all of ours are shorter than 127 bytes.
fn text(fields: &mut Vec<u8>, text: &str) {
    fields.push(u8::try_from(text.len()).unwrap_or_default());
    fields.extend_from_slice(text.as_bytes());
}

/// A message of gRPC with what stands in front of it.
pub fn message(is_compressed: bool, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![u8::from(is_compressed)];
    message.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(bytes);
    message
}

/// A message of Nacos, of this class, from somebody who shows this.
pub fn payload(class: &str, token: Option<&str>, body: &[u8]) -> Vec<u8> {
    let headers = token.map(|token| ("accessToken".to_owned(), token.to_owned())).into_iter().collect();
    let payload = Payload {
        metadata: Some(Metadata { r#type: class.to_owned(), client_ip: String::new(), headers }),
        body: Some(Any { type_url: String::new(), value: body.to_vec() }),
    };
    prost::Message::encode_to_vec(&payload)
}

/// A connection.
pub(super) struct Http2 {
    line: Line,
    next: u32,
    /// What may still be sent on new streams, on all, and on each.
    initial: i64,
    connection: i64,
    streams: BTreeMap<u32, i64>,
}

impl Http2 {
    /// Connects to gRPC with so wide a window for answers.
    pub(super) async fn open(target: &Target, window: u32) -> anyhow::Result<Self> {
        let mut line = target.connect_narrow(Door::Grpc).await?;
        line.send(&[PREFACE, &settings(window)].concat()).await?;
        Ok(Self { line, next: 1, initial: WINDOW, connection: WINDOW, streams: BTreeMap::new() })
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.line.send(bytes).await
    }

    /// The number of a new stream.
    pub(super) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 2;
        number
    }

    /// Begins a call.
    pub(super) async fn begin(&mut self, path: &str, is_compressed: bool) -> anyhow::Result<u32> {
        let number = self.number();
        self.streams.insert(number, self.initial);
        self.send(&frame(HEADERS, END_HEADERS, number, &fields(path, is_compressed))).await?;
        Ok(number)
    }

    /// Sends a part of a call, as fast as the node takes it.
    pub(super) async fn send_part(&mut self, stream: u32, bytes: &[u8], is_last: bool) -> anyhow::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let own = self.streams.get(&stream).copied().unwrap_or_default();
            let room = usize::try_from(own.min(self.connection)).unwrap_or_default().min(MAX_FRAME);
            if room == 0 {
                self.receive().await?;
                continue;
            }
            let (piece, left) = rest.split_at(room.min(rest.len()));
            let taken = i64::try_from(piece.len()).unwrap_or_default();
            self.connection -= taken;
            *self.streams.entry(stream).or_default() -= taken;
            let flags = if is_last && left.is_empty() { END_STREAM } else { 0 };
            self.send(&frame(DATA, flags, stream, piece)).await?;
            rest = left;
        }
        Ok(())
    }

    /// Calls a method with one message.
    pub(super) async fn call(&mut self, path: &str, is_compressed: bool, bytes: &[u8]) -> anyhow::Result<()> {
        let stream = self.begin(path, is_compressed).await?;
        self.send_part(stream, &message(is_compressed, bytes), true).await
    }

    /// Sets the connection up as an SDK does, and waits for the acknowledgement.
    pub(super) async fn set_up(&mut self) -> anyhow::Result<()> {
        let stream = self.begin(STREAM, false).await?;
        self.send(&frame(WINDOW_UPDATE, 0, stream, &16_384_u32.to_be_bytes())).await?;
        let setup = br#"{"clientVersion":"siege","labels":{"source":"sdk"},"abilityTable":{}}"#;
        self.send_part(stream, &message(false, &payload("ConnectionSetupRequest", None, setup)), false).await?;
        loop {
            let (kind, from) = self.receive().await?;
            if kind == DATA && from == stream {
                return Ok(());
            }
        }
    }

    /// Begins calls and takes them back, so many at once.
    pub(super) async fn begin_and_reset(&mut self, calls: usize) -> anyhow::Result<()> {
        let fields = fields(UNARY, false);
        let mut bytes = Vec::new();
        for _ in 0..calls {
            let number = self.number();
            bytes.extend(frame(HEADERS, END_HEADERS, number, &fields));
            bytes.extend(frame(RST_STREAM, 0, number, &CANCEL.to_be_bytes()));
        }
        self.send(&bytes).await
    }

    /// Reads the next frame and obeys it; its kind and stream.
    pub(super) async fn receive(&mut self) -> anyhow::Result<(u8, u32)> {
        let mut head = [0; 9];
        self.line.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, w, x, y, z] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.line.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([w, x, y, z]) & 0x7fff_ffff;
        match kind {
            SETTINGS if flags & ACK == 0 => self.take_settings(&payload).await?,
            PING if flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &payload)).await?,
            WINDOW_UPDATE => self.widen(stream, &payload),
            GO_AWAY => anyhow::bail!("the node is done with the connection"),
            _ => {}
        }
        Ok((kind, stream))
    }

    async fn take_settings(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        for setting in payload.chunks_exact(6) {
            if let [a, b, value @ ..] = setting
                && u16::from_be_bytes([*a, *b]) == INITIAL_WINDOW_SIZE
                && let Ok(value) = <[u8; 4]>::try_from(value)
            {
                let now = i64::from(u32::from_be_bytes(value));
                self.streams.values_mut().for_each(|window| *window += now - self.initial);
                self.initial = now;
            }
        }
        self.send(&frame(SETTINGS, ACK, 0, &[])).await
    }

    fn widen(&mut self, stream: u32, payload: &[u8]) {
        let Ok(by) = <[u8; 4]>::try_from(payload) else { return };
        let by = i64::from(u32::from_be_bytes(by));
        match stream {
            0 => self.connection += by,
            // A stream that is done widens nothing.
            _ => {
                if let Some(window) = self.streams.get_mut(&stream) {
                    *window += by;
                }
            }
        }
    }
}
