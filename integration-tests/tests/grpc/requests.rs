//! What is asked and answered: reads, publishes, removals, and their refusals.

use anyhow::Result;
use callboard_integration_tests::grpc::{Connection, GROUP, Sdk, md5};
use callboard_integration_tests::nacos;
use callboard_integration_tests::node::{Node, NodeOptions};
use serde_json::{Value, json};

async fn connected() -> Result<(Node, Connection)> {
    let node = Node::start(NodeOptions::new()).await?;
    let connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    Ok((node, connection))
}

fn named(data_id: &str, more: &Value) -> Value {
    let mut body = json!({ "dataId": data_id, "group": GROUP, "requestId": "r-1" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_read_with_everything_that_some_sdk_needs() -> Result<()> {
    let (node, mut connection) = connected().await?;
    let addition = json!({
        "type": "yaml", "appName": "shop", "desc": "prices", "config_tags": "a,b", "src_user": "jo", "tag": "", "betaIps": "",
        "use": null, "encryptedDataKey": "key-1",
    });
    let body = named("full", &json!({ "content": "a: é\r\n\u{feff}", "casMd5": "", "additionMap": addition }));
    let published = connection.ask("ConfigPublishRequest", &body).await?;
    assert!(published.is_good(), "{published:?}");
    assert_eq!((&published.body["requestId"], &published.body["message"]), (&json!("r-1"), &json!("")));
    let read = connection.query("full").await?;
    assert!(read.is_good());
    assert_eq!(read.body["content"], "a: é\r\n\u{feff}");
    assert_eq!((&read.body["contentType"], &read.body["encryptedDataKey"]), (&json!("yaml"), &json!("key-1")));
    assert_eq!(read.body["md5"], md5("a: é\r\n\u{feff}"));
    assert!(read.body["lastModified"].as_i64().is_some_and(|at| at > 1_600_000_000_000));
    assert_eq!(read.body["beta"], false);
    assert!(read.body.get("tag").is_none(), "some SDKs take it for a truth value");
    assert!(read.body.as_object().unwrap().values().all(|value| !value.is_null()));
    // The same over HTTP.
    assert_eq!(nacos::get(&node.client(), "full").await?.text(), "a: é\r\n\u{feff}");
    let history = format!("/api/v1/namespaces/public/groups/{GROUP}/configs/full/history");
    let history: Value = node.client().get_path(&history).send().await?.expect(200)?.json()?;
    let entry = &history["items"][0];
    assert_eq!((&entry["channel"], &entry["operator"]), (&json!("grpc"), &json!("jo")), "{history}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_namespace_has_many_names() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    connection.publish("ns", "x").await?;
    for tenant in [json!(""), json!("public"), json!("PUBLIC"), json!("null"), Value::Null] {
        let read = connection.ask("ConfigQueryRequest", &named("ns", &json!({ "tenant": tenant }))).await?;
        assert_eq!(read.body["content"], "x", "{tenant}");
    }
    let other = connection.ask("ConfigQueryRequest", &named("ns", &json!({ "tenant": "dev" }))).await?;
    assert_eq!(other.refusal()?, 300);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_may_demand_what_is_there() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    let publish = async |connection: &mut Connection, content: &str, cas: &str| {
        let body = named("cas", &json!({ "content": content, "casMd5": cas }));
        connection.ask("ConfigPublishRequest", &body).await
    };
    assert!(publish(&mut connection, "one", &md5("whatever")).await?.is_good(), "what is missing is inserted");
    assert!(publish(&mut connection, "two", &md5("one")).await?.is_good());
    let refused = publish(&mut connection, "three", &md5("one")).await?;
    assert_eq!((refused.class.as_str(), refused.refusal()?), ("ConfigPublishResponse", 500));
    assert_eq!(refused.body["message"], "Cas publish fail, server md5 may have changed.");
    assert_eq!(connection.query("cas").await?.body["content"], "two");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_and_what_is_not_there_is_removed_too() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    connection.publish("gone", "x").await?;
    for _ in 0..2 {
        let removed = connection.ask("ConfigRemoveRequest", &named("gone", &json!({ "tag": null }))).await?;
        assert!(removed.class == "ConfigRemoveResponse" && removed.is_good(), "{removed:?}");
        assert_eq!(connection.query("gone").await?.refusal()?, 300);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong_in_the_class_that_was_asked_for() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    connection.publish("formal", "x").await?;
    let publish = "ConfigPublishRequest";
    let cases = [
        (publish, named("a b", &json!({ "content": "x" })), 500, "invalid dataId"),
        (publish, named("", &json!({ "content": "x" })), 500, "invalid dataId"),
        (publish, named("a", &json!({ "content": " \n" })), 500, "content is blank"),
        (publish, named("a", &json!({ "content": null })), 500, "content is blank"),
        (publish, named("a", &json!({ "content": "x", "tenant": "no/slash" })), 500, "invalid namespace"),
        (publish, named("a", &json!({ "content": "x", "additionMap": { "desc": "x".repeat(10_000) } })), 500, "desc"),
        (
            publish,
            named("formal", &json!({ "content": "gray", "additionMap": { "betaIps": "10.0.0.1" } })),
            501,
            "betaIps",
        ),
        (publish, named("formal", &json!({ "content": "gray", "additionMap": { "tag": "blue" } })), 501, "tag"),
        ("ConfigRemoveRequest", named("formal", &json!({ "tag": "blue" })), 501, "tag"),
        ("ConfigRemoveRequest", named("a b", &json!({})), 500, "invalid dataId"),
        ("ConfigQueryRequest", named("formal", &json!({ "tag": "blue" })), 300, "not exist"),
        ("ConfigQueryRequest", named("a b", &json!({})), 500, "invalid dataId"),
        ("ConfigFuzzyWatchRequest", json!({ "groupKeyPattern": "a", "watchType": "WATCH" }), 500, "pattern"),
        ("ConfigFuzzyWatchRequest", json!({ "groupKeyPattern": "a>>b>>c", "watchType": "STARE" }), 500, "watchType"),
    ];
    for (class, body, code, text) in cases {
        let refused = connection.ask(class, &body).await?;
        assert_eq!(refused.class, class.replace("Request", "Response"), "{body}");
        assert_eq!(refused.refusal()?, code, "{class} {body}: {refused:?}");
        assert!(refused.body["message"].as_str().unwrap().contains(text), "{class} {body}: {refused:?}");
    }
    assert_eq!(connection.query("formal").await?.body["content"], "x", "nothing was published as formal content");
    for class in ["MemberReportRequest", "", "x.y."] {
        let refused = connection.ask(class, &json!({})).await?;
        assert_eq!((refused.class.as_str(), refused.refusal()?), ("ErrorResponse", 302), "{class}");
    }
    let old = "com.alibaba.nacos.api.config.remote.request.ConfigQueryRequest";
    assert_eq!(connection.ask(old, &named("formal", &json!({}))).await?.body["content"], "x");
    assert!(connection.ask("PushAckRequest", &json!({ "success": true })).await?.is_good());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_is_refused_in_the_class_that_its_client_waits_for() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    let naming = "spring.cloud.nacos.discovery.enabled=false";
    for (class, answer, text) in [
        ("InstanceRequest", "InstanceResponse", naming),
        ("PersistentInstanceRequest", "InstanceResponse", naming),
        ("BatchInstanceRequest", "BatchInstanceResponse", naming),
        ("ServiceQueryRequest", "QueryServiceResponse", naming),
        ("ServiceListRequest", "ServiceListResponse", naming),
        ("SubscribeServiceRequest", "SubscribeServiceResponse", naming),
        ("NamingFuzzyWatchRequest", "NamingFuzzyWatchResponse", naming),
        ("LockOperationRequest", "LockOperationResponse", "locks"),
    ] {
        let body = json!({
            "namespace": "public", "serviceName": "a", "groupName": GROUP, "type": "registerInstance",
            "instance": { "ip": "10.0.0.1", "port": 8080 }, "lockInstance": { "key": "a" }, "headers": {}, "module": "naming",
        });
        let refused = connection.ask(class, &body).await?;
        assert_eq!((refused.class.as_str(), refused.refusal()?), (answer, 501), "{class}");
        assert!(refused.body["message"].as_str().unwrap().contains(text), "{refused:?}");
    }
    assert!(connection.ask("HealthCheckRequest", &json!({})).await?.is_good(), "the connection is as it was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_mebibytes_go_both_ways_and_more_is_refused() -> Result<()> {
    let (_node, mut connection) = connected().await?;
    // Every letter of it is written as two in JSON.
    let large = "\"".repeat(10 * 1024 * 1024);
    connection.publish("large", &large).await?;
    connection.compressed().publish("small", &"x".repeat(1024 * 1024)).await?;
    assert_eq!(connection.query("small").await?.body["md5"], md5(&"x".repeat(1024 * 1024)));
    let read = connection.query("large").await?;
    assert!(read.body["content"] == large.as_str(), "it comes back as it was");
    let body = named("large", &json!({ "content": "x".repeat(11 * 1024 * 1024) }));
    let refused = connection.ask("ConfigPublishRequest", &body).await?;
    assert_eq!(refused.refusal()?, 500);
    assert!(refused.body["message"].as_str().unwrap().contains("over 10485760"), "{:?}", refused.body["message"]);
    let refused = connection.ask_bytes("ConfigPublishRequest", &vec![b' '; 33 * 1024 * 1024]).await?;
    assert!(refused.is_err(), "no content is that long");
    assert!(connection.query("large").await?.is_good(), "the connection goes on");
    Ok(())
}
