//! Forgetting: old history and old request ids. The newest change of each key stays, removals too, so that every key's
//! present state remains in the feed; what went is marked by the feed's floor.

use std::time::Duration;

use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;

use super::error::{Fault, WriteError};
use super::rows::{self, Columns};
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
                let greatest = self.backend().greatest();
                let mut floor = transaction.sql(&format!("UPDATE cc_meta SET pruned_rev = {greatest}(pruned_rev, "));
                floor.bind(rows::signed(highest.0)).push(") WHERE id = 1");
                transaction.run(floor).await?;
                let mut sql = transaction.sql("DELETE FROM cc_change WHERE ");
                for (index, (revision, key)) in chosen.iter().enumerate() {
                    sql.push(if index > 0 { " OR (rev = " } else { "(rev = " }).bind(rows::signed(revision.0));
                    sql.push(" AND tenant = ").bind(key.namespace()).push(" AND grp = ").bind(key.group());
                    sql.push(" AND data_id = ").bind(key.data_id()).push(")");
                }
                transaction.run(sql).await
            });
            let found = work.await?;
            transaction.commit().await?;
            removed += found;
        }
        Ok(removed)
    }

    /// Changes older than `before` that a newer one followed, in the order of their revisions.
    async fn old_changes(&self, before: WallMillis, at_most: u64) -> Result<Vec<(Version, ConfigKey)>, Fault> {
        let mut sql = self.reader().sql(
            "SELECT c.rev, c.tenant, c.grp, c.data_id FROM cc_change c JOIN cc_config k ON k.tenant = c.tenant \
             AND k.grp = c.grp AND k.data_id = c.data_id AND k.version > c.rev WHERE c.at < ",
        );
        sql.bind(before.0).push(" ORDER BY c.rev, c.tenant, c.grp, c.data_id LIMIT ").bind(rows::signed(at_most));
        let mut chosen = Vec::new();
        for row in &self.reader().ask(sql).await? {
            let mut columns = Columns::of(row);
            chosen.push((columns.version()?, columns.key()?));
        }
        Ok(chosen)
    }

    async fn forget_requests(&self, now: WallMillis, through: Version, at_most: u64) -> Result<(), WriteError> {
        if through == Version::ZERO {
            return Ok(());
        }
        let kept = i64::try_from(REQUESTS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut sql = self.reader().sql("SELECT request_id FROM cc_request WHERE at < ");
        sql.bind(now.0.saturating_sub(kept)).push(" AND rev <= ").bind(rows::signed(through.0));
        sql.push(" ORDER BY at LIMIT ").bind(rows::signed(at_most));
        let mut ids = Vec::new();
        for row in &self.reader().ask(sql).await? {
            ids.push(Columns::of(row).take::<String>()?);
        }
        for ids in ids.chunks(REMOVED_AT_ONCE) {
            let transaction = self.begin().await?;
            let mut sql = transaction.sql("DELETE FROM cc_request WHERE request_id IN ");
            sql.list(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            transaction.within(transaction.run(sql)).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}
