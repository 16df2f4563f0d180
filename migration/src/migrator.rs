//! The list of migrations, oldest first. A migration that was once released is never changed or removed; what comes
//! later is a new file at the end.

use sea_orm_migration::sea_orm::DynIden;
use sea_orm_migration::sea_orm::sea_query::{Alias, IntoIden};
use sea_orm_migration::{MigrationTrait, MigratorTrait, async_trait};

use crate::access::Access;
use crate::database_member::DatabaseMember;
use crate::first_schema::FirstSchema;
use crate::room_for_updates::RoomForUpdates;
use crate::sealed::Sealed;

/// The table in which the applied migrations are kept.
pub const MIGRATION_TABLE: &str = "cc_migration";

/// Every migration of Callboard.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(FirstSchema),
            Box::new(DatabaseMember),
            Box::new(RoomForUpdates),
            Box::new(Access),
            Box::new(Sealed),
        ]
    }

    fn migration_table_name() -> DynIden {
        Alias::new(MIGRATION_TABLE).into_iden()
    }
}
