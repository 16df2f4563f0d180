//! What SDKs send is read, whatever of it is missing; and no bytes do harm.

use callboard_protocol::config::ConfigType;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(body: serde_json::Value) -> Body {
    Body::read(body.to_string().as_bytes()).expect("it is a body")
}

fn from_nobody() -> Origin {
    origin(&Principal::Anonymous, "10.0.0.9")
}

fn published(body: Body) -> Result<WriteRequest, ApiError> {
    body.publish(from_nobody()).now_or_never().expect("a short content is looked through at once")
}

#[test]
fn everything_may_be_missing_or_null() {
    for body in
        [json!({}), json!({ "dataId": null, "group": null, "tenant": null, "tag": null, "labels": null, "x": [1] })]
    {
        let body = read(body);
        assert!(body.key().is_err() && body.tag().is_none());
        let (listens, contexts, named) = body.listens();
        assert!(listens && contexts.is_empty() && named.is_empty());
    }
    assert!(Body::read(b"").is_ok());
    assert!(Body::read(b"[]").is_err());
}

#[test]
fn a_publish_is_read_as_sdks_write_it() {
    let body = json!({
        "dataId": "a", "group": "", "tenant": "", "content": "x", "casMd5": "",
        "additionMap": { "type": "nonsense", "appName": "shop", "desc": "", "use": null, "tag": "", "betaIps": " ", "src_user": "jo" },
    });
    let unit = published(read(body)).expect("it is good");
    let item = unit.items.first().expect("one");
    assert_eq!((item.key.group(), item.key.namespace()), ("DEFAULT_GROUP", "public"));
    assert_eq!(item.condition, Condition::None);
    let Change::Put { edit, .. } = &item.change else { panic!("it publishes") };
    assert_eq!(
        (edit.kind, edit.application.as_deref(), &edit.description),
        (Some(ConfigType::Text), Some("shop"), &None)
    );
    assert_eq!(unit.origin.operator.as_deref(), Some("jo"));
    assert_eq!(unit.origin.source_address.as_deref(), Some("10.0.0.9"));
    let cas = published(read(json!({ "dataId": "a", "group": "g", "content": "x", "casMd5": "00" })));
    let condition = cas.expect("it is good").items.swap_remove(0).condition;
    assert_eq!(condition, Condition::NacosCas("00".to_owned()));
}

#[test]
fn what_a_client_holds_is_read() {
    let body = json!({ "configListenContexts": [
        { "dataId": "a", "group": "g" },
        { "dataId": "a", "group": "g", "md5": "", "tenant": "public" },
        { "dataId": "a", "group": "g", "md5": "d41d8cd98f00b204e9800998ecf8427e", "tenant": null },
        { "dataId": "a", "group": "g", "md5": "nonsense" },
        { "dataId": "a b", "group": "g" },
        {},
    ] });
    let (listens, contexts, named) = read(body).listens();
    assert!(listens);
    let reported: Vec<_> = contexts.iter().map(|listening| listening.reported).collect();
    let none = Reported::Content(None);
    assert_eq!(reported, [none, none, none, Reported::Other, none, none]);
    assert_eq!(contexts.iter().filter(|listening| listening.key.is_none()).count(), 2);
    assert_eq!(named.iter().map(|named| named.tenant.as_str()).collect::<Vec<_>>(), ["", "public", "", "", "", ""]);
    assert!(!read(json!({ "listen": false })).listens().0);
}

