//! The first schema: membership, configurations, the feed of changes, request ids and namespaces.
//!
//! Names and digests compare byte by byte on every database, so that keys are case-sensitive and sort alike
//! everywhere. Contents are bytes. Times are milliseconds since 1970, by the clock of the node that wrote them.
//! Every statement can be repeated: MySQL commits each on its own, and a migration that broke off runs again.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};
use uuid::Uuid;

pub(crate) struct FirstSchema;

impl MigrationName for FirstSchema {
    fn name(&self) -> &str {
        "m0001_first_schema"
    }
}

/// The metadata, digest and gray contents of a state: the same in `cc_config` and `cc_change`.
const STATE_COLUMNS: &str = "
    formal_present BOOLEAN NOT NULL,
    md5 {text32},
    kind {text32} NOT NULL,
    description {text128},
    tags {long} NOT NULL,
    application {text128},
    usage_note {text32},
    effect {text32},
    schema_text {long},
    encrypted_data_key {text1024},
    gray {long}";

/// The row that every commit, join and floor locks; there is exactly one.
const META: &str = "CREATE TABLE IF NOT EXISTS cc_meta (
    id INTEGER NOT NULL PRIMARY KEY,
    rev BIGINT NOT NULL,
    timeline BIGINT NOT NULL,
    member_epoch BIGINT NOT NULL,
    cluster_id {text64} NOT NULL,
    pruned_rev BIGINT NOT NULL
){table}";

/// One row for each node that answers from memory. It is updated every second or two: room is left in its pages.
const NODE: &str = "CREATE TABLE IF NOT EXISTS cc_node (
    node {text128} NOT NULL PRIMARY KEY,
    inc {text64} NOT NULL,
    renew_seq BIGINT NOT NULL,
    ack_floor BIGINT NOT NULL,
    revoked BOOLEAN NOT NULL,
    addr {text256} NOT NULL,
    boot_id {text128} NOT NULL,
    proto INTEGER NOT NULL
){updated_table}";

/// The newest state of every key that ever existed. Content comes last: the rest is read without it.
const CONFIG: &str = "CREATE TABLE IF NOT EXISTS cc_config (
    tenant {text64} NOT NULL,
    grp {text128} NOT NULL,
    data_id {text256} NOT NULL,
    version BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,{state},
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    content {bytes},
    PRIMARY KEY (tenant, grp, data_id)
){table}";

/// Every change in the order of its revision: feed and history.
const CHANGE: &str = "CREATE TABLE IF NOT EXISTS cc_change (
    rev BIGINT NOT NULL,
    tenant {text64} NOT NULL,
    grp {text128} NOT NULL,
    data_id {text256} NOT NULL,
    op {text32} NOT NULL,{state},
    operator {text128},
    source_address {text128},
    client_id {text128},
    channel {text32} NOT NULL,
    note {text1024},
    request_id {text128} NOT NULL,
    created_at BIGINT NOT NULL,
    at BIGINT NOT NULL,
    content {bytes},
    PRIMARY KEY (rev, tenant, grp, data_id){change_index}
){table}";

/// How each request came out, for a day or more.
const REQUEST: &str = "CREATE TABLE IF NOT EXISTS cc_request (
    request_id {text128} NOT NULL PRIMARY KEY,
    rev BIGINT NOT NULL,
    result {bytes} NOT NULL,
    at BIGINT NOT NULL{request_index}
){table}";

/// The namespaces that somebody named.
const NAMESPACE: &str = "CREATE TABLE IF NOT EXISTS cc_namespace (
    id {text64} NOT NULL PRIMARY KEY,
    name {text256} NOT NULL,
    description {text256},
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
){table}";

/// The history of one key. MySQL can't make an index only if it is missing, so there it is part of its table.
const CHANGE_INDEX: &str = "cc_change_of_key";
const REQUEST_INDEX: &str = "cc_request_at";

const FIRST_META: &str = "INSERT INTO cc_meta (id, rev, timeline, member_epoch, cluster_id, pruned_rev)
    SELECT 1, 0, 1, 0, {cluster_id}, 0 FROM (SELECT 1 AS one) AS seed
    WHERE NOT EXISTS (SELECT 1 FROM cc_meta WHERE id = 1)";

/// Fills the types of one database in. Lengths are in characters; only MySQL needs them for its indexes.
pub(crate) fn in_dialect(backend: DbBackend, template: &str) -> String {
    let mut sql = template.replace("{state}", STATE_COLUMNS);
    for length in [32, 64, 128, 256, 1_024] {
        let text = match backend {
            DbBackend::MySql => format!("VARCHAR({length})"),
            DbBackend::Postgres => "TEXT COLLATE \"C\"".to_owned(),
            _ => "TEXT".to_owned(),
        };
        sql = sql.replace(&format!("{{text{length}}}"), &text);
    }
    let mysql_table = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    let (long, bytes, table, updated_table) = match backend {
        DbBackend::MySql => ("MEDIUMTEXT", "LONGBLOB", mysql_table, mysql_table),
        DbBackend::Postgres => ("TEXT COLLATE \"C\"", "BYTEA", "", " WITH (fillfactor = 50)"),
        _ => ("TEXT", "BLOB", "", ""),
    };
    let (change_index, request_index) = match backend {
        DbBackend::MySql => (
            format!(",\n    INDEX {CHANGE_INDEX} (tenant, grp, data_id, rev)"),
            format!(",\n    INDEX {REQUEST_INDEX} (at)"),
        ),
        _ => (String::new(), String::new()),
    };
    sql.replace("{long}", long)
        .replace("{bytes}", bytes)
        .replace("{table}", table)
        .replace("{updated_table}", updated_table)
        .replace("{change_index}", &change_index)
        .replace("{request_index}", &request_index)
}

#[async_trait::async_trait]
impl MigrationTrait for FirstSchema {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let session = manager.get_connection();
        let backend = manager.get_database_backend();
        for template in [META, NODE, CONFIG, CHANGE, REQUEST, NAMESPACE] {
            session.execute_unprepared(&in_dialect(backend, template)).await?;
        }
        if backend != DbBackend::MySql {
            let change = format!("CREATE INDEX IF NOT EXISTS {CHANGE_INDEX} ON cc_change (tenant, grp, data_id, rev)");
            session.execute_unprepared(&change).await?;
            let request = format!("CREATE INDEX IF NOT EXISTS {REQUEST_INDEX} ON cc_request (at)");
            session.execute_unprepared(&request).await?;
        }
        let placeholder = if backend == DbBackend::Postgres { "$1" } else { "?" };
        let cluster_id = Value::from(Uuid::new_v4().to_string());
        let seed = FIRST_META.replace("{cluster_id}", placeholder);
        session.execute_raw(Statement::from_sql_and_values(backend, seed, [cluster_id])).await?;
        Ok(())
    }
}
