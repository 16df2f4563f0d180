//! Answers and notices have what every SDK needs, and nothing that one of them can't bear.

use std::sync::Arc;

use callboard_actors::session::grpc::message::Fault;
use callboard_protocol::config::{Metadata as Besides, Version};
use callboard_protocol::gray::GrayRules;
use callboard_protocol::nacos::fuzzy::Sync;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::RequestId;

use super::*;
use crate::nacos::publish::in_words_of_nacos;

fn key() -> ConfigKey {
    ConfigKey::new("public", "g", "a").expect("it is a legal name")
}

fn body(payload: &Payload) -> (String, Value) {
    let class = payload.metadata.as_ref().expect("it has a class").r#type.clone();
    let body = payload.body.as_ref().expect("it has a body");
    (class, serde_json::from_slice(&body.value).expect("it is JSON"))
}

fn has_no_null(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().all(has_no_null),
        Value::Object(fields) => fields.values().all(has_no_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn found(age: Option<std::time::Duration>) -> (Found, Content) {
    let content = Content::new("x".to_owned().into()).expect("it is a content");
    let state = Arc::new(ConfigState {
        key: key(),
        version: Version(7),
        formal: Some(content.clone()),
        gray: GrayRules::default(),
        metadata: Besides::default(),
        created_at: WallMillis(1),
        modified_at: WallMillis(1_700_000_000_000),
    });
    (Found { state, content: Some(content.clone()), age }, content)
}

#[test]
fn every_answer_says_in_each_way_how_it_went() {
    let (fresh, content) = found(None);
    let named = [Named { data_id: "a".into(), group: "g".into(), tenant: "public".into() }];
    let good = [
        done("HealthCheckResponse", "r"),
        checked("r", "c"),
        queried("r", &fresh, &content),
        listened("r", &named, &[true]),
    ];
    for payload in &good {
        let (class, body) = body(payload);
        assert!(has_no_null(&body), "{class} {body}");
        assert_eq!((&body["resultCode"], &body["errorCode"], &body["success"]), (&json!(200), &json!(0), &json!(true)));
        assert_eq!((&body["message"], &body["requestId"]), (&json!(""), &json!("r")));
    }
    let faults: [ApiError; 6] = [
        Fault::Busy.into(),
        Fault::Failed("the database has no room left".to_owned()).into(),
        Fault::Leaving.into(),
        Fault::TooManyWatches(3).into(),
        ApiError::new(ErrorCode::NotFound, "config data not exist"),
        ApiError::new(ErrorCode::Unsupported, "tag is not supported"),
    ];
    for refusal in &faults {
        for class in ["ConfigQueryResponse", "ConfigPublishResponse", "ConfigChangeBatchListenResponse"] {
            let (_, body) = body(&refused(class, "r", refusal));
            assert!(has_no_null(&body) && body["errorCode"] != 0 && body["resultCode"] == 500, "{body}");
            assert_eq!(body["success"], false);
            assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
        }
    }
    let (_, missing) =
        body(&refused("ConfigQueryResponse", "r", &ApiError::new(ErrorCode::NotFound, "config data not exist")));
    assert_eq!(
        (&missing["errorCode"], &missing["beta"], &missing["lastModified"]),
        (&json!(300), &json!(false), &json!(0))
    );
}

#[test]
fn an_unknown_outcome_is_never_told_as_a_failure() {
    let id = RequestId::new("r-77").expect("it is an id");
    let (_, body) = body(&refused("ConfigPublishResponse", "r", &in_words_of_nacos(Fault::Unknown(id).into())));
    assert_eq!(body["errorCode"], 503);
    let message = body["message"].as_str().unwrap_or_default();
    assert!(message.contains("outcome unknown") && message.contains("r-77"), "{message}");
}

#[test]
fn what_may_be_old_says_so() {
    let (old, content) = found(Some(std::time::Duration::from_secs(12)));
    let (_, body) = body(&queried("r", &old, &content));
    assert_eq!((&body["resultCode"], &body["content"]), (&json!(200), &json!("x")));
    assert!(
        body["message"].as_str().is_some_and(|message| message.contains("stale") && message.contains("12 s")),
        "{body}"
    );
}

#[test]
fn every_notice_has_headers_a_number_and_a_module() {
    let sync = Sync { is_initial: true, keys: vec![(key(), true)], total: 1 };
    let finish = Sync { is_initial: true, keys: Vec::new(), total: 0 };
    let notices = [
        Notice::Ready(1),
        Notice::Detection(2),
        Notice::Changed { number: 3, key: key(), tenant: "public".into() },
        Notice::Matched { number: 4, key: key(), is_there: false },
        Notice::Sync { number: 5, pattern: "p".into(), part: Part::Batch(1), sync },
        Notice::Sync { number: 6, pattern: "p".into(), part: Part::Finish, sync: finish },
    ];
    let mut said = Vec::new();
    for (number, one) in (1..).zip(notices) {
        let (class, body) = body(&notice(one));
        assert!(class.ends_with("Request") && has_no_null(&body), "{class} {body}");
        assert_eq!((&body["headers"], &body["requestId"]), (&json!({}), &json!(number.to_string())));
        assert!(body["module"] == "config" || body["module"] == "internal");
        said.push(body);
    }
    assert_eq!(said[0]["abilityTable"]["fuzzyWatch"], true);
    assert_eq!((&said[4]["syncType"], &said[4]["currentBatch"]), (&json!("FUZZY_WATCH_INIT_NOTIFY"), &json!(1)));
    assert_eq!(said[4]["contexts"][0], json!({ "groupKey": "a+g+public", "changedType": "ADD_CONFIG" }));
    assert_eq!(said[5]["syncType"], "FINISH_FUZZY_WATCH_INIT_NOTIFY");
}
