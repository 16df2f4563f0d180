//! Every route of the native API with good input: statuses, bodies and headers as documented.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::client::{Answer, Client, path};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use reqwest::Method;
use serde_json::{Value, json};

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

/// Publishes and gives the answer's JSON, after checking that its headers say the same.
async fn publish(client: &Client, key: &ConfigKey, content: &str) -> Result<Value> {
    checked(client.put(key, content.to_owned()).send().await?)
}

#[track_caller]
fn checked(answer: Answer) -> Result<Value> {
    assert!(matches!(answer.status, 200 | 201), "{}: {}", answer.status, answer.text());
    let body = answer.json()?;
    assert_eq!(body["version"].as_u64(), answer.version());
    assert_eq!(body["effect"] == "created", answer.status == 201, "{body}");
    if body["effect"] != "removed" {
        assert_eq!(body["md5"].as_str().map(|md5| format!("\"{md5}\"")).as_deref(), Some(answer.header("ETag")));
    }
    Ok(body)
}

fn version(body: &Value) -> u64 {
    body["version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_reads_back_byte_for_byte_with_its_headers() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let content = "port: 8080\r\nname: \u{00e4}\u{1f600}\n\n";
    let put =
        client.put(&key("app.yaml"), content).query("type", "yaml").query("description", "the app").send().await?;
    assert_eq!(put.status, 201);
    let body = checked(put)?;
    let named =
        json!({"namespace": "public", "group": "app", "dataId": "app.yaml", "effect": "created", "replayed": false});
    for (member, value) in named.as_object().unwrap() {
        assert_eq!(&body[member], value, "{body}");
    }
    assert_eq!(body["md5"], Md5::of(content.as_bytes()).hex());

    let get = client.get(&key("app.yaml")).send().await?.expect(200)?;
    assert_eq!(get.body, content.as_bytes());
    assert_eq!(get.md5(), Some(Md5::of(content.as_bytes())));
    assert_eq!(get.version(), body["version"].as_u64());
    assert_eq!(get.header("X-Callboard-Type"), "yaml");
    assert!(get.header("Content-Type").contains("yaml"), "{:?}", get.headers);
    assert!(get.header("Last-Modified").ends_with("GMT"), "{:?}", get.headers);

    let head = client.request(Method::HEAD, &path(&key("app.yaml"))).send().await?.expect(200)?;
    assert!(head.body.is_empty());
    for header in ["ETag", "X-Callboard-Version", "X-Callboard-Type", "Content-Type", "Last-Modified"] {
        assert_eq!(head.header(header), get.header(header), "{header}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_changes_nothing_and_other_metadata_does() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, &key("a"), "x").await?;
    let again = publish(&client, &key("a"), "x").await?;
    assert_eq!((version(&again), &again["effect"]), (version(&first), &json!("unchanged")));
    let described = checked(client.put(&key("a"), "x").query("description", "new").send().await?)?;
    assert_eq!(described["effect"], "updated");
    assert!(version(&described) > version(&first));
    assert_eq!(client.whole_history(&key("a")).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_comes_from_query_or_content_type_and_is_kept_when_nobody_says() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let kind = async |name: &str| -> Result<String> {
        let answer = client.get(&key(name)).send().await?.expect(200)?;
        Ok(answer.header("X-Callboard-Type").to_owned())
    };
    client.put(&key("plain"), "a").send().await?.expect(201)?;
    assert_eq!(kind("plain").await?, "text");
    client.put(&key("j"), "{}").header("Content-Type", "application/json").send().await?.expect(201)?;
    assert_eq!(kind("j").await?, "json");
    let default_of_curl = "application/x-www-form-urlencoded";
    client.put(&key("j"), "{ }").header("Content-Type", default_of_curl).send().await?.expect(200)?;
    assert_eq!(kind("j").await?, "json");
    client.put(&key("j"), "a=1").query("type", "properties").send().await?.expect(200)?;
    assert_eq!(kind("j").await?, "properties");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_the_client_has_is_304() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let body = publish(&client, &key("a"), "x").await?;
    let (md5, version) = (body["md5"].as_str().unwrap(), version(&body));
    let have = [
        format!("\"{md5}\""),
        format!("\"v{version}\""),
        format!("\"{}\", \"{md5}\"", Md5::of(b"other")),
        "*".to_owned(),
    ];
    for condition in have {
        let answer = client.get(&key("a")).header("If-None-Match", &condition).send().await?.expect(304)?;
        assert!(answer.body.is_empty());
        assert_eq!((answer.header("ETag"), answer.version()), (format!("\"{md5}\"").as_str(), Some(version)));
    }
    for condition in [format!("\"{}\"", Md5::of(b"other")), format!("\"v{}\"", version + 1)] {
        client.get(&key("a")).header("If-None-Match", &condition).send().await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_set_takes_the_present_state_only() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, &key("a"), "one").await?;
    let one = format!("\"{}\"", first["md5"].as_str().unwrap());
    let second = checked(client.put(&key("a"), "two").header("If-Match", &one).send().await?)?;
    for stale in [one, format!("\"v{}\"", version(&first))] {
        let refused = client.put(&key("a"), "three").header("If-Match", &stale).send().await?.expect(412)?;
        assert_eq!(refused.code(), "condition_failed");
        let problem = refused.json()?;
        assert_eq!((&problem["version"], &problem["md5"]), (&second["version"], &second["md5"]));
    }
    let present = format!("\"v{}\"", version(&second));
    checked(client.put(&key("a"), "three").header("If-Match", &present).send().await?)?;
    checked(client.put(&key("a"), "four").header("If-Match", "*").send().await?)?;
    client.put(&key("b"), "x").header("If-Match", "*").send().await?.expect(412)?;
    assert_eq!(client.get(&key("b")).send().await?.expect(404)?.version(), Some(0));

    client.put(&key("b"), "x").header("If-None-Match", "*").send().await?.expect(201)?;
    client.put(&key("b"), "y").header("If-None-Match", "*").send().await?.expect(412)?;
    assert_eq!(client.get(&key("b")).send().await?.text(), "x");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_configuration_is_absent_under_the_version_of_its_removal() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let never = client.get(&key("a")).send().await?.expect(404)?;
    assert_eq!((never.code().as_str(), never.version()), ("not_found", Some(0)));
    let first = publish(&client, &key("a"), "x").await?;
    let other = format!("\"{}\"", Md5::of(b"other"));
    client.delete(&key("a")).header("If-Match", &other).send().await?.expect(412)?;
    let present = format!("\"v{}\"", version(&first));
    let removed =
        client.delete(&key("a")).query("note", "gone").header("If-Match", &present).send().await?.expect(200)?;
    let removed = checked(removed)?;
    assert_eq!((&removed["effect"], &removed["md5"]), (&json!("removed"), &Value::Null));
    assert!(version(&removed) > version(&first));
    let gone = client.get(&key("a")).send().await?.expect(404)?;
    assert_eq!((gone.code().as_str(), gone.version()), ("not_found", removed["version"].as_u64()));
    client.delete(&key("a")).send().await?.expect(404)?;
    client.delete(&key("a")).header("If-Match", "*").send().await?.expect(412)?;
    let back = publish(&client, &key("a"), "x").await?;
    assert_eq!(back["effect"], "created");
    assert!(version(&back) > version(&removed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_gives_the_first_result_again() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let put = |content: &'static str, name: &str| client.put(&key("a"), content).header("Idempotency-Key", name);
    let first = checked(put("one", "k1").send().await?)?;
    publish(&client, &key("a"), "two").await?;
    let again = put("one", "k1").send().await?;
    let again = again.json()?;
    assert_eq!((version(&again), &again["replayed"]), (version(&first), &json!(true)), "{again}");
    assert_eq!(client.get(&key("a")).send().await?.text(), "two");
    let reused = put("three", "k1").send().await?.expect(422)?;
    assert_eq!(reused.code(), "idempotency_key_reused");
    client.put(&key("b"), "one").header("Idempotency-Key", "k1").send().await?.expect(422)?;

    let delete = || client.delete(&key("a")).header("Idempotency-Key", "k2");
    let removed = checked(delete().send().await?)?;
    publish(&client, &key("a"), "four").await?;
    let again = delete().send().await?.expect(200)?.json()?;
    assert_eq!((version(&again), &again["replayed"]), (version(&removed), &json!(true)), "{again}");
    assert_eq!(client.get(&key("a")).send().await?.text(), "four");
    Ok(())
}

async fn listed(client: &Client, query: &[(&str, &str)]) -> Result<Vec<String>> {
    let request = query.iter().fold(client.list("public"), |request, (name, value)| request.query(name, value));
    let page = request.send().await?.expect(200)?.json()?;
    let name = |item: &Value| format!("{}/{}", item["group"].as_str().unwrap(), item["dataId"].as_str().unwrap());
    Ok(page["items"].as_array().unwrap().iter().map(name).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_and_page_without_gap_or_repetition() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for data_id in ["db.url", "db.user", "db.password", "web.port", "web.host"] {
        publish(&client, &key(data_id), data_id).await?;
    }
    publish(&client, &ConfigKey::new("public", "other", "db.url")?, "x").await?;
    publish(&client, &ConfigKey::new("elsewhere", "app", "db.url")?, "x").await?;
    let whole = listed(&client, &[]).await?;
    assert_eq!(whole.len(), 6, "{whole:?}");
    assert_eq!(listed(&client, &[("group", "app"), ("prefix", "db.")]).await?.len(), 3);
    assert_eq!(listed(&client, &[("q", "web")]).await?.len(), 2);

    let mut paged = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = client.list("public").query("limit", "2");
        let request = if let Some(cursor) = &cursor { request.query("cursor", cursor) } else { request };
        let page = request.send().await?.expect(200)?.json()?;
        assert!(page["items"].as_array().unwrap().len() <= 2);
        paged.extend(page["items"].as_array().unwrap().clone());
        // A key that appears before the cursor must not shift what follows.
        publish(&client, &key("aaa"), &format!("{}", paged.len())).await?;
        let Some(next) = page["next"].as_str() else { break };
        cursor = Some(next.to_owned());
    }
    let names: Vec<String> = paged
        .iter()
        .map(|item| format!("{}/{}", item["group"].as_str().unwrap(), item["dataId"].as_str().unwrap()))
        .collect();
    assert_eq!(names, whole);
    let members = [
        "namespace",
        "group",
        "dataId",
        "version",
        "md5",
        "type",
        "description",
        "tags",
        "application",
        "size",
        "createdAt",
        "modifiedAt",
    ];
    for member in members {
        assert!(paged[0].get(member).is_some(), "{member} is missing in {}", paged[0]);
    }
    assert!(paged[0]["modifiedAt"].as_str().unwrap().ends_with('Z'));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_every_change_newest_first() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = publish(&client, &key("a"), "one").await?;
    let noted = client.put(&key("a"), "two").query("note", "why").query("application", "shop").query("tags", "b,a");
    let second = checked(noted.send().await?)?;
    let removed = checked(client.delete(&key("a")).send().await?)?;
    let rows = client.whole_history(&key("a")).await?;
    let told: Vec<(u64, &str)> = rows.iter().map(|row| (version(row), row["operation"].as_str().unwrap())).collect();
    assert_eq!(told, [(version(&removed), "remove"), (version(&second), "update"), (version(&first), "create")]);
    assert_eq!((&rows[1]["note"], &rows[1]["application"]), (&json!("why"), &json!("shop")));
    assert_eq!(rows[1]["tags"], json!(["a", "b"]));
    let members = [
        "version",
        "operation",
        "md5",
        "type",
        "description",
        "tags",
        "application",
        "size",
        "operator",
        "sourceAddress",
        "clientId",
        "channel",
        "note",
        "requestId",
        "at",
    ];
    for member in members {
        assert!(rows[0].get(member).is_some(), "{member} is missing in {}", rows[0]);
    }

    let page = client.history(&key("a")).query("limit", "2").send().await?.expect(200)?.json()?;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let before = page["next"].as_u64().unwrap();
    let page = client.history(&key("a")).query("before", &before.to_string()).send().await?.expect(200)?.json()?;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (1, &Value::Null));

    let row = async |version: u64| client.get_path(&format!("{}/history/{version}", path(&key("a")))).send().await;
    assert_eq!(row(version(&first)).await?.expect(200)?.json()?["content"], "one");
    assert_eq!(row(version(&removed)).await?.expect(200)?.json()?["content"], Value::Null);
    assert_eq!(row(version(&removed) + 100).await?.expect(404)?.code(), "not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_made_edited_counted_and_removed_when_empty() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let all = "/api/v1/namespaces";
    let one = |id: &str| format!("{all}/{id}");
    let create = |body: Value| client.request(Method::POST, all).json(&body);
    let made =
        create(json!({"id": "dev", "name": "Development", "description": "d"})).send().await?.expect(201)?.json()?;
    assert_eq!((&made["id"], &made["name"], &made["description"]), (&json!("dev"), &json!("Development"), &json!("d")));
    assert_eq!(create(json!({"id": "dev", "name": "again"})).send().await?.expect(409)?.code(), "namespace_exists");
    let unnamed = create(json!({"name": "Test", "description": ""})).send().await?.expect(201)?.json()?;
    assert!(uuid::Uuid::try_parse(unnamed["id"].as_str().unwrap()).is_ok(), "{unnamed}");

    publish(&client, &ConfigKey::new("dev", "g", "d")?, "x").await?;
    let items = client.get_path(all).send().await?.expect(200)?.json()?["items"].clone();
    assert_eq!(items[0]["id"], "public");
    let dev = items.as_array().unwrap().iter().find(|item| item["id"] == "dev").unwrap();
    assert_eq!(dev["configs"], 1);

    let edit = json!({"name": "Dev", "description": "new"});
    let edited = client.request(Method::PUT, &one("dev")).json(&edit).send().await?.expect(200)?.json()?;
    assert_eq!(edited["name"], "Dev");
    client.request(Method::PUT, &one("absent")).json(&edit).send().await?.expect(404)?;

    let remove = async |id: &str| client.request(Method::DELETE, &one(id)).send().await;
    assert_eq!(remove("dev").await?.expect(409)?.code(), "namespace_in_use");
    assert_eq!(remove("public").await?.expect(409)?.code(), "namespace_protected");
    client.delete(&ConfigKey::new("dev", "g", "d")?).send().await?.expect(200)?;
    assert_eq!(remove("dev").await?.expect(200)?.json()?["id"], "dev");
    assert_eq!(remove("dev").await?.expect(404)?.code(), "not_found");
    Ok(())
}
