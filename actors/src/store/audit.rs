//! What is written down, as the database has it: the records of each node are a chain, and a record is written in the
//! transaction of what it tells of. Owns the head of this node's chain, and the text of bodies; what a record tells,
//! and how chains are verified, is [`callboard_protocol::access::audit`].

use std::collections::BTreeMap;
use std::sync::Arc;

use callboard_protocol::access::audit::chain::{Hash, Head, Record};
use callboard_protocol::access::audit::{Body, Event, Pruned, Target, What, Who};
use callboard_protocol::commit::Writes;
use callboard_protocol::member::NodeId;
use callboard_protocol::time::WallMillis;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{FromQueryResult, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{CommitError, Fault, ReadError, WriteError};
use super::look::Asked;
use super::reader::ReadPool;
use super::rows;
use super::schema::{Column, Table};
use super::transaction::Transaction;
use super::writer::Writer;

/// The columns of a record, in the order of [`values`].
pub(super) const COLUMNS: [Column; 5] = [Column::Node, Column::Seq, Column::At, Column::Hash, Column::Body];

/// The chain of a node. Whoever writes a record holds it from before the transaction until that is known to be durable.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    node: Arc<str>,
    /// How far it goes; `None` where only the database knows.
    head: Arc<Mutex<Option<Head>>>,
}

impl Chain {
    pub(super) fn of(node: &NodeId) -> Self {
        Self { node: Arc::clone(&node.0), head: Arc::default() }
    }

    /// Waits for those who write. Taken before a transaction is begun, never within one.
    pub(super) async fn turn(&self) -> Turn {
        let mut kept = Arc::clone(&self.head).lock_owned().await;
        // A transaction that ends in any other way than well leaves it to the database.
        let head = kept.take();
        Turn { node: Arc::clone(&self.node), kept, head }
    }
}

/// A transaction's turn to write records.
#[derive(Debug)]
pub(super) struct Turn {
    node: Arc<str>,
    kept: OwnedMutexGuard<Option<Head>>,
    head: Option<Head>,
}

impl Turn {
    /// The next record. The transaction writes it.
    pub(super) async fn record(
        &mut self,
        transaction: &Transaction,
        at: WallMillis,
        body: &Body<'_>,
    ) -> Result<Record, Fault> {
        let last = match self.head {
            Some(head) => head,
            None => last_of(transaction, &self.node).await?.unwrap_or(Head::START),
        };
        let body = serde_json::to_string(body).map_err(|error| Fault::Broken(error.to_string()))?;
        let head = last.next(&self.node, at, &body);
        self.head = Some(head);
        Ok(Record { node: self.node.as_ref().to_owned(), seq: head.seq, at, hash: head.hash, body })
    }

    /// The record of what a batch changed, if it changed anything.
    pub(super) async fn of_batch(
        &mut self,
        transaction: &Transaction,
        writes: &Writes,
    ) -> Result<Option<Record>, Fault> {
        if writes.changes.is_empty() {
            return Ok(None);
        }
        let events: Vec<Event> = writes.changes.iter().map(|change| Event::of_change(change, writes.at)).collect();
        let body = Body { events: &events, heads: &BTreeMap::new(), pruned: None };
        self.record(transaction, writes.at, &body).await.map(Some)
    }

    /// The transaction is durable, or there is no record of it.
    pub(super) fn committed(mut self) {
        *self.kept = self.head;
    }
}

/// Writes down what a transaction did, and makes both durable.
pub(super) async fn commit(transaction: Transaction, turn: Option<Turn>, event: Event) -> Result<(), CommitError> {
    let Some(mut turn) = turn else { return transaction.commit().await };
    let written = transaction.within(async {
        let body = Body { events: std::slice::from_ref(&event), heads: &BTreeMap::new(), pruned: None };
        let record = turn.record(&transaction, event.at, &body).await?;
        insert(&transaction, &record).await
    });
    written.await?;
    transaction.commit().await?;
    turn.committed();
    Ok(())
}

/// The values of [`COLUMNS`].
pub(super) fn values(record: &Record) -> [Value; COLUMNS.len()] {
    [
        record.node.as_str().into(),
        rows::signed(record.seq).into(),
        record.at.0.into(),
        record.hash.to_string().into(),
        record.body.as_str().into(),
    ]
}

/// Writes a record.
pub(super) async fn insert(transaction: &Transaction, record: &Record) -> Result<(), Fault> {
    let mut insert = Query::insert();
    insert.into_table(Table::Audit).columns(COLUMNS).values_panic(values(record).map(Expr::val));
    transaction.run(&insert).await.map(|_| ())
}

impl Writer {
    /// The same, writing down in the chain of `node` what is done.
    #[must_use]
    pub fn audited(self, node: &NodeId) -> Self {
        self.with_chain(Chain::of(node))
    }

