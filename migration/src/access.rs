//! Who may do what: one row for each user, role, token and signing key, and one that counts their changes. A row holds
//! hashes and sealed keys, never a password or a secret.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::first_schema::in_dialect;

pub(crate) struct Access;

impl MigrationName for Access {
    fn name(&self) -> &str {
        "m0004_access"
    }
}

/// `kind` is `user`, `role`, `token`, `key` or `revision`; `body` is JSON.
const ACCESS: &str = "CREATE TABLE IF NOT EXISTS cc_access (
    kind {text32} NOT NULL,
    name {text128} NOT NULL,
    body {long} NOT NULL,
    modified_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
){table}";

/// What was done and tried: each node counts its own, and chains them by `hash`.
const AUDIT: &str = "CREATE TABLE IF NOT EXISTS cc_audit (
    node {text128} NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    hash {text64} NOT NULL,
    body {long} NOT NULL,
    PRIMARY KEY (node, seq){audit_index}
){table}";

/// For lists of all nodes, newest first. MySQL can't make an index only if it is missing, so there it is part of its
/// table.
const AUDIT_INDEX: &str = "cc_audit_at";

#[async_trait::async_trait]
impl MigrationTrait for Access {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let session = manager.get_connection();
        let is_mysql = backend == DbBackend::MySql;
        let index = if is_mysql { format!(",\n    INDEX {AUDIT_INDEX} (at)") } else { String::new() };
        for table in [ACCESS, &AUDIT.replace("{audit_index}", &index)] {
            session.execute_unprepared(&in_dialect(backend, table)).await?;
        }
        if !is_mysql {
            let index = format!("CREATE INDEX IF NOT EXISTS {AUDIT_INDEX} ON cc_audit (at)");
            session.execute_unprepared(&index).await?;
        }
        Ok(())
    }
}
