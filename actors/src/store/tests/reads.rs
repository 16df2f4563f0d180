//! Fills, listings, snapshots, the feed and the history.

use std::collections::HashMap;
use std::sync::Arc;

use callboard_protocol::commit::Operation;
use callboard_protocol::config::{ConfigType, MetadataEdit, Version};
use callboard_protocol::key::ConfigKey;

use super::on_every_database;
use super::testbed::{NOON, Testbed, content, key, origin, put, put_edited, remove, unit};
use crate::store::{ListFilter, Pattern, Rest, Search};
use callboard_protocol::watch::Selector;

on_every_database!(
    a_fill_says_as_of_which_revision_it_is,
    versions_are_those_of_the_fill,
    pages_neither_repeat_nor_hide_a_key,
    a_listing_filters_by_text_as_it_stands,
    a_listing_shows_what_is_known,
    a_search_takes_patterns_and_counts_what_fits,
    history_pages_from_the_newest,
    the_feed_goes_on_after_a_revision,
    the_feed_never_tears_a_unit,
    keys_are_those_that_exist,
    keys_come_in_pages_in_the_order_of_their_versions,
    names_that_are_refused_by_now_can_be_read,
);

async fn a_fill_says_as_of_which_revision_it_is(testbed: Arc<Testbed>) {
    let absent = testbed.reader.fill(&[key("a")]).await.unwrap();
    assert_eq!(absent.revision, Version::ZERO);
    assert!(absent.states[0].is_absent());
    testbed.publish(&key("a"), "1").await;
    testbed.publish(&key("b"), "1").await;
    let filled = testbed.reader.fill(&[key("b"), key("missing"), key("a"), key("b")]).await.unwrap();
    assert_eq!(filled.revision, Version(2));
    let seen: Vec<_> = filled.states.iter().map(|state| (state.key.data_id(), state.version.0)).collect();
    assert_eq!(seen, [("b", 2), ("missing", 0), ("a", 1), ("b", 2)]);
    let many: Vec<ConfigKey> = (0..450).map(|index| key(&format!("k{index}"))).collect();
    assert_eq!(testbed.reader.fill(&many).await.unwrap().states.len(), 450);
}

async fn versions_are_those_of_the_fill(testbed: Arc<Testbed>) {
    testbed.publish(&key("a"), "1").await;
    testbed.publish(&key("gone"), "1").await;
    testbed.commit(vec![unit(vec![remove(&key("gone"))])]).await;
    let asked = [key("gone"), key("never"), key("a")];
    let versions = testbed.reader.versions(&asked).await.unwrap();
    let md5 = Some(content("1").md5());
    let [gone, never, a] = asked;
    assert_eq!(versions, [(gone, Version(3), None), (never, Version(0), None), (a, Version(1), md5)]);
}

async fn names_that_are_refused_by_now_can_be_read(testbed: Arc<Testbed>) {
    let stored = ConfigKey::stored("public", "..", ".").unwrap();
    assert!(ConfigKey::new("public", "..", ".").is_err());
    testbed.publish(&stored, "1").await;
    testbed.publish(&key("a"), "1").await;
    let listed = testbed.reader.list(&filter(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|summary| &summary.key).collect::<Vec<_>>(), [&stored, &key("a")]);
    let search = Search { namespace: "public".to_owned(), limit: 9, ..Search::default() };
    assert_eq!(testbed.reader.search(&search).await.unwrap().total, 2);
    let filled = testbed.reader.fill(std::slice::from_ref(&stored)).await.unwrap();
    assert!(!filled.states[0].is_absent());
}

fn filter() -> ListFilter {
    ListFilter { namespace: "public".to_owned(), ..ListFilter::default() }
}

async fn pages_neither_repeat_nor_hide_a_key(testbed: Arc<Testbed>) {
    let mut keys: Vec<ConfigKey> = ["G1", "g1", "g2"]
        .into_iter()
        .flat_map(|group| (0..7).map(move |index| ConfigKey::new("public", group, &format!("k{index}")).unwrap()))
        .collect();
    let elsewhere = ConfigKey::new("other", "g1", "k0").unwrap();
    testbed.commit(keys.iter().chain([&elsewhere]).map(|key| unit(vec![put(key, "1")])).collect()).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = testbed.reader.list(&filter(), after.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.key.group().to_owned(), last.key.data_id().to_owned()));
        seen.extend(page.into_iter().map(|summary| summary.key));
        // Others come and go before and between the pages.
        testbed.publish(&ConfigKey::new("public", "A", &format!("new{}", seen.len())).unwrap(), "1").await;
        testbed.commit(vec![unit(vec![remove(&seen[0])])]).await;
        testbed.publish(&seen[0], "back").await;
    }
    keys.sort();
    assert_eq!(seen, keys);
    let grouped = ListFilter { group: Some("g1".to_owned()), ..filter() };
    assert_eq!(testbed.reader.list(&grouped, None, 100).await.unwrap().len(), 7);
}

