//! The node's own row and the look for what landed: join, raise the floor, leave. Everything here takes the lock of
//! the meta row first, so that it comes wholly before or wholly after any commit. Decides nothing.

use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::lease::Observation;
use callboard_protocol::member::{AckNo, Incarnation, MemberRow, NodeId, Timeline};
use callboard_protocol::unit::{Recorded, RequestId};
use sea_orm::Value;

use super::error::{Fault, WriteError};
use super::rows::{self, Columns};
use super::transaction::{TOUCH, Transaction};
use super::writer::Writer;
use super::{batch, leases, look};

/// A node that wants a row.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Who.
    pub node: NodeId,
    /// The life that begins with the row; made anew for each attempt.
    pub incarnation: Incarnation,
    /// The first life of the same process: a row of it, or of one between it and the new one, may be replaced.
    pub first_life: Incarnation,
    /// Names the running system and the data directory that is locked: a row with the same name belongs to a process
    /// that is dead. Empty when that can't be told.
    pub boot_id: String,
    /// Where other nodes reach it.
    pub address: String,
    /// The lowest and the highest version of the node-to-node protocol that it speaks.
    pub versions: (u16, u16),
    /// True when the caller has proof that no other process serves this database: every row that it finds is of a dead
    /// one, also under the name of another node.
    pub is_alone: bool,
}

/// How a join came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// The row is there, and this is what the same transaction saw.
    Member(Observation),
    /// An older row of the node stands, and nothing proves that its process is dead. Nothing was written.
    Held(Observation),
    /// Rows of other nodes name another member of the database than answers this one. Nothing was written.
    Elsewhere {
        /// The rows.
        observation: Observation,
        /// Who answers this one.
        ours: String,
    },
    /// A member speaks no version that the node speaks. Nothing was written.
    Incompatible {
        /// Who.
        node: NodeId,
    },
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
    /// # Errors
    /// [`WriteError::Failed`]; the row may be there or not. Ask again with a new life.
    pub async fn join(&self, request: JoinRequest) -> Result<Joined, WriteError> {
        let transaction = self.begin().await?;
        let joined = transaction.within(add_row(&transaction, &request, self.member())).await?;
        match &joined {
            Joined::Member(_) => transaction.commit().await?,
            Joined::Held(_) | Joined::Elsewhere { .. } | Joined::Incompatible { .. } => transaction.roll_back().await,
        }
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
            let landed = look::under_lock(&transaction, request_ids).await?;
            // A floor that is there already is no write, and a commit without one waits for nothing.
            if !landed.units.is_empty() && self.backend().shows_before_durable() {
                transaction.run(transaction.sql(TOUCH)).await?;
            }
            Ok(Some(landed))
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
    /// [`WriteError::Failed`]; ask again, it does no harm.
    pub async fn look_locked(&self, request_ids: &[RequestId]) -> Result<Landed, WriteError> {
        let transaction = self.begin().await?;
        let landed = transaction.within(look::under_lock(&transaction, request_ids)).await?;
        if landed.units.is_empty() {
            transaction.roll_back().await;
        } else {
            transaction.vouch().await?;
        }
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

async fn add_row(transaction: &Transaction, request: &JoinRequest, member: Option<&str>) -> Result<Joined, Fault> {
    // An update, not the lock alone: a commit at a stricter isolation level would fail instead of overlooking it.
    transaction.run(transaction.sql(TOUCH)).await?;
    for row in &transaction.rows(transaction.sql("SELECT node, inc, boot_id, proto FROM cc_node")).await? {
        let mut columns = Columns::of(row);
        let node = NodeId(columns.take::<String>()?.into());
        let life = batch::incarnation(&columns.take::<String>()?)?;
        let (boot_id, versions) = (columns.take::<String>()?, columns.take::<i32>()?);
        if node != request.node {
            if request.is_alone {
                remove_row(transaction, &node).await?;
                continue;
            }
            if !overlap(unpacked(versions), request.versions) {
                return Ok(Joined::Incompatible { node });
            }
            continue;
        }
        // A process knows its own lives: a join that comes late must not take the row of a later one.
        let may_replace = if is_of_one_process(request.first_life, life) {
            life <= request.incarnation
        } else {
            request.is_alone || (!boot_id.is_empty() && boot_id == request.boot_id)
        };
        if !may_replace {
            return Ok(Joined::Held(leases::observed(transaction).await?));
        }
        remove_row(transaction, &request.node).await?;
    }
    let columns = "(node, inc, renew_seq, ack_floor, revoked, addr, boot_id, proto, database_member)";
    let mut new = transaction.sql(&format!("INSERT INTO cc_node {columns} VALUES "));
    let ours = own_member(transaction, member).await?;
    if !ours.is_empty() {
        let observation = leases::observed(transaction).await?;
        let is_elsewhere = |row: &MemberRow| !row.database_member.is_empty() && row.database_member != ours;
        if observation.rows.iter().any(is_elsewhere) {
            return Ok(Joined::Elsewhere { observation, ours });
        }
    }
    new.tuple([
        Value::from(&*request.node.0),
        request.incarnation.0.to_string().into(),
        1_i64.into(),
        0_i64.into(),
        false.into(),
        request.address.as_str().into(),
        request.boot_id.as_str().into(),
        packed(request.versions).into(),
        ours.into(),
    ]);
    transaction.run(new).await?;
    Ok(Joined::Member(leases::observed(transaction).await?))
}

/// The member of the database that the transaction is on; empty where only one takes writes.
async fn own_member(transaction: &Transaction, member: Option<&str>) -> Result<String, Fault> {
    let Some(member) = member else { return Ok(String::new()) };
    match &*transaction.rows(transaction.sql(&format!("SELECT {member}"))).await? {
        [row, ..] => Ok(Columns::of(row).take::<String>()?),
        [] => Ok(String::new()),
    }
}

async fn remove_row(transaction: &Transaction, node: &NodeId) -> Result<(), Fault> {
    let mut old = transaction.sql("DELETE FROM cc_node WHERE node = ");
    old.bind(&*node.0);
    transaction.run(old).await.map(|_| ())
}

/// True when a life is one of the process whose first life is given: they are counted up from a random number.
fn is_of_one_process(first: Incarnation, life: Incarnation) -> bool {
    const MOST_LIVES: u128 = 1 << 32;
    life.0.as_u128().checked_sub(first.0.as_u128()).is_some_and(|distance| distance < MOST_LIVES)
}

/// A range of versions as the one number of its column.
fn packed((least, most): (u16, u16)) -> i32 {
    i32::from(least) << 16 | i32::from(most)
}

/// The range that a number stands for; a plain number stands for itself alone.
fn unpacked(number: i32) -> (u16, u16) {
    let [least, most] = [number >> 16, number & 0xffff].map(|part| u16::try_from(part).unwrap_or_default());
    if least == 0 { (most, most) } else { (least, most) }
}

fn overlap(one: (u16, u16), other: (u16, u16)) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}
