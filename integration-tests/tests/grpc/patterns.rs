//! Watching patterns: what matches is told in batches, then what comes and goes.

use std::time::Duration;

use anyhow::Result;
use callboard_integration_tests::grpc::{Connection, GROUP, Message, Sdk};
use callboard_integration_tests::node::{Node, NodeOptions};
use serde_json::{Value, json};

const QUIET: Duration = Duration::from_millis(300);

async fn next(connection: &mut Connection, class: &str) -> Result<Message> {
    let said = connection.next().await?;
    anyhow::ensure!(said.class == class, "{said:?}");
    connection.acknowledge(&said, &class.replace("Request", "Response")).await?;
    Ok(said)
}

fn watch(pattern: &str, is_first: bool, received: &[&str]) -> Value {
    json!({ "groupKeyPattern": pattern, "watchType": "WATCH", "initializing": is_first, "receivedGroupKeys": received })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_is_told_and_then_what_comes_and_goes() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    for number in 0..25 {
        connection.publish(&format!("app-{number}"), "x").await?;
    }
    connection.publish("other", "x").await?;
    let pattern = "public>>G>>app-*";
    let answer = connection.ask("ConfigFuzzyWatchRequest", &watch(pattern, true, &[])).await?;
    assert!(answer.class == "ConfigFuzzyWatchResponse" && answer.is_good(), "{answer:?}");
    let sync = "ConfigFuzzyWatchSyncRequest";
    let (mut names, mut batches) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let batch = next(&mut connection, sync).await?.body;
        assert_eq!((&batch["syncType"], &batch["totalBatch"]), (&json!("FUZZY_WATCH_INIT_NOTIFY"), &json!(2)));
        assert_eq!((&batch["groupKeyPattern"], &batch["module"]), (&json!(pattern), &json!("config")));
        batches.push(batch["currentBatch"].as_u64());
        names.extend(batch["contexts"].as_array().unwrap().iter().map(|context| {
            assert_eq!(context["changedType"], "ADD_CONFIG");
            context["groupKey"].as_str().unwrap().to_owned()
        }));
    }
    assert_eq!((names.len(), batches), (25, vec![Some(1), Some(2)]));
    assert!(names.contains(&"app-7+G+public".to_owned()), "{names:?}");
    let last = next(&mut connection, sync).await?.body;
    assert_eq!((&last["syncType"], &last["totalBatch"]), (&json!("FINISH_FUZZY_WATCH_INIT_NOTIFY"), &json!(0)));

    let change = "ConfigFuzzyWatchChangeNotifyRequest";
    connection.publish("app-new", "x").await?;
    let news = next(&mut connection, change).await?.body;
    assert_eq!((&news["groupKey"], &news["changeType"]), (&json!("app-new+G+public"), &json!("CONFIG_CHANGED")));
    connection.publish("app-new", "y").await?;
    connection.publish("elsewhere", "y").await?;
    assert_eq!(connection.within(QUIET).await?, None, "contents are not told");
    connection.ask("ConfigRemoveRequest", &json!({ "dataId": "app-new", "group": GROUP })).await?;
    assert_eq!(next(&mut connection, change).await?.body["changeType"], "DELETE_CONFIG");

    let cancel = json!({ "groupKeyPattern": pattern, "watchType": "CANCEL_WATCH" });
    assert!(connection.ask("ConfigFuzzyWatchRequest", &cancel).await?.is_good());
    connection.publish("app-later", "x").await?;
    assert_eq!(connection.within(QUIET).await?, None, "it is not watched any more");
    // Who comes again is told the difference.
    let known = ["app-0+G+public", "app-gone+G+public"];
    connection.publish("single", "x").await?;
    connection.ask("ConfigFuzzyWatchRequest", &watch("public>>*>>*gle", false, &known)).await?;
    let difference = next(&mut connection, sync).await?.body;
    assert_eq!(difference["syncType"], "FUZZY_WATCH_DIFF_SYNC_NOTIFY");
    assert_eq!(difference["contexts"], json!([{ "groupKey": "single+G+public", "changedType": "ADD_CONFIG" }]));
    assert_eq!(connection.within(QUIET).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_have_their_limits() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    for number in 0..20 {
        let answer =
            connection.ask("ConfigFuzzyWatchRequest", &watch(&format!("public>>G{number}>>*"), false, &[])).await?;
        assert!(answer.is_good(), "{answer:?}");
    }
    let refused = connection.ask("ConfigFuzzyWatchRequest", &watch("public>>more>>*", false, &[])).await?;
    assert_eq!(refused.refusal()?, 50_310);
    assert!(
        connection.ask("ConfigFuzzyWatchRequest", &watch("public>>G3>>*", false, &[])).await?.is_good(),
        "it is watched"
    );
    for number in 0..500 {
        connection.publish(&format!("many-{number}"), "x").await?;
    }
    let mut other = Connection::of(Sdk::Java, node.grpc_address()).await?;
    let refused = other.ask("ConfigFuzzyWatchRequest", &watch("public>>G>>many-*", false, &[])).await?;
    assert_eq!(refused.refusal()?, 50_311);
    other.publish("many-new", "x").await?;
    let mut said = other.next().await?;
    while said.class == "ConfigFuzzyWatchSyncRequest" {
        other.acknowledge(&said, "ConfigFuzzyWatchSyncResponse").await?;
        said = other.next().await?;
    }
    assert_eq!(
        (said.class.as_str(), &said.body["groupKey"]),
        ("ConfigFuzzyWatchChangeNotifyRequest", &json!("many-new+G+public"))
    );
    Ok(())
}