    /// Writes down what happened elsewhere than in a transaction. With `sees_others` the record says how far the chains
    /// of other nodes go. Where there is nothing to say, there is no record.
    ///
    /// # Errors
    /// [`WriteError::Failed`].
    pub async fn write_down(&self, events: &[Event], at: WallMillis, sees_others: bool) -> Result<(), WriteError> {
        let Some(mut turn) = self.turn().await else { return Ok(()) };
        let transaction = self.begin().await?;
        let written = transaction.within(async {
            let mut heads = if sees_others { heads(&transaction).await? } else { BTreeMap::new() };
            heads.remove(turn.node.as_ref());
            if events.is_empty() && heads.is_empty() {
                return Ok(false);
            }
            let record = turn.record(&transaction, at, &Body { events, heads: &heads, pruned: None }).await?;
            insert(&transaction, &record).await.map(|()| true)
        });
        if !written.await? {
            transaction.roll_back().await;
            return Ok(());
        }
        transaction.commit().await?;
        turn.committed();
        Ok(())
    }

    /// Removes up to `at_most` records of each chain that are older than `before` and have none but such before them.
    /// The last of each chain stays. Returns how many went; as long as any do, ask again.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; what is left is found the next time.
    pub async fn prune_audit(&self, before: WallMillis, now: WallMillis, at_most: u64) -> Result<u64, WriteError> {
        let mut removed = 0;
        for node in heads(self.reader()).await?.into_keys() {
            let Some(through) = old(self.reader(), &node, before, at_most).await? else { continue };
            removed += self.prune_chain(Pruned { node, through }, now).await?;
        }
        Ok(removed)
    }

    async fn prune_chain(&self, pruned: Pruned, now: WallMillis) -> Result<u64, WriteError> {
        let Some(mut turn) = self.turn().await else { return Ok(0) };
        let transaction = self.begin().await?;
        let work = transaction.within(async {
            let mut delete = Query::delete();
            delete.from_table(Table::Audit).and_where(Expr::col(Column::Node).eq(pruned.node.as_str()));
            delete.and_where(Expr::col(Column::Seq).lte(rows::signed(pruned.through.seq)));
            let found = transaction.run(&delete).await?;
            if found == 0 {
                return Ok(0);
            }
            let target = Target { node: Some(pruned.node.clone()), records: Some(found), ..Target::default() };
            let event = Event::done(now, What::AuditPruned, Who::SERVER, target);
            let mut others = heads(&transaction).await?;
            others.remove(turn.node.as_ref());
            let body = Body { events: std::slice::from_ref(&event), heads: &others, pruned: Some(&pruned) };
            let record = turn.record(&transaction, now, &body).await?;
            insert(&transaction, &record).await.map(|()| found)
        });
        let found = work.await?;
        if found == 0 {
            // Another node was first.
            transaction.roll_back().await;
        } else {
            transaction.commit().await?;
            turn.committed();
        }
        Ok(found)
    }
}

/// Which records are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Of this node.
    pub node: Option<String>,
    /// Not before this.
    pub from: Option<WallMillis>,
    /// Before this.
    pub to: Option<WallMillis>,
}

/// The place of a record among all, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlace {
    /// When it was written.
    pub at: WallMillis,
    /// By which node.
    pub node: String,
    /// Its number.
    pub seq: u64,
}

impl ReadPool {
    /// How far each chain goes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit_heads(&self) -> Result<BTreeMap<String, Head>, ReadError> {
        Ok(heads(self).await?)
    }

    /// Up to `limit` records of a chain after `after`, in their order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit_records(&self, node: &str, after: u64, limit: u32) -> Result<Vec<Record>, ReadError> {
        let mut select = select();
        select.and_where(Expr::col(Column::Node).eq(node)).and_where(Expr::col(Column::Seq).gt(rows::signed(after)));
        select.order_by(Column::Seq, Order::Asc).limit(limit.into());
        Ok(records(self.all(&select).await?)?)
    }

    /// The hash of one record, if it is there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit_hash(&self, node: &str, seq: u64) -> Result<Option<Hash>, ReadError> {
        let after = seq.saturating_sub(1);
        let found = self.audit_records(node, after, 1).await?;
        Ok(found.into_iter().find(|record| record.seq == seq).map(|record| record.hash))
    }

    /// Up to `limit` records after `after`, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        after: Option<&AuditPlace>,
        limit: u32,
    ) -> Result<Vec<Record>, ReadError> {
        let mut select = select();
        select.and_where_option(filter.node.as_deref().map(|node| Expr::col(Column::Node).eq(node)));
        select.and_where_option(filter.from.map(|from| Expr::col(Column::At).gte(from.0)));
        select.and_where_option(filter.to.map(|to| Expr::col(Column::At).lt(to.0)));
        if let Some(AuditPlace { at, node, seq }) = after {
            let same = || Expr::col(Column::At).eq(at.0);
            let in_node = same().and(Expr::col(Column::Node).eq(node.as_str()));
            let further = Cond::any()
                .add(Expr::col(Column::At).lt(at.0))
                .add(same().and(Expr::col(Column::Node).gt(node.as_str())))
                .add(in_node.and(Expr::col(Column::Seq).lt(rows::signed(*seq))));
            select.cond_where(Cond::all().add(Expr::col(Column::At).lte(at.0)).add(further));
        }
        select.order_by(Column::At, Order::Desc).order_by(Column::Node, Order::Asc).order_by(Column::Seq, Order::Desc);
        Ok(records(self.all(select.limit(limit.into())).await?)?)
    }

    /// The first record of a chain that was written at `from` or later, if there is one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit_first_since(&self, node: &str, from: WallMillis) -> Result<Option<u64>, ReadError> {
        let mut select = Query::select();
        select.columns([Column::Seq, Column::Hash]).from(Table::Audit).and_where(Expr::col(Column::Node).eq(node));
        select.and_where(Expr::col(Column::At).gte(from.0)).order_by(Column::Seq, Order::Asc).limit(1);
        let found = self.all::<HeadRow>(&select).await?.into_iter().next();
        Ok(found.map(HeadRow::head).transpose()?.map(|head| head.seq))
    }
}

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS).from(Table::Audit).take()
}

