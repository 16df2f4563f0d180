//! The node's own row and the look for what landed: join, raise the floor, leave. Everything here takes the lock of
//! the meta row first, so that it comes wholly before or wholly after any commit. Decides nothing.

use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::lease::{self, Admission, Candidate, Observation, Occupant};
use callboard_protocol::member::{AckNo, Incarnation, NodeId, Timeline};
use callboard_protocol::write_request::{Recorded, RequestId};
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query};

use super::error::{Fault, WriteError};
use super::open::Names;
use super::rows::{self, TextRow};
use super::schema::{Alias, Column, Table};
use super::transaction::Transaction;
use super::writer::Writer;
use super::{leases, look};

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
    /// The timeline.
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
        let joined = transaction.within(add_row(&transaction, &request, self.names())).await?;
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
            let floor = rows::signed(above.0.saturating_add(1));
            let raised = Func::greatest([Expr::col(Column::AckFloor), floor.into()]);
            let mut update = Query::update();
            update.table(Table::Node).value(Column::AckFloor, raised);
            update.cond_where(leases::is_life(node, incarnation));
            if transaction.run(&update).await? == 0 {
                return Ok(None);
            }
            let landed = look::under_lock(&transaction, request_ids).await?;
            // A floor that is there already is no write, and a commit without one waits for nothing.
            if !landed.units.is_empty() && self.backend().shows_before_durable() {
                transaction.touch().await?;
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
        let mut delete = Query::delete();
        delete.from_table(Table::Node).cond_where(leases::is_life(node, incarnation));
        let found = transaction.within(transaction.run(&delete)).await?;
        transaction.commit().await?;
        Ok(found > 0)
    }
}

async fn add_row(transaction: &Transaction, request: &JoinRequest, names: Names) -> Result<Joined, Fault> {
    // An update, not the lock alone: a commit at a stricter isolation level would fail instead of overlooking it.
    transaction.touch().await?;
    let candidate = request.candidate(own_member(transaction, names.member).await?);
    let mut select = Query::select();
    let columns = [Column::Node, Column::Inc, Column::BootId, Column::Proto, Column::DatabaseMember];
    select.columns(columns).from(Table::Node);
    let found = transaction.all::<OccupantRow>(&select).await?;
    let occupants = found.into_iter().map(OccupantRow::occupant).collect::<Result<Vec<_>, _>>()?;
    match lease::admit(&candidate, &occupants) {
        Admission::Admitted { replaced } => {
            for node in &replaced {
                let is_its = Expr::col(Column::Node).eq(&*node.0);
                transaction.run(Query::delete().from_table(Table::Node).and_where(is_its)).await?;
            }
            insert_row(transaction, &candidate, &request.address).await?;
            Ok(Joined::Member(leases::observed(transaction, names).await?))
        }
        Admission::Held => Ok(Joined::Held(leases::observed(transaction, names).await?)),
        Admission::Elsewhere => {
            let mut observation = leases::observed(transaction, names).await?;
            // A former row of its own says nothing of who lives at which member.
            observation.rows.retain(|row| row.node != candidate.node);
            Ok(Joined::Elsewhere { observation, ours: candidate.database_member })
        }
        Admission::Incompatible { node } => Ok(Joined::Incompatible { node }),
    }
}

impl JoinRequest {
    fn candidate(&self, database_member: String) -> Candidate {
        Candidate {
            node: self.node.clone(),
            incarnation: self.incarnation,
            first_life: self.first_life,
            boot_id: self.boot_id.clone(),
            versions: self.versions,
            is_alone: self.is_alone,
            database_member,
        }
    }
}

/// What a join needs of a row.
#[derive(Debug, FromQueryResult)]
struct OccupantRow {
    node: String,
    inc: String,
    boot_id: String,
    proto: i32,
    database_member: String,
}

impl OccupantRow {
    fn occupant(self) -> Result<Occupant, Fault> {
        Ok(Occupant {
            node: NodeId(self.node.into()),
            incarnation: rows::incarnation(&self.inc)?,
            boot_id: self.boot_id,
            versions: unpacked(self.proto),
            database_member: self.database_member,
        })
    }
}

async fn insert_row(transaction: &Transaction, candidate: &Candidate, address: &str) -> Result<(), Fault> {
    let row = [
        (Column::Node, Expr::val(&*candidate.node.0)),
        (Column::Inc, candidate.incarnation.0.to_string().into()),
        (Column::RenewSeq, 1_i64.into()),
        (Column::AckFloor, 0_i64.into()),
        (Column::Revoked, false.into()),
        (Column::Addr, address.into()),
        (Column::BootId, candidate.boot_id.as_str().into()),
        (Column::Proto, packed(candidate.versions).into()),
        (Column::DatabaseMember, candidate.database_member.as_str().into()),
    ];
    let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
    transaction.run(Query::insert().into_table(Table::Node).columns(columns).values_panic(values)).await.map(|_| ())
}

/// The member of the database that the transaction is on; empty where only one takes writes.
async fn own_member(transaction: &Transaction, member: Option<&'static str>) -> Result<String, Fault> {
    let Some(member) = member else { return Ok(String::new()) };
    let row = transaction.one::<TextRow>(Query::select().expr_as(Expr::cust(member), Alias::Text)).await?;
    Ok(row.map(|row| row.text).unwrap_or_default())
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
