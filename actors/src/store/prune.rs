//! Forgetting: old history and old request ids. The newest change of each key stays, removals too, so that every key's
//! present state remains in the feed; what went is marked by the feed's floor.

use std::time::Duration;

use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;

use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Func, Order, Query};

use super::conditions::among;
use super::error::{Fault, WriteError};
use super::rows::{self, KeyRow};
use super::schema::{Column, KEY, Table};
use super::writer::Writer;

/// How long a request id is kept.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Rows removed by one statement.
const REMOVED_AT_ONCE: usize = 500;

impl Writer {
    /// Removes up to `at_most` changes older than `before`, and up to as many request ids that were kept for
    /// [`REQUESTS_KEPT`] as of `now` and whose revision is at most `requests_through`. Returns how many changes went;
    /// as long as it is `at_most`, ask again.
    ///
    /// Ages are by the wall clocks of those who wrote, and a request id that goes too early lets a repeat happen
    /// twice: `requests_through` is what the caller knows to be old by its own clock.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; what is left is found the next time.
    pub async fn prune(
        &self,
        before: WallMillis,
        now: WallMillis,
        requests_through: Version,
        at_most: u64,
    ) -> Result<u64, WriteError> {
        self.forget_requests(now, requests_through, at_most).await?;
        // A change that is not its key's newest never becomes it again: it can be chosen before the lock is taken,
        // and publishes do not wait for the search.
        let chosen = self.old_changes(before, at_most).await?;
        let mut removed = 0;
        for chosen in chosen.chunks(REMOVED_AT_ONCE) {
            let Some((highest, _)) = chosen.last() else { continue };
            let transaction = self.begin().await?;
            let work = transaction.within(async {
                let highest = Func::greatest([Expr::col(Column::PrunedRev), rows::signed(highest.0).into()]);
                let mut floor = Query::update();
                floor.table(Table::Meta).value(Column::PrunedRev, highest).and_where(Expr::col(Column::Id).eq(1));
                transaction.run(&floor).await?;
                let mut any = Cond::any();
                for (revision, key) in chosen {
                    let [tenant, group, data_id] = KEY.map(Expr::col);
                    let is_of = tenant.eq(key.namespace()).and(group.eq(key.group())).and(data_id.eq(key.data_id()));
                    any = any.add(Expr::col(Column::Rev).eq(rows::signed(revision.0)).and(is_of));
                }
                transaction.run(Query::delete().from_table(Table::Change).cond_where(any)).await
            });
            let found = work.await?;
            transaction.commit().await?;
            removed += found;
        }
        Ok(removed)
    }

    /// Changes older than `before` that a newer one followed, in the order of their revisions.
    async fn old_changes(&self, before: WallMillis, at_most: u64) -> Result<Vec<(Version, ConfigKey)>, Fault> {
        let of_change = |column| (Table::Change, column);
        let of_config = |column| (Table::Config, column);
        let mut newer = Cond::all().add(Expr::col(of_config(Column::Version)).gt(Expr::col(of_change(Column::Rev))));
        for column in KEY {
            newer = newer.add(Expr::col(of_config(column)).eq(Expr::col(of_change(column))));
        }
        let mut select = Query::select();
        select.column(of_change(Column::Rev)).columns(KEY.map(of_change)).from(Table::Change);
        select.inner_join(Table::Config, newer).and_where(Expr::col(of_change(Column::At)).lt(before.0));
        select.order_by(of_change(Column::Rev), Order::Asc).limit(rows::signed(at_most).unsigned_abs());
        select.order_by_columns(KEY.map(|column| (of_change(column), Order::Asc)));
        let rows = self.reader().all::<OldRow>(&select).await?.into_iter();
        rows.map(|row| Ok((rows::version(row.rev)?, row.key.key()?))).collect()
    }

    async fn forget_requests(&self, now: WallMillis, through: Version, at_most: u64) -> Result<(), WriteError> {
        if through == Version::ZERO {
            return Ok(());
        }
        let kept = i64::try_from(REQUESTS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut select = Query::select();
        select.column(Column::RequestId).from(Table::Request).order_by(Column::At, Order::Asc);
        select.limit(rows::signed(at_most).unsigned_abs());
        select.and_where(Expr::col(Column::At).lt(now.0.saturating_sub(kept)));
        select.and_where(Expr::col(Column::Rev).lte(rows::signed(through.0)));
        let found = self.reader().all::<OldRequestRow>(&select).await?;
        let ids: Vec<&str> = found.iter().map(|row| &*row.request_id).collect();
        for ids in ids.chunks(REMOVED_AT_ONCE) {
            let transaction = self.begin().await?;
            let mut delete = Query::delete();
            delete.from_table(Table::Request).and_where(among((Table::Request, Column::RequestId), ids));
            transaction.within(transaction.run(&delete)).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

#[derive(Debug, FromQueryResult)]
struct OldRow {
    rev: i64,
    #[sea_orm(nested)]
    key: KeyRow,
}

#[derive(Debug, FromQueryResult)]
struct OldRequestRow {
    request_id: String,
}