async fn a_listing_filters_by_text_as_it_stands(testbed: Arc<Testbed>) {
    let described = |text: &str| MetadataEdit { description: Some(text.to_owned()), ..MetadataEdit::default() };
    testbed
        .commit(vec![
            unit(vec![put_edited(&key("app.yaml"), "1", described("100% sure"))]),
            unit(vec![put_edited(&key("app_b"), "1", described("Größe"))]),
            unit(vec![put(&key("appXb"), "1")]),
            unit(vec![put(&key("gone_b"), "1")]),
        ])
        .await;
    testbed.commit(vec![unit(vec![remove(&key("gone_b"))])]).await;
    let found = async |prefix: Option<&str>, text: Option<&str>| {
        let filter =
            ListFilter { data_id_prefix: prefix.map(str::to_owned), text: text.map(str::to_owned), ..filter() };
        let page = testbed.reader.list(&filter, None, 100).await.unwrap();
        page.into_iter().map(|summary| summary.key.data_id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(None, Some("_")).await, ["app_b"]);
    assert_eq!(found(None, Some("%")).await, ["app.yaml"]);
    assert_eq!(found(None, Some("Grö")).await, ["app_b"]);
    assert_eq!(found(None, Some("grö")).await, [""; 0]);
    assert_eq!(found(None, Some("APP")).await, [""; 0]);
    assert_eq!(found(Some("app"), None).await, ["app.yaml", "appXb", "app_b"]);
    assert_eq!(found(Some("app_"), None).await, ["app_b"]);
    assert_eq!(found(Some("App"), None).await, [""; 0]);
    assert_eq!(found(Some("app"), Some("b")).await, ["appXb", "app_b"]);
}

async fn a_listing_shows_what_is_known(testbed: Arc<Testbed>) {
    let edit = MetadataEdit {
        tags: Some(vec!["b".to_owned(), "a\"".to_owned()]),
        application: Some("shop".to_owned()),
        ..MetadataEdit::default()
    };
    testbed.commit(vec![unit(vec![put_edited(&key("a"), "größe", edit.checked().unwrap())])]).await;
    let summary = testbed.reader.list(&filter(), None, 1).await.unwrap().remove(0);
    assert_eq!((summary.size, summary.version, summary.md5), (7, Version(1), Some(content("größe").md5())));
    assert_eq!(summary.tags, ["a\"", "b"]);
    assert_eq!((summary.application.as_deref(), summary.created_at), (Some("shop"), NOON));
}

async fn a_search_takes_patterns_and_counts_what_fits(testbed: Arc<Testbed>) {
    let edit = MetadataEdit {
        kind: Some(ConfigType::Json),
        tags: Some(vec!["b".to_owned(), "a\"".to_owned()]),
        application: Some("shop_%!?[1]*".to_owned()),
        ..MetadataEdit::default()
    };
    testbed.commit(vec![unit(vec![put_edited(&key("app_1"), "größe", edit.checked().unwrap())])]).await;
    for name in ["app-1", "App_2", "db:1.x", "gone"] {
        testbed.publish(&key(name), "12345").await;
    }
    testbed.publish(&ConfigKey::new("other", "g", "app_1").unwrap(), "x").await;
    testbed.commit(vec![unit(vec![remove(&key("gone"))])]).await;
    let all = || Search { namespace: "public".to_owned(), limit: 10, ..Search::default() };
    let names = async |search: &Search| {
        let found = testbed.reader.search(search).await.unwrap();
        let names: Vec<String> = found.page.iter().map(|(key, _)| key.data_id().to_owned()).collect();
        (found.total, names.join(" "))
    };
    let by_name = async |text: &str| names(&Search { data_id: Pattern::Wildcard(text.to_owned()), ..all() }).await.1;
    assert_eq!(names(&all()).await, (4, "App_2 app-1 app_1 db:1.x".to_owned()));
    assert_eq!(names(&Search { skip: 1, limit: 2, ..all() }).await, (4, "app-1 app_1".to_owned()));
    assert_eq!(names(&Search { skip: u64::MAX, ..all() }).await, (4, String::new()));
    assert_eq!(testbed.reader.search(&all()).await.unwrap().page[2].1, 7);
    let after = |data_id: &str| Search { after: Some(("g".to_owned(), data_id.to_owned())), ..all() };
    assert_eq!(names(&after("app-1")).await, (2, "app_1 db:1.x".to_owned()));
    assert_eq!(names(&after("db:1.x")).await, (0, String::new()));
    assert_eq!(names(&Search { after: Some(("f".to_owned(), "z".to_owned())), ..all() }).await.0, 4);
    for (pattern, found) in
        [("app*", "app-1 app_1"), ("app_*", "app_1"), ("*1*", "app-1 app_1 db:1.x"), ("**.x", "db:1.x"), ("ap", "")]
    {
        assert_eq!(by_name(pattern).await, found, "{pattern}");
    }
    for pattern in ["%", "_", "?pp*", "[a]pp*", "!", "'*", "\\*"] {
        assert_eq!(by_name(pattern).await, "", "{pattern}");
    }
    for pattern in ["shop_%!?[1]", "*_%!?[1]*", "shop*"] {
        let search = Search { application: Pattern::Wildcard(format!("{pattern}*")), ..all() };
        assert_eq!(names(&search).await, (1, "app_1".to_owned()), "{pattern}");
    }
    let exactly = |text: &str| Pattern::Exactly(text.to_owned());
    assert_eq!(names(&Search { data_id: exactly("app_1"), ..all() }).await.0, 1);
    assert_eq!(names(&Search { data_id: exactly("APP_1"), ..all() }).await.0, 0);
    assert_eq!(names(&Search { group: exactly("none"), ..all() }).await.0, 0);
    assert_eq!(names(&Search { kinds: vec![ConfigType::Json, ConfigType::Xml], ..all() }).await.0, 1);
    let tagged = |tags: &[&str]| Search { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..all() };
    assert_eq!(names(&tagged(&["z", "a\""])).await.0, 1);
    assert_eq!(names(&tagged(&["a"])).await.0, 0);
}

async fn history_pages_from_the_newest(testbed: Arc<Testbed>) {
    for turn in 0..5 {
        testbed.publish(&key("a"), &turn.to_string()).await;
        testbed.publish(&key("b"), &turn.to_string()).await;
    }
    let page = testbed.reader.history(&key("a"), None, 2).await.unwrap();
    assert_eq!(page.iter().map(|entry| entry.version.0).collect::<Vec<_>>(), [9, 7]);
    assert!(page.iter().all(|entry| entry.content.is_none() && entry.size == 1 && entry.at == NOON));
    let rest = testbed.reader.history(&key("a"), Some(Version(7)), 10).await.unwrap();
    assert_eq!(rest.iter().map(|entry| entry.version.0).collect::<Vec<_>>(), [5, 3, 1]);
    let entry = testbed.reader.history_entry(&key("a"), Version(3)).await.unwrap().unwrap();
    assert_eq!(entry.content, Some(content("1")));
    assert_eq!(testbed.reader.history_entry(&key("a"), Version(4)).await.unwrap(), None);
}

fn all() -> Selector {
    Selector::prefix("public", None, "").unwrap()
}

async fn the_feed_goes_on_after_a_revision(testbed: Arc<Testbed>) {
    let elsewhere = ConfigKey::new("other", "g", "a").unwrap();
    testbed.publish(&key("a"), "1").await;
    testbed.publish(&elsewhere, "1").await;
    testbed.publish(&key("ab"), "1").await;
    testbed.commit(vec![unit(vec![remove(&key("a"))])]).await;
    let feed = testbed.reader.feed(Version(1), Some(&all()), 10).await.unwrap();
    assert_eq!((feed.floor, feed.revision, feed.complete), (Version::ZERO, Version(4), true));
    let seen: Vec<_> = feed.changes.iter().map(|change| (change.state.version.0, change.state.key.data_id())).collect();
    assert_eq!(seen, [(3, "ab"), (4, "a")]);
    assert_eq!(feed.changes[0].state, testbed.state(&key("ab")).await);
    assert_eq!((feed.changes[1].operation, feed.changes[1].origin.clone()), (Operation::Remove, origin()));
    assert!(feed.changes[1].state.is_absent());
    let exact = Selector::exact("public", "g", ["a".to_owned(), "x".to_owned()]).unwrap();
    assert_eq!(testbed.reader.feed(Version(0), Some(&exact), 10).await.unwrap().changes.len(), 2);
    let prefix = Selector::prefix("public", Some("g"), "ab").unwrap();
    assert_eq!(testbed.reader.feed(Version(0), Some(&prefix), 10).await.unwrap().changes.len(), 1);
    let end = testbed.reader.feed(Version(4), Some(&all()), 10).await.unwrap();
    assert_eq!((end.changes.len(), end.revision, end.complete), (0, Version(4), true));
}

async fn the_feed_never_tears_a_unit(testbed: Arc<Testbed>) {
    testbed.publish(&key("first"), "1").await;
    testbed.commit(vec![unit((0..5).map(|index| put(&key(&format!("k{index}")), "1")).collect())]).await;
    testbed.publish(&key("last"), "1").await;
    let (mut after, mut lengths) = (Version::ZERO, Vec::new());
    loop {
        let feed = testbed.reader.feed(after, Some(&all()), 3).await.unwrap();
        lengths.push(feed.changes.len());
        if feed.complete {
            break;
        }
        after = feed.changes.last().unwrap().state.version;
    }
    assert_eq!(lengths, [1, 5, 1]);
}

async fn keys_come_in_pages_in_the_order_of_their_versions(testbed: Arc<Testbed>) {
    let long = "x".repeat(400 * 1024);
    for name in ["c", "a", "gone", "b"] {
        testbed.publish(&key(name), &long).await;
    }
    testbed.commit(vec![unit(vec![remove(&key("gone"))])]).await;
    testbed.commit(vec![unit((0..300).map(|index| put(&key(&format!("k{index}")), "1")).collect())]).await;
    for (is_feed, expected) in [(false, [1, 1, 1, 300]), (true, [1, 1, 1, 301])] {
        let (mut after, mut lengths, mut seen) = (Version::ZERO, Vec::new(), HashMap::new());
        loop {
            let page = if is_feed {
                testbed.reader.changed(after, &all()).await.unwrap()
            } else {
                testbed.reader.keys(&all(), after, 1000).await.unwrap()
            };
            assert!(page.keys.iter().all(|(_, version)| *version > after) && page.revision == Version(6));
            lengths.push(page.keys.len());
            seen.extend(page.keys);
            let Rest::After(through) = page.rest else { break };
            after = through;
        }
        assert_eq!(lengths.iter().sum::<usize>() - usize::from(is_feed), expected.iter().sum::<usize>(), "{lengths:?}");
        assert!(lengths.len() >= 4, "no page holds two long ones: {lengths:?}");
        assert_eq!(seen[&key("k7")], Version(6));
    }
    assert_eq!(testbed.reader.keys(&all(), Version::ZERO, 302).await.unwrap().rest, Rest::TooMany);
}

async fn keys_are_those_that_exist(testbed: Arc<Testbed>) {
    let empty = testbed.reader.keys(&all(), Version::ZERO, 10).await.unwrap();
    assert_eq!((empty.revision, empty.keys.len(), empty.rest), (Version::ZERO, 0, Rest::None));
    for name in ["c", "a", "gone", "b"] {
        testbed.publish(&key(name), name).await;
    }
    testbed.commit(vec![unit(vec![remove(&key("gone"))])]).await;
    let page = testbed.reader.keys(&all(), Version::ZERO, 10).await.unwrap();
    assert_eq!((page.revision, page.floor, page.rest), (Version(5), Version::ZERO, Rest::None));
    let present: HashMap<_, _> = page.keys.into_iter().collect();
    assert_eq!(present, HashMap::from([(key("c"), Version(1)), (key("a"), Version(2)), (key("b"), Version(4))]));
    assert_eq!(testbed.reader.keys(&all(), Version::ZERO, 2).await.unwrap().rest, Rest::TooMany);
    let none = Selector::exact("public", "nobody", ["x".to_owned()]).unwrap();
    assert_eq!(testbed.reader.keys(&none, Version::ZERO, 2).await.unwrap().revision, Version(5));
}
