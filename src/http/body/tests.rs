//! Bodies that are whole, long, slow, broken or encoded.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::pin::Pin;

use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use futures_util::stream;

use super::*;

const OPTIONS: Options = Options { max: 8, patience: Duration::from_millis(20) };

fn payload(chunks: Vec<Result<&'static str, PayloadError>>, ends: bool) -> Payload {
    let chunks = stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from)));
    let chunks: Pin<Box<dyn stream::Stream<Item = _>>> =
        if ends { Box::pin(chunks) } else { Box::pin(chunks.chain(stream::pending())) };
    Payload::Stream { payload: chunks }
}

fn announcing(length: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
    headers
}

fn asked(headers: &HeaderMap) -> HttpRequest {
    let add = |request: TestRequest, (name, value)| request.append_header((name, value));
    headers.iter().fold(TestRequest::default(), add).to_http_request()
}

async fn code_of(headers: HeaderMap, mut payload: Payload) -> ErrorCode {
    read(&asked(&headers), &mut payload, OPTIONS).await.unwrap_err().code()
}

#[actix_web::test]
async fn a_whole_body_is_read_as_it_is() {
    for headers in [HeaderMap::new(), announcing("7")] {
        let mut body = payload(vec![Ok("one"), Ok(""), Ok(" two")], true);
        assert_eq!(read(&asked(&headers), &mut body, OPTIONS).await.unwrap(), "one two");
    }
    assert!(read(&asked(&HeaderMap::new()), &mut payload(vec![], true), OPTIONS).await.unwrap().is_empty());
}

#[actix_web::test]
async fn a_long_body_is_refused_by_its_announcement_or_when_it_shows() {
    assert_eq!(code_of(announcing("9"), payload(vec![], false)).await, ErrorCode::TooLarge);
    assert_eq!(code_of(HeaderMap::new(), payload(vec![Ok("12345"), Ok("6789")], false)).await, ErrorCode::TooLarge);
}

#[actix_web::test]
async fn a_body_without_progress_is_given_up() {
    assert_eq!(code_of(announcing("8"), payload(vec![Ok("123")], false)).await, ErrorCode::BodyTimeout);
}

#[actix_web::test]
async fn a_body_that_breaks_off_is_malformed() {
    let cut = || Err(PayloadError::Incomplete(None));
    assert_eq!(code_of(announcing("8"), payload(vec![Ok("123"), cut()], true)).await, ErrorCode::MalformedRequest);
    assert_eq!(code_of(announcing("8"), payload(vec![Ok("123")], true)).await, ErrorCode::MalformedRequest);
    let garbled = Err(PayloadError::EncodingCorrupted);
    assert_eq!(code_of(HeaderMap::new(), payload(vec![garbled], true)).await, ErrorCode::MalformedRequest);
}

#[actix_web::test]
async fn an_encoded_body_is_refused() {
    for (encoding, taken) in [("gzip", false), ("identity", true), ("", true), ("Identity, br", false)] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let read = read(&asked(&headers), &mut payload(vec![Ok("x")], true), OPTIONS).await;
        assert_eq!(read.is_ok(), taken, "{encoding}");
    }
}
