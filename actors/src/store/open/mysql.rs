//! Opening a MySQL or MariaDB server: the pools, what each session is told, and the checks that refuse or warn. Owns
//! every setting of it that durability rests on.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions, Executor, Row};

use super::super::OpenOptions;
use super::super::dialect::Backend;
use super::super::error::OpenError;
use super::super::outlook::Outlook;
use super::{
    JOIN_CONNECTIONS, LEASE_CONNECTIONS, Names, Pools, STATEMENTS_KEPT, Use, WRITE_CONNECTIONS, address, close,
    first_connection, in_order, is_outside_of_transactions, unusable, warn_of_lagging_standby, warn_of_weak_durability,
};

/// The least `max_allowed_packet`: the longest content fits in with room to spare.
const LEAST_PACKET: u64 = 16 * 1024 * 1024;
/// The name of the member of a Galera cluster that runs it: what its operator calls it, and where it is, for members of
/// one name are not rare.
const GALERA_MEMBER: &str =
    "CAST(CONCAT(@@global.wsrep_node_name, ' (', @@global.hostname, ':', @@global.port, ')') AS CHAR(256))";

/// What tells one server from another: MySQL gives itself a name, MariaDB is where it is.
const MYSQL_SERVER: &str = "CAST(@@global.server_uuid AS CHAR(64))";
const MARIADB_SERVER: &str = "CAST(CONCAT(@@global.hostname, ':', @@global.port, @@global.datadir) AS CHAR(512))";

/// What the first look at a server finds.
struct Found {
    is_mariadb: bool,
    /// See [`Pools::names`].
    names: Names,
}

