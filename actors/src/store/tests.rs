//! One suite for every database. Each scenario gets a database of its own, migrated and empty, and runs on SQLite
//! always, on PostgreSQL when `CALLBOARD_TEST_POSTGRES_URL` is set and on MariaDB when `CALLBOARD_TEST_MYSQL_URL` is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod access;
mod audit;
mod commits;
mod isolation;
mod leases;
mod members;
mod outages;
mod reads;
mod secrets;
mod settings;
mod storage;
mod testbed;
mod upkeep;

/// Makes a test of each scenario for each database.
macro_rules! on_every_database {
    ($($scenario:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $scenario() {
            super::super::testbed::play(super::super::testbed::Kind::Sqlite, super::$scenario).await;
        })* }
        mod postgres { $(#[tokio::test] async fn $scenario() {
            super::super::testbed::play(super::super::testbed::Kind::Postgres, super::$scenario).await;
        })* }
        mod mysql { $(#[tokio::test] async fn $scenario() {
            super::super::testbed::play(super::super::testbed::Kind::MySql, super::$scenario).await;
        })* }
    };
}
use on_every_database;
