//! Native sessions over TCP: frames in and out of a connection, with TLS on it or without. Owns the two ends of a
//! connection; both use the same one, one to read and one to write. Decides nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use callboard_actors::session::native::message::{
    Answer, Broken, Fault, InboundMessage, MessageReader, MessageWriter, OutboundMessage,
};
use callboard_proto::frame::{self, FrameError};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Error};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::share::ClientNetwork;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use crate::api::error::ApiError;
use crate::api::memory::{MemoryBudget, Reservation};
use crate::api::off_worker;
use crate::session::{Door, Peer, Welcome, answer, changed, request};
use crate::socket::drain;
use crate::tls::Stream;

/// What a quiet connection keeps for reading: ten thousand of them are to be cheap.
const READ_BUFFER: usize = 256;
/// Room that is given back once a long frame was read.
const LARGE: usize = 4 * 1024;
/// A frame of which so much came is counted as a whole, in bytes.
const COUNTED_FROM: usize = 64 * 1024;
/// Bytes that are written at a time.
const AT_ONCE: usize = 64 * 1024;
/// How long what a client still sends is read and dropped, so that the last word reaches it.
const LINGER: Duration = Duration::from_secs(1);

/// What a client is told that comes in clear text where TLS is required.
pub(crate) fn needs_tls() -> Vec<u8> {
    last_words(ErrorCode::MalformedRequest, "this port takes TLS alone")
}

/// What a client is told for whom there is no place.
pub(crate) fn full() -> Vec<u8> {
    last_words(ErrorCode::TooManySessions, "as many sessions are open here as may be")
}

fn last_words(code: ErrorCode, message: &'static str) -> Vec<u8> {
    let retry_after_ms = ApiError::new(code, message).entry().retry_after.unwrap_or_default() * 1_000;
    let error =
        Error { code: code.as_str().to_owned(), message: message.to_owned(), retry_after_ms, ..Error::default() };
    // A short message has a frame.
    frame::encode(&Envelope { id: 0, kind: Some(Kind::Error(error)) }).map(Vec::from).unwrap_or_default()
}

/// Serves a connection that was accepted, on the present thread.
pub(crate) fn serve(door: &Door, stream: Stream) {
    let Ok(address) = stream.peer_addr() else { return };
    let certificate = stream.client_certificate();
    let certified = certificate.and_then(|shown| door.auth.certified(shown.common_name.as_deref()?));
    let peer = Peer::new(address.ip().to_string(), ClientKind::Tcp, door, certified);
    let stream = BothEnds(Rc::new(RefCell::new(stream)));
    let (welcome, patience, network) = (Arc::clone(&door.welcome), door.write_timeout, ClientNetwork::of(address.ip()));
    let answers = door.memory.answers.clone();
    let mut writer = TcpWriter { stream: stream.clone(), welcome, patience, memory: (answers, network) };
    let refusal = door.draining.refuse_new().is_err().then_some(Fault::Leaving);
    match (refusal, door.admission.admit(ClientKind::Tcp, address.ip())) {
        (None, Some(place)) => {
            let requests = door.memory.requests.clone();
            let counted = requests.reserve(network);
            let reader =
                TcpReader { stream, buffer: BytesMut::new(), peer, memory: (requests, network), counted, patience };
            door.start((ClientKind::Tcp, place), (Box::new(reader), Box::new(writer)));
        }
        (refusal, _) => {
            let fault = refusal.unwrap_or(Fault::TooManySessions);
            drop(actix_rt::spawn(async move {
                if writer.send(vec![OutboundMessage { id: 0, answer: Answer::Failed(fault) }]).await.is_ok() {
                    writer.close().await;
                }
            }));
        }
    }
}

/// A connection that one end reads and the other writes, on one thread. Neither keeps it from the other for longer than
/// a call takes.
#[derive(Clone)]
struct BothEnds(Rc<RefCell<Stream>>);

impl AsyncRead for BothEnds {
    fn poll_read(self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(task, buffer)
    }
}

impl AsyncWrite for BothEnds {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(task, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(task)
    }
}

struct TcpReader {
    stream: BothEnds,
    buffer: BytesMut,
    peer: Peer,
    memory: (MemoryBudget, ClientNetwork),
    /// What the message takes up that is coming in, or came last.
    counted: Reservation,
    /// How long room is waited for.
    patience: Duration,
}

impl TcpReader {
    async fn read_message(&mut self) -> Option<Result<InboundMessage, Broken>> {
        loop {
            match frame::split(&mut self.buffer, self.peer.longest()) {
                Ok(Some(frame)) => return Some(self.understand(frame).await),
                Ok(None) => {
                    if let Err(broken) = self.make_room().await {
                        return Some(Err(broken));
                    }
                }
                Err(error) => return Some(Err(broken(&error))),
            }
            if self.buffer.is_empty() && self.buffer.capacity() > LARGE {
                self.buffer = BytesMut::new();
            }
            let (auth, principal) = (Arc::clone(&self.peer.auth), self.peer.principal.clone());
            let filled = tokio::select! {
                filled = self.fill() => filled,
                () = auth.until_changed(&principal) => return Some(Err(changed())),
            };
            match filled {
                Ok(0) => return None,
                // Under TLS, the end of a client that did not say that it closes.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Broken::Connection(error))),
            }
        }
    }

