//! The form of events, and what a watch selects.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use callboard_protocol::content::Content;
use callboard_protocol::key::ConfigKey;

use super::*;

fn state(content: Option<&'static str>) -> Frame {
    let key = ConfigKey::new("public", "g", "d").unwrap();
    let mut state = ConfigState::absent(key, Version(7));
    state.formal = content.map(|content| Content::new(Bytes::from_static(content.as_bytes())).unwrap());
    Frame::State { state: Arc::new(state), resume_after: Version(7) }
}

fn told(frame: &Frame) -> String {
    String::from_utf8(event(frame, &ClientIdentity::default()).to_vec()).unwrap()
}

#[test]
fn an_event_is_one_line_of_data_whatever_the_content() {
    let text = told(&state(Some("a\nb\r\n\u{2028}\"")));
    let data = text.strip_prefix("id: 7\nevent: config\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
    assert!(!data.contains(['\n', '\r']));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["content"], "a\nb\r\n\u{2028}\"");
    assert_eq!((&data["dataId"], &data["version"], &data["type"]), (&"d".into(), &7.into(), &"text".into()));
}

#[test]
fn a_removal_a_reset_and_a_heartbeat_have_their_own_forms() {
    let removed =
        "id: 7\nevent: removed\ndata: {\"namespace\":\"public\",\"group\":\"g\",\"dataId\":\"d\",\"version\":7}\n\n";
    assert_eq!(told(&state(None)), removed);
    assert_eq!(told(&Frame::Reset), "event: reset\ndata: {}\n\n");
    assert_eq!(told(&Frame::Heartbeat), ": ping\n\n");
}

#[test]
fn a_watch_names_one_configuration_or_a_prefix() {
    const KNOWN: [&str; 4] = ["namespace", "group", "dataId", "prefix"];
    let selected = |raw: &str| selector(&Query::parse(raw, &KNOWN).unwrap());
    let exact = Selector::exact("public", "g", ["d".to_owned()]).unwrap();
    assert_eq!(selected("group=g&dataId=d"), Ok(exact));
    assert_eq!(selected("namespace=n&prefix="), Ok(Selector::prefix("n", None, "").unwrap()));
    assert_eq!(selected("group=g&prefix=p"), Ok(Selector::prefix("public", Some("g"), "p").unwrap()));
    for refused in ["", "group=g", "dataId=d", "group=g&dataId=d&prefix=p", "dataId=d&prefix=p"] {
        assert_eq!(selected(refused).unwrap_err().code(), ErrorCode::InvalidParameter, "{refused}");
    }
    for refused in ["group=g&dataId=", "group=&dataId=d", "namespace=a.b&prefix=", "prefix=a/b"] {
        assert_eq!(selected(refused).unwrap_err().code(), ErrorCode::InvalidName, "{refused}");
    }
}
