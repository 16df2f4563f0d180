//! What a connection passes on and what it keeps beside.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const HEAD: &str = " HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
const PUBLISH: &str = "POST /nacos/v1/cs/configs";

/// What comes out of a connection whose client sends `pieces`, with `<moved>` in place of each name that nobody can
/// guess, and the queries that were taken out.
async fn passed(pieces: &[&[u8]]) -> (String, Vec<String>) {
    let (client, server) = duplex(256 * 1024);
    let mut connection = Connection::new(server);
    let sending = async {
        let mut client = client;
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let (mut out, mut queries, mut piece) = (String::new(), Vec::new(), vec![0; 8 * 1024]);
        loop {
            let count = connection.read(&mut piece).await.unwrap();
            if count == 0 {
                return (out, queries);
            }
            out.push_str(std::str::from_utf8(&piece[..count]).unwrap());
            let name = connection.beside.moved.borrow().as_ref().map(|moved| moved.name.clone());
            if let Some(name) = name.filter(|name| out.contains(name.as_str())) {
                queries.push(connection.beside.take(&name).unwrap());
                out = out.replace(&name, "<moved>");
            }
        }
    };
    let ((), (out, queries)) = tokio::join!(sending, reading);
    (out, queries)
}

#[tokio::test]
async fn a_long_query_is_kept_beside_and_the_rest_passes() {
    let query = format!("content={}", "x".repeat(3 * 1024 * 1024));
    let request = format!("{PUBLISH}?{query}{HEAD}");
    let (out, moved) = passed(&[request.as_bytes()]).await;
    assert_eq!(out, format!("{PUBLISH}?<moved>{HEAD}"));
    assert_eq!(moved, [query]);
}

#[tokio::test]
async fn what_is_short_or_something_else_or_too_long_passes_as_it_is() {
    let long = "x".repeat(SHORT * 2);
    for request in [
        format!("{PUBLISH}?a=b{HEAD}"),
        format!("{PUBLISH}?a={}{HEAD}", "x".repeat(SHORT - 100)),
        format!("{PUBLISH}{long}{HEAD}"),
        format!("{PUBLISH}?{long}"),
        format!("GET /nacos/v1/cs/configs?{long}{HEAD}"),
        format!("POST /other?{long}{HEAD}"),
        format!("{PUBLISH}?{}{HEAD}", "x".repeat(LONGEST + PIECE)),
        "POST /nac".to_owned(),
        "\r\n".to_owned(),
        String::new(),
    ] {
        let (out, moved) = passed(&[request.as_bytes()]).await;
        assert!(out == request, "{}", request.chars().take(40).collect::<String>());
        assert_eq!(moved, Vec::<String>::new());
    }
}

/// A request as it is sent, as it is passed on, and the query that is taken out of it.
type Sent = (String, String, Option<String>);

fn same(request: String) -> Sent {
    (request.clone(), request, None)
}

fn chunked(target: &str, chunks: &[&str], trailer: &str) -> Sent {
    let chunks: String = chunks.iter().map(|chunk| format!("{:x};a=b\r\n{chunk}\r\n", chunk.len())).collect();
    same(format!("PUT {target} HTTP/1.1\r\nHost: h\r\ntransfer-encoding:  Chunked \r\n\r\n{chunks}0\r\n{trailer}\r\n"))
}

fn long(number: usize, length: usize) -> Sent {
    let query = format!("n={number}&content={}", "y".repeat(length));
    let rest = format!(" HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: {}\r\n\r\n{PUBLISH}", PUBLISH.len());
    (format!("{PUBLISH}?{query}{rest}"), format!("{PUBLISH}?<moved>{rest}"), Some(query))
}