pub(super) async fn open(options: &OpenOptions, database: &str, outlook: &Outlook) -> Result<Pools, OpenError> {
    let settings = MySqlConnectOptions::from_str(&options.url)
        .map_err(|error| address(database, &error))?
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let mut first = first_connection(&settings, options.connect_timeout, database).await?;
    // What the server allows a question by default may be too little for those that follow.
    let told = "SET SESSION sql_big_selects = 1, SESSION sql_select_limit = 18446744073709551615";
    first.execute(told).await.map_err(|error| unusable(database, &error))?;
    let Found { is_mariadb, names } = check_mysql(&mut first, database).await?;
    close(first).await;
    let (told, told_writers) = session_settings(is_mariadb, options.statement_timeout);
    let pool = |use_of: Use, told: String| {
        let outlook = outlook.clone();
        let pool = MySqlPoolOptions::new().acquire_timeout(options.connect_timeout).test_before_acquire(false);
        let on_refusal = options.on_refusal.clone();
        pool.after_connect(move |connection, _| {
            let (told, on_refusal) = (told.clone(), on_refusal.clone());
            Box::pin(async move {
                let verdict = async {
                    connection.execute(sqlx::AssertSqlSafe(told)).await?;
                    refuse_read_only_mysql(connection).await
                };
                on_refusal.tell(verdict.await)
            })
        })
        // Not a ping: a begin that was abandoned may have left a transaction that the driver knows nothing of.
        .before_acquire(move |connection, facts| {
            let is_current = use_of.permits(&outlook, facts.age);
            Box::pin(async move { Ok(is_current && is_outside_of_transactions(connection)?) })
        })
        .after_release(|connection, _| {
            Box::pin(in_order(async {
                connection.execute("ROLLBACK").await?;
                is_outside_of_transactions(connection)
            }))
        })
    };
    let writes = pool(Use::Write, format!("{told}{told_writers}"))
        .max_connections(WRITE_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let joins = pool(Use::Write, format!("{told}{told_writers}"))
        .max_connections(JOIN_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let leases = pool(Use::Read, format!("{told}{told_writers}"))
        .max_connections(LEASE_CONNECTIONS)
        .connect_lazy_with(settings.clone());
    let read =
        |most: u32| pool(Use::Read, told.clone()).max_connections(most.max(1)).connect_lazy_with(settings.clone());
    let (reads, searches) = (read(options.read_connections), read(options.search_connections));
    Ok(Pools {
        backend: Backend::MySql,
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

/// What every session is told, and what those that write are told besides.
fn session_settings(is_mariadb: bool, statement_timeout: Duration) -> (String, String) {
    let millis = statement_timeout.as_millis();
    let seconds = millis.div_ceil(1_000).max(1);
    // Servers can have other settings than those that our statements are written for. The mode comes first: how the
    // rest is read depends on it. A migration tells its session the same.
    let mut told = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'; \
         SET SESSION autocommit = 1; SET SESSION completion_type = 0; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
         SET SESSION sql_auto_is_null = 0; SET SESSION sql_safe_updates = 0; SET SESSION sql_big_selects = 1; \
         SET SESSION sql_select_limit = 18446744073709551615; \
         SET SESSION innodb_lock_wait_timeout = {seconds}"
    );
    let mut told_writers = String::new();
    if is_mariadb {
        told.push_str(&format!("; SET SESSION max_statement_time = {seconds}"));
        told_writers.push_str(&format!("; SET SESSION idle_transaction_timeout = {seconds}"));
    } else {
        told.push_str(&format!("; SET SESSION max_execution_time = {millis}"));
        // MySQL can't end an idle transaction, only an idle session; the writer replaces one that was ended.
        told_writers.push_str(&format!("; SET SESSION wait_timeout = {}", seconds + 1));
    }
    (told, told_writers)
}

/// Also after each reconnect: behind the same address another server may answer than before.
async fn refuse_read_only_mysql(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let row = connection.fetch_one("SELECT CAST(@@global.read_only AS CHAR)").await?;
    let read_only = row.try_get::<String, _>(0)?;
    if is_off(&read_only) { Ok(()) } else { Err(sqlx::Error::Protocol("the server is read-only".to_owned())) }
}

fn is_off(setting: &str) -> bool {
    setting == "0" || setting.eq_ignore_ascii_case("off")
}

async fn check_mysql(connection: &mut MySqlConnection, database: &str) -> Result<Found, OpenError> {
    let question = "SELECT CAST(VERSION() AS CHAR), CAST(@@global.read_only AS CHAR), \
                    CAST(@@global.max_allowed_packet AS CHAR), \
                    CAST(@@global.innodb_flush_log_at_trx_commit AS CHAR), \
                    CAST(@@global.log_bin AS CHAR), CAST(@@global.sync_binlog AS CHAR)";
    let row = connection.fetch_one(question).await.map_err(|error| unusable(database, &error))?;
    let text = |index: usize| row.try_get::<String, _>(index).map_err(|error| unusable(database, &error));
    if !is_off(&text(1)?) {
        return Err(OpenError::ReadOnly { database: database.to_owned(), reason: "read_only is set".to_owned() });
    }
    let found = text(2)?.parse().unwrap_or_default();
    if found < LEAST_PACKET {
        return Err(OpenError::PacketTooSmall { database: database.to_owned(), found, needed: LEAST_PACKET });
    }
    if text(3)? != "1" {
        warn_of_weak_durability(database, "innodb_flush_log_at_trx_commit", &text(3)?, "1");
    }
    if !is_off(&text(4)?) && text(5)? != "1" {
        warn_of_weak_durability(database, "sync_binlog", &text(5)?, "1");
    }
    let question = "SHOW GLOBAL STATUS WHERE Variable_name IN \
                    ('Slaves_connected', 'Rpl_semi_sync_master_status', 'wsrep_cluster_size')";
    let mut status = HashMap::new();
    for row in connection.fetch_all(question).await.map_err(|error| unusable(database, &error))? {
        let [name, value] = [0, 1].map(|index| row.try_get::<String, _>(index).unwrap_or_default());
        status.insert(name.to_lowercase(), value);
    }
    let member = status.get("wsrep_cluster_size").filter(|size| *size != "0").map(|size| {
        tracing::info!(
            store.database = database,
            "the database is one of {size} members of a Galera cluster; every node has to reach the same one"
        );
        GALERA_MEMBER
    });
    let has_replicas = status.get("slaves_connected").is_some_and(|count| count != "0");
    if has_replicas && status.get("rpl_semi_sync_master_status").is_none_or(|is_on| is_off(is_on)) {
        warn_of_lagging_standby(database, "rpl_semi_sync_master_enabled is off");
    }
    let is_mariadb = text(0)?.contains("MariaDB");
    let names = match member {
        // Its members are one database, whichever answers.
        Some(member) => Names { member: Some(member), ..Names::NONE },
        None => Names { branch: if is_mariadb { MARIADB_SERVER } else { MYSQL_SERVER }, ..Names::NONE },
    };
    Ok(Found { is_mariadb, names })
}
