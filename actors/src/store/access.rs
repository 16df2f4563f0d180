//! The users, roles, tokens and keys of the cluster: one row each, whose body is JSON, read as one value and changed
//! under the lock of the meta row. What a change writes is decided by [`callboard_protocol::access::change::decide`].

use callboard_protocol::access::audit::{Event, Who};
use callboard_protocol::access::change::{self, Change, Row};
use callboard_protocol::access::directory::Directory;
use callboard_protocol::time::WallMillis;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit;
use super::error::{Fault, ReadError, WriteError};
use super::reader::ReadPool;
use super::schema::{Column, Table};
use super::transaction::Transaction;
use super::writer::Writer;

/// The kinds of rows.
const USER: &str = "user";
const ROLE: &str = "role";
const TOKEN: &str = "token";
const KEY: &str = "key";
const DATA_KEY: &str = "data-key";
/// The row that counts the changes; it has no name.
const REVISION: &str = "revision";

#[derive(Debug, FromQueryResult)]
struct AccessRow {
    kind: String,
    name: String,
    body: String,
}

impl ReadPool {
    /// How many changes there were.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn access_revision(&self) -> Result<u64, ReadError> {
        let mut select = everything();
        select.and_where(Expr::col(Column::Kind).eq(REVISION));
        Ok(directory_of(self.all(&select).await?)?.revision)
    }

    /// Everything, as of one moment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn directory(&self) -> Result<Directory, ReadError> {
        Ok(directory_of(self.all(&everything()).await?)?)
    }
}

impl Writer {
    /// Makes a change that `by` asks for, and says how many there were then.
    ///
    /// # Errors
    /// [`WriteError::AccessRefused`], [`WriteError::Failed`].
    pub async fn change_access(&self, change: Change, at: WallMillis, by: Who) -> Result<u64, WriteError> {
        let (turn, event) = (self.turn().await, Event::of_access(&change, by, at));
        let transaction = self.begin().await?;
        let decided = transaction.within(async {
            let directory = directory_of(transaction.all(&everything()).await?)?;
            let rows = match change::decide(&directory, change, at) {
                Ok(rows) => rows,
                Err(refusal) => return Ok(Err(refusal)),
            };
            for row in rows {
                store(&transaction, row, at).await?;
            }
            let revision = directory.revision + 1;
            replace(&transaction, (REVISION, ""), Some(revision.to_string()), at).await?;
            Ok(Ok(revision))
        });
        match decided.await? {
            Ok(revision) => {
                audit::commit(transaction, turn, event).await?;
                Ok(revision)
            }
            Err(refusal) => {
                transaction.roll_back().await;
                Err(WriteError::AccessRefused(refusal))
            }
        }
    }
}

fn everything() -> SelectStatement {
    let mut select = Query::select();
    select.columns([Column::Kind, Column::Name, Column::Body]).from(Table::Access);
    select
}

fn directory_of(rows: Vec<AccessRow>) -> Result<Directory, Fault> {
    let mut directory = Directory::default();
    for AccessRow { kind, name, body } in rows {
        match kind.as_str() {
            REVISION => {
                let count = body.parse().map_err(|_no_number| Fault::Broken("the count of changes".to_owned()))?;
                directory.revision = count;
            }
            USER => drop(directory.users.insert(name, read(USER, &body)?)),
            ROLE => drop(directory.roles.insert(name, read(ROLE, &body)?)),
            TOKEN => drop(directory.tokens.insert(name, read(TOKEN, &body)?)),
            KEY => drop(directory.keys.insert(name, read(KEY, &body)?)),
            DATA_KEY => drop(directory.data_keys.insert(name, read(DATA_KEY, &body)?)),
            // What a newer version knows of gives nobody a right here.
            _ => {}
        }
    }
    Ok(directory)
}

/// The reason names no value: a body may hold a hash.
fn read<T: DeserializeOwned>(kind: &str, body: &str) -> Result<T, Fault> {
    serde_json::from_str(body).map_err(|error| {
        Fault::Broken(format!("a row of kind {kind}: {:?} at column {}", error.classify(), error.column()))
    })
}

async fn store(transaction: &Transaction, row: Row, at: WallMillis) -> Result<(), Fault> {
    let ((kind, name), body) = match &row {
        Row::User(name, user) => ((USER, name), text(user.as_ref())?),
        Row::Role(name, role) => ((ROLE, name), text(role.as_ref())?),
        Row::Token(id, token) => ((TOKEN, id), text(token.as_ref())?),
        Row::Key(id, key) => ((KEY, id), text(key.as_ref())?),
        Row::DataKey(id, key) => ((DATA_KEY, id), text(key.as_ref())?),
    };
    replace(transaction, (kind, name), body, at).await
}

fn text<T: Serialize>(value: Option<&T>) -> Result<Option<String>, Fault> {
    value.map(serde_json::to_string).transpose().map_err(|error| Fault::Broken(error.to_string()))
}

/// Puts `body` in the place of what is there, or nothing.
async fn replace(
    transaction: &Transaction,
    (kind, name): (&str, &str),
    body: Option<String>,
    at: WallMillis,
) -> Result<(), Fault> {
    let mut delete = Query::delete();
    delete.from_table(Table::Access).and_where(Expr::col(Column::Kind).eq(kind));
    delete.and_where(Expr::col(Column::Name).eq(name));
    transaction.run(&delete).await?;
    let Some(body) = body else { return Ok(()) };
    let mut insert = Query::insert();
    insert.into_table(Table::Access).columns([Column::Kind, Column::Name, Column::Body, Column::ModifiedAt]);
    insert.values_panic([kind.into(), name.into(), body.into(), at.0.into()]);
    transaction.run(&insert).await.map(|_| ())
}
