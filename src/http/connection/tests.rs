//! What a connection passes on and what it keeps beside.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const HEAD: &str = " HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";

/// What comes out of a connection whose client sends `pieces`, and the query that was taken out last.
async fn passed(pieces: &[&[u8]]) -> (String, Option<String>) {
    let (client, server) = duplex(8 * 1024);
    let mut connection = Connection::new(server);
    let sending = async {
        let mut client = client;
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut out = Vec::new();
    let ((), read) = tokio::join!(sending, connection.read_to_end(&mut out));
    read.unwrap();
    let query = connection.moved.0.borrow_mut().take();
    (String::from_utf8(out).unwrap(), query)
}

#[tokio::test]
async fn a_long_query_is_kept_beside_and_the_rest_passes() {
    let query = format!("content={}", "x".repeat(3 * 1024 * 1024));
    let request = format!("POST /nacos/v1/cs/configs?{query}{HEAD}");
    let (out, moved) = passed(&[request.as_bytes()]).await;
    assert_eq!(out, format!("POST /nacos/v1/cs/configs?{MOVED}{HEAD}"));
    assert_eq!(moved, Some(query));
}

#[tokio::test]
async fn what_is_short_or_something_else_or_too_long_passes_as_it_is() {
    let long = "x".repeat(SHORT * 2);
    for request in [
        format!("POST /nacos/v1/cs/configs?a=b{HEAD}"),
        format!("POST /nacos/v1/cs/configs?a={}{HEAD}", "x".repeat(SHORT - 100)),
        format!("POST /nacos/v1/cs/configs{long}{HEAD}"),
        format!("POST /nacos/v1/cs/configs?{long}"),
        format!("GET /nacos/v1/cs/configs?{long}{HEAD}"),
        format!("POST /other?{long}{HEAD}"),
        format!("POST /nacos/v1/cs/configs?{}{HEAD}", "x".repeat(LONGEST + PIECE)),
        String::new(),
    ] {
        let (out, moved) = passed(&[request.as_bytes()]).await;
        assert!(out == request, "{}", request.chars().take(40).collect::<String>());
        assert_eq!(moved, None);
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_request_passes_and_the_request_after_the_answer_is_read_again() {
    let (mut client, server) = duplex(1024 * 1024);
    let mut connection = Connection::new(server);
    let long = format!("POST /nacos/v1/cs/configs?{}{HEAD}", "x".repeat(SHORT * 2));
    let mut out = vec![0; 512 * 1024];
    client.write_all(b"POST /nacos/v1/cs/configs HTTP/1.1\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    assert!(connection.read(&mut out).await.unwrap() < 200);
    connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    client.write_all(long.as_bytes()).await.unwrap();
    assert_eq!(connection.read(&mut out).await.unwrap(), long.len());
    connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    client.write_all(long.as_bytes()).await.unwrap();
    assert!(connection.read(&mut out).await.unwrap() < 200);
    assert!(connection.moved.0.borrow().is_some());
}
