//! What is checked and set when a database is opened, and how it is migrated.

use std::sync::Arc;
use std::time::Duration;

use callboard_migration::MIGRATION_TABLE;
use sea_orm::{ConnectionTrait, Iden as _, Statement};

use super::on_every_database;
use super::testbed::{Kind, Testbed, key, options, play_on_empty, put, request, unit};
use crate::store::dialect::Sql;
use crate::store::schema::Table;
use crate::store::{Cause, CommitError, OpenError, ReadError, open};

on_every_database!(
    a_newer_schema_is_refused,
    a_row_that_nobody_wrote_is_reported,
    a_held_lock_is_not_waited_for_for_ever
);

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn the_schema_that_is_asked_for_is_the_newest_migration() {
    assert_eq!(callboard_migration::newest().as_deref(), Some(super::super::open::SCHEMA));
    assert_eq!(MIGRATION_TABLE, Table::Migration.unquoted());
}

#[tokio::test]
async fn sqlite_runs_with_a_write_ahead_log_and_full_synchronisation() {
    play_on_empty(Kind::Sqlite, async |url| {
        callboard_migration::run(&url, PATIENCE).await.unwrap();
        let (writer, reader) = open(options(&url)).await.unwrap();
        for (pragma, wanted) in [("journal_mode", "wal"), ("synchronous", "2"), ("query_only", "0")] {
            let question = Statement::from_string(writer.backend().sea(), format!("PRAGMA {pragma}"));
            let row = writer.connection().query_one_raw(question).await.unwrap().unwrap();
            let value =
                row.try_get_by_index::<String>(0).or_else(|_| row.try_get_by_index::<i64>(0).map(|n| n.to_string()));
            assert_eq!(value.unwrap(), wanted, "{pragma}");
        }
        let written = reader.rows(Sql::new(reader.backend(), "UPDATE cc_meta SET rev = 9")).await;
        assert!(matches!(written.map_err(ReadError::from), Err(ReadError::Unavailable { .. })), "a reader can write");
        writer.close().await;
        reader.close().await;
        Ok(())
    })
    .await;
}

/// All there are.
const MIGRATIONS: usize = 5;

async fn unmigrated_is_refused(kind: Kind) {
    play_on_empty(kind, async |url| {
        if kind == Kind::Sqlite {
            let missing = open(options(&url)).await.unwrap_err();
            assert!(matches!(missing, OpenError::Unreachable { .. }), "{missing}");
            let empty = url.trim_start_matches("sqlite://");
            std::fs::write(empty, "").unwrap();
        }
        let refused = open(options(&url)).await.unwrap_err();
        assert!(matches!(refused, OpenError::NotMigrated { .. }), "{refused}");
        assert_eq!(callboard_migration::pending(&url, PATIENCE).await.unwrap().len(), MIGRATIONS);
        Ok(())
    })
    .await;
}

async fn side_by_side(kind: Kind) {
    play_on_empty(kind, async |url| {
        let run = || {
            let url = url.clone();
            tokio::spawn(async move { callboard_migration::run(&url, PATIENCE).await.unwrap() })
        };
        let all = [run(), run(), run(), run()];
        let mut applied = 0;
        for one in all {
            applied += one.await?;
        }
        assert_eq!(applied, MIGRATIONS);
        let (writer, reader) = open(options(&url)).await.unwrap();
        reader.probe().await.unwrap();
        writer.close().await;
        reader.close().await;
        Ok(())
    })
    .await;
}

mod schema {
    use super::{Kind, side_by_side, unmigrated_is_refused};

    #[tokio::test]
    async fn an_unmigrated_sqlite_file_is_refused() {
        unmigrated_is_refused(Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn an_unmigrated_postgres_database_is_refused() {
        unmigrated_is_refused(Kind::Postgres).await;
    }

    #[tokio::test]
    async fn an_unmigrated_mysql_database_is_refused() {
        unmigrated_is_refused(Kind::MySql).await;
    }

    #[tokio::test]
    async fn processes_take_turns_to_migrate_postgres() {
        side_by_side(Kind::Postgres).await;
    }

    #[tokio::test]
    async fn processes_take_turns_to_migrate_mysql() {
        side_by_side(Kind::MySql).await;
    }
}

#[tokio::test]
async fn addresses_that_can_not_work_are_refused_without_their_password() {
    for url in ["oracle://ann:secret@db/cc", "sqlite::memory:", "sqlite:file:x?mode=memory"] {
        let refused = open(options(url)).await.unwrap_err();
        assert!(matches!(refused, OpenError::Address { .. }), "{refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    assert!(!format!("{:?}", options("mysql://ann:secret@db/cc")).contains("secret"));
}

async fn a_newer_schema_is_refused(testbed: Arc<Testbed>) {
    testbed.administer("INSERT INTO cc_migration (version, applied_at) VALUES ('m9999_later', 0)").await;
    let refused = open(options(&testbed.url)).await.unwrap_err();
    assert!(matches!(refused, OpenError::TooNew { .. }), "{refused}");
}

async fn a_row_that_nobody_wrote_is_reported(testbed: Arc<Testbed>) {
    testbed.publish(&key("a"), "1").await;
    testbed.publish(&key("b"), "1").await;
    testbed.administer("UPDATE cc_config SET kind = 'sonnet' WHERE data_id = 'a'").await;
    assert!(matches!(testbed.reader.fill(&[key("a")]).await, Err(ReadError::Broken { .. })));
    let aborted = testbed.writer.commit(request(vec![unit(vec![put(&key("a"), "2")])])).await;
    assert!(matches!(aborted, Err(CommitError::Aborted { cause: Cause::Damaged, .. })), "{aborted:?}");
    let filter = crate::store::ListFilter { namespace: "public".to_owned(), ..Default::default() };
    assert_eq!(testbed.reader.list(&filter, None, 10).await.unwrap().len(), 1);
}

async fn a_held_lock_is_not_waited_for_for_ever(testbed: Arc<Testbed>) {
    let statement_timeout = Duration::from_secs(1);
    let impatient = crate::store::OpenOptions { statement_timeout, ..options(&testbed.url) };
    let (other, reader) = open(impatient).await.unwrap();
    let held = testbed.writer.begin().await.unwrap();
    let late = other.commit(request(vec![unit(vec![put(&key("a"), "2")])])).await;
    assert!(matches!(late, Err(CommitError::Aborted { cause: Cause::Contention, .. })), "{late:?}");
    assert_eq!(reader.fill(&[key("a")]).await.unwrap().states.len(), 1, "reads wait for no lock");
    held.roll_back().await;
    testbed.publish(&key("a"), "2").await;
    other.close().await;
    reader.close().await;
}
