//! The member of the database by which a node's row was written last, for databases of several members that all take
//! writes. Empty everywhere else, and in rows of nodes that know nothing of it.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::first_schema::in_dialect;

pub(crate) struct DatabaseMember;

impl MigrationName for DatabaseMember {
    fn name(&self) -> &str {
        "m0002_database_member"
    }
}

const COLUMN: &str = "database_member {text256} NOT NULL DEFAULT ''";

#[async_trait::async_trait]
impl MigrationTrait for DatabaseMember {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MySQL commits this by itself: a migration that broke off after it runs again.
        if manager.has_column("cc_node", "database_member").await? {
            return Ok(());
        }
        let backend: DbBackend = manager.get_database_backend();
        let alter = in_dialect(backend, &format!("ALTER TABLE cc_node ADD COLUMN {COLUMN}"));
        manager.get_connection().execute_unprepared(&alter).await?;
        Ok(())
    }
}
