//! A connection of HTTP/2 that speaks gRPC and costs little: enough of it to open a stream, to send messages, and to take in
//! what comes back. Owns the socket, its buffer and the windows; knows nothing of what is said. Heads of answers are
//! skipped unread, since a status says nothing that an answer's body does not.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// The setting of the window of a new stream.
const INITIAL_WINDOW: u16 = 4;
/// Windows that nobody has changed.
const WINDOW: i64 = 65_535;
/// The largest window.
const WIDEST: u32 = 0x7fff_ffff;
/// Longest body of a frame that may be sent.
const MAX_FRAME: usize = 16_384;
/// Longest message that is taken.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Room for one read.
const BUFFER: usize = 4 * 1024;

/// The number of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId(u32);

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    authority: String,
    received: Vec<u8>,
    read: usize,
    out: Vec<u8>,
    next: u32,
    /// What may be sent on the connection, and on a stream that is new.
    window: i64,
    stream_window: i64,
    /// What may be sent on the stream of the message that is being sent.
    open_window: (u32, i64),
    /// Messages of which the first part has come, by stream.
    partial: Vec<(u32, Vec<u8>)>,
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
}

/// A field of a head, written as it is.
fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    // All of them are shorter than what one byte counts.
    let short = |text: &[u8]| u8::try_from(text.len().min(126)).unwrap_or_default();
    if let [index] = name {
        out.push(*index);
    } else {
        out.extend_from_slice(&[0, short(name)]);
        out.extend_from_slice(name);
    }
    out.push(short(value));
    out.extend_from_slice(value);
}

impl Connection {
    /// Connects, and asks that the server sends as much as it likes.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut hello = PREFACE.to_vec();
        let mut settings = INITIAL_WINDOW.to_be_bytes().to_vec();
        settings.extend_from_slice(&WIDEST.to_be_bytes());
        frame(&mut hello, SETTINGS, 0, 0, &settings);
        let more = WIDEST - u32::try_from(WINDOW).unwrap_or_default();
        frame(&mut hello, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        stream.write_all(&hello).await?;
        Ok(Self {
            stream,
            authority: address.to_string(),
            received: Vec::new(),
            read: 0,
            out: Vec::new(),
            next: 1,
            window: WINDOW,
            stream_window: WINDOW,
            open_window: (0, 0),
            partial: Vec::new(),
        })
    }

    /// Begins a stream to `path`. What is said here goes out with [`Self::flush`].
    pub(super) fn begin(&mut self, path: &str) -> StreamId {
        let id = self.next;
        self.next += 2;
        // POST, http; the path and the authority by the numbers of their names.
        let mut head = vec![0x83, 0x86];
        literal(&mut head, &[0x04], path.as_bytes());
        literal(&mut head, &[0x01], self.authority.as_bytes());
        literal(&mut head, b"content-type", b"application/grpc");
        literal(&mut head, b"te", b"trailers");
        frame(&mut self.out, HEADERS, END_HEADERS, id, &head);
        self.open_window = (id, self.stream_window);
        StreamId(id)
    }

