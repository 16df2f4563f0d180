//! Which contents are sealed: the digest of such a content stands here, sealed as well, and not in `md5`. Null in every
//! row that holds its content as it is.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::first_schema::in_dialect;

pub(crate) struct Sealed;

impl MigrationName for Sealed {
    fn name(&self) -> &str {
        "m0005_sealed"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Sealed {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["cc_config", "cc_change"] {
            // MySQL commits each by itself: a migration that broke off between them runs again.
            if manager.has_column(table, "sealed").await? {
                continue;
            }
            let alter = format!("ALTER TABLE {table} ADD COLUMN sealed {{text256}}");
            let alter = in_dialect(manager.get_database_backend(), &alter);
            manager.get_connection().execute_unprepared(&alter).await?;
        }
        Ok(())
    }
}