#[test]
fn a_number_is_as_good_as_its_digits() {
    let body = read(json!({ "requestId": 9, "dataId": 5, "group": 1.5, "tenant": null }));
    assert_eq!(body.request_id.as_deref(), Some("9"));
    assert_eq!(body.key(), Ok(ConfigKey::new("public", "1.5", "5").expect("it is a legal name")));
    for wrong in [json!({ "dataId": {} }), json!({ "dataId": [] }), json!({ "dataId": true })] {
        assert!(Body::read(wrong.to_string().as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn as_many_elements_are_read_as_a_request_may_hold() {
    let list = |name: &str, element: &str, many: usize| {
        format!(r#"{{"{name}":[{}{element}]}}"#, format!("{element},").repeat(many - 1))
    };
    let map = |name: &str, many: usize| {
        let entries: Vec<String> = (0..many).map(|number| format!(r#""{number}":null"#)).collect();
        format!(r#"{{"{name}":{{{}}}}}"#, entries.join(","))
    };
    let read = |text: String| Body::read(text.as_bytes());
    assert_eq!(read(list("configListenContexts", "{}", MAX_CONTEXTS)).expect("it may").listens().1.len(), MAX_CONTEXTS);
    for (most, bomb) in [
        (MAX_CONTEXTS, list("configListenContexts", "{}", 10_800_000)),
        (MAX_RECEIVED, list("receivedGroupKeys", "null", MAX_RECEIVED + 1)),
        (MAX_NAMED, map("labels", MAX_NAMED + 1)),
        (MAX_NAMED, map("additionMap", MAX_NAMED + 1)),
    ] {
        let refused = read(bomb).expect_err("it is too much").to_string();
        assert!(refused.starts_with(&format!("more than {most} elements")), "{refused}");
    }
    for known in
        [list("receivedGroupKeys", "null", MAX_RECEIVED), map("labels", MAX_NAMED), map("additionMap", MAX_NAMED)]
    {
        assert!(read(known).is_ok());
    }
}

#[test]
fn nothing_is_kept_of_what_nobody_asked_for_however_much_or_deep_it_is() {
    // In the place of a text a list is refused at its beginning, and not kept to be looked at.
    let refused = Body::read(br#"{"dataId":[[[0,"#).expect_err("it is no text").to_string();
    assert!(refused.starts_with("invalid type: sequence"), "{refused}");
    let deep =
        format!(r#"{{"abilityTable":{}{},"x":[{}0]}}"#, "[".repeat(100_000), "]".repeat(100_000), "0,".repeat(100_000));
    assert!(Body::read(deep.as_bytes()).is_ok());
}

#[test]
fn an_acknowledgement_is_known_by_its_number_and_its_code() {
    let stream_message = |class: &str, body: serde_json::Value| read(body).stream_message(class, "id", "10.0.0.9", "");
    let good = json!({ "requestId": "7", "resultCode": 200, "success": false });
    assert!(matches!(stream_message("NotifySubscriberResponse", good.clone()), StreamMessage::Acknowledged(7, true)));
    assert!(matches!(
        stream_message("AnythingResponse", json!({ "requestId": "7", "resultCode": 500 })),
        StreamMessage::Acknowledged(7, false)
    ));
    for (class, body) in [
        ("ConfigQueryRequest", good),
        ("XResponse", json!({ "requestId": "x", "resultCode": 200 })),
        ("XResponse", json!({ "requestId": "7" })),
        ("XResponse", json!({ "resultCode": 200 })),
    ] {
        assert!(matches!(stream_message(class, body), StreamMessage::Other), "{class}");
    }
}

#[test]
fn a_client_is_known_by_what_it_says_within_limits() {
    let setup = json!({
        "clientVersion": "Nacos-Go-Client:v2.3.5",
        "labels": { "AppName": "shop", "Vipserver-Tag": "blue", "zone": "a", "long": "x".repeat(100), "none": null },
        "abilityTable": {},
    });
    let StreamMessage::SetUp { client, wants_ready } =
        read(setup).stream_message("ConnectionSetupRequest", "id", "10.0.0.9", "10.1.2.3")
    else {
        panic!("it sets up")
    };
    assert!(wants_ready);
    assert_eq!((client.identity.address.as_str(), client.identity.application.as_deref()), ("10.1.2.3", Some("shop")));
    assert_eq!((client.identity.tag.as_deref(), client.software.as_str()), (Some("blue"), "Nacos-Go-Client:v2.3.5"));
    assert_eq!(client.identity.labels.len(), 3, "{:?}", client.identity.labels);
    assert!(client.clone().checked().is_ok());
    let StreamMessage::SetUp { client, wants_ready } =
        read(json!({ "abilityTable": null })).stream_message("ConnectionSetupRequest", "id", "10.0.0.9", "")
    else {
        panic!("it sets up")
    };
    assert!(!wants_ready && client.identity.address == "10.0.0.9");
}

/// Something like what clients send, with anything in any place.
fn anything() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        ".{0,20}".prop_map(serde_json::Value::from),
        "[a-zA-Z0-9>*+%]{0,20}".prop_map(serde_json::Value::from),
    ];
    let names = prop::sample::select(vec![
        "requestId",
        "dataId",
        "group",
        "tenant",
        "tag",
        "content",
        "casMd5",
        "additionMap",
        "listen",
        "configListenContexts",
        "groupKeyPattern",
        "watchType",
        "initializing",
        "receivedGroupKeys",
        "clientVersion",
        "labels",
        "abilityTable",
        "resultCode",
        "md5",
        "type",
        "betaIps",
    ]);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Does with a body whatever could be done with it.
fn try_all(bytes: &[u8]) {
    let body = || Body::read(bytes);
    if let Ok(read) = body() {
        drop(read.key());
        assert!(read.tag().is_none_or(|tag| !tag.trim().is_empty()), "what is blank is none");
    }
    drop(body().map(|body| published(body).is_ok()));
    drop(body().map(|body| body.remove(from_nobody()).is_ok()));
    drop(body().map(Body::listens));
    drop(body().map(|body| body.watching().is_ok()));
    for class in ["ConnectionSetupRequest", "ConfigChangeNotifyResponse", ""] {
        if let Ok(StreamMessage::SetUp { client, .. }) =
            body().map(|body| body.stream_message(class, "id", "10.0.0.9", "somewhere"))
        {
            assert!(client.checked().is_ok(), "what is kept of a client is within its options");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&bytes);
    }

    #[test]
    fn no_document_does_harm(document in anything()) {
        try_all(document.to_string().as_bytes());
    }
}
