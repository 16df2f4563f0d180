//! A connection that speaks gRPC: the library `h2`, and the five bytes that stand before each message. Owns the
//! connection and the streams on it; knows nothing of what is said. Heads of answers are not looked at, since a status
//! says nothing that an answer's body does not.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Uri};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The largest window: the server may send as much as it likes.
const WIDEST: u32 = 0x7fff_ffff;
/// Longest message that is taken.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A connection. It is closed without a word when this is dropped.
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
    /// The task that reads and writes.
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut settings = Builder::new();
        settings.enable_push(false).initial_window_size(WIDEST).initial_connection_window_size(WIDEST);
        let (requests, connection) = settings.handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async {
            // Those who wait for an answer are told as well.
            drop(connection.await);
        });
        Ok(Self { requests, address, _driver: driver })
    }

    /// Begins a stream to `path`, on which both sides say messages.
    pub(super) async fn begin(&mut self, path: &str) -> anyhow::Result<Stream> {
        let (response, outgoing) = begin(self.requests.clone(), self.request(path)?).await?;
        Ok(Stream { outgoing, incoming: Incoming::new(response) })
    }

    /// Says one message to `path`, and gives the one that answers it.
    pub(super) fn ask(&self, path: &str, message: &[u8]) -> impl Future<Output = anyhow::Result<Bytes>> + use<> {
        let (requests, request, message) = (self.requests.clone(), self.request(path), framed(message));
        async move {
            let (response, mut outgoing) = begin(requests, request?).await?;
            outgoing.send_data(message?, true)?;
            let mut incoming = Incoming::new(response);
            let answer = incoming.next().await?;
            incoming.end().await?;
            Ok(answer)
        }
    }

    fn request(&self, path: &str) -> anyhow::Result<Request<()>> {
        let authority = self.address.to_string();
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build()?;
        Ok(Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(())?)
    }
}

/// A stream that goes on.
pub(super) struct Stream {
    outgoing: SendStream<Bytes>,
    incoming: Incoming,
}

impl Stream {
    /// Says a message.
    pub(super) fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        Ok(self.outgoing.send_data(framed(message)?, false)?)
    }

    /// The next message from the server. May be given up and called again.
    pub(super) async fn next(&mut self) -> anyhow::Result<Bytes> {
        self.incoming.next().await
    }
}

async fn begin(
    requests: SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    requests.ready().await?.send_request(request, false)
}

/// What comes back on a stream.
struct Incoming {
    /// The body, or its head, which some servers send with the first message only.
    body: Body,
    received: BytesMut,
}

enum Body {
    Awaited(ResponseFuture),
    There(RecvStream),
}

impl Incoming {
    fn new(response: ResponseFuture) -> Self {
        Self { body: Body::Awaited(response), received: BytesMut::new() }
    }

    async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(message) = take_message(&mut self.received)? {
                return Ok(message);
            }
            match self.more().await? {
                Some(data) => self.received.extend_from_slice(&data),
                None => bail!("the server ended the stream"),
            }
        }
    }

    /// Waits for the end: a stream that is given up before is reset.
    async fn end(mut self) -> anyhow::Result<()> {
        while self.more().await?.is_some() {}
        Ok(())
    }

    async fn more(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            match &mut self.body {
                Body::Awaited(response) => self.body = Body::There(response.await?.into_body()),
                Body::There(body) => {
                    let Some(data) = body.data().await.transpose()? else { return Ok(None) };
                    body.flow_control().release_capacity(data.len())?;
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A message with what stands before it.
fn framed(message: &[u8]) -> anyhow::Result<Bytes> {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put_slice(message);
    Ok(framed.freeze())
}

/// The first message of what was received, once it is whole.
fn take_message(received: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let mut prefix = received.get(1..PREFIX).unwrap_or_default();
    let Ok(length) = prefix.try_get_u32() else { return Ok(None) };
    let length = usize::try_from(length)?;
    if length > MAX_MESSAGE {
        bail!("a message of {length} bytes");
    }
    if received.len() < PREFIX + length {
        return Ok(None);
    }
    received.advance(PREFIX);
    Ok(Some(received.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    //! Messages come whole, whatever they come in.

    use bytes::BytesMut;

    use super::{framed, take_message};

    #[test]
    fn a_message_may_come_in_parts() {
        let whole = framed(b"abc").expect("it is short");
        assert_eq!(*whole, [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        for cut in 0..whole.len() {
            let mut received = BytesMut::from(&whole[..cut]);
            assert_eq!(take_message(&mut received).expect("it goes on"), None, "{cut}");
            received.extend_from_slice(&whole[cut..]);
            received.extend_from_slice(&whole);
            for _ in 0..2 {
                let message = take_message(&mut received).expect("it is whole");
                assert_eq!(message.as_deref(), Some(&b"abc"[..]), "{cut}");
            }
            assert!(received.is_empty());
        }
        assert!(take_message(&mut BytesMut::from(&[0, 0xff, 0, 0, 0][..])).is_err(), "it is too long");
    }
}
