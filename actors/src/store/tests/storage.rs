//! Storage that fails amid a transaction: what is acknowledged after that is there, and what failed is not.

use std::sync::Arc;

use callboard_protocol::config::Version;
use callboard_protocol::member::Timeline;
use sea_orm::ConnectionTrait as _;

use super::on_every_database;
use super::testbed::{Kind, NOON, Testbed, key, put, request, unit};
use crate::store::{Cause, CommitError, Extent, open};

on_every_database!(
    what_is_acknowledged_after_a_full_database_is_there,
    the_log_of_a_former_process_is_copied,
    a_transaction_that_was_left_open_holds_nothing_that_is_acknowledged,
    a_commit_that_fails_leaves_no_transaction_behind,
    what_the_database_refuses_is_told_from_an_outage,
    a_restored_database_begins_a_timeline_above_all_that_is_known,
);

/// The pages of the file, which is as many as the writing connection may then have, and `more` of them.
async fn leave_room(testbed: &Testbed, more: u32) {
    let row = testbed
        .writer
        .connection()
        .query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA page_count".to_owned()));
    let pages = row.await.unwrap().unwrap().try_get_by_index::<i64>(0).unwrap();
    let limit = format!("PRAGMA max_page_count = {}", pages + i64::from(more));
    testbed.writer.connection().execute_unprepared(&limit).await.unwrap();
}

/// A page more each time lets the transaction come one page further before it fails, through all of its statements.
async fn what_is_acknowledged_after_a_full_database_is_there(testbed: Arc<Testbed>) {
    if testbed.kind != Kind::Sqlite {
        return;
    }
    let (mut failed, mut expected) = (0, 0);
    for more in 0..60 {
        leave_room(&testbed, more).await;
        let units = (0..12).map(|number| unit(vec![put(&key(&format!("{more}-{number}")), &"x".repeat(9_000))]));
        match testbed.writer.commit(request(units.collect())).await {
            Ok(_) => expected += 12,
            Err(CommitError::Aborted { cause: Cause::NoRoom, .. }) => failed += 1,
            Err(error) => panic!("{error:?}"),
        }
        // The limit went with its connection; what is acknowledged now has to be there for everybody.
        expected += 1;
        assert_eq!(testbed.publish(&key("later"), &format!("after {more}")).await, Version(expected));
        assert_eq!(testbed.state(&key("later")).await.version, Version(expected), "after {failed} failures");
    }
    assert!(failed > 40, "{failed}");
    let (writer, reader) = open(super::testbed::options(&testbed.url)).await.unwrap();
    assert_eq!(reader.fill(&[]).await.unwrap().revision, Version(expected));
    writer.close().await;
    reader.close().await;
}

/// Each process begins to count anew what is in the log: of many that end early each would leave its part there.
async fn the_log_of_a_former_process_is_copied(testbed: Arc<Testbed>) {
    let Some(file) = testbed.url.strip_prefix("sqlite://").filter(|_| testbed.kind == Kind::Sqlite) else { return };
    let length = || std::fs::metadata(format!("{file}-wal")).unwrap().len();
    testbed.publish(&key("a"), "1").await;
    assert!(length() > 0);
    let (writer, reader) = open(super::testbed::options(&testbed.url)).await.unwrap();
    assert_eq!(length(), 0);
    assert_eq!(reader.fill(&[]).await.unwrap().revision, Version(1));
    reader.close().await;
    writer.close().await;
}

/// What a driver that loses count would leave behind: the next transaction must not become a part of it.
async fn a_transaction_that_was_left_open_holds_nothing_that_is_acknowledged(testbed: Arc<Testbed>) {
    let begin = if testbed.kind == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
    testbed.writer.connection().execute_unprepared(begin).await.unwrap();
    for turn in 1..=3_u64 {
        assert_eq!(testbed.publish(&key("a"), &turn.to_string()).await, Version(turn));
        assert_eq!(testbed.state(&key("a")).await.version, Version(turn));
    }
}

/// SQLite may end a transaction by itself when a statement or the COMMIT fails; the driver does not hear of it.
async fn a_commit_that_fails_leaves_no_transaction_behind(testbed: Arc<Testbed>) {
    for turn in 1..=3_u64 {
        let transaction = testbed.writer.begin().await.unwrap();
        transaction.run(transaction.sql("UPDATE cc_meta SET rev = 77 WHERE id = 1")).await.unwrap();
        transaction.run(transaction.sql("ROLLBACK")).await.unwrap();
        let ended = transaction.commit().await;
        assert!(testbed.kind != Kind::Sqlite || ended.is_err(), "{ended:?}");
        assert_eq!(testbed.publish(&key("a"), &turn.to_string()).await, Version(turn));
        assert_eq!(testbed.state(&key("a")).await.version, Version(turn));
    }
}

/// Nobody is to be told to come again with what will be refused again, nor that the database is down.
async fn what_the_database_refuses_is_told_from_an_outage(testbed: Arc<Testbed>) {
    let rule = match testbed.kind {
        Kind::Sqlite => {
            "CREATE TRIGGER no_poison BEFORE INSERT ON cc_config WHEN NEW.data_id = 'poison' \
             BEGIN SELECT RAISE(ABORT, 'no'); END"
        }
        Kind::Postgres | Kind::MySql => "ALTER TABLE cc_config ADD CONSTRAINT no_poison CHECK (data_id <> 'poison')",
    };
    testbed.administer(rule).await;
    let poisoned = testbed.writer.commit(request(vec![unit(vec![put(&key("poison"), "1")])])).await;
    assert!(matches!(poisoned, Err(CommitError::Aborted { cause: Cause::Refused, .. })), "{poisoned:?}");
    assert_eq!(testbed.publish(&key("a"), "1").await, Version(1));
    testbed.administer("DROP TABLE cc_request").await;
    let broken = testbed.writer.commit(request(vec![unit(vec![put(&key("a"), "2")])])).await;
    assert!(matches!(broken, Err(CommitError::Aborted { cause: Cause::Unusable, .. })), "{broken:?}");
    testbed.writer.try_commit().await.unwrap();
}

async fn a_restored_database_begins_a_timeline_above_all_that_is_known(testbed: Arc<Testbed>) {
    testbed.publish(&key("a"), "1").await;
    let first = testbed.writer.declare_restored(None, NOON).await.unwrap();
    assert!(first.timeline.0 == 2 && first.revision > Version(1_000_000), "{first:?}");
    let known = Extent { timeline: Timeline(7), revision: Version(5_000_000) };
    let second = testbed.writer.declare_restored(Some(known), NOON).await.unwrap();
    assert!(second.timeline.0 == 8 && second.revision > Version(6_000_000 - 1), "{second:?}");
    let seen = testbed.writer.observe().await.unwrap();
    assert_eq!((seen.timeline, seen.revision, seen.rows.len()), (second.timeline, second.revision, 0));
}
