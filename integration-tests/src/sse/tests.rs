//! The parser against whole streams and against every way of cutting them.

use super::{Frame, Parser};

const STREAM: &str =
    ": ping\n\nid: 7\nevent: config\ndata: {\"a\":1}\ndata: end\n\r\nevent:reset\ndata:\n\nid: 8\ndata: x\n";

fn frames(parser: &mut Parser) -> Vec<Frame> {
    std::iter::from_fn(|| parser.next_frame()).collect()
}

#[test]
fn events_comments_and_the_unfinished_rest_are_told_apart() {
    let mut parser = Parser::default();
    parser.push(STREAM.as_bytes());
    let expected = [
        Frame { id: Some("7".into()), event: "config".into(), data: "{\"a\":1}\nend".into() },
        Frame { id: None, event: "reset".into(), data: String::new() },
    ];
    assert_eq!(frames(&mut parser), expected);
    assert_eq!(parser.comments(), 1);
    parser.push(b"\n");
    assert_eq!(frames(&mut parser), [Frame { id: Some("8".into()), event: String::new(), data: "x".into() }]);
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    let mut whole = Parser::default();
    whole.push(STREAM.as_bytes());
    let whole = frames(&mut whole);
    for size in 1..STREAM.len() {
        let mut parser = Parser::default();
        for piece in STREAM.as_bytes().chunks(size) {
            parser.push(piece);
        }
        assert_eq!(frames(&mut parser), whole, "pieces of {size}");
    }
}