    /// Says a message, the last one of its stream or not. A short one goes out with [`Self::flush`].
    pub(super) async fn say(&mut self, StreamId(id): StreamId, message: &[u8], is_last: bool) -> anyhow::Result<()> {
        let mut whole = vec![0];
        whole.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        whole.extend_from_slice(message);
        let mut left = whole.as_slice();
        loop {
            // Only a message that is being sent for the first time may meet the bounds of its stream.
            let window = if self.open_window.0 == id { self.open_window.1.min(self.window) } else { self.window };
            let part = left.len().min(MAX_FRAME).min(usize::try_from(window).unwrap_or_default());
            if part == 0 {
                self.flush().await?;
                self.fill().await?;
                self.take_control().await?;
                continue;
            }
            let (now, later) = left.split_at(part);
            let flags = if is_last && later.is_empty() { END_STREAM } else { 0 };
            frame(&mut self.out, DATA, flags, id, now);
            self.window -= i64::try_from(part)?;
            if self.open_window.0 == id {
                self.open_window.1 -= i64::try_from(part)?;
            }
            left = later;
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends what was said.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// The next message, and the stream that it came on.
    pub(super) async fn next(&mut self) -> anyhow::Result<(StreamId, Vec<u8>)> {
        loop {
            while let Some((kind, flags, id, body)) = self.split() {
                let body = body.start..body.end;
                if kind != DATA {
                    self.control(kind, flags, id, body)?;
                    continue;
                }
                let body = self.received.get(body).unwrap_or_default();
                if flags & PADDED != 0 {
                    bail!("the server pads its frames");
                }
                if let Some(message) = take_message(&mut self.partial, id, body)? {
                    return Ok((StreamId(id), message));
                }
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    /// Takes in frames that hold no message, up to the first that does.
    async fn take_control(&mut self) -> anyhow::Result<()> {
        loop {
            let before = self.read;
            let Some((kind, flags, id, body)) = self.split() else { break };
            if kind == DATA {
                self.read = before;
                break;
            }
            self.control(kind, flags, id, body)?;
        }
        self.flush().await
    }

    fn control(&mut self, kind: u8, flags: u8, id: u32, body: std::ops::Range<usize>) -> anyhow::Result<()> {
        let body = self.received.get(body).unwrap_or_default();
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
        match kind {
            SETTINGS if flags & ACK == 0 => {
                for setting in body.chunks_exact(6) {
                    if setting.starts_with(&INITIAL_WINDOW.to_be_bytes()) {
                        let window = i64::from(number(setting.get(2..).unwrap_or_default()));
                        self.open_window.1 += window - self.stream_window;
                        self.stream_window = window;
                    }
                }
                frame(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => {
                let body = body.to_vec();
                frame(&mut self.out, PING, ACK, 0, &body);
            }
            WINDOW_UPDATE if id == 0 => self.window += i64::from(number(body)),
            WINDOW_UPDATE if id == self.open_window.0 => self.open_window.1 += i64::from(number(body)),
            RST_STREAM => bail!("the server broke off stream {id}"),
            GOAWAY => bail!("the server ends the connection"),
            // Heads, trailers, and what nobody needs to know.
            _ => {}
        }
        Ok(())
    }

    /// The next frame that is there whole: its kind, flags, stream, and where its body is.
    fn split(&mut self) -> Option<(u8, u8, u32, std::ops::Range<usize>)> {
        let head = self.received.get(self.read..self.read + 9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WIDEST;
        let (from, to) = (self.read + 9, self.read + 9 + length);
        if self.received.len() < to {
            return None;
        }
        self.read = to;
        Some((kind, flags, stream, from..to))
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.received.drain(..self.read);
        self.read = 0;
        self.received.reserve(BUFFER);
        if self.stream.read_buf(&mut self.received).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// Adds a part to the message of a stream; gives the message once it is whole.
fn take_message(partial: &mut Vec<(u32, Vec<u8>)>, id: u32, body: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let place = partial.iter().position(|(stream, _)| *stream == id);
    let mut bytes = match place {
        Some(place) => partial.swap_remove(place).1,
        None => Vec::with_capacity(body.len()),
    };
    bytes.extend_from_slice(body);
    let length = bytes.get(1..5).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    match length.map(|length| length as usize) {
        Some(length) if length > MAX_MESSAGE => bail!("a message of {length} bytes"),
        Some(length) if bytes.len() == length + 5 => {
            bytes.drain(..5);
            Ok(Some(bytes))
        }
        Some(length) if bytes.len() > length + 5 => bail!("two messages in one frame"),
        Some(_) | None if bytes.is_empty() => Ok(None),
        Some(_) | None => {
            partial.push((id, bytes));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    //! Frames and messages come whole, whatever they come in.

    use super::{END_STREAM, frame, take_message};

    #[test]
    fn a_message_may_come_in_parts() {
        let mut partial = Vec::new();
        let whole = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for cut in 0..whole.len() {
            assert_eq!(take_message(&mut partial, 1, &whole[..cut]).expect("it goes on"), None, "{cut}");
            // Another stream is in between.
            assert!(take_message(&mut partial, 3, &whole).expect("it is whole").is_some());
            let message = take_message(&mut partial, 1, &whole[cut..]).expect("it is whole");
            assert_eq!(message.as_deref(), Some(&b"abc"[..]), "{cut}");
        }
        assert!(partial.is_empty());
        assert!(take_message(&mut partial, 1, &[0, 0xff, 0, 0, 0]).is_err(), "it is too long");
    }

    #[test]
    fn a_frame_begins_with_its_length() {
        let mut out = Vec::new();
        frame(&mut out, 0, END_STREAM, 5, b"xyz");
        assert_eq!(out, [0, 0, 3, 0, 1, 0, 0, 0, 5, b'x', b'y', b'z']);
    }
}
