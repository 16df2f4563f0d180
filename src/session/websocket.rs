//! Native sessions over WebSocket: the same messages as JSON text. Owns the two ends of such a connection. Decides
//! nothing.

mod frame_limit;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::{FromRequest as _, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Item, Message};
use bytes::Bytes;
use callboard_actors::session::native::message::{
    Answer as Saying, Broken, Fault, InboundMessage, MessageReader, MessageWriter, OutboundMessage,
};
use callboard_proto::{MAX_FRAME, MAX_GREETING, json};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::session::pace::{Allowance, KEY, Pace};
use callboard_protocol::share::ClientNetwork;
use callboard_protocol::time::Mono;
use callboard_protocol::write_request::Source;
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, timeout};

use crate::api::access::Access;
use crate::api::auth::{Shown, Whence};
use crate::api::error::ApiError;
use crate::api::escaped::Escaped;
use crate::api::memory::{MemoryBudget, Reservation};
use crate::api::off_worker;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call, Route, native};
use crate::http::{client, connection, credentials};
use crate::session::websocket::frame_limit::FrameLimit;
use crate::session::{Door, Peer, Welcome, answer, changed, request};
use crate::tls::ClientCertificate;

/// From this length on a content is sent in several pieces of one message, in bytes. Few contents are longer.
const IN_PIECES: usize = 256 * 1024;
/// The frames of control that a client may send in a second.
const CONTROL: Allowance = Allowance { frames: 50, bytes: 64 * 1024, work: 1_000 };
/// What a session has saved up when it begins.
const SAVED: Duration = Duration::from_secs(1);
/// Bytes of a long text in one piece of its message.
const PIECE: usize = 16 * 1024;

/// The route on which a session opens.
pub(crate) static ROUTES: [Route; 1] =
    [Route { opens: true, ..native!(GET "/api/v1/session", Access::Public, open, describe) }];

/// Opens a session over WebSocket.
async fn open(mut call: Call) -> Answer {
    call.query(&[])?;
    let door = call.request.app_data::<web::Data<Door>>().cloned().ok_or_else(ApiError::internal)?;
    door.draining.refuse_new()?;
    let address = client::address_or_none(&call.request);
    // What is shown here counts as well as what hello shows: scripts can do the one, browsers the other.
    let principal = match credentials::shown(&call.request, false)? {
        Shown::Nothing => {
            let certificate = call.request.conn_data::<ClientCertificate>();
            certificate.and_then(|shown| door.auth.certified(shown.common_name.as_deref()?))
        }
        shown => Some(
            door.auth.authenticate(shown.credentials(), Whence { address: &address, door: Source::WebSocket }).await?,
        ),
    };
    let place = door
        .admission
        .admit(
            ClientKind::WebSocket,
            call.request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip()),
        )
        .ok_or_else(|| ApiError::new(ErrorCode::Overloaded, "as many sessions are open here as may be"))?;
    let unseen = std::mem::replace(&mut call.payload, Payload::None);
    let (requests, network) = (door.memory.requests.clone(), client::network(&call.request));
    let counted = Rc::new(RefCell::new(requests.reserve(network)));
    let announced = FrameLimit::new(unseen, (MAX_GREETING as u64, MAX_FRAME as u64), Rc::clone(&counted));
    connection::begin_session(&call.request);
    let mut payload: Payload = Payload::Stream { payload: Box::pin(announced) };
    let payload = web::Payload::from_request(&call.request, &mut payload).await;
    let payload = payload.map_err(|error| ApiError::new(ErrorCode::MalformedRequest, error.to_string()))?;
    let refused = |error: actix_web::Error| ApiError::new(ErrorCode::MalformedRequest, error.to_string());
    let (response, socket, messages) = actix_ws::handle(&call.request, payload).map_err(refused)?;
    let messages = messages.max_frame_size(MAX_FRAME).aggregate_continuations().max_continuation_size(MAX_FRAME);
    let reader = SocketReader {
        messages,
        socket: socket.clone(),
        peer: Peer::new(address, ClientKind::WebSocket, &door, principal),
        memory: (requests, network),
        counted,
        pace: Pace::new(CONTROL),
        begun: Instant::now(),
    };
    let writer = SocketWriter {
        socket: Some(socket),
        welcome: Arc::clone(&door.welcome),
        patience: door.write_timeout,
        memory: (door.memory.answers.clone(), network),
    };
    door.start((ClientKind::WebSocket, place), (Box::new(reader), Box::new(writer)));
    Ok(response)
}

struct SocketReader {
    messages: AggregatedMessageStream,
    socket: actix_ws::Session,
    peer: Peer,
    memory: (MemoryBudget, ClientNetwork),
    /// What the message takes up that is coming in, or came last.
    counted: Rc<RefCell<Reservation>>,
    /// Of frames of control.
    pace: Pace,
    begun: Instant,
}

impl SocketReader {
    async fn read_message(&mut self) -> Option<Result<InboundMessage, Broken>> {
        loop {
            let (auth, principal) = (Arc::clone(&self.peer.auth), self.peer.principal.clone());
            let message = tokio::select! {
                message = self.messages.next() => message?,
                () = auth.until_changed(&principal) => return Some(Err(changed())),
            };
            match message {
                Ok(AggregatedMessage::Text(text)) => return Some(self.understand(text).await),
                Ok(AggregatedMessage::Binary(_)) => {
                    let text = "messages over WebSocket are JSON text".to_owned();
                    return Some(Err(Broken::Form(ErrorCode::MalformedRequest, text)));
                }
                Ok(AggregatedMessage::Ping(number)) => {
                    if self.socket.pong(&number).await.is_err() {
                        return None;
                    }
                    self.rest(number.len()).await;
                }
                Ok(AggregatedMessage::Pong(number)) => self.rest(number.len()).await,
                Ok(AggregatedMessage::Close(reason)) => {
                    // A close is answered by one (RFC 6455, section 5.5.1), unless the connection is gone.
                    let reason = reason.map(|CloseReason { code, .. }| CloseReason { code, description: None });
                    drop(self.socket.clone().close(reason).await);
                    return None;
                }
                Err(error) => return Some(Err(broken(&error))),
            }
        }
    }

