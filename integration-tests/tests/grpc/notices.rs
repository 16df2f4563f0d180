//! Who is told what, and when: names as the client writes them, coalescing, acknowledgements that come late or never,
//! and what operators see of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::grpc::{Connection, GROUP, Sdk, md5};
use callboard_integration_tests::nacos;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use serde_json::{Value, json};

/// Long enough for a notice that should not come.
const QUIET: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn names_come_back_as_the_client_wrote_them() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut publisher = Connection::of(Sdk::Go, node.grpc_address()).await?;
    for (tenant, echoed) in [(json!(""), ""), (json!("public"), "public"), (Value::Null, "")] {
        let data_id = format!("echo-{tenant}").replace('"', "");
        publisher.publish(&data_id, "one").await?;
        let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
        let changed = connection.listen(&[(&data_id, "")], &tenant).await?;
        assert_eq!(changed, [json!({ "dataId": data_id, "group": GROUP, "tenant": echoed })]);
        assert!(connection.listen(&[(&data_id, &md5("one"))], &tenant).await?.is_empty());
        publisher.publish(&data_id, "two").await?;
        let notice = connection.noticed(Sdk::Java, &data_id).await?;
        assert_eq!((&notice.body["tenant"], &notice.body["module"]), (&json!(echoed), &json!("config")));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_exist_is_missing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    let changed =
        connection.listen(&[("a b", ""), ("missing", ""), ("c d", "00"), ("gone", &md5("x"))], &json!("")).await?;
    let names: Vec<_> = changed.iter().map(|changed| changed["dataId"].as_str().unwrap()).collect();
    assert_eq!(names, ["c d", "gone"]);
    // Go's SDK reports a removed configuration so, and would ask again and again.
    assert!(connection.listen(&[("gone", &md5("")), ("a b", &md5(""))], &json!("")).await?.is_empty());
    connection.publish("gone", "y").await?;
    connection.noticed(Sdk::Go, "gone").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_change_is_told_and_what_changes_nothing_is_not() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    connection.listen(&[("ways", "")], &json!("")).await?;
    nacos::publish(&node.client(), "ways", "one").await?;
    connection.noticed(Sdk::Go, "ways").await?;
    assert_eq!(connection.query("ways").await?.body["content"], "one");
    nacos::publish(&node.client(), "ways", "one").await?;
    assert_eq!(connection.within(QUIET).await?, None, "it is the same content");
    connection.ask("ConfigRemoveRequest", &json!({ "dataId": "ways", "group": GROUP })).await?;
    connection.noticed(Sdk::Go, "ways").await?;
    assert_eq!(connection.query("ways").await?.refusal()?, 300);
    let unlisten = json!({ "listen": false, "configListenContexts": [{ "dataId": "ways", "group": GROUP }] });
    let ended = connection.ask("ConfigBatchListenRequest", &unlisten).await?;
    assert!(ended.is_good() && ended.body["changedConfigs"] == json!([]), "{ended:?}");
    nacos::publish(&node.client(), "ways", "two").await?;
    assert_eq!(connection.within(QUIET).await?, None, "it does not listen any more");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_without_an_acknowledgement_is_repeated_and_newer_ones_take_its_place() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    connection.listen(&[("slow", "")], &json!("")).await?;
    let began = Instant::now();
    connection.publish("slow", "1").await?;
    let first = connection.next().await?;
    for number in 2..10 {
        connection.publish("slow", &number.to_string()).await?;
    }
    assert_eq!(connection.within(QUIET).await?, None, "one notice of a configuration is under way at a time");
    let second = connection.next().await?;
    assert!(began.elapsed() >= Duration::from_secs(3), "it had time to acknowledge: {:?}", began.elapsed());
    assert_ne!(first.body["requestId"], second.body["requestId"]);
    connection.acknowledge(&second, "ConfigChangeNotifyResponse").await?;
    connection.acknowledge(&first, "ConfigChangeNotifyResponse").await?;
    assert_eq!(connection.query("slow").await?.body["content"], "9");
    assert_eq!(connection.within(Duration::from_secs(3)).await?, None, "all is known");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_acknowledges_stays_connected() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    connection.listen(&[("deaf", "")], &json!("")).await?;
    connection.publish("deaf", "1").await?;
    // The first notice, and those that repeat it after three seconds of patience and growing pauses.
    for _ in 0..3 {
        assert_eq!(connection.next().await?.class, "ConfigChangeNotifyRequest");
    }
    let counts = node.client().get_path("/metrics").send().await?.expect(200)?;
    assert!(counts.text().contains("callboard_grpc_notices_total{step=\"repeated\"} 2"), "{}", counts.text());
    assert!(connection.ask("HealthCheckRequest", &json!({})).await?.is_good());
    assert_eq!(connection.query("deaf").await?.body["content"], "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_overtaken_by_a_change_is_made_good() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::of(Sdk::Python, node.grpc_address()).await?;
    connection.publish("race", "1").await?;
    connection.listen(&[("race", &md5("1"))], &json!("")).await?;
    assert_eq!(connection.query("race").await?.body["content"], "1");
    nacos::publish(&node.client(), "race", "2").await?;
    // The SDK takes the notice in, and forgets it because the answer to its question is still on its way.
    connection.noticed(Sdk::Python, "race").await?;
    let noticed = Instant::now();
    let again = connection.next().await.context("it is told again")?;
    assert!(noticed.elapsed() < Duration::from_secs(2), "{:?}", noticed.elapsed());
    assert_eq!(again.class, "ConfigChangeNotifyRequest");
    connection.acknowledge(&again, "NotifySubscriberResponse").await?;
    assert_eq!(connection.query("race").await?.body["content"], "2");
    assert_eq!(connection.within(Duration::from_secs(5)).await?, None, "now it knows");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_configurations_are_compared_within_a_second() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut publisher = Connection::of(Sdk::Rust, node.grpc_address()).await?;
    for number in 0..3_000 {
        publisher.publish(&format!("many-{number}"), "x").await?;
    }
    // So that nothing is in memory.
    node.terminate().await?;
    node.start_again().await?;
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    let names: Vec<String> = (0..3_000).map(|number| format!("many-{number}")).collect();
    let digest = md5("x");
    let held: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), digest.as_str())).collect();
    let began = Instant::now();
    assert!(connection.listen(&held, &json!("")).await?.is_empty());
    let took = began.elapsed();
    println!("3,000 configurations that were not in memory were compared in {took:.0?}");
    assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 }), "{took:?}");
    connection.publish("many-1234", "y").await?;
    connection.noticed(Sdk::Java, "many-1234").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_may_be_listened_to_as_the_settings_say() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("grpc-max-listens", "3")).await?;
    let mut connection = Connection::of(Sdk::Go, node.grpc_address()).await?;
    connection.listen(&[("a", ""), ("b", ""), ("a", "")], &json!("")).await?;
    let contexts = ["c", "d"].map(|data_id| json!({ "dataId": data_id, "group": GROUP }));
    let refused = connection.ask("ConfigBatchListenRequest", &json!({ "configListenContexts": contexts })).await?;
    assert_eq!((refused.class.as_str(), refused.refusal()?), ("ConfigChangeBatchListenResponse", 503));
    assert!(refused.body["message"].as_str().unwrap().contains('3') && refused.body["changedConfigs"] == json!([]));
    connection.listen(&[("c", "")], &json!("")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_listens_and_who_has_what() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut connection = Connection::of(Sdk::Java, node.grpc_address()).await?;
    connection.listen(&[("seen", "")], &json!("")).await?;
    let mut silent = Connection::of(Sdk::Go, node.grpc_address()).await?;
    silent.listen(&[("seen", "")], &json!("")).await?;
    let found: Value =
        client.get_path("/api/v1/clients?kind=grpc&dataId=seen&group=G").send().await?.expect(200)?.json()?;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(2), "{found}");
    let java = found["items"].as_array().unwrap().iter().find(|seen| seen["software"] == "Nacos-Java-Client:v2.5.1");
    let java = java.context("the software is shown")?;
    assert_eq!((&java["application"], &java["address"]), (&json!("shop"), &json!("10.1.2.3")), "{java}");

    connection.publish("seen", "x").await?;
    let state = async |wanted: [u64; 4]| {
        let path = format!("/api/v1/namespaces/public/groups/{GROUP}/configs/seen/pushes");
        poll::until("the account", poll::SOON, async || {
            let pushes: Value = client.get_path(&path).send().await?.expect(200)?.json()?;
            let counts =
                ["pending", "sent", "received", "applied"].map(|state| pushes["counts"][state].as_u64().unwrap_or(0));
            Ok((counts == wanted).then_some(pushes))
        })
        .await
        .with_context(|| format!("{wanted:?}"))
    };
    state([0, 2, 0, 0]).await?;
    let mut told = silent.next().await?;
    connection.noticed(Sdk::Java, "seen").await?;
    state([0, 1, 1, 0]).await?;
    connection.query("seen").await?;
    connection.listen(&[("seen", &md5("x"))], &json!("")).await?;
    let pushes = state([0, 1, 0, 1]).await?;
    assert_eq!(pushes["complete"], true, "{pushes}");
    while told.class != "ConfigChangeNotifyRequest" {
        told = silent.next().await?;
    }
    let metrics = client.get_path("/metrics").send().await?.expect(200)?;
    for line in [
        "callboard_grpc_connections{sdk=\"java\",version=\"2.5.1\"} 1",
        "callboard_grpc_connections{sdk=\"go\",version=\"2.3.5\"} 1",
        "callboard_grpc_requests_total{type=\"ConfigBatchListenRequest\"} 3",
        "callboard_grpc_notices_total{step=\"acknowledged\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{line}\n{}", metrics.text());
    }
    drop(connection);
    poll::until("it is gone", poll::SOON, async || {
        let metrics = client.get_path("/metrics").send().await?.expect(200)?;
        Ok((!metrics.text().contains("sdk=\"java\"")).then_some(()))
    })
    .await
}
