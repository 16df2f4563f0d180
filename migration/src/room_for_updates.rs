//! Room in the pages of `cc_config` on PostgreSQL, so that a new version of a row lies beside the old one: the index is
//! not touched then, and dead versions go when their page is next read. Without it most updates of a busy table left an
//! entry in the index, and the read of every batch went through them. Pages that are there are filled as they are
//! rewritten.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(crate) struct RoomForUpdates;

impl MigrationName for RoomForUpdates {
    fn name(&self) -> &str {
        "m0003_room_for_updates"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RoomForUpdates {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let room = "ALTER TABLE cc_config SET (fillfactor = 50)";
            manager.get_connection().execute_unprepared(room).await?;
        }
        Ok(())
    }
}
