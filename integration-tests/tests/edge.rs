//! The edge of HTTP, whatever the route: HEAD and OPTIONS, clients of HTTP/1.0, long request lines, and the pages of
//! other hosts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use callboard_integration_tests::nacos::{CONFIGS, LISTENER, NAMESPACES, form, publish};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::raw::Connection;
use serde_json::Value;

const KEY: &str = "/api/v1/namespaces/public/groups/G/configs/a";

/// An answer as it came over the wire.
#[derive(Debug)]
struct Came {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Came> {
    let mut connection = Connection::open(address).await?;
    let mut lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    if !headers.iter().any(|(name, _)| *name == "Host") {
        lines.push_str(&format!("Host: {address}\r\n"));
    }
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    connection.send(format!("{head}{body}").as_bytes()).await?;
    parse(&connection.rest().await?).with_context(|| format!("{method} {path}"))
}

fn parse(text: &str) -> Result<Came> {
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer: {text}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Came { status, headers, body: body.to_owned() })
}

/// What can be got: every native route, and some of Nacos's.
async fn readable(node: &Node) -> Result<Vec<String>> {
    let document = node.client().get_path("/openapi.json").send().await?.expect(200)?.json()?;
    let paths = document["paths"].as_object().context("no paths")?;
    let mut readable: Vec<String> = paths
        .iter()
        .filter(|(_, operations)| operations.get("get").is_some())
        .map(|(path, operations)| {
            assert!(operations.get("head").is_some(), "{path}");
            let parts = [("{namespace}", "public"), ("{group}", "G"), ("{dataId}", "a"), ("{version}", "1")];
            parts.iter().fold(path.clone(), |path, (part, value)| path.replace(part, value))
        })
        .collect();
    assert!(readable.len() > 10);
    readable.extend([
        format!("{CONFIGS}?dataId=a&group=G"),
        format!("{CONFIGS}?dataId=none&group=G"),
        NAMESPACES.to_owned(),
        "/nacos/v1/console/health/readiness".to_owned(),
        "/nacos/v1/core/cluster/nodes".to_owned(),
    ]);
    Ok(readable)
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_without_a_body() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    publish(&node.client(), "a", "one").await?;
    for path in readable(&node).await? {
        let head = ask(node.address(), "HEAD", &path, &[], "").await?;
        let got = ask(node.address(), "GET", &path, &[], "").await?;
        assert_eq!((head.status, head.body.as_str()), (got.status, ""), "{path}");
        let names = |came: &Came| came.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&head), names(&got), "{path}");
        for name in ["content-type", "etag", "x-callboard-version", "content-md5"] {
            assert_eq!(head.headers.get(name), got.headers.get(name), "{path}: {name}");
        }
    }
    // A stream would never end.
    let head = ask(node.address(), "HEAD", "/api/v1/watch?prefix=", &[], "").await?;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers["content-type"], "text/event-stream");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn options_says_what_a_path_takes() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    for path in readable(&node).await? {
        let options = ask(node.address(), "OPTIONS", &path, &[], "").await?;
        assert_eq!((options.status, options.body.as_str()), (204, ""), "{path}");
        let allow = &options.headers["allow"];
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(allow.split(", ").any(|allowed| allowed == method), "{path}: {allow}");
        }
        let refused = ask(node.address(), "PATCH", &path, &[], "").await?;
        assert_eq!((refused.status, &refused.headers["allow"]), (405, allow), "{path}");
    }
    let options = ask(node.address(), "OPTIONS", KEY, &[], "").await?;
    assert_eq!(options.headers["allow"], "GET, HEAD, PUT, DELETE, OPTIONS");
    let options = ask(node.address(), "OPTIONS", LISTENER, &[], "").await?;
    assert_eq!(options.headers["allow"], "POST, OPTIONS");
    assert_eq!(ask(node.address(), "OPTIONS", "/none", &[], "").await?.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_a_stream_up_to_the_end_of_the_connection() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    publish(&node.client(), "a", "one").await?;
    for line in ["", "Connection: keep-alive\r\n"] {
        let mut connection = Connection::open(node.address()).await?;
        connection.send(format!("GET {KEY} HTTP/1.0\r\n{line}\r\n").as_bytes()).await?;
        assert_eq!(connection.status().await?, 200);
    }
    let mut connection = Connection::open(node.address()).await?;
    connection.send(b"GET /api/v1/watch?group=G&prefix= HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await?;
    callboard_integration_tests::metrics::until_held(&node.client(), 1).await?;
    node.terminate().await?;
    let came = parse(&connection.rest().await?)?;
    assert_eq!(came.status, 200);
    assert!(!came.headers.contains_key("transfer-encoding"), "{came:?}");
    assert!(came.headers.get("connection").is_none_or(|value| value == "close"), "{came:?}");
    assert!(came.body.starts_with("id: ") || came.body.starts_with(": watching"), "{came:?}");
    Ok(())
}

/// How a request to publish begins that has its content in its line.
fn long_line(data_id: &str, content: &str) -> String {
    let query = form(&[("dataId", data_id), ("group", "G"), ("content", content)]);
    format!("POST {CONFIGS}?{query} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lines_publish_however_they_come_and_nobody_gets_what_another_sent() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let long = "x".repeat(100 * 1024);
    // Cut within its first word, after a blank line, and behind a request that was not answered yet.
    let mut connection = Connection::open(node.address()).await?;
    let line = long_line("cut", &long);
    connection.send(&line.as_bytes()[..7]).await?;
    tokio::task::yield_now().await;
    connection.send(&line.as_bytes()[7..]).await?;
    assert_eq!(connection.status().await?, 200);
    let last = format!("GET {CONFIGS}?dataId=cut&group=G HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let pipelined = ["\r\n".to_owned(), long_line("one", &long), long_line("two", &long), last];
    connection.send(pipelined.concat().as_bytes()).await?;
    let answers = connection.rest().await?;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{}", answers.chars().take(900).collect::<String>());
    for data_id in ["cut", "one", "two"] {
        let got = callboard_integration_tests::nacos::get(&node.client(), data_id).await?;
        assert_eq!(got.expect(200)?.text(), long, "{data_id}");
    }
    // The first is refused before its query is looked at, and the second names what stands in place of a query.
    let mut connection = Connection::open(node.address()).await?;
    let foreign = long_line("stolen", &long).replace("Host: h", "Host: evil.example");
    let thief = format!(
        "POST {CONFIGS}?query-is-beside-the-connection HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    connection.send(format!("{foreign}{thief}").as_bytes()).await?;
    let answers = connection.rest().await?;
    assert!(answers.contains("HTTP/1.1 421") && answers.contains("HTTP/1.1 400"), "{answers}");
    assert_eq!(callboard_integration_tests::nacos::get(&node.client(), "stolen").await?.status, 404);
    Ok(())
}

const CROSS: (&str, &str) = ("Sec-Fetch-Site", "cross-site");
const EVIL: (&str, &str) = ("Origin", "https://evil.example");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_hosts_change_nothing_on_any_door() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let content = form(&[("dataId", "a"), ("group", "G"), ("content", "x")]);
    let namespace = form(&[("customNamespaceId", "evil"), ("namespaceName", "evil")]);
    let doors = [
        ("PUT", KEY, "x"),
        ("DELETE", KEY, ""),
        ("POST", "/api/v1/namespaces", "{\"id\":\"evil\",\"name\":\"evil\"}"),
        ("POST", "/api/v1/cluster/drain", ""),
        ("GET", "/api/v1/session", ""),
        ("POST", CONFIGS, content.as_str()),
        ("POST", NAMESPACES, namespace.as_str()),
    ];
    for (method, path, body) in doors {
        for page in [vec![EVIL], vec![CROSS], vec![EVIL, CROSS], vec![("Sec-Fetch-Site", "same-site")]] {
            let headers = [page.clone(), vec![FORM]].concat();
            let came = ask(node.address(), method, path, &headers, body).await?;
            assert_eq!(came.status, 403, "{method} {path} {page:?}");
            if path.starts_with("/api") {
                assert_eq!(serde_json::from_str::<Value>(&came.body)?["code"], "foreign_origin");
            }
        }
    }
    assert_eq!(ask(node.address(), "GET", KEY, &[EVIL, CROSS], "").await?.status, 404, "nothing was published");
    let host = node.address().to_string();
    let own = format!("http://{host}");
    for page in [vec![], vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")]] {
        let headers = [page.clone(), vec![FORM]].concat();
        let came = ask(node.address(), "POST", CONFIGS, &headers, &content).await?;
        assert_eq!((came.status, came.body.as_str()), (200, "true"), "{page:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_bound_to_this_address_from_outside_is_not_served() -> Result<()> {
    let node = Node::start(NodeOptions::new().flag("http-allowed-hosts", "board.example, other.example")).await?;
    let evil = [("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")];
    for (method, path) in [("GET", KEY), ("PUT", KEY), ("HEAD", "/healthz"), ("GET", CONFIGS), ("GET", "/metrics")] {
        let came = ask(node.address(), method, path, &evil, "").await?;
        assert_eq!(came.status, 421, "{method} {path}");
    }
    let whole = format!("http://evil.example{KEY}");
    assert_eq!(ask(node.address(), "GET", &whole, &[], "").await?.status, 421, "by the target alone");
    for host in ["localhost:8848", "127.0.0.1", "[::1]:8848", "board.example", "OTHER.example:80", "machine"] {
        assert_eq!(ask(node.address(), "GET", "/healthz", &[("Host", host)], "").await?.status, 200, "{host}");
    }
    // The page of a host that is named may change something behind whatever stands in between.
    let page = [("Origin", "https://board.example"), ("Sec-Fetch-Site", "same-site")];
    assert_eq!(ask(node.address(), "PUT", KEY, &page, "x").await?.status, 201);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_reach_the_node_any_name_is_served_and_foreign_pages_still_change_nothing() -> Result<()> {
    let setup = NodeOptions::new().serve_on("0.0.0.0:0".parse()?).variable("CALLBOARD_INSECURE_NO_AUTH", "true");
    let node = Node::start(setup).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], node.address().port()));
    let host = ("Host", "board.example");
    assert_eq!(ask(address, "GET", "/healthz", &[host], "").await?.status, 200);
    assert_eq!(ask(address, "PUT", KEY, &[host, EVIL], "x").await?.status, 403);
    assert_eq!(ask(address, "PUT", KEY, &[host, ("Origin", "https://board.example")], "x").await?.status, 201);
    Ok(())
}
