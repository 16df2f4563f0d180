//! Who may do what: one row for each user, role, token and signing key, and one that counts their changes. A row holds
//! hashes and sealed keys, never a password or a secret.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};
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
    PRIMARY KEY (node, seq)
){table}";

#[async_trait::async_trait]
impl MigrationTrait for Access {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        for table in [ACCESS, AUDIT] {
            manager.get_connection().execute_unprepared(&in_dialect(backend, table)).await?;
        }
        Ok(())
    }
}
