//! The link between a fake driver and fake servers: what it sets on connections, what it passes on, and where it goes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use super::listener::Listener;
use super::route::Route;
use super::{Way, connect};
use crate::settings::{DatabaseOptions, DatabaseUrl, Host};

const SOON: Duration = Duration::from_secs(10);

/// A server that says its name to whoever comes.
struct Server {
    socket: TcpListener,
    host: Host,
}

impl Server {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        Self { socket, host: Host { name: "127.0.0.1".to_owned(), port } }
    }

    async fn accept(&self) -> TcpStream {
        timeout(SOON, self.socket.accept()).await.unwrap().unwrap().0
    }

    /// Greets the next one who comes.
    async fn greet(&self) -> TcpStream {
        let mut client = self.accept().await;
        client.write_all(b"hello").await.unwrap();
        client
    }
}

/// A host where nobody listens.
async fn nobody() -> Host {
    Server::start().await.host
}

struct Link {
    route: Arc<Route>,
    listener: Listener,
}

impl Link {
    fn to(hosts: &[&Host]) -> Self {
        let hosts: Vec<Host> = hosts.iter().map(|host| (*host).clone()).collect();
        let route = Arc::new(Route::new(&hosts, SOON));
        let listener = Listener::start(None, socket_in, Arc::clone(&route)).unwrap();
        Self { route, listener }
    }

    async fn call(&self) -> UnixStream {
        UnixStream::connect(socket_in(self.listener.directory())).await.unwrap()
    }
}

fn socket_in(directory: &Path) -> std::path::PathBuf {
    directory.join("server.sock")
}

async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> String {
    let mut buffer = vec![0; length];
    timeout(SOON, from.read_exact(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8(buffer).unwrap()
}

async fn is_at_end(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    // A connection that is reset has ended as well.
    timeout(SOON, from.read(&mut [0])).await.unwrap().map_or(true, |length| length == 0)
}

#[tokio::test]
async fn connections_hold_nothing_back_and_notice_a_dead_server() {
    let server = Server::start().await;
    let stream = connect::connect(&server.host, SOON).await.unwrap();
    assert!(stream.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), Duration::from_secs(10));
    assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), Duration::from_secs(3));
    assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 3);
    assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 10_000);
}

#[tokio::test]
async fn a_name_without_an_address_is_an_error() {
    let host = Host { name: "no-such-host.invalid".to_owned(), port: 1 };
    connect::connect(&host, SOON).await.unwrap_err();
}

#[tokio::test]
async fn bytes_and_ends_pass_both_ways() {
    let server = Server::start().await;
    let link = Link::to(&[&server.host]);
    let mut driver = link.call().await;
    let mut served = server.greet().await;
    assert_eq!(read(&mut driver, 5).await, "hello");
    // More than any buffer on the way holds.
    let content = vec![b'x'; 3 << 20];
    let (sent, got) = tokio::join!(driver.write_all(&content), read(&mut served, content.len()));
    sent.unwrap();
    assert_eq!(got.into_bytes(), content);
    // The driver has no more to say, and can still be told something.
    driver.shutdown().await.unwrap();
    assert!(is_at_end(&mut served).await);
    served.write_all(b"bye").await.unwrap();
    assert_eq!(read(&mut driver, 3).await, "bye");
    drop(served);
    assert!(is_at_end(&mut driver).await);
}

#[tokio::test]
async fn the_end_of_the_server_is_told_to_the_driver_and_of_the_driver_to_the_server() {
    let server = Server::start().await;
    let link = Link::to(&[&server.host]);
    let (mut driver, served) = (link.call().await, server.accept().await);
    drop(served);
    assert!(is_at_end(&mut driver).await);
    let (driver, mut served) = (link.call().await, server.accept().await);
    drop(driver);
    assert!(is_at_end(&mut served).await);
}

