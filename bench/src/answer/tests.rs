//! The parser of answers: what it reads, what it refuses, and that it survives any bytes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use httparse::Error;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{LONGEST_BODY, LONGEST_HEAD, MOST_FIELDS, Malformed, parse};

fn read(bytes: &[u8]) -> (u16, Vec<u8>, bool, usize) {
    let answer = parse(bytes, false).unwrap().expect("the answer is complete");
    let (closes, length) = (answer.closes, answer.length);
    let reply = answer.within(bytes);
    (reply.status, reply.body.into_owned(), closes, length)
}

#[test]
fn a_body_of_known_length_is_taken_and_no_more() {
    let bytes = b"HTTP/1.1 200 OK\r\nX-Other: 1\r\ncontent-LENGTH:  4 \r\n\r\ntrueHTTP";
    assert_eq!(read(bytes), (200, b"true".to_vec(), false, bytes.len() - 4));
}

#[test]
fn chunks_are_joined() {
    let bytes =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n";
    assert_eq!(read(bytes), (200, b"abc0123456789".to_vec(), false, bytes.len()));
}

#[test]
fn without_a_length_the_end_of_the_connection_ends_the_body() {
    let bytes = b"HTTP/1.0 404 Not Found\r\n\r\nabc";
    assert_eq!(parse(bytes, false), Ok(None));
    let answer = parse(bytes, true).unwrap().unwrap();
    assert!(answer.closes);
    assert_eq!(*answer.within(bytes).body, *b"abc");
}

#[test]
fn answers_without_a_body_have_none() {
    assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n").1, b"");
    assert_eq!(read(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").1, b"");
}

#[test]
fn interim_answers_are_skipped() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(read(bytes), (200, b"x".to_vec(), false, bytes.len()));
}

#[test]
fn whether_the_connection_stays_follows_version_and_header() {
    let closes = |head: &str| read(format!("{head}\r\nContent-Length: 0\r\n\r\n").as_bytes()).2;
    assert!(!closes("HTTP/1.1 200 OK"));
    assert!(closes("HTTP/1.1 200 OK\r\nConnection: close"));
    assert!(closes("HTTP/1.0 200 OK"));
    assert!(!closes("HTTP/1.0 200 OK\r\nconnection: Keep-Alive"));
}

#[test]
fn what_is_no_http_is_refused() {
    let refusal = |bytes: &[u8]| parse(bytes, false).unwrap_err();
    assert_eq!(refusal(b"SSH-2.0\r\n"), Malformed::Head(Error::Version));
    assert_eq!(refusal(b"HTTP/1.1 2000 OK\r\n\r\n"), Malformed::Head(Error::Status));
    assert_eq!(refusal(b"HTTP/1.1 099 \r\n\r\n"), Malformed::Head(Error::Status));
    assert_eq!(refusal(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Malformed::Length);
    assert_eq!(refusal(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), Malformed::Length);
    assert_eq!(refusal(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"), Malformed::Length);
    assert_eq!(
        refusal(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", LONGEST_BODY + 1).as_bytes()),
        Malformed::LongBody
    );
    let chunk =
        |chunk: &str| refusal(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes());
    assert_eq!(chunk("\r\n"), Malformed::Chunk);
    assert_eq!(chunk("1\r\nabc"), Malformed::Chunk);
    assert_eq!(chunk("fffffff\r\n"), Malformed::LongBody);
    let long = "x".repeat(LONGEST_HEAD);
    assert_eq!(refusal(format!("HTTP/1.1 200 OK\r\nX: {long}").as_bytes()), Malformed::LongHead);
    let many = "X: y\r\n".repeat(MOST_FIELDS + 1);
    assert_eq!(refusal(format!("HTTP/1.1 200 OK\r\n{many}").as_bytes()), Malformed::Head(Error::TooManyHeaders));
}

#[test]
fn an_answer_that_breaks_off_is_refused_at_the_end_only() {
    for whole in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        for length in 0..whole.len() {
            let part = &whole.as_bytes()[..length];
            assert_eq!(parse(part, false), Ok(None), "{length} bytes of {whole:?}");
            assert_eq!(parse(part, true), Err(Malformed::Truncated), "{length} bytes of {whole:?}");
        }
    }
}

/// Pieces that answers are made of, so that random sequences get past the first line.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 100 \n",
        "Content-Length: 5\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "\r\n",
        "5\r\nabcde\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
        ":",
    ];
    prop_oneof![
        4 => proptest::sample::select(known.map(|text| text.as_bytes().to_vec()).to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), ended: bool) {
        if let Ok(Some(answer)) = parse(&bytes, ended) {
            prop_assert!(answer.length <= bytes.len());
        }
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in vec(piece(), 0..12), ended: bool) {
        let bytes = pieces.concat();
        if let Ok(Some(answer)) = parse(&bytes, ended) {
            prop_assert!(answer.length <= bytes.len());
            prop_assert!(answer.within(&bytes).body.len() <= bytes.len());
        }
    }

    #[test]
    fn every_body_comes_back(body in vec(any::<u8>(), 0..600), cuts in vec(1_usize..90, 1..20), chunked: bool) {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        if chunked {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let (mut rest, mut cuts) = (&body[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
                rest = after;
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes().chain(body.iter().copied()));
        }
        prop_assert_eq!(read(&bytes), (200, body, false, bytes.len()));
    }
}
