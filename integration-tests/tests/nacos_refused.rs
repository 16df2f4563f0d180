//! Bad input on the routes of Nacos: a 4xx with a text, never a 5xx, never a dropped connection.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use anyhow::Result;
use callboard_integration_tests::client::{Answer, Client};
use callboard_integration_tests::nacos::{CONFIGS, LISTENER, asked, get, poll, posted, publish, record};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::raw::Connection;
use reqwest::Method;

const MEBIBYTE: usize = 1024 * 1024;

#[track_caller]
fn refused(answer: &Answer, text: &str, what: &str) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert!(answer.text().contains(text), "{what}: {}", answer.text());
    assert_eq!(answer.header("Content-Type"), "text/plain;charset=UTF-8", "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_contents_that_break_their_rule_are_refused_and_nothing_is_stored() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let whole = [("dataId", "a"), ("group", "G"), ("content", "x"), ("tenant", "")];
    let long = |length| "x".repeat(length);
    for (name, value, text) in [
        ("dataId", "a/b".to_owned(), "Param 'dataId' is illegal, illegal characters should not appear in the param."),
        ("dataId", "名".to_owned(), "Param 'dataId' is illegal, illegal"),
        ("dataId", "a*".to_owned(), "Param 'dataId' is illegal, illegal"),
        ("dataId", "a\0b".to_owned(), "Param 'dataId' is illegal, illegal"),
        ("dataId", long(257), "Param 'dataId' is illegal, the param length should not exceed 256."),
        ("dataId", String::new(), "caused: invalid dataId : ;"),
        ("group", "a b".to_owned(), "Param 'group' is illegal, illegal"),
        ("group", long(129), "Param 'group' is illegal, the param length should not exceed 128."),
        ("group", " ".to_owned(), "caused: invalid group : ;"),
        ("tenant", "a.b".to_owned(), "Param 'namespaceId/tenant' is illegal, illegal"),
        ("tenant", long(65), "Param 'namespaceId/tenant' is illegal, the param length should not exceed 64."),
        ("content", String::new(), "caused: content is blank : ;"),
        ("content", " \r\n".to_owned(), "caused: content is blank : ;"),
        ("content", long(10 * MEBIBYTE + 1), "caused: invalid content, over 10485760;"),
    ] {
        let pairs = whole.map(|(given, old)| (given, if given == name { value.as_str() } else { old }));
        let shown: String = value.chars().take(20).collect();
        refused(&posted(&client, Method::POST, CONFIGS, &pairs).send().await?, text, &format!("{name}={shown:?}"));
    }
    for absent in ["dataId", "group", "content"] {
        let pairs: Vec<_> = whole.into_iter().filter(|(name, _)| *name != absent).collect();
        let text =
            format!("caused: Required request parameter '{absent}' for method parameter type String is not present;");
        refused(&posted(&client, Method::POST, CONFIGS, &pairs).send().await?, &text, absent);
        if absent != "content" {
            refused(&asked(&client, Method::GET, CONFIGS, &pairs).send().await?, &text, absent);
            refused(&asked(&client, Method::DELETE, CONFIGS, &pairs).send().await?, &text, absent);
        }
    }
    for (name, value) in [
        ("config_tags", "a,b,c,d,e,f".to_owned()),
        ("config_tags", long(65)),
        ("desc", long(129)),
        ("use", long(33)),
        ("effect", long(33)),
        ("schema", long(32_769)),
        ("appName", "a\0".to_owned()),
        ("src_user", long(129)),
        ("encryptedDataKey", "a\r\nX: y".to_owned()),
    ] {
        let mut pairs = whole.to_vec();
        pairs.push((name, &value));
        refused(&posted(&client, Method::POST, CONFIGS, &pairs).send().await?, "caused: ", name);
    }
    get(&client, "a").await?.expect(404)?;
    let at_most = [("dataId", "a"), ("group", "G"), ("content", &long(10 * MEBIBYTE))];
    posted(&client, Method::POST, CONFIGS, &at_most).send().await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_are_not_percent_encoded_utf8_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for query in
        ["dataId=%zz&group=G", "dataId=%ff%fe&group=G", "dataId=a&group=%", &"&".repeat(500), "dataId[]=1&group=x"]
    {
        let answer = client.get_path(&format!("{CONFIGS}?{query}")).send().await?;
        refused(&answer, "caused: ", query);
    }
    for body in [
        &b"dataId=a&group=G&content=\xff\xfe"[..],
        b"dataId=a&group=G&content=%ff%fe",
        b"dataId=a&group=G&content=%c3%28",
    ] {
        refused(&client.request(Method::POST, CONFIGS).body(body).send().await?, "caused: ", "not UTF-8");
    }
    let json =
        client.request(Method::POST, CONFIGS).header("Content-Type", "application/json").body("{\"dataId\":\"a\"}");
    refused(&json.send().await?, "'dataId'", "JSON");
    refused(&client.request(Method::POST, CONFIGS).body("a&".repeat(20_000)).send().await?, "parameters", "many");
    get(&client, "a").await?.expect(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_are_no_list_of_records_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let many = record("a", "G", "", None).repeat(10_001);
    let probe = "caused: invalid probeModify;";
    for (value, text) in [
        ("", probe),
        (" ", probe),
        ("\u{1}", probe),
        ("\u{2}", probe),
        ("garbage", probe),
        ("a\u{2}G", probe),
        ("a\u{2}G\u{1}", probe),
        ("a\u{2}G\u{2}\u{2}dev\u{2}more\u{1}", probe),
        ("a\u{2}G\u{2}\u{2}dev\u{2}\u{1}", probe),
        (&many, probe),
        ("\u{2}G\u{2}\u{1}", "caused: invalid dataId : ;"),
        ("a\u{2}\u{2}\u{1}", "caused: invalid group : ;"),
        ("a/b\u{2}G\u{2}\u{1}", "Param 'dataId' is illegal"),
        ("名\u{2}G\u{2}\u{1}", "Param 'dataId' is illegal"),
        ("a\u{2}G\u{2}\u{2}a.b\u{1}", "Param 'namespaceId/tenant' is illegal"),
    ] {
        let shown: String = value.chars().take(20).collect();
        refused(&poll(&client, value, "10000").send().await?, text, &format!("{shown:?}"));
    }
    let absent = posted(&client, Method::POST, LISTENER, &[("x", "y")]).header("Long-Pulling-Timeout", "10000");
    refused(&absent.send().await?, probe, "no records");
    publish(&client, "a", "x").await?;
    let most = record("a", "G", "", None).repeat(10_000);
    let answer = poll(&client, &most, "10000").send().await?.expect(200)?;
    assert!(answer.text() == "a%02G%01".repeat(10_000) + "\n", "{} bytes", answer.body.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_decide_something_and_are_not_understood_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let records = record("a", "G", "0123456789abcdef0123456789abcdef", None);
    for value in ["abc", "1e9", "99999999999999999999", ""] {
        refused(&poll(&client, &records, value).send().await?, "caused: For input string:", value);
    }
    publish(&client, "a", "one").await?;
    let body = "dataId=a&group=G&content=two";
    let length = body.len();
    for (method, path, header) in [
        ("POST", CONFIGS, &b"casMd5: \xff\xfe"[..]),
        ("POST", CONFIGS, "betaIps: １".as_bytes()),
        ("DELETE", CONFIGS, b"betaIps: \xff"),
        ("POST", LISTENER, "Long-Pulling-Timeout: ３０秒".as_bytes()),
        ("POST", LISTENER, b"Long-Pulling-Timeout: \xff"),
        ("POST", LISTENER, b"Long-Pulling-Timeout: 1\r\nLong-Pulling-Timeout-No-Hangup: \xff"),
    ] {
        let body = if path == LISTENER { "Listening-Configs=a%02G%02%01".to_owned() } else { body.to_owned() };
        let length = if path == LISTENER { body.len() } else { length };
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n");
        let mut bytes = std::mem::take(&mut request).into_bytes();
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(body.as_bytes());
        let mut connection = Connection::open(node.address()).await?;
        connection.send(&bytes).await?;
        let answer = connection.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("caused: "), "{header:?}: {answer}");
    }
    // Labels of the client decide nothing.
    let mut connection = Connection::open(node.address()).await?;
    let head = format!("GET {CONFIGS}?dataId=a&group=G HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
    connection.send(head.as_bytes()).await?;
    connection.send(b"Client-AppName: \xff\r\nVipserver-Tag: \xff\r\nX-Forwarded-For: \xff\r\n\r\n").await?;
    let answer = connection.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_out_of_range_are_refused_and_patterns_of_other_characters_find_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "x").await?;
    for (name, value) in [
        ("pageNo", "0"),
        ("pageNo", "-1"),
        ("pageNo", "abc"),
        ("pageNo", "99999999999999999999"),
        ("pageNo", "9223372036854775807"),
        ("pageSize", "0"),
        ("pageSize", "-1"),
        ("pageSize", "abc"),
        ("pageSize", "4294967296"),
        ("appName", "\0"),
        ("config_tags", "\0"),
    ] {
        for mode in ["accurate", "blur"] {
            let pairs = [("search", mode), (name, value)];
            refused(&asked(&client, Method::GET, CONFIGS, &pairs).send().await?, "", &format!("{mode} {name}={value}"));
        }
    }
    for (name, value) in [("dataId", "%"), ("dataId", "';--"), ("group", "[a-"), ("dataId", "名 前"), ("dataId", "a\0")]
    {
        let accurate = [("search", "accurate"), (name, value)];
        refused(&asked(&client, Method::GET, CONFIGS, &accurate).send().await?, "illegal", value);
        // It need not be a name, and no name is like it.
        let blur = [("search", "blur"), (name, value), ("pageSize", "7")];
        let found = asked(&client, Method::GET, CONFIGS, &blur).send().await?.expect(200)?.json()?;
        assert_eq!(
            found,
            serde_json::json!({ "totalCount": 0, "pageNumber": 1, "pagesAvailable": 0, "pageItems": [] }),
            "{name}={value}"
        );
    }
    let past = [("search", "accurate"), ("pageNo", "4294967295"), ("pageSize", "500")];
    let past = asked(&client, Method::GET, CONFIGS, &past).send().await?.expect(200)?.json()?;
    assert_eq!((&past["totalCount"], &past["pageItems"]), (&1.into(), &serde_json::json!([])));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there_are_told_in_the_words_of_nacos() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for (method, path, status) in [
        (Method::GET, "/nacos/v1/cs/nope", 404),
        (Method::GET, "/nacos/v9", 404),
        (Method::GET, LISTENER, 405),
        (Method::PATCH, CONFIGS, 405),
        (Method::PUT, CONFIGS, 405),
    ] {
        let answer = client.request(method, path).send().await?.expect(status)?;
        let document = answer.json()?;
        assert_eq!((&document["status"], &document["path"]), (&status.into(), &path.into()));
        assert!(document["timestamp"].as_str().unwrap().ends_with("+00:00"), "{document}");
    }
    Ok(())
}

/// Sends a request whose body never seems to end and reads what the node says to it.
async fn endless(node: &Node, head: &str, piece: &[u8]) -> Result<u16> {
    let mut connection = Connection::open(node.address()).await?;
    connection.send(head.as_bytes()).await?;
    for _ in 0..100 {
        if connection.send(piece).await.is_err() {
            break;
        }
    }
    connection.status().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_a_hundred_mebibytes_are_refused_with_an_answer() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client: Client = node.client();
    let length = 100 * MEBIBYTE;
    let plain = vec![b'x'; MEBIBYTE];
    let chunk = [format!("{MEBIBYTE:x}\r\n").as_bytes(), &plain, b"\r\n"].concat();
    for path in [CONFIGS, LISTENER] {
        for kind in ["", "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: application/json\r\n"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{kind}Content-Length: {length}\r\n\r\n");
            let status = endless(&node, &head, &plain).await?;
            assert!((400..500).contains(&status), "{path} {kind}: {status}");
            let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{kind}Transfer-Encoding: chunked\r\n\r\n");
            let status = endless(&node, &head, &chunk).await?;
            assert!((400..500).contains(&status), "{path} {kind} in chunks: {status}");
        }
    }
    get(&client, "a").await?.expect(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_more_than_a_statement_holds_is_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let many: Vec<String> = (0..1_000).map(|number| format!("t{number}")).collect();
    let (many, long) = (many.join(","), format!("{}*", "x*".repeat(5_000)));
    let some = [("dataId", "a"), ("group", "G"), ("content", "x"), ("config_tags", many.as_str())];
    posted(&client, Method::POST, CONFIGS, &some).send().await?.expect(400)?;
    let native = format!("/api/v1/namespaces/public/groups/G/configs/a?tags={many}");
    client.request(Method::PUT, &native).body("x").send().await?.expect(400)?;
    for (name, value, status) in [
        ("config_tags", many.as_str(), 400),
        ("appName", long.as_str(), 400),
        ("types", many.as_str(), 400),
        ("config_tags", "t1,t2,,t1", 200),
        ("appName", "*", 200),
    ] {
        let pairs =
            [("search", "blur"), ("dataId", ""), ("group", ""), ("pageNo", "1"), ("pageSize", "10"), (name, value)];
        let answer = asked(&client, Method::GET, CONFIGS, &pairs).send().await?;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    let log = std::fs::read_to_string(node.log())?;
    assert!(!log.contains("ERROR"), "{}", node.log_tail());
    Ok(())
}
