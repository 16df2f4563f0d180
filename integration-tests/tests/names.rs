//! One rule for names on every door: what the namespace is called that everybody has, and what is no name at all.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_client::ConfigKey as ClientKey;
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::nacos::{CONFIGS, NAMESPACES, asked, posted};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::Session;
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Get, Key, Publish};
use callboard_protocol::key::{ConfigKey, namespace_of};
use reqwest::Method;
use serde_json::json;

/// What `public` is called.
const NAMES: [&str; 6] = ["public", "PUBLIC", "Public", "null", "NULL", "Null"];

fn rest(namespace: &str, group: &str, data_id: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/groups/{group}/configs/{data_id}")
}

fn session_key(namespace: &str, group: &str, data_id: &str) -> Option<Key> {
    Some(Key { namespace: namespace.to_owned(), group: group.to_owned(), data_id: data_id.to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespace_that_everybody_has_is_the_same_by_each_of_its_names_on_every_door() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut session = Session::open(node.session_address(), "names").await?;
    let mut grpc = Connection::of(Sdk::Java, node.grpc_address()).await?;
    for name in NAMES {
        let put = client.request(Method::PUT, &rest(name, "G", "a")).body(name.to_owned()).send().await?;
        assert_eq!(put.json()?["namespace"], "public", "{name}");
        for other in NAMES {
            assert_eq!(client.get_path(&rest(other, "G", "a")).send().await?.expect(200)?.text(), name, "{other}");
            let pairs = [("dataId", "a"), ("group", "G"), ("tenant", other)];
            assert_eq!(asked(&client, Method::GET, CONFIGS, &pairs).send().await?.expect(200)?.text(), name, "{other}");
            let got = session.ask(Kind::Get(Get { key: session_key(other, "G", "a") })).await?;
            assert!(matches!(&got, Kind::Config(config) if config.content == name), "{other}: {got:?}");
            let query = json!({ "dataId": "a", "group": "G", "tenant": other });
            assert_eq!(grpc.ask("ConfigQueryRequest", &query).await?.body["content"], name, "{other}");
        }
        let list = client.get_path(&format!("/api/v1/namespaces/{name}/configs")).send().await?.expect(200)?;
        assert_eq!(list.json()?["items"][0]["namespace"], "public", "{name}");
        let made = json!({ "id": name, "name": "mine" }).to_string();
        let made =
            client.request(Method::POST, "/api/v1/namespaces").header("Content-Type", "application/json").body(made);
        assert_eq!(made.send().await?.expect(409)?.code(), "namespace_exists", "{name}");
        let removed = client.request(Method::DELETE, &format!("/api/v1/namespaces/{name}")).send().await?;
        assert_eq!(removed.expect(409)?.code(), "namespace_protected", "{name}");
        let made = posted(&client, Method::POST, NAMESPACES, &[("customNamespaceId", name), ("namespaceName", "mine")]);
        assert_eq!(made.send().await?.expect(200)?.text(), "false", "{name}");
    }
    let all = client.get_path("/api/v1/namespaces").send().await?.expect(200)?.json()?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
    Ok(())
}

#[test]
fn the_client_follows_the_rule_of_the_nodes() {
    for name in ["", " ", "dev", "nullable", " x "].into_iter().chain(NAMES) {
        assert_eq!(ClientKey::new(name, "g", "d").namespace(), namespace_of(Some(name)), "{name:?}");
    }
    assert_eq!(ConfigKey::new("NULL", "g", "d").unwrap().namespace(), ClientKey::public("g", "d").namespace());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_path_leaves_out_are_refused_on_every_door() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut session = Session::open(node.session_address(), "names").await?;
    let mut grpc = Connection::of(Sdk::Java, node.grpc_address()).await?;
    for (group, data_id) in [(".", "a"), ("..", "a"), ("G", "."), ("G", "..")] {
        let pairs = [("dataId", data_id), ("group", group), ("content", "x")];
        let refused = posted(&client, Method::POST, CONFIGS, &pairs).send().await?.expect(400)?;
        assert!(refused.text().contains("illegal"), "{}", refused.text());
        let key = session_key("", group, data_id);
        let publish = Publish { key, content: "x".to_owned(), ..Publish::default() };
        assert_eq!(session.refused(Kind::Publish(publish)).await?.code, "invalid_name", "{group} {data_id}");
        let publish = json!({ "dataId": data_id, "group": group, "tenant": "", "content": "x" });
        assert!(!grpc.ask("ConfigPublishRequest", &publish).await?.is_good(), "{group} {data_id}");
    }
    // Written so that no client takes the dots for the place they stand for.
    let watch = client.get_path("/api/v1/watch?group=G&dataId=..").send().await?.expect(400)?;
    assert_eq!(watch.code(), "invalid_name");
    // Names may still begin so.
    client.request(Method::PUT, &rest("public", "G", ".env")).body("x").send().await?.expect(201)?;
    let list = client.get_path("/api/v1/namespaces/public/configs?prefix=.").send().await?.expect(200)?;
    assert_eq!(list.json()?["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}
