//! A database that goes away: what is answered, and that it is used again when it is back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::config::Version;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::on_every_database;
use super::testbed::{Kind, Testbed, administer, key, options, put, request, unit};
use crate::store::{Cause, CommitError, OpenError, OpenOptions, ReadError, open};

on_every_database!(
    sessions_ended_by_the_server_are_replaced,
    a_transaction_whose_session_ends_is_aborted,
    an_outage_is_survived_without_opening_again,
);

/// Ends every session that the store has on the server. SQLite has none.
async fn end_sessions(testbed: &Testbed) {
    match testbed.kind {
        Kind::Sqlite => {}
        Kind::Postgres => {
            let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                          WHERE datname = current_database() AND pid <> pg_backend_pid()";
            testbed.administer(others).await;
        }
        Kind::MySql => {
            let others = "BEGIN NOT ATOMIC FOR s IN (SELECT id FROM information_schema.processlist \
                          WHERE db = DATABASE() AND id <> CONNECTION_ID()) DO KILL s.id; END FOR; END";
            testbed.administer(others).await;
        }
    }
}

async fn sessions_ended_by_the_server_are_replaced(testbed: Arc<Testbed>) {
    for turn in 1..=3_u64 {
        // Several sessions in each pool.
        let (one, two, three) = tokio::join!(testbed.reader.probe(), testbed.reader.probe(), testbed.reader.probe());
        one.and(two).and(three).unwrap();
        end_sessions(&testbed).await;
        assert_eq!(testbed.publish(&key("a"), &turn.to_string()).await, Version(turn));
        assert_eq!(testbed.state(&key("a")).await.version, Version(turn));
    }
}

async fn a_transaction_whose_session_ends_is_aborted(testbed: Arc<Testbed>) {
    if testbed.kind == Kind::Sqlite {
        return;
    }
    let transaction = testbed.writer.begin().await.unwrap();
    end_sessions(&testbed).await;
    let fault = transaction.run(transaction.sql("UPDATE cc_meta SET rev = 77 WHERE id = 1")).await.unwrap_err();
    assert!(matches!(CommitError::from(fault), CommitError::Aborted { cause: Cause::Unreachable, .. }));
    drop(transaction);
    let transaction = testbed.writer.begin().await.unwrap();
    transaction.run(transaction.sql("UPDATE cc_meta SET rev = 77 WHERE id = 1")).await.unwrap();
    end_sessions(&testbed).await;
    assert!(matches!(transaction.commit().await, Err(CommitError::Unknown { .. })));
    assert_eq!(testbed.publish(&key("a"), "1").await, Version(1));
}

/// Passes bytes on between the store and its server until it is stopped.
struct Line {
    place: SocketAddr,
    server: String,
    task: JoinHandle<()>,
}

impl Line {
    async fn begin(place: &str, server: String) -> Self {
        let listener = TcpListener::bind(place).await.unwrap();
        let place = listener.local_addr().unwrap();
        let target = server.clone();
        let task = tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            while let Ok((mut caller, _)) = listener.accept().await {
                let target = target.clone();
                calls.spawn(async move {
                    let mut called = TcpStream::connect(target).await.unwrap();
                    // It ends when either side hangs up; how does not matter.
                    tokio::io::copy_bidirectional(&mut caller, &mut called).await.map_or(0, |(sent, _)| sent)
                });
            }
        });
        Self { place, server, task }
    }

    async fn cut(&mut self) {
        self.task.abort();
        assert!((&mut self.task).await.is_err());
    }

    async fn mend(self) -> Self {
        Self::begin(&self.place.to_string(), self.server).await
    }
}

async fn an_outage_is_survived_without_opening_again(testbed: Arc<Testbed>) {
    if testbed.kind == Kind::Sqlite {
        return;
    }
    let (before, rest) = testbed.url.split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let mut line = Line::begin("127.0.0.1:0", server.to_owned()).await;
    let url = format!("{before}@{}/{database}", line.place);
    let patience = Duration::from_millis(500);
    let impatient = OpenOptions { connect_timeout: patience, statement_timeout: patience, ..options(&url) };
    let (writer, reader) = open(impatient.clone()).await.unwrap();
    let publish = async |text: &str| writer.commit(request(vec![unit(vec![put(&key("a"), text)])])).await;
    publish("1").await.unwrap();
    reader.probe().await.unwrap();
    let transaction = writer.begin().await.unwrap();
    line.cut().await;
    assert!(matches!(transaction.commit().await, Err(CommitError::Unknown { .. })));
    assert!(matches!(reader.fill(&[key("a")]).await, Err(ReadError::Unavailable { .. })));
    assert!(matches!(reader.probe().await, Err(ReadError::Unavailable { .. })));
    assert!(matches!(publish("2").await, Err(CommitError::Aborted { cause, .. }) if cause.passes()));
    let refused = open(impatient).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused}");
    let mut line = line.mend().await;
    publish("3").await.unwrap();
    assert_eq!(reader.fill(&[key("a")]).await.unwrap().revision, Version(2));
    line.cut().await;
    drop((writer, reader));
    administer(testbed.kind, &testbed.url, "UPDATE cc_meta SET rev = rev WHERE id = 1").await;
}