#[tokio::test]
async fn everything_ends_with_the_link() {
    let server = Server::start().await;
    let link = Link::to(&[&server.host]);
    let (mut driver, mut served) = (link.call().await, server.accept().await);
    let directory = link.listener.directory().to_owned();
    drop(link);
    assert!(is_at_end(&mut driver).await && is_at_end(&mut served).await);
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_dead_host_is_skipped_and_not_tried_first_again() {
    let (dead, server) = (nobody().await, Server::start().await);
    let link = Link::to(&[&dead, &server.host]);
    let mut driver = link.call().await;
    let _served = server.greet().await;
    assert_eq!(read(&mut driver, 5).await, "hello");
    assert_eq!(link.route.current(), &server.host);
}

#[tokio::test]
async fn before_any_host_was_reached_the_driver_is_told_at_once_and_why_is_kept() {
    let (one, other) = (nobody().await, nobody().await);
    let link = Link::to(&[&one, &other]);
    assert!(is_at_end(&mut link.call().await).await);
    let trouble = link.route.trouble().unwrap();
    assert!(trouble.contains(&format!("{one}: ")) && trouble.contains(&format!("{other}: ")), "{trouble}");
    assert!(trouble.contains("refused"), "{trouble}");
}

#[tokio::test]
async fn a_driver_waits_while_the_server_is_away() {
    let server = Server::start().await;
    let link = Link::to(&[&server.host]);
    let (driver, served) = (link.call().await, server.accept().await);
    let address = server.socket.local_addr().unwrap();
    drop((driver, served, server));
    let mut driver = link.call().await;
    while link.route.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    // The port is taken back at once: nothing else is waited for.
    let socket = TcpListener::bind(address).await.unwrap();
    let mut served = timeout(SOON, socket.accept()).await.unwrap().unwrap().0;
    served.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut driver, 5).await, "hello");
    assert_eq!(link.route.trouble(), None);
}

#[tokio::test]
async fn a_host_that_is_turned_away_or_hangs_up_is_passed_over() {
    let (standby, writer) = (Server::start().await, Server::start().await);
    let link = Link::to(&[&standby.host, &writer.host]);
    let mut driver = link.call().await;
    let _served = standby.greet().await;
    assert_eq!(read(&mut driver, 5).await, "hello");
    link.route.turned_away();
    // One more connection to the same host was turned away, later than the first.
    link.route.turned_away();
    assert_eq!(link.route.current(), &writer.host);
    let mut driver = link.call().await;
    drop(writer.greet().await);
    assert_eq!(read(&mut driver, 5).await, "hello");
    assert!(is_at_end(&mut driver).await);
    let mut driver = link.call().await;
    let _served = standby.greet().await;
    assert_eq!(read(&mut driver, 5).await, "hello");
}

/// Who is told good-bye may end the connection before the driver does: that is no refusal.
#[tokio::test]
async fn a_server_that_has_served_and_ends_first_is_not_passed_over() {
    let (server, other) = (Server::start().await, Server::start().await);
    let link = Link::to(&[&server.host, &other.host]);
    for (answers, says_good_bye, is_kept) in [(4, false, true), (2, true, true), (3, false, false)] {
        let mut driver = link.call().await;
        let mut served = server.greet().await;
        assert_eq!(read(&mut driver, 5).await, "hello");
        for _ in 0..answers {
            driver.write_all(b"?").await.unwrap();
            assert_eq!(read(&mut served, 1).await, "?");
            served.write_all(b"!").await.unwrap();
            assert_eq!(read(&mut driver, 1).await, "!");
        }
        if says_good_bye {
            driver.write_all(b"x").await.unwrap();
            assert_eq!(read(&mut served, 1).await, "x");
        }
        drop(served);
        assert!(is_at_end(&mut driver).await);
        if is_kept {
            // The next one, by which what was thought of the last one is known.
            let driver = link.call().await;
            let mut served = server.accept().await;
            drop(driver);
            assert!(is_at_end(&mut served).await);
        }
        // It is passed over just after its end was told.
        while !is_kept && link.route.current() == &server.host {
            tokio::task::yield_now().await;
        }
    }
}

/// As a proxy does that has no server behind it.
#[tokio::test]
async fn a_server_that_is_asked_and_never_says_anything_is_passed_over() {
    let (server, other) = (Server::start().await, Server::start().await);
    let link = Link::to(&[&server.host, &other.host]);
    let mut driver = link.call().await;
    let mut served = server.accept().await;
    driver.write_all(b"?").await.unwrap();
    assert_eq!(read(&mut served, 1).await, "?");
    drop(served);
    assert!(is_at_end(&mut driver).await);
    let _driver = link.call().await;
    other.accept().await;
}

