//! The database URL: masking, kinds and the URL to connect with.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use proptest::prelude::*;

use super::{DatabaseKind, DatabaseOptions, DatabaseUrl, mask};

fn options(url: &str) -> DatabaseOptions {
    DatabaseOptions { url: DatabaseUrl::from(url.to_owned()), ..DatabaseOptions::default() }
}

#[test]
fn passwords_are_masked_and_the_rest_is_shown() {
    let cases = [
        ("", ""),
        ("sqlite:/var/lib/callboard.db", "sqlite:/var/lib/callboard.db"),
        ("postgres://db.example:5432/conf", "postgres://db.example:5432/conf"),
        ("postgres://user@db/conf", "postgres://user@db/conf"),
        ("postgres://user:pw@db/conf?sslmode=require", "postgres://user:***@db/conf?sslmode=require"),
        ("mysql://user:p@w/x:y@db/conf", "mysql://user:***@db/conf"),
        ("postgres://db/conf?user=u&Password=pw&a=b", "postgres://db/conf?user=u&Password=***&a=b"),
        ("postgres://db:5432/conf?password=p@w", "postgres://***"),
        ("postgres:user:pw@db", "postgres:***@db"),
        ("pw@db", "***@db"),
    ];
    for (url, shown) in cases {
        assert_eq!(mask(url), shown, "{url}");
    }
}

#[test]
fn no_way_of_printing_shows_the_password() {
    let options = options("postgres://user:hunter2@db/conf");
    let printed = [
        format!("{options:?}"),
        options.url.to_string(),
        toml::to_string(&options).unwrap(),
        format!("{:#?}", options.url),
    ];
    for text in printed {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("user:***@db"), "{text}");
    }
    assert_eq!(options.url.expose(), "postgres://user:hunter2@db/conf");
}

#[test]
fn kinds_are_told_apart_and_others_refused() {
    assert_eq!(options("").url.kind(), Some(DatabaseKind::Sqlite));
    assert_eq!(options("sqlite:conf.db").url.kind(), Some(DatabaseKind::Sqlite));
    assert_eq!(options("postgresql://db/conf").url.kind(), Some(DatabaseKind::Postgres));
    assert_eq!(options("mariadb://db/conf").url.kind(), Some(DatabaseKind::Mysql));
    for url in ["oracle://db", "postgres:db", "conf.db", "sqlite::memory:", "sqlite://conf?mode=memory"] {
        assert_eq!(options(url).validate().unwrap_err().key, "database.url", "{url}");
    }
}

#[test]
fn an_empty_url_means_a_file_in_the_data_directory() {
    let url = options("").sqlite_url(Path::new("/srv/a b?c%d"));
    assert_eq!(url, "sqlite:/srv/a%20b%3Fc%25d/callboard.db?mode=rwc");
}

#[test]
fn a_server_is_found_in_its_url_and_what_it_can_not_be_is_refused() {
    assert_eq!(options("").url.server(), Ok(None));
    assert_eq!(options("mariadb://u:p@db/conf").url.server().unwrap().unwrap().hosts().len(), 1);
    let refused = options("postgres://u:p@db/conf?connect_timeout=5").validate().unwrap_err();
    assert_eq!(refused.key, "database.url");
    assert!(refused.reason.contains("connect_timeout"), "{}", refused.reason);
}

proptest! {
    #[test]
    fn a_password_of_any_characters_stays_hidden(before in ".{0,8}", after in ".{0,8}") {
        let masked = mask(&format!("postgres://user:{before}S3CRET{after}@db/conf"));
        prop_assert!(!masked.contains("S3CRET"), "{}", masked);
    }

    #[test]
    fn arbitrary_text_never_panics(url in any::<String>()) {
        drop(mask(&url));
        drop(options(&url).validate());
    }
}
