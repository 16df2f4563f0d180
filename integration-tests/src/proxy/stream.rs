//! Forwards TCP connections. A cut holds bytes back and keeps connections open, as a broken line does; a reset ends
//! them. Adds no delay of its own to what passes, but what it is told to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::wires::{Tap, Wire, Wires};

/// Bytes moved at a time.
const PIECE: usize = 16 * 1024;
/// Pieces that are on their way at a time.
const UNDER_WAY: usize = 1_024;

/// The wires of a connection that comes from this address, towards the listener's side and back. None refuses it.
pub(super) type Routes = dyn Fn(IpAddr) -> Option<(Wire, Wire)> + Send + Sync;

/// Forwards every connection to `target` until dropped. What comes back is `late` by so much.
pub(super) async fn forward(
    listener: TcpListener,
    target: SocketAddr,
    wires: Wires,
    routes: Box<Routes>,
    late: Duration,
) {
    loop {
        // An accept fails when a caller gave up or descriptors ran out; the next one may go well.
        let Ok((near, from)) = listener.accept().await else { continue };
        if let Some((there, back)) = routes(from.ip()) {
            tokio::spawn(connect(near, target, (wires.tap(there), wires.tap(back)), late));
        }
    }
}

/// Connects on and pumps both ways until both have ended or the connection is reset.
async fn connect(near: TcpStream, target: SocketAddr, (mut there, back): (Tap, Tap), late: Duration) {
    there.open().await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
        return;
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let (mut first, mut second) = (there.clone(), back.clone());
    let back = async move {
        if late.is_zero() {
            pump(far_read, near_write, back).await
        } else {
            carry(far_read, near_write, back, late).await
        }
    };
    let pumps = async { tokio::join!(pump(near_read, far_write, there), back) };
    tokio::select! {
        _ = pumps => {}
        () = first.reset() => {}
        () = second.reset() => {}
    }
}

/// Moves bytes until the sender has no more, or the receiver is gone.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut tap: Tap) {
    let mut piece = vec![0; PIECE];
    loop {
        tap.open().await;
        let read = from.read(&mut piece).await;
        // What was read just after a cut waits for its end, like the end of the stream itself.
        tap.open().await;
        match read {
            Ok(count) if count > 0 => {
                let sent = to.write_all(piece.get(..count).unwrap_or_default()).await;
                if sent.is_err() {
                    return;
                }
            }
            // Half a connection may end; dropping the writer would end it too, without an error to tell.
            Ok(_) | Err(_) => {
                drop(to.shutdown().await);
                return;
            }
        }
    }
}

/// As [`pump`], of bytes that arrive `late` by so much, however many are on their way.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut tap: Tap, late: Duration) {
    let (send, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut piece = vec![0; PIECE];
        loop {
            let count = from.read(&mut piece).await.unwrap_or_default();
            let bytes = piece.get(..count).unwrap_or_default().to_vec();
            if send.send((Instant::now() + late, bytes)).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = under_way.recv().await {
            sleep_until(at).await;
            tap.open().await;
            if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}