#[tokio::test]
async fn a_host_that_says_nothing_is_passed_over() {
    let (frozen, server) = (Server::start().await, Server::start().await);
    let link = Link::to(&[&frozen.host, &server.host]);
    // The kernel takes the connection; nobody answers it.
    assert!(is_at_end(&mut link.call().await).await);
    let mut driver = link.call().await;
    let _served = server.greet().await;
    assert_eq!(read(&mut driver, 5).await, "hello");
}

#[test]
fn one_host_alone_is_never_passed_over() {
    let host = Host { name: "db".to_owned(), port: 1 };
    let route = Route::new(std::slice::from_ref(&host), SOON);
    route.reached(0);
    route.turned_away();
    route.useless(0);
    assert_eq!(route.current(), &host);
    assert_eq!(route.limit_of_host(), SOON);
}

#[test]
fn nobody_else_may_enter_the_directory_of_the_socket_and_former_ones_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let former = home.path().join("database-link-before");
    std::fs::create_dir(&former).unwrap();
    let host = Host { name: "db".to_owned(), port: 1 };
    let route = || Arc::new(Route::new(std::slice::from_ref(&host), SOON));
    let listener = Listener::start(Some(home.path()), socket_in, route()).unwrap();
    let directory = listener.directory();
    assert_eq!(directory.parent(), Some(home.path()));
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!former.exists());
    drop(listener);
    // A path that no socket can have.
    let deep = home.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let listener = Listener::start(Some(&deep), socket_in, route()).unwrap();
    assert_ne!(listener.directory().parent(), Some(deep.as_path()));
}

fn way(url: &str) -> Way {
    let options = DatabaseOptions { url: DatabaseUrl::from(url.to_owned()), ..DatabaseOptions::default() };
    Way::of_command(&options, Path::new("/nowhere")).unwrap()
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_is_named_with_the_reason_and_without_the_password() {
    let way = way(&format!("postgres://ann:S3CRET@{},{}/cc", nobody().await, nobody().await));
    let mut attempts = 0;
    let attempt = async || {
        attempts += 1;
        let socket = url::Url::parse(way.url()).unwrap();
        let (port, (_, directory)) = (socket.port().unwrap(), socket.query_pairs().next().unwrap());
        let mut driver = UnixStream::connect(format!("{directory}/.s.PGSQL.{port}")).await?;
        driver.read_u8().await?;
        anyhow::Ok(())
    };
    let error = format!("{:#}", way.try_hosts(attempt).await.unwrap_err());
    assert!(error.contains("refused") && !error.contains("S3CRET"), "{error}");
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn at_the_start_each_host_is_tried_and_the_error_tells_what_each_said() {
    let (one, other) = (Server::start().await, Server::start().await);
    let way = way(&format!("mysql://{},{}/cc", one.host, other.host));
    let url = url::Url::parse(way.url()).unwrap();
    let socket = url.query_pairs().next().unwrap().1.into_owned();
    let attempt = async |server: &Server| {
        let mut driver = UnixStream::connect(&socket).await.unwrap();
        let mut served = server.greet().await;
        read(&mut driver, 5).await;
        // Not the other way round: that would be a server that hangs up.
        drop(driver);
        assert!(is_at_end(&mut served).await);
    };
    let mut servers = [&one, &other].into_iter();
    let refuse = async || {
        attempt(servers.next().unwrap()).await;
        Err::<(), _>(anyhow::anyhow!("it is a standby"))
    };
    let error = format!("{:#}", way.try_hosts(refuse).await.unwrap_err());
    for host in [&one.host, &other.host] {
        assert!(error.contains(&format!("{host}: it is a standby")), "{error}");
    }
    let mut servers = [&one, &other].into_iter().cycle();
    let mut refusals = 1;
    let found = async || {
        attempt(servers.next().unwrap()).await;
        refusals -= 1;
        if refusals == 0 { Err(anyhow::anyhow!("it is a standby")) } else { Ok(()) }
    };
    way.try_hosts(found).await.unwrap();
}

#[test]
fn files_and_unix_sockets_have_no_link() {
    for (url, told) in [
        ("", "sqlite:/nowhere/callboard.db?mode=rwc"),
        ("sqlite:cc.db", "sqlite:cc.db"),
        ("mysql://u@localhost/cc?socket=/run/my.sock", "mysql://u@localhost/cc?socket=%2Frun%2Fmy.sock"),
    ] {
        let way = way(url);
        assert_eq!(way.url(), told);
        assert!(way.link.is_none());
    }
}
