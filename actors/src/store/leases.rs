//! Leases as the database sees them: renew, look at the rows, revoke, fence, and begin a new timeline. All but
//! the last are single statements on one row, outside of the order of commits. Decides nothing.

use callboard_protocol::access::audit::{Event, Target, What, Who};
use callboard_protocol::config::Version;
use callboard_protocol::extent::{DatabaseIdentity, Extent};
use callboard_protocol::lease::{BeginResult, Evidence, Observation};
use callboard_protocol::member::{AckNo, Incarnation, MemberRow, NodeId, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::Source;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{Condition, ConnectionTrait as _, FromQueryResult};

use super::audit;
use super::batch;
use super::conditions::always;
use super::dialect::IntoStatement;
use super::error::{Fault, ReadError, WriteError};
use super::open::Names;
use super::rows;
use super::schema::{Alias, Column, Table};
use super::transaction::{Transaction, replacing_dead};
use super::writer::Writer;

/// Revisions that a new timeline leaves out, so that no lost one is ever given again.
const SKIPPED: u64 = 1_000_000;

impl Writer {
    /// Renews the row of this life. False when there is none any more, or it was revoked.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; it may be renewed all the same.
    pub async fn renew(&self, node: &NodeId, incarnation: Incarnation) -> Result<bool, WriteError> {
        let mut update = Query::update();
        update.table(Table::Node).value(Column::RenewSeq, Expr::col(Column::RenewSeq).add(1));
        update.value(Column::DatabaseMember, Expr::cust(self.names().member.unwrap_or("''")));
        update.cond_where(is_life(node, incarnation)).and_where(Expr::col(Column::Revoked).eq(false));
        Ok(self.run_alone(&update).await? > 0)
    }

    /// Every row, with the revision and the timeline of the same moment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn observe(&self) -> Result<Observation, ReadError> {
        let statement = select_observed(self.names()).into_statement(self.backend());
        let ask = || self.leases().query_all_raw(statement.clone());
        let found = replacing_dead(self.pool_size(), self.patience(), ask).await?;
        Ok(observation(rows::read_all(&found)?)?)
    }

    /// Takes the right to renew away from a life of a node. False when there is no such row.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn revoke(&self, node: &NodeId, incarnation: Incarnation) -> Result<bool, WriteError> {
        let mut update = Query::update();
        update.table(Table::Node).value(Column::Revoked, true).cond_where(is_life(node, incarnation));
        Ok(self.run_alone(&update).await? > 0)
    }

    /// Deletes the row of a life that has stood still at `renew_seq`. False when it was renewed, or is gone. Waits for
    /// a renewal that is under way and judges by what that made of the row.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn fence(&self, node: &NodeId, incarnation: Incarnation, renew_seq: u64) -> Result<bool, WriteError> {
        let mut delete = Query::delete();
        delete.from_table(Table::Node).cond_where(is_life(node, incarnation));
        delete.and_where(Expr::col(Column::RenewSeq).eq(rows::signed(renew_seq)));
        Ok(self.run_alone(&delete).await? > 0)
    }

    /// Begins a new timeline above all that is `known`, when the database is on the timeline `lost` and the evidence
    /// holds under the lock: it has lost commits that were acknowledged, or another history. Every row goes, so that
    /// every cache is emptied.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn begin_timeline(
        &self,
        lost: Timeline,
        known: Extent,
        evidence: &Evidence,
    ) -> Result<BeginResult, WriteError> {
        let transaction = self.begin().await?;
        let began = transaction.within_long(async {
            let (revision, timeline, _) = batch::members(&transaction).await?;
            let now = Extent::new(timeline, revision);
            let holds = timeline == lost
                && match evidence {
                    Evidence::Behind => now < known,
                    Evidence::Foreign => true,
                    Evidence::Row(key, version) => batch::version(&transaction, key).await? < *version,
                };
            if holds {
                begin_after(&transaction, now, known).await?;
            }
            Ok(holds)
        });
        if began.await? {
            transaction.commit().await?;
            Ok(BeginResult::Begun)
        } else {
            transaction.roll_back().await;
            Ok(BeginResult::Missed)
        }
    }

    /// Begins a new timeline because the database was restored from a copy: whatever was seen of it before may be lost,
    /// and no revision of then is ever given again. Every row goes, so that every cache is emptied. `known` is how far
    /// the database went before, as far as that is known. Returns how far it goes now.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn declare_restored(&self, known: Option<Extent>, at: WallMillis) -> Result<Extent, WriteError> {
        let turn = self.turn().await;
        let transaction = self.begin().await?;
        let began = transaction.within_long(async {
            let (revision, timeline, _) = batch::members(&transaction).await?;
            begin_after(&transaction, Extent::new(timeline, revision), known.unwrap_or_default()).await
        });
        let began = began.await?;
        let (who, target) = (
            Who { door: Source::Cli, ..Who::SERVER },
            Target { timeline: Some(began.timeline.0), ..Target::default() },
        );
        audit::commit(transaction, turn, Event::done(at, What::Restored, who, target)).await?;
        Ok(began)
    }

    /// Runs one statement outside of a transaction and returns how many rows it found. A connection that turns out dead
    /// is replaced: each statement here may be run twice.
    async fn run_alone(&self, statement: impl IntoStatement) -> Result<u64, Fault> {
        let statement = statement.into_statement(self.backend());
        let run = || self.leases().execute_raw(statement.clone());
        Ok(replacing_dead(self.pool_size(), self.patience(), run).await?.rows_affected())
    }
}

