//! Native sessions over TCP: frames in and out of a socket. Owns the two ends of a connection; both use the same
//! socket, one to read and one to write. Decides nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use bytes::BytesMut;
use callboard_actors::session::native::message::{
    Answer, Broken, Fault, InboundMessage, MessageReader, MessageWriter, OutboundMessage,
};
use callboard_proto::frame::{self, FrameError};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::session::client::ClientKind;
use futures_util::future::LocalBoxFuture;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::session::{Door, Peer, Welcome, answer, request};

/// What a quiet connection keeps for reading: ten thousand of them are to be cheap.
const READ_BUFFER: usize = 256;
/// Room that is given back once a long frame was read.
const LARGE: usize = 4 * 1024;
/// How long what a client still sends is read and dropped, so that the last word reaches it.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection that was accepted, on the present thread.
pub(crate) fn serve(door: &Door, stream: TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a session goes on without TCP_NODELAY");
    }
    let Ok(address) = stream.peer_addr() else { return };
    let peer = Peer { address: address.ip().to_string(), kind: ClientKind::Tcp };
    let (reader, writer) = stream.into_split();
    let (welcome, patience) = (Arc::clone(&door.welcome), door.write_timeout);
    let mut writer = TcpWriter { writer, welcome, patience };
    let refusal = door.draining.refuse_new().is_err().then_some(Fault::Leaving);
    match (refusal, door.admission.admit()) {
        (None, Some(place)) => {
            let reader = TcpReader { reader, buffer: BytesMut::new(), peer };
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

struct TcpReader {
    reader: OwnedReadHalf,
    buffer: BytesMut,
    peer: Peer,
}

impl TcpReader {
    async fn read_message(&mut self) -> Option<Result<InboundMessage, Broken>> {
        loop {
            match frame::split(&mut self.buffer) {
                Ok(Some(frame)) => return Some(self.understand(frame)),
                Ok(None) => {}
                Err(error) => return Some(Err(broken(&error))),
            }
            if self.buffer.is_empty() && self.buffer.capacity() > LARGE {
                self.buffer = BytesMut::new();
            }
            match self.fill().await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Broken::Connection(error))),
            }
        }
    }

    fn understand(&self, frame: bytes::Bytes) -> Result<InboundMessage, Broken> {
        let length = frame.len();
        match frame::decode(frame) {
            Ok(envelope) => Ok(request::heard(envelope, length, &self.peer)),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Reads what is there.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() {
            // Room is made when there is something to read: a quiet connection has none.
            self.reader.readable().await?;
        }
        self.buffer.reserve(READ_BUFFER);
        self.reader.read_buf(&mut self.buffer).await
    }
}

fn broken(error: &FrameError) -> Broken {
    let code = match error {
        FrameError::TooLong => ErrorCode::FrameTooLong,
        FrameError::Malformed => ErrorCode::MalformedRequest,
    };
    Broken::Form(code, error.to_string())
}

impl MessageReader for TcpReader {
    fn next(&mut self) -> LocalBoxFuture<'_, Option<Result<InboundMessage, Broken>>> {
        Box::pin(self.read_message())
    }
}

struct TcpWriter {
    writer: OwnedWriteHalf,
    welcome: Arc<Welcome>,
    /// How long the client may take to read something.
    patience: Duration,
}

impl TcpWriter {
    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.writer.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout(self.patience, self.writer.writable()).await??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_all(&mut self, said: Vec<OutboundMessage>) -> io::Result<()> {
        let mut frames = Vec::new();
        for said in said {
            if let Answer::Push { state, content, reset } = &said.answer
                && let Some(frame) = answer::push_frame(state, content.as_ref(), *reset)
            {
                frames.extend_from_slice(&frame);
                continue;
            }
            let id = said.id;
            let envelope = answer::envelope(said, &self.welcome).await;
            match frame::encode(&envelope) {
                Ok(frame) => frames.extend_from_slice(&frame),
                // Only an answer with an escaped content could be: what was published fits.
                Err(error) => {
                    let fault = Fault::Form(ErrorCode::Internal, error.to_string());
                    let failed =
                        answer::envelope(OutboundMessage { id, answer: Answer::Failed(fault) }, &self.welcome).await;
                    frames.extend(frame::encode(&failed).map_err(io::Error::other)?);
                }
            }
        }
        self.write(&frames).await
    }

    /// Ends the own direction and reads what still comes: closing at once would take the last word away.
    async fn close_gently(&self) {
        let stream: &TcpStream = self.writer.as_ref();
        if rustix::net::shutdown(stream, rustix::net::Shutdown::Write).is_err() {
            return;
        }
        let mut scratch = [0; 1024];
        let draining = async {
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut scratch) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        // A client that goes on sending is left to it.
        drop(timeout(LINGER, draining).await);
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
