//! The node's own row and the look for what landed: join, raise the floor, leave. Everything here takes the lock of
//! the meta row first, so that it comes wholly before or wholly after any commit. Decides nothing.

use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::member::{AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::unit::{Recorded, RequestId};
use sea_orm::Value;

use super::error::{Fault, WriteError};
use super::rows::{self, Columns};
use super::transaction::Transaction;
use super::writer::Writer;
use super::{batch, look};

/// The number of the node-to-node protocol, kept in the row.
const PROTOCOL: i32 = 1;

/// A node that wants a row.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Who.
    pub node: NodeId,
    /// The life that begins with the row; made anew for each attempt.
    pub incarnation: Incarnation,
    /// Names the running system, so that a later process can prove that this one is gone.
    pub boot_id: String,
    /// Where other nodes reach it.
    pub address: String,
    /// True when the caller has proof that the process of an older row is dead.
    pub replace: bool,
}

/// Where the database stood when a node joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The revision of the last commit before the join.
    pub revision: Version,
    /// The line of history.
    pub timeline: Timeline,
}

/// What is in the database of some requests. With the lock held while looking, what is not here can't land any more
/// on acks below the floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The revision of the last commit.
    pub revision: Version,
    /// The line of history.
    pub timeline: Timeline,
    /// The requests that are there, with how they came out.
    pub units: Vec<(RequestId, Recorded)>,
    /// The present state of every key that these requests changed, each once.
    pub states: Vec<SharedState>,
}

impl Writer {
    /// Makes the node a member: from now on every commit needs its ack.
    ///
    /// Asking again for the same incarnation, after an unknown outcome, finds the row and changes nothing.
    ///
    /// # Errors
    /// [`WriteError::RowHeld`] when an older row stands and `replace` is false; [`WriteError::Failed`] otherwise.
    pub async fn join(&self, request: JoinRequest) -> Result<Joined, WriteError> {
        let transaction = self.begin().await?;
        let Some(joined) = transaction.within(add_row(&transaction, &request)).await? else {
            transaction.roll_back().await;
            return Err(WriteError::RowHeld);
        };
        transaction.commit().await?;
        Ok(joined)
    }

    /// Takes back every ack of this node up to `above`, then looks which of `request_ids` landed before that.
    /// `None` when the row is gone or belongs to another life: the node was fenced.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn raise_floor(
        &self,
        node: &NodeId,
        incarnation: Incarnation,
        above: AckNo,
        request_ids: &[RequestId],
    ) -> Result<Option<Landed>, WriteError> {
        let transaction = self.begin().await?;
        let landed = transaction.within(async {
            let greatest = self.backend().greatest();
            let mut sql = transaction.sql(&format!("UPDATE cc_node SET ack_floor = {greatest}(ack_floor, "));
            sql.bind(rows::signed(above.0.saturating_add(1))).push(") WHERE node = ").bind(&*node.0);
            sql.push(" AND inc = ").bind(incarnation.0.to_string());
            if transaction.run(sql).await? == 0 {
                return Ok(None);
            }
            look::under_lock(&transaction, request_ids).await.map(Some)
        });
        let landed = landed.await?;
        match &landed {
            Some(_) => transaction.commit().await?,
            None => transaction.roll_back().await,
        }
        Ok(landed)
    }

    /// Looks which of `request_ids` landed, after every commit that is under way has ended. For a publisher without
    /// a row.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; nothing is ever written.
    pub async fn look_locked(&self, request_ids: &[RequestId]) -> Result<Landed, WriteError> {
        let transaction = self.begin().await?;
        let landed = transaction.within(look::under_lock(&transaction, request_ids)).await?;
        transaction.roll_back().await;
        Ok(landed)
    }

    /// Gives the node's row back: it must have forgotten its cache before. False when the row was not its own any
    /// more.
    ///
    /// # Errors
    /// [`WriteError::Failed`]; after an unknown outcome ask again, it does no harm.
    pub async fn release(&self, node: &NodeId, incarnation: Incarnation) -> Result<bool, WriteError> {
        let transaction = self.begin().await?;
        let mut sql = transaction.sql("DELETE FROM cc_node WHERE node = ");
        sql.bind(&*node.0).push(" AND inc = ").bind(incarnation.0.to_string());
        let found = transaction.within(transaction.run(sql)).await?;
        transaction.commit().await?;
        Ok(found > 0)
    }
}

/// `None` when an older row is in the way.
async fn add_row(transaction: &Transaction, request: &JoinRequest) -> Result<Option<Joined>, Fault> {
    // An update, not the lock alone: a commit at a stricter isolation level would fail instead of overlooking it.
    let epoch = "UPDATE cc_meta SET member_epoch = member_epoch + 1 WHERE id = 1";
    transaction.run(transaction.sql(epoch)).await?;
    let mut held = transaction.sql("SELECT inc FROM cc_node WHERE node = ");
    held.bind(&*request.node.0);
    let mut stands = false;
    if let Some(row) = transaction.row(held).await? {
        let holder = batch::incarnation(&Columns::of(&row).take::<String>()?)?;
        stands = holder == request.incarnation;
        if !stands && !request.replace {
            return Ok(None);
        }
    }
    if !stands {
        let mut old = transaction.sql("DELETE FROM cc_node WHERE node = ");
        old.bind(&*request.node.0);
        transaction.run(old).await?;
        let columns = "(node, inc, renew_seq, ack_floor, revoked, addr, boot_id, proto)";
        let mut new = transaction.sql(&format!("INSERT INTO cc_node {columns} VALUES "));
        new.tuple([
            Value::from(&*request.node.0),
            request.incarnation.0.to_string().into(),
            1_i64.into(),
            0_i64.into(),
            false.into(),
            request.address.as_str().into(),
            request.boot_id.as_str().into(),
            PROTOCOL.into(),
        ]);
        transaction.run(new).await?;
    }
    let (revision, timeline, _) = batch::members(transaction).await?;
    Ok(Some(Joined { revision, timeline }))
}
