//! The proxies between processes: what passes, what hangs at a cut, what is lost.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::{Network, Run, Wire};
use crate::poll;

const QUIET: Duration = Duration::from_millis(100);

/// Two nodes and a database, all of them the test itself.
struct Rig {
    run: Run,
    network: Network,
    database: TcpListener,
}

async fn rig() -> Result<Rig> {
    let database = TcpListener::bind("127.0.0.1:0").await?;
    let run = Run::claim()?;
    let mut network = Network::new(database.local_addr()?);
    for node in [1, 2] {
        network.add(&run, node).await?;
    }
    Ok(Rig { run, network, database })
}

impl Rig {
    /// A connection from node 1 to node 2, both ends.
    async fn link(&self) -> Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(self.run.peer(2)).await?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.run.peer(1).ip(), 0).into())?;
        let near = socket.connect(self.run.public_peer(2)).await?;
        Ok((near, listener.accept().await?.0))
    }
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) -> Result<()> {
    from.write_all(text.as_bytes()).await?;
    hears(to, text).await
}

async fn hears(to: &mut TcpStream, text: &str) -> Result<()> {
    let mut heard = vec![0; text.len()];
    tokio::time::timeout(poll::SOON, to.read_exact(&mut heard)).await??;
    assert_eq!(heard, text.as_bytes());
    Ok(())
}

async fn hears_nothing(to: &mut TcpStream) {
    let mut byte = [0];
    assert!(tokio::time::timeout(QUIET, to.read(&mut byte)).await.is_err(), "something passed a cut wire");
}

#[tokio::test]
async fn one_direction_of_a_link_is_cut_alone_and_loses_nothing() -> Result<()> {
    let rig = rig().await?;
    let (mut near, mut far) = rig.link().await?;
    passes(&mut near, &mut far, "one").await?;
    passes(&mut far, &mut near, "two").await?;
    rig.network.cut(Wire::Peer { from: 1, to: 2 });
    near.write_all(b"held").await?;
    hears_nothing(&mut far).await;
    passes(&mut far, &mut near, "three").await?;
    rig.network.heal(Wire::Peer { from: 1, to: 2 });
    hears(&mut far, "held").await
}

#[tokio::test]
async fn new_connections_hang_at_a_cut_until_it_heals() -> Result<()> {
    let rig = rig().await?;
    rig.network.cut(Wire::ToDatabase(1));
    let mut near = TcpStream::connect(rig.run.database(1)).await?;
    near.write_all(b"hello").await?;
    assert!(tokio::time::timeout(QUIET, rig.database.accept()).await.is_err(), "a connection passed a cut wire");
    let mut other = TcpStream::connect(rig.run.database(2)).await?;
    let (mut far, _) = rig.database.accept().await?;
    passes(&mut other, &mut far, "another node passes").await?;
    rig.network.heal_all();
    let (mut far, _) = rig.database.accept().await?;
    hears(&mut far, "hello").await
}

#[tokio::test]
async fn a_reset_ends_connections_and_a_new_one_passes() -> Result<()> {
    let rig = rig().await?;
    let (mut near, mut far) = rig.link().await?;
    passes(&mut near, &mut far, "one").await?;
    rig.network.reset(Wire::Peer { from: 2, to: 1 });
    let mut byte = [0];
    let ended = tokio::time::timeout(poll::SOON, near.read(&mut byte)).await?;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(far);
    let (mut near, mut far) = rig.link().await?;
    passes(&mut near, &mut far, "again").await
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() -> Result<()> {
    let rig = rig().await?;
    let (mut near, mut far) = rig.link().await?;
    near.shutdown().await?;
    assert_eq!(far.read(&mut [0]).await?, 0);
    passes(&mut far, &mut near, "still").await
}

#[tokio::test]
async fn datagrams_come_from_the_public_address_of_their_sender_and_are_lost_at_a_cut() -> Result<()> {
    let rig = rig().await?;
    let (one, two) = (UdpSocket::bind(rig.run.peer(1)).await?, UdpSocket::bind(rig.run.peer(2)).await?);
    let mut heard = [0; 100];
    one.send_to(b"ping", rig.run.public_peer(2)).await?;
    let (length, sender) = tokio::time::timeout(poll::SOON, two.recv_from(&mut heard)).await??;
    assert_eq!((&heard[..length], sender), (b"ping".as_slice(), rig.run.public_peer(1)));
    two.send_to(b"pong", sender).await?;
    let (_, sender) = tokio::time::timeout(poll::SOON, one.recv_from(&mut heard)).await??;
    assert_eq!(sender, rig.run.public_peer(2));
    for wire in rig.network.from_node(1) {
        rig.network.cut(wire);
    }
    one.send_to(b"lost", rig.run.public_peer(2)).await?;
    two.send_to(b"passes", rig.run.public_peer(1)).await?;
    tokio::time::timeout(poll::SOON, one.recv_from(&mut heard)).await??;
    rig.network.heal_all();
    one.send_to(b"passes again", rig.run.public_peer(2)).await?;
    let (length, _) = tokio::time::timeout(poll::SOON, two.recv_from(&mut heard)).await??;
    assert_eq!(&heard[..length], b"passes again");
    Ok(())
}

#[tokio::test]
async fn an_answer_from_afar_is_late_and_whole_however_much_is_under_way() -> Result<()> {
    let database = TcpListener::bind("127.0.0.1:0").await?;
    let (run, late) = (Run::claim()?, Duration::from_millis(40));
    let mut network = Network::distant(database.local_addr()?, late);
    network.add(&run, 1).await?;
    let mut near = TcpStream::connect(run.database(1)).await?;
    let (mut far, _) = database.accept().await?;
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    let begun = tokio::time::Instant::now();
    passes(&mut near, &mut far, "asked").await?;
    far.write_all(&sent).await?;
    drop(far);
    let mut heard = Vec::new();
    tokio::time::timeout(poll::SOON, near.read_to_end(&mut heard)).await??;
    assert!(heard == sent && begun.elapsed() >= late, "{} bytes after {:?}", heard.len(), begun.elapsed());
    Ok(())
}
