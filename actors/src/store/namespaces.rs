//! Making, naming and removing namespaces. The lock of the meta row orders these against publishes: a namespace that
//! was found empty stays empty until it is gone. Publishing needs no row here; a namespace may exist without one.

use callboard_protocol::access::audit::{Event, Target, What, Who};
use callboard_protocol::key::PUBLIC_NAMESPACE;
use callboard_protocol::time::WallMillis;
use sea_orm::sea_query::{Asterisk, Expr, ExprTrait as _, Query};

use super::audit;
use super::error::{Fault, WriteError};
use super::rows::CountRow;
use super::schema::{Alias, Column, Table};
use super::transaction::Transaction;
use super::writer::Writer;

/// Longest name and longest description of a namespace, in characters.
pub const MAX_NAMESPACE_TEXT: usize = 256;

/// What is said of a namespace. The caller checks it: the id by the rule of keys, the texts by
/// [`MAX_NAMESPACE_TEXT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
}

impl Writer {
    /// Makes a namespace, or names one that exists only because something was published there.
    ///
    /// # Errors
    /// [`WriteError::NamespaceExists`], [`WriteError::NamespaceBuiltIn`], [`WriteError::Failed`].
    pub async fn create_namespace(&self, namespace: &Namespace, at: WallMillis, by: Who) -> Result<(), WriteError> {
        refuse_built_in(&namespace.id)?;
        let turn = self.turn().await;
        let transaction = self.begin().await?;
        let made = transaction.within(async {
            if has_row(&transaction, &namespace.id).await? {
                return Ok(false);
            }
            add_row(&transaction, namespace, at).await.map(|()| true)
        });
        if !made.await? {
            transaction.roll_back().await;
            return Err(WriteError::NamespaceExists { id: namespace.id.clone() });
        }
        let event = Event::done(at, What::NamespaceMade, by, Target::namespace(&namespace.id));
        Ok(audit::commit(transaction, turn, event).await?)
    }

    /// Changes name and description.
    ///
    /// # Errors
    /// [`WriteError::NamespaceMissing`], [`WriteError::NamespaceBuiltIn`], [`WriteError::Failed`].
    pub async fn edit_namespace(&self, namespace: &Namespace, at: WallMillis, by: Who) -> Result<(), WriteError> {
        refuse_built_in(&namespace.id)?;
        let turn = self.turn().await;
        let transaction = self.begin().await?;
        let found = transaction.within(async {
            let mut update = Query::update();
            update.table(Table::Namespace).and_where(Expr::col(Column::Id).eq(namespace.id.as_str()));
            update.value(Column::Name, namespace.name.as_str());
            update.value(Column::Description, namespace.description.clone()).value(Column::ModifiedAt, at.0);
            if transaction.run(&update).await? > 0 {
                return Ok(true);
            }
            if configs_in(&transaction, &namespace.id).await? == 0 {
                return Ok(false);
            }
            add_row(&transaction, namespace, at).await.map(|()| true)
        });
        if !found.await? {
            transaction.roll_back().await;
            return Err(WriteError::NamespaceMissing { id: namespace.id.clone() });
        }
        let event = Event::done(at, What::NamespaceChanged, by, Target::namespace(&namespace.id));
        Ok(audit::commit(transaction, turn, event).await?)
    }

    /// Removes a namespace in which there is no configuration.
    ///
    /// # Errors
    /// [`WriteError::NamespaceInUse`], [`WriteError::NamespaceMissing`], [`WriteError::NamespaceBuiltIn`],
    /// [`WriteError::Failed`].
    pub async fn delete_namespace(&self, id: &str, at: WallMillis, by: Who) -> Result<(), WriteError> {
        refuse_built_in(id)?;
        let turn = self.turn().await;
        let transaction = self.begin().await?;
        let verdict = transaction.within(async {
            let configs = configs_in(&transaction, id).await?;
            if configs > 0 {
                return Ok(Err(WriteError::NamespaceInUse { id: id.to_owned(), configs }));
            }
            let mut delete = Query::delete();
            delete.from_table(Table::Namespace).and_where(Expr::col(Column::Id).eq(id));
            let removed = transaction.run(&delete).await?;
            Ok(if removed > 0 { Ok(()) } else { Err(WriteError::NamespaceMissing { id: id.to_owned() }) })
        });
        if let Err(refusal) = verdict.await? {
            transaction.roll_back().await;
            return Err(refusal);
        }
        let event = Event::done(at, What::NamespaceRemoved, by, Target::namespace(id));
        Ok(audit::commit(transaction, turn, event).await?)
    }
}

fn refuse_built_in(id: &str) -> Result<(), WriteError> {
    if id == PUBLIC_NAMESPACE { Err(WriteError::NamespaceBuiltIn { id: id.to_owned() }) } else { Ok(()) }
}

async fn has_row(transaction: &Transaction, id: &str) -> Result<bool, Fault> {
    let mut select = Query::select();
    select.column(Column::Id).from(Table::Namespace).and_where(Expr::col(Column::Id).eq(id));
    Ok(!transaction.rows(&select).await?.is_empty())
}

async fn configs_in(transaction: &Transaction, id: &str) -> Result<u64, Fault> {
    let mut count = Query::select();
    count.expr_as(Expr::col(Asterisk).count(), Alias::Number).from(Table::Config);
    count.and_where(Expr::col(Column::Tenant).eq(id)).and_where(Expr::col(Column::Deleted).eq(false));
    CountRow::of(transaction.one(&count).await?)
}

async fn add_row(transaction: &Transaction, namespace: &Namespace, at: WallMillis) -> Result<(), Fault> {
    let columns = [Column::Id, Column::Name, Column::Description, Column::CreatedAt, Column::ModifiedAt];
    let description = namespace.description.clone();
    let mut insert = Query::insert();
    insert.into_table(Table::Namespace).columns(columns);
    insert.values_panic([
        namespace.id.as_str().into(),
        namespace.name.as_str().into(),
        description.into(),
        at.0.into(),
        at.0.into(),
    ]);
    transaction.run(&insert).await.map(|_| ())
}