    /// Frames of control are no messages, so nobody else keeps their pace.
    async fn rest(&mut self, bytes: usize) {
        let pause = self.pace.read(Mono(SAVED + self.begun.elapsed()), bytes, KEY);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    async fn understand(&mut self, text: impl Deref<Target = str> + Send + 'static) -> Result<InboundMessage, Broken> {
        let length = text.len();
        match off_worker::run(length, move || json::decode(&text)).await {
            Ok(envelope) => Ok(request::heard(envelope, length, &mut self.peer).await),
            // The number of a request whose fields are wrong is known: it is answered, and nothing else is harmed.
            Err(json::JsonError::Kind { id, kind, reason }) if id > 0 => {
                let fault = Fault::Form(ErrorCode::MalformedRequest, format!("{kind}: {reason}"));
                Ok(InboundMessage { id, bytes: length, request: Err(fault) })
            }
            Err(error) => Err(Broken::Form(ErrorCode::MalformedRequest, error.to_string())),
        }
    }
}

fn broken(error: &actix_ws::ProtocolError) -> Broken {
    let malformed = || Broken::Form(ErrorCode::MalformedRequest, error.to_string());
    match error {
        actix_ws::ProtocolError::Overflow => too_long(),
        actix_ws::ProtocolError::Io(io) => match io.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(PayloadError::Overflow) => too_long(),
            Some(PayloadError::Io(refused)) if refused.kind() == io::ErrorKind::OutOfMemory => {
                Broken::Form(ErrorCode::Overloaded, refused.to_string())
            }
            // What is no text, for one.
            _ if io.kind() == io::ErrorKind::InvalidData => malformed(),
            _ => Broken::Connection(io::Error::new(io.kind(), io.to_string())),
        },
        _ => malformed(),
    }
}

fn too_long() -> Broken {
    let text = format!("a message is longer than {MAX_FRAME} bytes, or a hello than {MAX_GREETING}");
    Broken::Form(ErrorCode::FrameTooLong, text)
}

impl MessageReader for SocketReader {
    fn next(&mut self) -> LocalBoxFuture<'_, Option<Result<InboundMessage, Broken>>> {
        Box::pin(self.read_message())
    }

    fn take_guard(&mut self) -> Option<Box<dyn std::any::Any>> {
        let (memory, network) = &self.memory;
        Some(Box::new(self.counted.replace(memory.reserve(*network))))
    }
}

struct SocketWriter {
    /// `None` once closed.
    socket: Option<actix_ws::Session>,
    welcome: Arc<Welcome>,
    /// How long the client may take to read something.
    patience: Duration,
    memory: (MemoryBudget, ClientNetwork),
}

impl SocketWriter {
    async fn send_all(&mut self, said: Vec<OutboundMessage>) -> io::Result<()> {
        for said in said {
            if let Some(content) = answer::long_content(&said).filter(|content| content.bytes().len() >= IN_PIECES)
                && let Some(text) = answer::long_text(&said)
            {
                let (memory, network) = self.memory.clone();
                match memory.share(network, content.bytes()).await {
                    Ok(_counted) => self.send_long(text).await?,
                    Err(none) => {
                        let fault = Fault::Form(ErrorCode::Overloaded, none.to_string());
                        self.send_one(OutboundMessage { id: said.id, answer: Saying::Failed(fault) }).await?;
                    }
                }
                continue;
            }
            self.send_one(said).await?;
        }
        Ok(())
    }

    async fn send_one(&mut self, said: OutboundMessage) -> io::Result<()> {
        let envelope = answer::envelope(said, &self.welcome).await;
        let text = json::encode(&envelope).map_err(io::Error::other)?;
        self.hand_over(Message::Text(text.into())).await
    }

    /// A long text, in the pieces of one message: what the connection takes ahead are some of these.
    async fn send_long(&mut self, mut text: Escaped) -> io::Result<()> {
        let mut form: fn(Bytes) -> Item = Item::FirstText;
        while let Some(mut piece) = text.next_piece() {
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(PIECE));
                self.hand_over(Message::Continuation(form(part))).await?;
                form = Item::Continue;
            }
        }
        self.hand_over(Message::Continuation(Item::Last(Bytes::new()))).await
    }

    /// The connection takes some messages ahead; it takes no more when the client does not read.
    async fn hand_over(&mut self, message: Message) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let sending = async {
            match message {
                Message::Text(text) => socket.text(text).await,
                Message::Continuation(part) => socket.continuation(part).await,
                _ => Ok(()),
            }
        };
        timeout(self.patience, sending).await?.map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}

impl MessageWriter for SocketWriter {
    fn send(&mut self, said: Vec<OutboundMessage>) -> LocalBoxFuture<'_, io::Result<()>> {
        Box::pin(self.send_all(said))
    }

    fn close(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(socket) = self.socket.take() {
                let reason = CloseReason { code: CloseCode::Normal, description: None };
                // A connection that is gone needs no closing.
                drop(timeout(self.patience, socket.close(Some(reason))).await);
            }
        })
    }
}

/// The description of the route.
fn describe() -> Described {
    Described::new("configs", "openSession", "Open a native session over WebSocket; docs/protocol.md says how it goes")
        .answers(101, "The session is open")
        .refuses(&[
            ErrorCode::InvalidParameter,
            ErrorCode::MalformedRequest,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ])
}
