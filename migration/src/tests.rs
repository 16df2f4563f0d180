//! The schema on a fresh SQLite file, and the shape of masked addresses. The suite of the store runs the migrations
//! on every database.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use sea_orm_migration::sea_orm::ConnectionTrait as _;

use super::{MigrationError, connection, masked, pending, run};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_masked_address_shows_neither_password_nor_parameters() {
    for (url, shown) in [
        ("postgres://ann:secret@db:5432/cc?sslmode=require", "postgres://ann:***@db:5432/cc"),
        ("mysql://ann:s/e?c@r:et@db/cc", "mysql://ann:***@db/cc"),
        ("mysql://ann@db/cc", "mysql://ann@db/cc"),
        ("postgres://db/cc?password=secret", "postgres://db/cc"),
        ("sqlite:data/callboard.db?mode=rwc", "sqlite:data/callboard.db"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(masked(url), shown, "{url}");
    }
}

#[test]
fn an_engine_that_only_speaks_like_one_that_is_known_is_told_from_it() {
    for (version, engine) in [
        ("PostgreSQL 15.14 (Debian 15.14-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc", None),
        ("10.11.14-MariaDB-0+deb12u2 Debian 12", None),
        ("8.0.43 MySQL Community Server - GPL", None),
        ("8.0.36-28 Percona Server (GPL), Release 28, Revision 47601f19", None),
        ("PostgreSQL 11.2-YB-2.20.1.0-b0 on x86_64-pc-linux-gnu, compiled by clang", Some("YugabyteDB")),
        ("CockroachDB CCL v23.2.4 (x86_64-pc-linux-gnu)", Some("CockroachDB")),
        ("8.0.11-TiDB-v8.1.0 TiDB Server (Apache License 2.0)", Some("TiDB")),
        ("8.0.33 Dolt", Some("Dolt")),
    ] {
        assert_eq!(connection::unknown_engine_of(version), engine, "{version}");
    }
}

#[tokio::test]
async fn a_fresh_file_is_migrated_once() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/cc.db", directory.path().display());
    assert_eq!(run(&url, PATIENCE).await.unwrap(), 5);
    assert_eq!(run(&url, PATIENCE).await.unwrap(), 0);
    assert!(pending(&url, PATIENCE).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_database_that_keeps_no_record_of_its_migration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/cc.db", directory.path().display());
    let session = connection::open(&url, PATIENCE, true).await.unwrap();
    let forgets = "CREATE TABLE cc_migration (version VARCHAR PRIMARY KEY, applied_at BIGINT);
        CREATE TRIGGER forget AFTER INSERT ON cc_migration BEGIN DELETE FROM cc_migration; END";
    session.execute_unprepared(forgets).await.unwrap();
    connection::close(session, &url).await;
    let error = run(&url, PATIENCE).await.unwrap_err();
    assert!(matches!(error, MigrationError::NotKept { .. }), "{error}");
}

#[tokio::test]
async fn an_address_that_nobody_understands_is_named() {
    let error = run("oracle://ann:secret@db/cc", PATIENCE).await.unwrap_err();
    assert!(matches!(error, MigrationError::Address { .. }));
    assert!(error.to_string().contains("oracle://ann:***@db/cc"), "{error}");
}

#[tokio::test]
async fn an_unreachable_database_is_named_without_its_password() {
    let error = run("postgres://ann:secret@127.0.0.1:1/cc", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, MigrationError::Unreachable { .. }));
    assert!(error.to_string().contains("postgres://ann:***@127.0.0.1:1/cc"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
