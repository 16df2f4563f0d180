//! Opening a PostgreSQL server: the pools, what each session is told, and the checks that refuse or warn. Owns every
//! setting of it that durability rests on.

use std::str::FromStr;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions, Executor, Row};

use super::super::OpenOptions;
use super::super::dialect::Backend;
use super::super::error::OpenError;
use super::super::outlook::Outlook;
use super::{
    JOIN_CONNECTIONS, LEASE_CONNECTIONS, Names, Pools, STATEMENTS_KEPT, Use, WRITE_CONNECTIONS, address, close,
    first_connection, in_order, is_outside_of_transactions, unusable, warn_of_lagging_standby, warn_of_weak_durability,
};

pub(super) async fn open(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    let settings = PgConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        // No number with a fraction is ever read, and poolers refuse what they do not know at the beginning of a
        // session.
        .extra_float_digits(None)
        // A statement for each number of rows in a batch: preparing one of them anew costs more than running it.
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let name = settings.get_application_name().unwrap_or("callboard").to_owned();
    let settings = settings.application_name(&name);
    let mut first = first_connection(&settings, options.connect_timeout, database).await?;
    // Whatever the server allows a statement by default.
    let told = format!("SET statement_timeout = {}", options.statement_timeout.as_millis());
    first.execute(sqlx::AssertSqlSafe(told)).await.map_err(|error| unusable(database, &error))?;
    check_postgres(&mut first, database).await?;
    let names = names(&mut first).await;
    close(first).await;
    let limit = options.statement_timeout.as_millis();
    let pool = |use_of: Use| {
        let outlook = outlook.clone();
        let pool = PgPoolOptions::new().acquire_timeout(options.connect_timeout).test_before_acquire(false);
        let on_refusal = options.on_refusal.clone();
        pool.after_connect(move |connection, _| {
            let on_refusal = on_refusal.clone();
            Box::pin(async move {
                // Statements differ in nothing but their values; planning each anew finds nothing new.
                let told = format!(
                    "SET statement_timeout = {limit}; SET plan_cache_mode = force_generic_plan; \
                     SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; \
                     SET standard_conforming_strings = on"
                );
                let verdict = async {
                    connection.execute(sqlx::AssertSqlSafe(told)).await?;
                    refuse_postgres_standby(connection).await
                };
                on_refusal.tell(verdict.await)
            })
        })
        .before_acquire(move |connection, facts| {
            let is_current = use_of.permits(&outlook, facts.age);
            Box::pin(async move { Ok(is_current && is_outside_of_transactions(connection)?) })
        })
        .after_release(|connection, _| Box::pin(in_order(is_settled_postgres(connection))))
    };
    let writes = pool(Use::Write).max_connections(WRITE_CONNECTIONS).connect_lazy_with(settings.clone());
    let joins = pool(Use::Write).max_connections(JOIN_CONNECTIONS).connect_lazy_with(settings.clone());
    let leases = pool(Use::Read).max_connections(LEASE_CONNECTIONS).connect_lazy_with(settings.clone());
    let searches =
        pool(Use::Read).max_connections(options.search_connections.max(1)).connect_lazy_with(settings.clone());
    let reads = pool(Use::Read).max_connections(options.read_connections.max(1)).connect_lazy_with(settings);
    Ok(Pools {
        backend: Backend::Postgres,
        writes: writes.into(),
        reads: reads.into(),
        searches: searches.into(),
        hold: None,
        checkpoints: None,
        joins: Some(joins.into()),
        leases: Some(leases.into()),
        names,
    })
}

/// What the server keeps with its data, and the timeline of its log, which a promotion changes. Where it does not say,
/// nothing is known of it.
async fn names(connection: &mut PgConnection) -> Names {
    const SYSTEM: &str = "(SELECT system_identifier::text FROM pg_control_system())";
    const BRANCH: &str = "substring(pg_walfile_name(pg_current_wal_lsn()) FROM 1 FOR 8)";
    let question = format!("SELECT {SYSTEM}, {BRANCH}");
    match connection.fetch_one(sqlx::AssertSqlSafe(question)).await {
        Ok(_) => Names { system: SYSTEM, branch: BRANCH, ..Names::NONE },
        Err(error) => {
            tracing::debug!(%error, "the database does not say which server it is");
            Names::NONE
        }
    }
}

/// Also after each reconnect: behind the same address another server may answer than before.
async fn refuse_postgres_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let question = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    let standby = connection.fetch_one(question).await?.try_get::<bool, _>(0)?;
    if standby { Err(sqlx::Error::Protocol("the server is a standby, or read-only".to_owned())) } else { Ok(()) }
}

async fn check_postgres(connection: &mut PgConnection, database: &str) -> Result<(), OpenError> {
    let question = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), \
                    current_setting('synchronous_commit'), current_setting('fsync'), \
                    current_setting('full_page_writes'), current_setting('server_encoding')";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let text = |index: usize| row.try_get::<String, _>(index).map_err(|error| unusable(database, &error));
    if row.try_get::<bool, _>(0).map_err(|error| unusable(database, &error))? {
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason: "it is a standby".to_owned() });
    }
    if text(1)? == "on" {
        let reason = "transactions are read-only".to_owned();
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason });
    }
    if text(5)? != "UTF8" {
        let reason = format!("its encoding is {}; make one with ENCODING 'UTF8'", text(5)?);
        return Err(OpenError::Unusable { database: database.to_owned(), reason });
    }
    for (index, name) in [(2, "synchronous_commit"), (3, "fsync"), (4, "full_page_writes")] {
        if text(index)? == "off" {
            warn_of_weak_durability(database, name, "off", "on");
        }
    }
    // Who is not told what a standby does is still told that it is there.
    let question = "SELECT current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication)";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(|error| unusable(database, &error));
    let synchronous = row.try_get::<String, _>(0).map_err(|error| unusable(database, &error))?;
    if number(1)? > 0 {
        if synchronous.trim().is_empty() {
            warn_of_lagging_standby(database, "synchronous_standby_names is empty");
        } else if matches!(&*text(2)?, "local" | "remote_write") {
            warn_of_lagging_standby(database, &format!("synchronous_commit is {}", text(2)?));
        }
    }
    Ok(())
}

/// Whether a PostgreSQL session that comes back answers, and is outside of every transaction by the server's word:
/// inside of one the time stands still. The driver's own count knows nothing of a BEGIN whose answer was abandoned.
async fn is_settled_postgres(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let question = "SELECT transaction_timestamp() = statement_timestamp()";
    let outside = connection.fetch_one(question).await?.try_get::<bool, _>(0)?;
    Ok(outside && is_outside_of_transactions(connection)?)
}
