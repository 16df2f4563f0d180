//! Where in a stream of HTTP/1 requests the next byte is: how heads and bodies follow each other, so that the beginning
//! of a request is known for what it is, however the bytes were cut into pieces and whatever a body looks like.
//!
//! It follows the rules of the framework under it, and only of what that framework takes: what it refuses ends the
//! connection, so nothing has to be said about it. When in doubt it finds no further request. Owns no bytes, opens
//! nothing, changes nothing.

use super::intake;

/// Bytes of a line of a head that are looked at. The few headers that matter are far shorter.
const LOOKED_AT: usize = 256;

/// Where the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a request; blank lines may stand there.
    Between,
    /// In the line of a request that is not looked for.
    Line,
    /// In the lines of a head.
    Head,
    /// In a body of which so many bytes are to come.
    Body(u64),
    /// In a body of chunks.
    Chunks(Chunk),
    /// No request comes any more, or none that could be found.
    Elsewhere,
}

/// Where in a body of chunks the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// At the first digit of a size.
    Size,
    /// In a size, so far as it was read.
    Digits(u64),
    /// After the digits.
    Extension(u64),
    /// At the end of the line of a size.
    SizeEnd(u64),
    /// In a chunk and the end of its line.
    Bytes(u64),
    /// At the beginning of a line after the last chunk.
    Last,
    /// In a trailer.
    Trailer,
    /// At the end of the line of a trailer.
    TrailerEnd,
    /// At the end of the last line.
    End,
}

/// What the head says about the body, as far as it was read.
#[derive(Debug, Default)]
struct Head {
    connects: bool,
    upgrades: bool,
    is_chunked: bool,
    length: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Framing {
    /// How the requests begin that are looked for.
    sought: &'static [u8],
    place: Place,
    head: Head,
    /// The beginning of a line that goes on in the next piece.
    line: Vec<u8>,
    /// How long that line is, in bytes.
    length: usize,
    /// How many requests have begun.
    begun: u64,
}

/// The place of the end of the line.
pub(crate) fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

impl Framing {
    /// Looks for requests that begin with `sought`, which has no line break.
    pub(crate) fn new(sought: &'static [u8]) -> Self {
        Self { sought, place: Place::Between, head: Head::default(), line: Vec::new(), length: 0, begun: 0 }
    }

    /// Goes on over `bytes`, up to the beginning of a request that may be one that is looked for. Returns how many
    /// bytes are before it.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.place {
                Place::Between => match rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
                    None => rest.len(),
                    Some(0) if rest.starts_with(self.sought) || self.sought.starts_with(rest) => return at,
                    Some(0) => {
                        self.place = Place::Line;
                        self.begun += 1;
                        0
                    }
                    Some(blank) => blank,
                },
                Place::Line | Place::Head => self.pass_line(rest),
                Place::Body(left) => {
                    let now = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left.saturating_sub(now as u64);
                    self.place = if left == 0 { Place::Between } else { Place::Body(left) };
                    now
                }
                Place::Chunks(chunk) => self.pass_chunk(chunk, rest),
                Place::Elsewhere => rest.len(),
            };
        }
        at
    }

    /// The line of a request that was looked for is over.
    pub(crate) fn begun(&mut self) {
        self.begun += 1;
        self.line_over();
    }

    fn line_over(&mut self) {
        self.head = Head::default();
        self.place = Place::Head;
    }

    /// Where the next byte is, for who counts requests. `is_in_line` when a line is kept that is looked for.
    pub(super) fn place(&self, is_in_line: bool) -> intake::Place {
        match self.place {
            _ if is_in_line => intake::Place::Head(self.begun + 1),
            Place::Between => intake::Place::Between,
            Place::Line | Place::Head => intake::Place::Head(self.begun),
            Place::Body(_) | Place::Chunks(_) | Place::Elsewhere => intake::Place::Body(self.begun),
        }
    }

    /// Looks for no request any more.
    pub(crate) fn give_up(&mut self) {
        self.place = Place::Elsewhere;
    }

    fn pass_line(&mut self, bytes: &[u8]) -> usize {
        let end = end_of_line(bytes);
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if end.is_some() && self.length == 0 {
            self.line_ended(part.get(..LOOKED_AT).unwrap_or(part), part.len());
        } else {
            let room = LOOKED_AT.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or_default());
            self.length += part.len();
        }
        let Some(end) = end else { return bytes.len() };
        if self.length > 0 {
            let (line, length) = (std::mem::take(&mut self.line), std::mem::take(&mut self.length));
            self.line_ended(&line, length);
        }
        end + 1
    }

    /// A line is over that begins with `line` and is `length` bytes long.
    fn line_ended(&mut self, line: &[u8], length: usize) {
        if self.place == Place::Line {
            self.line_over();
            self.head.connects = line.starts_with(b"CONNECT ");
            return;
        }
        if matches!(line, b"" | b"\r") {
            self.place = self.after_head();
            return;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let (is_length, is_encoding) = (is("content-length"), is("transfer-encoding"));
        if !is_length && !is_encoding && !is("upgrade") {
            return;
        }
        let value = parts.next().unwrap_or_default().trim_ascii();
        if length > LOOKED_AT {
            self.give_up();
        } else if is_length {
            let number = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            self.head.length = number.and_then(|text| text.parse().ok());
            if self.head.length.is_none() {
                self.give_up();
            }
        } else if is_encoding {
            self.head.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        } else {
            self.head.upgrades |= value.eq_ignore_ascii_case(b"websocket");
        }
    }

    fn after_head(&self) -> Place {
        match &self.head {
            Head { is_chunked: true, .. } => Place::Chunks(Chunk::Size),
            Head { upgrades: true, .. } => Place::Elsewhere,
            Head { length: Some(length @ 1..), .. } => Place::Body(*length),
            Head { connects: true, .. } => Place::Elsewhere,
            Head { .. } => Place::Between,
        }
    }

    /// As much as can be said at once of a body of chunks.
    fn pass_chunk(&mut self, chunk: Chunk, bytes: &[u8]) -> usize {
        if let Chunk::Bytes(left) = chunk {
            let now = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left.saturating_sub(now as u64);
            self.place = Place::Chunks(if left == 0 { Chunk::Size } else { Chunk::Bytes(left) });
            return now;
        }
        let byte = bytes.first().copied().unwrap_or_default();
        self.place = match chunk.after(byte) {
            Some(Some(next)) => Place::Chunks(next),
            Some(None) => Place::Between,
            None => Place::Elsewhere,
        };
        1
    }
}

impl Chunk {
    /// What follows `byte`: `Some(None)` is the end of the body, `None` what the framework refuses.
    fn after(self, byte: u8) -> Option<Option<Self>> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Some(Some(match (self, byte) {
            (Self::Size, _) => Self::Digits(digit?),
            (Self::Digits(size), b'\r') | (Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Digits(size), b'\t' | b' ' | b';') => Self::Extension(size),
            (Self::Digits(size), _) => Self::Digits(size.checked_mul(16)?.checked_add(digit?)?),
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') => Self::Last,
            // A chunk has a line break after it.
            (Self::SizeEnd(size), b'\n') => Self::Bytes(size.checked_add(2)?),
            (Self::Last, b'\r') => Self::End,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Last | Self::Trailer, _) => Self::Trailer,
            (Self::TrailerEnd, b'\n') => Self::Last,
            (Self::End, b'\n') => return Some(None),
            (Self::SizeEnd(_) | Self::TrailerEnd | Self::End | Self::Bytes(_), _) => return None,
        }))
    }
}
