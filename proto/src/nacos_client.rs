//! The client's side of Nacos's service, over a connection that somebody else has opened: for measuring and for tests,
//! which speak the bare protocol.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::nacos::bi_request_stream_client::BiRequestStreamClient;
use crate::nacos::request_client::RequestClient;

/// Longest message that is taken, in bytes.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// A connection; clones use the same.
#[derive(Debug, Clone)]
pub struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// The two methods over one connection.
#[derive(Debug, Clone)]
pub struct Methods {
    /// One question, one answer.
    pub unary: RequestClient<Channel>,
    /// The stream.
    pub stream: BiRequestStreamClient<Channel>,
}

/// Begins to speak over `io` with a server that is called `origin`, such as `http://127.0.0.1:9848`. The future carries
/// the connection, and ends with it.
///
/// # Errors
/// The connection broke.
pub async fn over<I>(
    io: I,
    origin: http::Uri,
) -> Result<(Methods, impl Future<Output = Result<(), hyper::Error>> + Send), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(io)).await?;
    let channel = Channel(sender);
    let unary = RequestClient::with_origin(channel.clone(), origin.clone()).max_decoding_message_size(MAX_MESSAGE);
    let stream = BiRequestStreamClient::with_origin(channel, origin);
    Ok((Methods { unary, stream }, connection))
}