/// Whether a membership row is of this life of this node.
pub(super) fn is_life(node: &NodeId, incarnation: Incarnation) -> Condition {
    let is_node = Expr::col(Column::Node).eq(&*node.0);
    Cond::all().add(is_node).add(Expr::col(Column::Inc).eq(incarnation.0.to_string()))
}

/// Begins the timeline after those of `now` and `known`, above every revision of both. Every state gets a version above
/// all that were ever given, in the order that they had: what a client saw of a key before is less than what it sees
/// from now on, whatever was lost, and no version that it holds is given again.
async fn begin_after(transaction: &Transaction, now: Extent, known: Extent) -> Result<Extent, Fault> {
    let highest = now.revision.max(known.revision);
    let last = now.timeline.max(known.timeline);
    let began = Extent::new(Timeline(last.0.saturating_add(1)), Version(highest.0.saturating_add(SKIPPED)));
    lift(transaction, now.revision, began.revision).await?;
    // Who resumes from before it begins anew: what was known up to there may be lost.
    let next = rows::signed(began.revision.0);
    let mut update = Query::update();
    update.table(Table::Meta).value(Column::Timeline, rows::signed(began.timeline.0));
    update.value(Column::Rev, next).value(Column::PrunedRev, next).and_where(Expr::col(Column::Id).eq(1));
    transaction.run(&update).await?;
    transaction.run(Query::delete().from_table(Table::Node)).await?;
    Ok(began)
}

/// A version, by itself.
#[derive(Debug, FromQueryResult)]
struct NumberRow {
    number: i64,
}

/// States that one statement lifts: it has to end within the time of a statement.
const LIFTED_AT_ONCE: u64 = 20_000;

/// Moves the versions of all states up, so that the revision `from` becomes `to`.
async fn lift(transaction: &Transaction, from: Version, to: Version) -> Result<(), Fault> {
    let by = rows::signed(to.0.saturating_sub(from.0));
    let version = || Expr::col(Column::Version);
    loop {
        // Those that are lifted are above `from`.
        let mut select = Query::select();
        select.expr_as(version(), Alias::Number).from(Table::Config).and_where(version().lte(rows::signed(from.0)));
        select.order_by(Column::Version, Order::Asc).offset(LIFTED_AT_ONCE).limit(1);
        let rest = transaction.one::<NumberRow>(&select).await?.map(|row| row.number);
        let through = rest.unwrap_or(rows::signed(from.0));
        let mut update = Query::update();
        update.table(Table::Config).value(Column::Version, version().add(by)).and_where(version().lte(through));
        transaction.run(&update).await?;
        if rest.is_none() {
            return Ok(());
        }
    }
}

/// Every row, as a transaction sees them.
pub(super) async fn observed(transaction: &Transaction, names: Names) -> Result<Observation, Fault> {
    observation(transaction.all(&select_observed(names)).await?)
}

/// The meta row with each membership row.
#[derive(Debug, FromQueryResult)]
struct ObservedRow {
    rev: i64,
    timeline: i64,
    cluster_id: String,
    database_system: String,
    database_branch: String,
    #[sea_orm(nested)]
    member: Option<NodeRow>,
}

#[derive(Debug, FromQueryResult)]
struct NodeRow {
    node: String,
    inc: String,
    renew_seq: i64,
    ack_floor: i64,
    revoked: bool,
    addr: String,
    database_member: String,
}

impl NodeRow {
    fn member(self) -> Result<MemberRow, Fault> {
        Ok(MemberRow {
            node: NodeId(self.node.into()),
            incarnation: rows::incarnation(&self.inc)?,
            renew_seq: rows::count(self.renew_seq)?,
            ack_floor: AckNo(rows::count(self.ack_floor)?),
            revoked: self.revoked,
            address: self.addr,
            database_member: self.database_member,
        })
    }
}

fn select_observed(names: Names) -> SelectStatement {
    let member = [
        Column::Node,
        Column::Inc,
        Column::RenewSeq,
        Column::AckFloor,
        Column::Revoked,
        Column::Addr,
        Column::DatabaseMember,
    ];
    let mut select = Query::select();
    select.columns([Column::Rev, Column::Timeline, Column::ClusterId].map(|column| (Table::Meta, column)));
    select.expr_as(Expr::cust(names.system), Alias::DatabaseSystem);
    select.expr_as(Expr::cust(names.branch), Alias::DatabaseBranch);
    select.columns(member.map(|column| (Table::Node, column))).from(Table::Meta).left_join(Table::Node, always());
    select.and_where(Expr::col((Table::Meta, Column::Id)).eq(1)).take()
}

fn observation(found: Vec<ObservedRow>) -> Result<Observation, Fault> {
    let first = found.first().ok_or_else(rows::no_meta)?;
    let (revision, timeline) = (rows::version(first.rev)?, rows::timeline(first.timeline)?);
    let [cluster, system, branch] =
        [&first.cluster_id, &first.database_system, &first.database_branch].map(Clone::clone);
    let identity = DatabaseIdentity { cluster, system, branch };
    let rows = found.into_iter().filter_map(|row| row.member.map(NodeRow::member)).collect::<Result<_, _>>()?;
    Ok(Observation { revision, timeline, rows, identity })
}
