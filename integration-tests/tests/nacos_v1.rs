//! What the HTTP SDKs of Nacos were seen to do, one test for each habit. P is the Python SDK, N the one for Node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::client::Client;
use callboard_integration_tests::metrics::until_held;
use callboard_integration_tests::nacos::{
    CONFIGS, LISTENER, NAMESPACES, asked, form, get, poll, posted, publish, record,
};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll::{SOON, until as poll_until};
use callboard_integration_tests::raw::Connection;
use callboard_protocol::content::Md5;
use reqwest::Method;
use serde_json::json;

fn md5(content: &str) -> String {
    Md5::of(content.as_bytes()).hex()
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_everything_may_come_in_the_query_with_an_empty_body_up_to_a_mebibyte() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for length in [6 * 1024, 60 * 1024, 200 * 1024, 1024 * 1024] {
        let content = format!("{}\n值 + % &", "x".repeat(length));
        let target = format!("{CONFIGS}?{}", form(&[("dataId", "q"), ("group", "G"), ("content", &content)]));
        let mut connection = Connection::open(node.address()).await?;
        // Twice on one connection: the second follows an answer.
        for close in ["keep-alive", "close"] {
            let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: {close}\r\nContent-Length: 0\r\n\r\n");
            connection.send(head.as_bytes()).await?;
            assert_eq!(connection.status().await?, 200, "{length} bytes");
        }
        assert_eq!(get(&client, "q").await?.expect(200)?.text(), content);
    }
    let split = posted(
        &client,
        Method::POST,
        &format!("{CONFIGS}?dataId=split&group=G&content=query"),
        &[("content", "form"), ("group", "other")],
    );
    split.send().await?.expect(200)?;
    assert_eq!(get(&client, "split").await?.expect(200)?.text(), "query");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_client_that_closes_after_each_request_is_answered_and_closed() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    publish(&node.client(), "a", "one").await?;
    let mut connection = Connection::open(node.address()).await?;
    let head = format!("GET {CONFIGS}?dataId=a&group=G HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    connection.send(head.as_bytes()).await?;
    let answer = connection.rest().await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\none"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_p4_n4_records_have_three_or_four_fields_and_the_answer_echoes_the_tenant_as_it_was_sent() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a:b", "one").await?;
    let in_dev = [("dataId", "a"), ("group", "G"), ("content", "x"), ("tenant", "dev")];
    posted(&client, Method::POST, CONFIGS, &in_dev).send().await?.expect(200)?;
    let old = md5("old");
    for (record, answer) in [
        (record("a:b", "G", &old, None), "a%3Ab%02G%01\n"),
        (record("a:b", "G", &old, Some("")), "a%3Ab%02G%01\n"),
        (record("a:b", "G", &old, Some("public")), "a%3Ab%02G%02public%01\n"),
        (record("a:b", "G", &old, Some("NULL")), "a%3Ab%02G%02NULL%01\n"),
        (record("a", "G", "", Some("dev")), "a%02G%02dev%01\n"),
        (record("a:b", "G", "no digest", None), "a%3Ab%02G%01\n"),
        (record("a:b", "G", &md5(""), None), "a%3Ab%02G%01\n"),
        (record("missing", "G", &md5(""), None) + &record("a", "G", "", Some("dev")), "a%02G%02dev%01\n"),
        (record("missing", "G", "no digest", None), "missing%02G%01\n"),
        (
            record("a:b", "G", &md5("one").to_uppercase(), None) + &record("a", "G", "1", Some("dev")),
            "a%02G%02dev%01\n",
        ),
        (record("a", "G", &md5("x"), Some("dev")) + &record("a:b", "G", "", None) + "unended", "a%3Ab%02G%01\n"),
    ] {
        let answered = poll(&client, &record, "30000").send().await?.expect(200)?;
        assert_eq!(answered.text(), answer, "{record:?}");
        assert_eq!(answered.header("Cache-Control"), "no-cache,no-store");
        let twice = form(&[("Listening-Configs", &form(&[("", &record)])[1..])]);
        let answered = client.request(Method::POST, &format!("{LISTENER}?tenant=dev")).body(twice);
        assert_eq!(answered.header("Long-Pulling-Timeout", "30000").send().await?.text(), answer, "{record:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_poll_is_held_until_its_key_changes_and_is_quiet_at_the_end() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    let records = record("a", "G", &md5("one"), Some("")) + &record("b", "G", "", Some(""));
    for (data_id, content) in [("b", "born"), ("a", "two")] {
        let begun = Instant::now();
        let held = tokio::spawn(poll(&client, &records, "30000").send());
        until_held(&client, 1).await?;
        publish(&client, data_id, content).await?;
        let answer = held.await??.expect(200)?;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(answer.text(), format!("{data_id}%02G%01\n"));
        let remove = [("dataId", data_id), ("group", "G")];
        asked(&client, Method::DELETE, CONFIGS, &remove).send().await?.expect(200)?;
        publish(&client, "a", "one").await?;
    }
    let begun = Instant::now();
    let quiet = poll(&client, &records, "0").send().await?.expect(200)?;
    assert_eq!((quiet.text().as_str(), quiet.header("Content-Length")), ("", "0"));
    let held = begun.elapsed();
    assert!((Duration::from_millis(9_900)..Duration::from_secs(12)).contains(&held), "{held:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_nothing_but_a_missing_configuration_is_404_and_changes_answer_true() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let missing = get(&client, "a").await?.expect(404)?;
    assert_eq!(missing.text(), "config data not exist\n");
    let of_a = [("dataId", "a"), ("group", "G")];
    let removed = asked(&client, Method::DELETE, CONFIGS, &of_a).send().await?.expect(200)?;
    assert_eq!(removed.text(), "true");
    let typed = [("dataId", "a"), ("group", "G"), ("content", "{}"), ("type", "json"), ("encryptedDataKey", "k")];
    let published = posted(&client, Method::POST, CONFIGS, &typed).send().await?.expect(200)?;
    assert_eq!(published.text(), "true");
    let read = get(&client, "a").await?.expect(200)?;
    for (header, value) in [
        ("Content-Type", "text/plain;charset=UTF-8"),
        ("Config-Type", "json"),
        ("Content-MD5", &md5("{}")),
        ("Encrypted-Data-Key", "k"),
        ("Pragma", "no-cache"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Cache-Control", "no-cache,no-store"),
        ("Content-Encoding", ""),
    ] {
        assert_eq!(read.header(header), value, "{header}");
    }
    assert!(read.header("Last-Modified").ends_with("GMT"));
    // Without a type the stored one stays, without a data key the content has none.
    publish(&client, "a", "[]").await?;
    let read = get(&client, "a").await?.expect(200)?;
    assert_eq!((read.header("Config-Type"), read.header("Encrypted-Data-Key")), ("json", ""));
    assert!(read.headers.contains_key("Encrypted-Data-Key"), "it is always there");
    let unknown = [("dataId", "a"), ("group", "G"), ("content", "x"), ("type", "exe")];
    posted(&client, Method::POST, CONFIGS, &unknown).send().await?.expect(200)?;
    assert_eq!(get(&client, "a").await?.header("Config-Type"), "text");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_key_that_enters_with_the_next_poll_is_compared_at_once() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    publish(&client, "b", "new").await?;
    let records = record("a", "G", &md5("one"), Some("")) + &record("b", "G", "", Some(""));
    let begun = Instant::now();
    let answer = poll(&client, &records, "30000").send().await?.expect(200)?;
    assert_eq!(answer.text(), "b%02G%01\n");
    assert!(begun.elapsed() < Duration::from_secs(5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_n2_clients_with_a_user_name_log_in_or_send_it_each_time() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for path in ["/nacos/v1/auth/login", "/nacos/v1/auth/users/login"] {
        let credentials = [("username", "nacos"), ("password", "secret")];
        for request in [
            asked(&client, Method::POST, path, &credentials),
            posted(&client, Method::POST, path, &credentials),
            posted(&client, Method::POST, &format!("{path}?username=nacos"), &[("password", "secret")]),
        ] {
            let answer = request.send().await?.expect(200)?;
            let token = answer.json()?;
            assert_eq!(token["tokenTtl"], json!(18_000));
            assert_eq!((&token["globalAdmin"], &token["username"]), (&json!(true), &json!("nacos")));
            let bearer = format!("Bearer {}", token["accessToken"].as_str().unwrap());
            assert_eq!(answer.header("Authorization"), bearer);
        }
    }
    let with_user = [("dataId", "a"), ("group", "G"), ("content", "x"), ("username", "ann"), ("password", "p")];
    posted(&client, Method::POST, CONFIGS, &with_user).send().await?.expect(200)?;
    let with_token = [("dataId", "a"), ("group", "G"), ("accessToken", "AUTH_DISABLED"), ("username", "ann")];
    assert_eq!(asked(&client, Method::GET, CONFIGS, &with_token).send().await?.expect(200)?.text(), "x");
    let records = record("a", "G", "", None);
    let listen = [("Listening-Configs", records.as_str()), ("username", "ann"), ("password", "p")];
    let listen = posted(&client, Method::POST, LISTENER, &listen).header("Long-Pulling-Timeout", "30000");
    assert_eq!(listen.send().await?.expect(200)?.text(), "a%02G%01\n");
    let history = client.get_path("/api/v1/namespaces/public/groups/G/configs/a/history").send().await?.json()?;
    assert_eq!(
        (&history["items"][0]["operator"], &history["items"][0]["channel"]),
        (&json!("ann"), &json!("nacos_http"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_search_takes_empty_names_for_any_and_gives_contents() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for data_id in ["app-1.yaml", "app_2.yaml", "db.json"] {
        publish(&client, data_id, &format!("of {data_id}")).await?;
    }
    let elsewhere = [
        ("dataId", "app-1.yaml"),
        ("group", "G"),
        ("content", "x"),
        ("tenant", "dev"),
        ("config_tags", "b,a"),
        ("src_user", "jo"),
    ];
    posted(&client, Method::POST, CONFIGS, &elsewhere).send().await?.expect(200)?;
    let search =
        async |pairs: &[(&str, &str)]| asked(&client, Method::GET, CONFIGS, pairs).send().await?.expect(200)?.json();
    let all = [("search", "accurate"), ("dataId", ""), ("group", ""), ("pageNo", "2"), ("pageSize", "2")];
    let page = search(&all).await?;
    assert_eq!((&page["totalCount"], &page["pageNumber"], &page["pagesAvailable"]), (&json!(3), &json!(2), &json!(2)));
    let item = &page["pageItems"][0];
    assert_eq!(
        (&item["dataId"], &item["content"], &item["tenant"]),
        (&json!("db.json"), &json!("of db.json"), &json!(""))
    );
    assert!(item["id"].as_str().unwrap().parse::<u64>().is_ok(), "{item}");
    for (mode, data_id, count) in [
        ("blur", "app*", 2),
        ("blur", "*.yaml", 2),
        ("blur", "app_*", 1),
        ("blur", "APP*", 0),
        ("blur", "*", 3),
        ("blur", "app", 0),
        ("blur", "db.json", 1),
        ("accurate", "db.json", 1),
        ("accurate", "db*", 0),
    ] {
        let found = search(&[("search", mode), ("dataId", data_id), ("pageNo", "1"), ("pageSize", "10")]).await?;
        assert_eq!(found["totalCount"], json!(count), "{mode} {data_id}");
    }
    for (name, value, count) in
        [("config_tags", "a,z", 1), ("config_tags", "z", 0), ("types", "text", 1), ("types", "exe", 0)]
    {
        let found =
            search(&[("search", "blur"), ("tenant", "dev"), (name, value), ("pageNo", "1"), ("pageSize", "10")])
                .await?;
        assert_eq!(found["totalCount"], json!(count), "{name}={value}");
    }
    let one = search(&[("show", "all"), ("dataId", "app-1.yaml"), ("group", "G"), ("tenant", "dev")]).await?;
    assert_eq!((&one["content"], &one["configTags"], &one["tenant"]), (&json!("x"), &json!("a,b"), &json!("dev")));
    assert_eq!((&one["createUser"], &one["createIp"]), (&json!("jo"), &json!("127.0.0.1")));
    let none = asked(&client, Method::GET, CONFIGS, &[("show", "all"), ("dataId", "none"), ("group", "G")]);
    assert_eq!(none.send().await?.expect(200)?.text(), "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_empty_parameters_mean_absent_ones_and_headers_nobody_knows_change_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let first = [("dataId", "a"), ("group", "G"), ("content", "one"), ("type", "yaml"), ("appName", "shop")];
    posted(&client, Method::POST, CONFIGS, &first).send().await?.expect(200)?;
    let blank = [("dataId", "a"), ("group", "G"), ("content", "二"), ("tenant", ""), ("type", ""), ("tag", "")];
    let odd = client
        .request(Method::POST, CONFIGS)
        .header("Content-Type", "application/x-www-form-urlencoded; charset=GBK")
        .header("Client-Version", "nodejs-diamond-client/2.6.3")
        .header("exConfigInfo", "true")
        .header("timestamp", "1")
        .header("spas-signature", "x");
    assert_eq!(odd.body(form(&blank)).send().await?.expect(200)?.text(), "true");
    let read = [("dataId", "a"), ("group", "G"), ("tenant", ""), ("tag", "")];
    let read = asked(&client, Method::GET, CONFIGS, &read).header("Content-Type", "application/json; charset=utf8");
    let read = read.send().await?.expect(200)?;
    assert_eq!((read.text().as_str(), read.header("Config-Type")), ("二", "yaml"));
    let shown = asked(&client, Method::GET, CONFIGS, &[("show", "all"), ("dataId", "a"), ("group", "G")]);
    assert_eq!(shown.send().await?.json()?["appName"], "shop");
    // The application alone is cleared by an empty one.
    let cleared = [("dataId", "a"), ("group", "G"), ("content", "二"), ("appName", "")];
    posted(&client, Method::POST, CONFIGS, &cleared).send().await?.expect(200)?;
    let shown = asked(&client, Method::GET, CONFIGS, &[("show", "all"), ("dataId", "a"), ("group", "G")]);
    assert_eq!(shown.send().await?.json()?["appName"], "");
    let removed = asked(&client, Method::DELETE, CONFIGS, &[("dataId", "a"), ("group", "G"), ("tenant", "")]);
    assert_eq!(removed.send().await?.text(), "true");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn n3_a_poll_that_finds_no_place_is_refused_after_a_pause() -> Result<()> {
    let setup = NodeOptions::new().flag("http-max-held", "1").flag("http-workers", "1");
    let node = Node::start(setup).await?;
    let client = node.client();
    let records = record("a", "G", "", None);
    let held = tokio::spawn(poll(&client, &records, "30000").send());
    until_held(&client, 1).await?;
    let begun = Instant::now();
    let refused = poll(&client, &records, "30000").send().await?.expect(503)?;
    assert!(refused.text().starts_with("caused: ") && begun.elapsed() >= Duration::from_secs(1));
    publish(&client, "a", "x").await?;
    assert_eq!(held.await??.expect(200)?.text(), "a%02G%01\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_do_not_wait_are_answered_at_once() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    let (same, other) = (record("a", "G", &md5("one"), None), record("a", "G", "", Some("public")));
    let begun = Instant::now();
    for (records, answer) in [(&same, ""), (&other, "a%02G%02public%01\n")] {
        let no_hangup = || poll(&client, records, "30000").header("Long-Pulling-Timeout-No-Hangup", "True");
        let short = || posted(&client, Method::POST, LISTENER, &[("Listening-Configs", records)]);
        let names = if answer.is_empty() { "" } else { "a:G;" };
        for request in [no_hangup(), short()] {
            let new = request.header("Client-Version", "2.0.4").send().await?.expect(200)?;
            assert_eq!((new.text().as_str(), new.headers.get("Probe-Modify-Response")), (answer, None));
        }
        for request in [no_hangup(), short(), short().header("Client-Version", "2.0.3")] {
            let old = request.send().await?.expect(200)?;
            assert_eq!(old.text(), answer);
            assert!(old.headers.contains_key("Probe-Modify-Response"), "also where nothing changed");
            assert_eq!(old.header("Probe-Modify-Response"), names);
            assert_eq!(old.header("Probe-Modify-Response-New"), answer.trim_end());
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_whose_answer_is_long_gives_it_in_headers_to_those_alone_who_look_nowhere_else() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    let records = record("a", "G", "", None).repeat(1_000);
    let no_hangup = poll(&client, &records, "30000").header("Long-Pulling-Timeout-No-Hangup", "true");
    let no_hangup = no_hangup.send().await?.expect(200)?;
    let short =
        posted(&client, Method::POST, LISTENER, &[("Listening-Configs", &records)]).send().await?.expect(200)?;
    assert_eq!((no_hangup.text(), no_hangup.headers.get("Probe-Modify-Response")), (short.text(), None));
    assert_eq!(short.header("Probe-Modify-Response"), "a:G;".repeat(1_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_as_long_as_it_is_asked_for_and_never_cut() -> Result<()> {
    const COUNT: usize = 1_203;
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for number in 0..COUNT {
        publish(&client, &format!("k{number:04}"), &format!("of {number}")).await?;
    }
    // Two that are long, so that a page goes over what is read at a time.
    let long = "\"\n".repeat(2 * 1024 * 1024);
    for data_id in ["k0001", "k0002", "k0700"] {
        publish(&client, data_id, &long).await?;
    }
    for (mode, size, number, shown, pages) in [
        ("accurate", "1000", "1", 1_000, 2),
        ("blur", "9999", "1", COUNT, 1),
        ("blur", "999", "2", COUNT - 999, 2),
        ("accurate", "2147483647", "1", COUNT, 1),
        ("accurate", "601", "2", 601, 3),
        ("accurate", "1203", "2", 0, 1),
    ] {
        let pairs = [("search", mode), ("dataId", ""), ("group", "G"), ("pageNo", number), ("pageSize", size)];
        let page = asked(&client, Method::GET, CONFIGS, &pairs).send().await?.expect(200)?;
        assert_eq!(page.header("Content-Type"), "application/json;charset=UTF-8");
        let page = page.json()?;
        assert_eq!(
            (&page["totalCount"], &page["pagesAvailable"], &page["pageNumber"]),
            (&json!(COUNT), &json!(pages), &json!(number.parse::<u64>()?))
        );
        let items = page["pageItems"].as_array().unwrap();
        let first = size.parse::<usize>()? * (number.parse::<usize>()? - 1);
        assert_eq!(items.len(), shown, "{mode} {size} {number}");
        for (item, place) in items.iter().zip(first..) {
            assert_eq!(item["dataId"], format!("k{place:04}"));
            let is_long = [1, 2, 700].contains(&place);
            assert!(item["content"] == if is_long { long.clone() } else { format!("of {place}") }, "{place}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_in_parts_is_read_as_an_encoded_one() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let parts = |fields: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--zz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        fields.iter().map(part).collect::<String>() + "--zz--\r\n"
    };
    let send = |method: Method, path: &str, body: String| {
        client.request(method, path).header("Content-Type", "multipart/form-data; boundary=zz").body(body).send()
    };
    let content = "a: 1\r\nb: %41+2 & 值\n\r\n";
    let fields = [("dataId", "m"), ("group", "G"), ("content", content), ("type", "yaml")];
    assert_eq!(send(Method::POST, CONFIGS, parts(&fields)).await?.expect(200)?.text(), "true");
    let read = get(&client, "m").await?.expect(200)?;
    assert_eq!((read.text().as_str(), read.header("Config-Type")), (content, "yaml"));
    let listening = parts(&[("Listening-Configs", &record("m", "G", "", None))]);
    assert_eq!(send(Method::POST, LISTENER, listening).await?.expect(200)?.text(), "m%02G%01\n");
    let fields = [("customNamespaceId", "dev"), ("namespaceName", "Dev"), ("namespaceDesc", "d")];
    assert_eq!(send(Method::POST, NAMESPACES, parts(&fields)).await?.expect(200)?.text(), "true");
    let broken = send(Method::POST, CONFIGS, parts(&fields).replace("--zz--", "--z")).await?.expect(400)?;
    assert!(broken.text().starts_with("caused: "), "{}", broken.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_belongs_to_the_content_it_came_with() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let native = "/api/v1/namespaces/public/groups/G/configs/cipher-x";
    let keyed = async |content: &str| {
        let fields = [("dataId", "cipher-x"), ("group", "G"), ("content", content), ("encryptedDataKey", "KEY")];
        posted(&client, Method::POST, CONFIGS, &fields).send().await?.expect(200)
    };
    let key = async || anyhow::Ok(get(&client, "cipher-x").await?.expect(200)?.header("Encrypted-Data-Key").to_owned());
    keyed("one").await?;
    assert_eq!(key().await?, "KEY");
    client.request(Method::PUT, native).body("one").send().await?.expect(200)?;
    assert_eq!(key().await?, "KEY", "it is the content that the key is of");
    client.request(Method::PUT, native).body("two").send().await?.expect(200)?;
    assert_eq!(key().await?, "");
    keyed("three").await?;
    publish(&client, "cipher-x", "four").await?;
    assert_eq!(key().await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_set_inserts_replaces_and_refuses() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let publish = |content: &'static str| {
        posted(&client, Method::POST, CONFIGS, &[("dataId", "a"), ("group", "G"), ("content", content)])
    };
    publish("one").header("casMd5", &md5("anything")).send().await?.expect(200)?;
    let refused = publish("two").header("casMd5", &md5("other")).send().await?.expect(500)?;
    assert_eq!(refused.text(), "caused: Cas publish fail, server md5 may have changed.;");
    assert_eq!(get(&client, "a").await?.text(), "one");
    publish("two").header("casMd5", &md5("one")).send().await?.expect(200)?;
    publish("three").header("casMd5", "").send().await?.expect(200)?;
    assert_eq!(get(&client, "a").await?.text(), "three");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_some_clients_is_refused_and_never_given_to_all() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "formal").await?;
    let gray = [("dataId", "a"), ("group", "G"), ("content", "gray")];
    for request in [
        posted(&client, Method::POST, CONFIGS, &gray).header("betaIps", "10.0.0.1"),
        posted(&client, Method::POST, &format!("{CONFIGS}?tag=canary"), &gray),
        posted(&client, Method::POST, &format!("{CONFIGS}?betaIps=10.0.0.1"), &gray),
        posted(&client, Method::DELETE, &format!("{CONFIGS}?beta=true"), &gray),
        asked(&client, Method::DELETE, CONFIGS, &[("dataId", "a"), ("group", "G"), ("tag", "canary")]),
        asked(&client, Method::DELETE, CONFIGS, &[("delType", "ids"), ("ids", "1")]),
        asked(&client, Method::GET, CONFIGS, &[("beta", "true"), ("dataId", "a"), ("group", "G")]),
        asked(&client, Method::GET, CONFIGS, &[("exportV2", "true"), ("ids", "")]),
        posted(&client, Method::POST, &format!("{CONFIGS}?import=true"), &[]),
        posted(&client, Method::POST, &format!("{CONFIGS}?clone=true"), &[]),
    ] {
        let what = format!("{request:?}");
        let refused = request.send().await?;
        assert_eq!(refused.status, 400, "{what}: {}", refused.text());
        assert!(refused.text().contains("not supported by this server yet"), "{what}: {}", refused.text());
    }
    assert_eq!(get(&client, "a").await?.expect(200)?.text(), "formal");
    let insisted = asked(&client, Method::GET, CONFIGS, &[("dataId", "a"), ("group", "G"), ("tag", "canary")]);
    assert_eq!(insisted.send().await?.expect(404)?.text(), "config data not exist\n");
    let wished = asked(&client, Method::GET, CONFIGS, &[("dataId", "a"), ("group", "G")]);
    let wished = wished.header("Vipserver-Tag", "canary 1").send().await?.expect(200)?;
    assert_eq!((wished.text().as_str(), wished.header("Vipserver-Tag")), ("formal", "canary+1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_namespace_has_four_names_and_namespaces_are_kept_in_their_first_form() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    publish(&client, "a", "one").await?;
    for tenant in ["", "public", "PUBLIC", "null"] {
        let read = [("dataId", "a"), ("group", "G"), ("tenant", tenant)];
        assert_eq!(asked(&client, Method::GET, CONFIGS, &read).send().await?.text(), "one", "{tenant:?}");
        let found = [("search", "accurate"), ("tenant", tenant), ("pageNo", "1"), ("pageSize", "1")];
        assert_eq!(asked(&client, Method::GET, CONFIGS, &found).send().await?.json()?["totalCount"], 1);
    }
    let answer = async |method: Method, pairs: &[(&str, &str)]| {
        anyhow::Ok(posted(&client, method, NAMESPACES, pairs).send().await?.expect(200)?.text())
    };
    let new = [("customNamespaceId", "dev"), ("namespaceName", "Dev"), ("namespaceDesc", "d")];
    assert_eq!(answer(Method::POST, &new).await?, "true");
    assert_eq!(answer(Method::POST, &new).await?, "false");
    let check = async |id: &str| {
        let pairs = [("checkNamespaceIdExist", "true"), ("customNamespaceId", id)];
        anyhow::Ok(asked(&client, Method::GET, NAMESPACES, &pairs).send().await?.expect(200)?.text())
    };
    assert_eq!((check("dev").await?.as_str(), check("none").await?.as_str()), ("true", "false"));
    let edit = [("namespace", "dev"), ("namespaceShowName", "New"), ("namespaceDesc", "")];
    assert_eq!(answer(Method::PUT, &edit).await?, "true");
    let shown = asked(&client, Method::GET, NAMESPACES, &[("show", "all"), ("namespaceId", "dev")]);
    assert_eq!(shown.send().await?.expect(200)?.json()?["namespaceShowName"], "New");
    let all = client.get_path(NAMESPACES).send().await?.expect(200)?.json()?;
    assert_eq!((&all["code"], &all["message"]), (&json!(200), &json!(null)));
    let default = json!({
        "namespace": "", "namespaceShowName": "public", "namespaceDesc": "Default Namespace",
        "quota": 200, "configCount": 1, "type": 0,
    });
    assert_eq!(
        (&all["data"][0], &all["data"][1]["namespace"], &all["data"][1]["type"]),
        (&default, &json!("dev"), &json!(2))
    );
    assert_eq!(answer(Method::DELETE, &[("namespaceId", "dev")]).await?, "true");
    assert_eq!(answer(Method::DELETE, &[("namespaceId", "dev")]).await?, "true");
    assert_eq!(answer(Method::DELETE, &[("namespaceId", "")]).await?, "false");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tools_look_at_first_is_there() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    for (path, body) in [
        ("/nacos/v1/console/health/liveness", "OK"),
        ("/nacos/v1/console/health/readiness", "OK"),
        ("/nacos/v1/cs/health", "UP"),
        ("/nacos/v1/ns/operator/metrics", "{\"status\":\"UP\"}"),
        ("/nacos/v1/ns/service/list", "{\"count\":0,\"doms\":[]}"),
        ("/nacos/actuator/health", "{\"status\":\"UP\"}"),
    ] {
        assert_eq!(client.get_path(path).send().await?.expect(200)?.text(), body, "{path}");
    }
    for path in ["/nacos/", "/nacos/index.html"] {
        let page = client.get_path(path).send().await?.expect(200)?;
        assert_eq!(page.header("Content-Type"), "text/html;charset=UTF-8");
    }
    let mut connection = Connection::open(node.address()).await?;
    connection.send(b"GET /nacos HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await?;
    let moved = connection.rest().await?;
    assert!(moved.starts_with("HTTP/1.1 302") && moved.to_lowercase().contains("location: /nacos/\r\n"), "{moved}");
    let state = client.get_path("/nacos/v1/console/server/state").send().await?.expect(200)?.json()?;
    assert_eq!((&state["version"], &state["startup_mode"]), (&json!("2.5.1"), &json!("standalone")));
    let members = client.get_path("/nacos/v1/core/cluster/nodes").send().await?.expect(200)?.json()?;
    assert_eq!((&members["code"], &members["data"][0]["state"]), (&json!(200), &json!("UP")));
    let address = node.address().to_string();
    assert_eq!(members["data"][0]["address"], json!(address));
    let simple = client.get_path("/nacos/v1/core/cluster/simple/nodes").send().await?.json()?;
    assert_eq!(simple["data"], json!([address]));
    let this = client.get_path("/nacos/v1/core/cluster/self").send().await?.json()?;
    assert_eq!(this["data"]["port"], json!(node.address().port()));
    let health = client.get_path("/nacos/v1/core/cluster/health").send().await?.json()?;
    assert_eq!(health["data"], "UP");
    Ok(())
}

/// Waits until every poll that is held was compared: one that was not is refused by a node that stops, as it must not
/// say that nothing has changed.
async fn until_compared(client: &Client) -> Result<()> {
    let ask = async |path: String| client.get_path(&path).send().await?.expect(200)?.json();
    poll_until("every poll was compared", SOON, async || {
        let listed = ask("/api/v1/actors".to_owned()).await?;
        for actor in listed["actors"].as_array().context("a list")? {
            if actor["kind"] != "long_poll" {
                continue;
            }
            let name = actor["name"].as_str().context("a name")?;
            let one = ask(format!("/api/v1/actors/{name}")).await?;
            if one["mailbox_depth"] != 0 || one["snapshot"]["unread"] != 0 || one["snapshot"]["reads"] != 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_answered_when_the_node_stops() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let held: Vec<_> = (0..50)
        .map(|index| tokio::spawn(poll(&client, &record(&format!("k{index}"), "G", "", None), "30000").send()))
        .collect();
    until_held(&client, 50).await?;
    until_compared(&client).await?;
    node.ask_to_stop()?;
    for answer in held {
        assert_eq!(answer.await??.expect(200)?.text(), "");
    }
    assert!(node.ended(Duration::from_secs(10)).await?.success());
    Ok(())
}