fn records(found: Vec<RecordRow>) -> Result<Vec<Record>, Fault> {
    found.into_iter().map(RecordRow::record).collect()
}

/// How far each chain goes. Leaps from node to node, for a chain may be long.
async fn heads(asked: &impl Asked) -> Result<BTreeMap<String, Head>, Fault> {
    let mut heads = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let mut next = Query::select();
        next.columns([Column::Node, Column::Seq, Column::Hash]).from(Table::Audit);
        next.and_where_option(after.as_deref().map(|after| Expr::col(Column::Node).gt(after)));
        next.order_by(Column::Node, Order::Asc).order_by(Column::Seq, Order::Asc).limit(1);
        let Some(NodeRow { node }) = asked.all::<NodeRow>(&next).await?.into_iter().next() else { return Ok(heads) };
        if let Some(head) = last_of(asked, &node).await? {
            heads.insert(node.clone(), head);
        }
        after = Some(node);
    }
}

async fn last_of(asked: &impl Asked, node: &str) -> Result<Option<Head>, Fault> {
    let mut last = Query::select();
    last.columns([Column::Seq, Column::Hash]).from(Table::Audit).and_where(Expr::col(Column::Node).eq(node));
    last.order_by(Column::Seq, Order::Desc).limit(1);
    asked.all::<HeadRow>(&last).await?.into_iter().next().map(HeadRow::head).transpose()
}

/// The last record of a chain up to which all are older than `before`, and which is not the very last one.
async fn old(asked: &impl Asked, node: &str, before: WallMillis, at_most: u64) -> Result<Option<Head>, Fault> {
    let mut first = Query::select();
    first.columns([Column::Seq, Column::Hash, Column::At]).from(Table::Audit);
    first.and_where(Expr::col(Column::Node).eq(node)).order_by(Column::Seq, Order::Asc);
    let found = asked.all::<AgeRow>(first.limit(at_most.saturating_add(1))).await?;
    let followed = found.len().saturating_sub(1);
    let old = found.into_iter().take(followed).take_while(|row| row.at < before.0).last();
    old.map(|row| row.head.head()).transpose()
}

#[derive(Debug, FromQueryResult)]
struct NodeRow {
    node: String,
}

#[derive(Debug, FromQueryResult)]
struct HeadRow {
    seq: i64,
    hash: String,
}

impl HeadRow {
    fn head(self) -> Result<Head, Fault> {
        Ok(Head { seq: rows::count(self.seq)?, hash: hash(&self.hash) })
    }
}

#[derive(Debug, FromQueryResult)]
struct AgeRow {
    #[sea_orm(nested)]
    head: HeadRow,
    at: i64,
}

#[derive(Debug, FromQueryResult)]
struct RecordRow {
    node: String,
    seq: i64,
    at: i64,
    hash: String,
    body: String,
}

impl RecordRow {
    fn record(self) -> Result<Record, Fault> {
        let (seq, hash) = (rows::count(self.seq)?, hash(&self.hash));
        Ok(Record { node: self.node, seq, at: WallMillis(self.at), hash, body: self.body })
    }
}

/// What is no hash fits nothing, and whoever verifies the chain says so; it keeps nobody from reading and writing.
fn hash(text: &str) -> Hash {
    Hash::parse(text).unwrap_or(Hash::NONE)
}

#[cfg(test)]
mod tests;