    /// Takes room for all of a long frame once enough of it came: those that wait for it would keep what they have from
    /// each other otherwise. Meanwhile nothing is read.
    async fn make_room(&mut self) -> Result<(), Broken> {
        let announced =
            frame::announced(&self.buffer).filter(|_| self.buffer.len() >= COUNTED_FROM).unwrap_or_default();
        // The message that is made of it is as long again.
        let more = (2 * announced).max(self.buffer.len()).saturating_sub(self.counted.asked());
        if more == 0 {
            return Ok(());
        }
        let waited = self.counted.wait_for(more, self.patience).await;
        waited.map_err(|none| Broken::Form(ErrorCode::Overloaded, none.to_string()))
    }

    async fn understand(&mut self, frame: Bytes) -> Result<InboundMessage, Broken> {
        let length = frame.len();
        match off_worker::run(length, || frame::decode(frame)).await {
            Ok(envelope) => Ok(request::heard(envelope, length, &mut self.peer).await),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Reads what is there.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() {
            // Room is made when there is something to read: a quiet connection has none.
            poll_fn(|task| self.stream.0.borrow().poll_readable(task)).await?;
        }
        self.buffer.reserve(READ_BUFFER);
        self.stream.read_buf(&mut self.buffer).await
    }
}

fn broken(error: &FrameError) -> Broken {
    let code = match error {
        FrameError::TooLong(_) => ErrorCode::FrameTooLong,
        FrameError::Malformed | FrameError::TooMany => ErrorCode::MalformedRequest,
    };
    Broken::Form(code, error.to_string())
}

impl MessageReader for TcpReader {
    fn next(&mut self) -> LocalBoxFuture<'_, Option<Result<InboundMessage, Broken>>> {
        Box::pin(self.read_message())
    }

    fn take_guard(&mut self) -> Option<Box<dyn std::any::Any>> {
        if self.counted.asked() == 0 {
            return None;
        }
        let (memory, network) = &self.memory;
        // What is in the buffer already is counted with the next message, as soon as more of that comes.
        Some(Box::new(std::mem::replace(&mut self.counted, memory.reserve(*network))))
    }
}

struct TcpWriter {
    stream: BothEnds,
    welcome: Arc<Welcome>,
    /// How long the client may take to read something.
    patience: Duration,
    memory: (MemoryBudget, ClientNetwork),
}

impl TcpWriter {
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let now = bytes.get(..AT_ONCE).unwrap_or(bytes);
            match timeout(self.patience, self.stream.write(now)).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written..).unwrap_or_default(),
            }
        }
        // Under TLS what was written may still be here.
        timeout(self.patience, self.stream.flush()).await?
    }

    async fn send_all(&mut self, said: Vec<OutboundMessage>) -> io::Result<()> {
        let mut frames = Vec::new();
        for said in said {
            if let Some(content) = answer::long_content(&said) {
                let content = content.bytes().clone();
                self.write(&std::mem::take(&mut frames)).await?;
                self.send_long(said, content).await?;
                continue;
            }
            frames.extend_from_slice(&self.frame(said).await?);
            if frames.len() >= AT_ONCE {
                self.write(&std::mem::take(&mut frames)).await?;
            }
        }
        self.write(&frames).await
    }

    async fn frame(&mut self, said: OutboundMessage) -> io::Result<Bytes> {
        if let Answer::Push { state, content, reset } = &said.answer
            && let Some(frame) = answer::push_frame(state, content.as_ref(), *reset)
        {
            return Ok(frame);
        }
        let id = said.id;
        let envelope = answer::envelope(said, &self.welcome).await;
        match frame::encode(&envelope) {
            Ok(frame) => Ok(frame),
            // Only an answer with many long names could be too long: what was published fits.
            Err(error) => self.failed(id, Fault::Form(ErrorCode::Internal, error.to_string())).await,
        }
    }

    async fn failed(&self, id: u64, fault: Fault) -> io::Result<Bytes> {
        let failed = answer::envelope(OutboundMessage { id, answer: Answer::Failed(fault) }, &self.welcome).await;
        frame::encode(&failed).map_err(io::Error::other)
    }

    /// An answer whose content is sent from where it is.
    async fn send_long(&mut self, said: OutboundMessage, content: Bytes) -> io::Result<()> {
        let (memory, network) = self.memory.clone();
        let failed = match (memory.share(network, &content).await, answer::long_frame(&said)) {
            (Ok(_counted), Some(Ok((head, content)))) => {
                self.write(&head).await?;
                return self.write(&content).await;
            }
            (Err(none), _) => Fault::Form(ErrorCode::Overloaded, none.to_string()),
            (Ok(_), Some(Err(error))) => Fault::Form(ErrorCode::Internal, error.to_string()),
            (Ok(_), None) => return Ok(()),
        };
        let failed = self.failed(said.id, failed).await?;
        self.write(&failed).await
    }

    /// Ends the own direction and reads what still comes: closing at once would take the last word away.
    async fn close_gently(&mut self) {
        // A client that goes on sending is left to it.
        drop(timeout(LINGER, drain(&mut self.stream)).await);
    }
}

impl MessageWriter for TcpWriter {
    fn send(&mut self, said: Vec<OutboundMessage>) -> LocalBoxFuture<'_, io::Result<()>> {
        Box::pin(self.send_all(said))
    }

    fn close(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.close_gently())
    }
}