fn sent() -> impl Strategy<Value = Sent> {
    let pretended = format!("{PUBLISH}?{} HTTP/1.1\r\n\r\n", "z".repeat(SHORT * 2));
    let with_body = format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{pretended}", pretended.len());
    prop_oneof![
        Just(same("GET /a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned())),
        Just(same("\r\n\nPOST /nacos/v1/cs HTTP/1.1\nHost: h\nContent-Length: 3\n\nPOS".to_owned())),
        Just(same(format!("\r\n{PUBLISH}?query-is-beside-the-connection-1 HTTP/1.1\r\nContent-Length:0\r\n\r\n"))),
        Just(same(format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(900), "b".repeat(900)))),
        Just(same(with_body)),
        Just(chunked("/a", &[&pretended, "\r\n", "a"], "")),
        Just(chunked("/a", &[], "\nT: 1\r\nPOST /nacos\r\n")),
        (0..9_usize).prop_map(|number| long(number, SHORT + 1)),
        (0..9_usize).prop_map(|number| long(number, SHORT * 3)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn however_the_bytes_are_cut_the_same_requests_are_passed_on(
        requests in proptest::collection::vec(sent(), 1..6),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..40_usize), 0..12),
    ) {
        let bytes: String = requests.iter().map(|(sent, _, _)| sent.as_str()).collect();
        let expected: String = requests.iter().map(|(_, passed, _)| passed.as_str()).collect();
        let queries: Vec<String> = requests.iter().filter_map(|(_, _, query)| query.clone()).collect();
        // Half of the cuts are near the beginning of a request, where they matter most.
        let mut starts = vec![0];
        starts.extend(requests.iter().scan(0, |at, (sent, _, _)| { *at += sent.len(); Some(*at) }));
        let mut places: Vec<usize> = cuts.iter().enumerate().map(|(n, (at, after))| match n % 2 {
            0 => at.index(bytes.len()),
            _ => (starts[at.index(starts.len())] + after).min(bytes.len()),
        }).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes.as_bytes()[pair[0]..pair[1]]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (out, moved) = runtime.block_on(passed(&pieces));
        prop_assert!(out == expected, "other bytes came out");
        prop_assert!(moved == queries, "other queries were taken out");
    }
}

#[tokio::test]
async fn after_what_the_framework_refuses_or_takes_to_the_end_nothing_is_taken_out() {
    let (sent, _, _) = long(1, SHORT * 2);
    for before in [
        "GET /a HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nContent-Length: +0\r\n\r\n",
        "GET /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
        "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ] {
        let all = format!("{before}{sent}");
        assert_eq!(passed(&[all.as_bytes()]).await, (all, Vec::new()), "{before}");
    }
}

#[tokio::test]
async fn the_second_long_line_waits_until_the_first_has_its_request() {
    let (mut client, server) = duplex(1024 * 1024);
    let mut connection = Connection::new(server);
    let ((first, _, query), (second, _, _)) = (long(1, SHORT * 2), long(2, SHORT * 2));
    client.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
    let mut out = vec![0; 64 * 1024];
    assert!(connection.read(&mut out).await.unwrap() < 300);
    let moved = connection.beside.moved.borrow().clone().unwrap();
    assert_eq!(Some(moved.query), query);
    let beside = Rc::clone(&connection.beside);
    // Nobody else gets it, and what comes next does not come before.
    assert_eq!(beside.take(MOVED), None);
    let taking = async {
        tokio::task::yield_now().await;
        assert!(beside.moved.borrow().as_ref().is_some_and(|kept| kept.name == moved.name));
        beside.take(&moved.name).unwrap();
    };
    let (read, ()) = tokio::join!(connection.read(&mut out), taking);
    assert!(read.unwrap() < 300);
    assert!(beside.moved.borrow().as_ref().unwrap().query.starts_with("n=2&"));
}

#[tokio::test]
async fn the_end_of_input_ends_the_connection_just_while_an_answer_is_held() {
    let (mut client, server) = duplex(1024);
    let mut connection = Connection::new(server);
    client.shutdown().await.unwrap();
    connection.beside.held.set(1);
    connection.flush().await.unwrap();
    assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 0);
    let held = Held(Some(Rc::clone(&connection.beside)));
    assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(connection.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(held);
    connection.write_all(b"x").await.unwrap();
    connection.flush().await.unwrap();
}
