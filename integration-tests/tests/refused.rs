//! Bad input on every route: a 4xx with a reason, never a 5xx, never a dropped connection.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::client::{Answer, Client, path};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::raw::Connection;
use callboard_protocol::content::MAX_CONTENT;
use callboard_protocol::key::ConfigKey;
use reqwest::Method;
use serde_json::json;

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "app", data_id).unwrap()
}

/// Checks that `answer` is a problem as RFC 9457 wants it, with this status and one of these codes.
#[track_caller]
fn refused(answer: &Answer, status: u16, codes: &[&str], what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("Content-Type"), "application/problem+json", "{what}");
    let problem = answer.json().unwrap();
    let code = problem["code"].as_str().unwrap_or_default();
    assert!(codes.contains(&code), "{what}: {problem}");
    assert_eq!(problem["type"], format!("urn:callboard:problem:{code}"), "{what}");
    assert_eq!(problem["status"], status, "{what}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: no {member} in {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn illegal_names_are_refused_by_every_method() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let long = |length| "n".repeat(length);
    let names = [
        ("public", "app", "a%00b".to_owned()),
        ("public", "app", "a%2Fb".to_owned()),
        ("public", "app", "a%20b".to_owned()),
        ("public", "app", "%20".to_owned()),
        ("public", "app", "a%0Ab".to_owned()),
        ("public", "app", "%F0%9F%98%80".to_owned()),
        ("public", "app", "%FF".to_owned()),
        ("public", "app", "a*b".to_owned()),
        ("public", "app", long(257)),
        ("public", "a%00b", "d".to_owned()),
        ("public", "a,b", "d".to_owned()),
        ("public", &long(129), "d".to_owned()),
        ("a.b", "app", "d".to_owned()),
        ("a:b", "app", "d".to_owned()),
        ("%00", "app", "d".to_owned()),
        (&long(65), "app", "d".to_owned()),
    ];
    for (namespace, group, data_id) in names {
        let path = format!("/api/v1/namespaces/{namespace}/groups/{group}/configs/{data_id}");
        let codes = ["invalid_name"];
        refused(&client.get_path(&path).send().await?, 400, &codes, &format!("GET {path}"));
        refused(
            &client.get_path(&format!("{path}/history")).send().await?,
            400,
            &codes,
            &format!("GET {path}/history"),
        );
        let put = client.request(Method::PUT, &path).body("x").send().await?;
        refused(&put, 400, &codes, &format!("PUT {path}"));
        refused(&client.request(Method::DELETE, &path).send().await?, 400, &codes, &format!("DELETE {path}"));
    }
    for path in ["/api/v1/namespaces//groups/g/configs/d", "/api/v1/namespaces/public/groups/g/configs/"] {
        let answer = client.get_path(path).send().await?;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_empty_blank_binary_or_too_long_is_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for bad in [&b""[..], b" \r\n\t ", b"\xff\xfe", b"ok \xc3\x28"] {
        let answer = client.put(&key("a"), bad).send().await?;
        refused(&answer, 400, &["invalid_content"], &format!("{bad:?}"));
    }
    let answer = client.put(&key("a"), vec![b'x'; MAX_CONTENT + 1]).send().await?;
    refused(&answer, 413, &["too_large"], "one byte too long");
    client.get(&key("a")).send().await?.expect(404)?;
    client.put(&key("a"), vec![b'x'; MAX_CONTENT]).send().await?.expect(201)?;
    assert_eq!(client.get(&key("a")).send().await?.expect(200)?.body.len(), MAX_CONTENT);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types_and_types_that_are_no_configuration_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let image = client.put(&key("a"), "x").header("Content-Type", "image/png").send().await?;
    refused(&image, 415, &["unsupported_type"], "image/png");
    let latin = client.put(&key("a"), "x").header("Content-Type", "text/plain; charset=iso-8859-1").send().await?;
    refused(&latin, 415, &["unsupported_type"], "another charset");
    let garbled = client.put(&key("a"), "x").header("Content-Type", "no type at all").send().await?;
    assert!(matches!(garbled.status, 400 | 415), "{}", garbled.status);
    let unknown = client.put(&key("a"), "x").query("type", "exe").send().await?;
    refused(&unknown, 400, &["invalid_parameter"], "type=exe");
    let plain = client.request(Method::POST, "/api/v1/namespaces").header("Content-Type", "text/plain").body("{}");
    refused(&plain.send().await?, 415, &["unsupported_type"], "a namespace as text");
    client.get(&key("a")).send().await?.expect(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_outside_their_rules_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    client.put(&key("a"), "x").send().await?.expect(201)?;
    let config = path(&key("a"));
    let list = "/api/v1/namespaces/public/configs";
    let bad = [
        (Method::GET, format!("{config}?surprise=1")),
        (Method::PUT, format!("{config}?surprise=1")),
        (Method::DELETE, format!("{config}?surprise=1")),
        (Method::GET, format!("{list}?surprise=1")),
        (Method::GET, format!("{config}/history?surprise=1")),
        (Method::GET, "/api/v1/watch?namespace=public&group=g&dataId=d&surprise=1".to_owned()),
        (Method::GET, format!("{list}?limit=0")),
        (Method::GET, format!("{list}?limit=501")),
        (Method::GET, format!("{list}?limit=many")),
        (Method::GET, format!("{list}?limit=-1")),
        (Method::GET, format!("{config}/history?limit=0")),
        (Method::GET, format!("{config}/history?limit=501")),
        (Method::GET, format!("{config}/history?before=x")),
        (Method::GET, format!("{config}/history?before=99999999999999999999999")),
        (Method::PUT, format!("{config}?tags=a,b,c,d,e,f")),
        (Method::PUT, format!("{config}?description=a%00b")),
        (Method::PUT, format!("{config}?note=a%00b")),
        (Method::PUT, format!("{config}?description={}", "d".repeat(129))),
        (Method::PUT, format!("{config}?application={}", "d".repeat(129))),
    ];
    for (method, path) in bad {
        let answer = client.request(method.clone(), &path).body("y").send().await?;
        refused(&answer, 400, &["invalid_parameter"], &format!("{method} {path}"));
    }
    assert_eq!(client.get(&key("a")).send().await?.text(), "x");
    let not_a_number = client.get_path(&format!("{config}/history/newest")).send().await?;
    assert!(matches!(not_a_number.status, 400 | 404), "{}", not_a_number.status);
    for query in [
        "",
        "?namespace=public",
        "?group=g&dataId=a%00b",
        "?group=g&dataId=d&prefix=p",
        "?dataId=d",
        "?namespace=%00&prefix=p",
    ] {
        let answer = client.get_path(&format!("/api/v1/watch{query}")).send().await?;
        refused(&answer, 400, &["invalid_parameter", "invalid_name"], &format!("watch{query}"));
    }
    for id in ["x", "-1", "1.5"] {
        let answer = client.get_path("/api/v1/watch?group=g&dataId=d").header("Last-Event-ID", id).send().await?;
        assert_eq!(answer.status, 400, "Last-Event-ID: {id}");
    }
    for cursor in ["x", "%00", "bm90IGEgY3Vyc29y", "%FF"] {
        let answer = client.get_path(&format!("{list}?cursor={cursor}")).send().await?;
        refused(&answer, 400, &["invalid_cursor", "invalid_parameter"], &format!("cursor={cursor}"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_waits_that_make_no_sense_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    client.put(&key("a"), "x").send().await?.expect(201)?;
    for condition in ["abc", "\"abc\"", "\"v\"", "\"vx\"", "\"v-1\"", "\"", "", "v1", "\"v99999999999999999999999\""] {
        let what = format!("If-Match: {condition}");
        let put = client.put(&key("a"), "y").header("If-Match", condition).send().await?;
        refused(&put, 400, &["invalid_condition"], &what);
        let delete = client.delete(&key("a")).header("If-Match", condition).send().await?;
        refused(&delete, 400, &["invalid_condition"], &what);
        let get = client.get(&key("a")).header("If-None-Match", condition).send().await?;
        refused(&get, 400, &["invalid_condition"], &format!("If-None-Match: {condition}"));
    }
    let put = client.put(&key("a"), "y").header("If-None-Match", "\"v1\"").send().await?;
    refused(&put, 400, &["invalid_condition"], "a publish unless at a version");
    let tag = "\"v1\"";
    let senseless = [
        client.put(&key("a"), "y").header("If-Match", "*").header("If-None-Match", "*"),
        client.put(&key("a"), "y").header("If-Match", "W/\"v1\""),
        client.delete(&key("a")).header("If-None-Match", tag),
        client.get(&key("a")).header("If-Match", tag),
    ];
    for request in senseless {
        let what = format!("{request:?}");
        refused(&request.send().await?, 400, &["invalid_condition"], &what);
    }
    for wait in ["61s", "soon", "-1s", "", "1h"] {
        let answer = client.get(&key("a")).query("wait", wait).header("If-None-Match", "\"v0\"").send().await?;
        refused(&answer, 400, &["invalid_parameter"], &format!("wait={wait}"));
    }
    let blind = client.get(&key("a")).query("wait", "1s").send().await?;
    refused(&blind, 400, &["invalid_parameter", "invalid_condition"], "wait without If-None-Match");
    for name in ["", &"k".repeat(5_000)] {
        let answer = client.put(&key("a"), "y").header("Idempotency-Key", name).send().await?;
        assert_eq!(answer.status, 400, "an Idempotency-Key of {} bytes", name.len());
    }
    assert_eq!(client.get(&key("a")).send().await?.text(), "x");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_that_are_no_json_or_break_a_rule_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let post = |body: &'static str| {
        client.request(Method::POST, "/api/v1/namespaces").header("Content-Type", "application/json").body(body)
    };
    for body in ["", "{", "[]", "null", "{\"id\":1}", "{\"id\":\"dev\"}", "\u{1}"] {
        let answer = post(body).send().await?;
        refused(&answer, 400, &["malformed_request", "invalid_parameter"], body);
    }
    let illegal = client.request(Method::POST, "/api/v1/namespaces").json(&json!({"id": "a/b", "name": "n"}));
    refused(&illegal.send().await?, 400, &["invalid_name"], "a/b");
    let nul = client.request(Method::POST, "/api/v1/namespaces").json(&json!({"id": "dev", "name": "a\u{0}b"}));
    assert_eq!(nul.send().await?.status, 400);
    let edit = client.request(Method::PUT, "/api/v1/namespaces/a.b").json(&json!({"name": "n"}));
    refused(&edit.send().await?, 400, &["invalid_name"], "a.b");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_are_404_and_wrong_methods_405_with_what_is_allowed() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for path in ["/", "/nothing", "/api", "/api/v1", "/api/v2/namespaces", "/api/v1/namespaces/public/groups/g"] {
        refused(&client.get_path(path).send().await?, 404, &["no_such_route"], path);
    }
    let wrong = [
        (Method::POST, path(&key("a")), "PUT"),
        (Method::PATCH, path(&key("a")), "PUT"),
        (Method::DELETE, "/api/v1/namespaces".to_owned(), "POST"),
        (Method::POST, "/api/v1/namespaces/public/configs".to_owned(), "GET"),
        (Method::POST, "/api/v1/watch".to_owned(), "GET"),
        (Method::PUT, "/api/v1/actors".to_owned(), "GET"),
        (Method::DELETE, "/healthz".to_owned(), "GET"),
    ];
    for (method, path, allowed) in wrong {
        let what = format!("{method} {path}");
        let answer = client.request(method, &path).send().await?;
        refused(&answer, 405, &["method_not_allowed"], &what);
        assert!(answer.header("Allow").contains(allowed), "{what}: Allow: {}", answer.header("Allow"));
    }
    refused(&client.get_path("/api/v1/actors/nobody").send().await?, 404, &["not_found"], "an unknown actor");
    Ok(())
}

async fn absent(client: &Client, data_id: &str) -> Result<()> {
    client.get(&key(data_id)).send().await?.expect(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_short_is_400_and_stores_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut connection = Connection::open(node.address()).await?;
    let head = format!("PUT {} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this", path(&key("cut")));
    connection.send(head.as_bytes()).await?;
    connection.finish_sending().await?;
    assert_eq!(connection.status().await?, 400);
    absent(&node.client(), "cut").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_dawdles_is_408_and_stores_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("http-body-timeout", "200ms")).await?;
    let mut connection = Connection::open(node.address()).await?;
    let head = format!("PUT {} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this", path(&key("slow")));
    connection.send(head.as_bytes()).await?;
    assert_eq!(connection.status().await?, 408);
    absent(&node.client(), "slow").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_dawdles_is_408() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("http-read-timeout", "200ms")).await?;
    let mut connection = Connection::open(node.address()).await?;
    connection.send(b"GET /healthz HTTP/1.1\r\nHost:").await?;
    assert_eq!(connection.status().await?, 408);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_no_http_is_answered_4xx_and_the_node_goes_on() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(300_000));
    let garbled = [
        "GARBAGE\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        &huge,
    ];
    for head in garbled {
        let mut connection = Connection::open(node.address()).await?;
        connection.send(head.as_bytes()).await?;
        let status = connection.status().await?;
        assert!((400..500).contains(&status), "{status} for {:?}", head.chars().take(40).collect::<String>());
    }
    node.client().get_path("/healthz").send().await?.expect(200)?;
    Ok(())
}
