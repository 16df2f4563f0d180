//! What was read is published, changes are seen at once here and at the next look elsewhere, and a database that does
//! not answer takes nothing away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, Context, Handler};
use callboard_protocol::access::audit::Who;
use callboard_protocol::access::change::{Change, decide, put};
use callboard_protocol::access::directory::Directory;
use callboard_protocol::time::WallMillis;
use tokio::sync::watch;

use super::{AccessDirectory, ChangeAccess, ChangeFailure, Deps, Known, LookNow};
use crate::audit::Trail;
use crate::clock::SystemClock;
use crate::runtime::{Registry, Spec, start};
use crate::store::WriteError;
use crate::store_reader::{GetAccessRevision, GetDirectory, ReadFailure};
use crate::store_writer::WriteAccess;

/// A database: `None` while it does not answer.
type Rows = Arc<Mutex<Option<Directory>>>;

struct Database(Rows);

impl Actor for Database {
    type Context = Context<Self>;
}

fn away() -> ReadFailure {
    ReadFailure::Unavailable { reason: "away".to_owned() }
}

impl Handler<GetAccessRevision> for Database {
    type Result = Result<u64, ReadFailure>;

    fn handle(&mut self, _: GetAccessRevision, _: &mut Context<Self>) -> Self::Result {
        self.0.lock().unwrap().as_ref().map(|directory| directory.revision).ok_or_else(away)
    }
}

impl Handler<GetDirectory> for Database {
    type Result = Result<Directory, ReadFailure>;

    fn handle(&mut self, _: GetDirectory, _: &mut Context<Self>) -> Self::Result {
        self.0.lock().unwrap().clone().ok_or_else(away)
    }
}

impl Handler<WriteAccess> for Database {
    type Result = Result<u64, WriteError>;

    fn handle(&mut self, WriteAccess { change, at, .. }: WriteAccess, _: &mut Context<Self>) -> Self::Result {
        let mut rows = self.0.lock().unwrap();
        let directory = rows.as_mut().unwrap();
        let written = decide(directory, change, at)?;
        written.into_iter().for_each(|row| put(directory, row));
        directory.revision += 1;
        Ok(directory.revision)
    }
}

fn begin(rows: &Rows) -> (Addr<AccessDirectory>, watch::Receiver<Known>) {
    let database = Database(Arc::clone(rows)).start();
    let deps = Deps {
        revision: database.clone().recipient(),
        directory: database.clone().recipient(),
        writer: database.recipient(),
        audit: Trail::off(),
    };
    let (sender, known) = watch::channel(None);
    let sender = Arc::new(sender);
    let spec = Spec::new(&Registry::new(), "access_directory");
    let actor = start(&spec, move |_| AccessDirectory::new(deps.clone(), Arc::new(SystemClock), Arc::clone(&sender)));
    (actor, known)
}

fn add(name: &str) -> Change {
    Change::AddUser { name: name.to_owned(), password_hash: None, roles: BTreeSet::new() }
}

fn ask_for(change: Change) -> ChangeAccess {
    ChangeAccess { change, by: Who::SERVER }
}

fn users(known: &Known) -> Vec<String> {
    known.iter().flat_map(|directory| directory.users.keys().cloned()).collect()
}

#[actix_rt::test]
async fn what_was_read_is_published_and_changes_elsewhere_are_seen() {
    tokio::time::pause();
    let rows = Rows::new(Mutex::new(Some(Directory::default())));
    let (_actor, mut known) = begin(&rows);
    known.changed().await.unwrap();
    assert_eq!(users(&known.borrow_and_update()), Vec::<String>::new());
    if let Some(directory) = rows.lock().unwrap().as_mut() {
        decide(directory, add("ann"), WallMillis(0)).unwrap().into_iter().for_each(|row| put(directory, row));
        directory.revision += 1;
    }
    known.changed().await.unwrap();
    assert_eq!(users(&known.borrow_and_update()), ["ann"]);
}

#[actix_rt::test]
async fn who_asks_for_a_look_has_not_to_wait_for_the_next_one() {
    tokio::time::pause();
    let rows = Rows::new(Mutex::new(Some(Directory::default())));
    let (actor, mut known) = begin(&rows);
    known.changed().await.unwrap();
    let began = tokio::time::Instant::now();
    if let Some(directory) = rows.lock().unwrap().as_mut() {
        decide(directory, add("ann"), WallMillis(0)).unwrap().into_iter().for_each(|row| put(directory, row));
        directory.revision += 1;
    }
    actor.send(LookNow).await.unwrap();
    assert_eq!(users(&known.borrow_and_update()), ["ann"]);
    assert!(began.elapsed() < super::INTERVAL, "{:?}", began.elapsed());
}

#[actix_rt::test]
async fn a_change_is_gone_by_when_it_is_answered() {
    tokio::time::pause();
    let rows = Rows::new(Mutex::new(Some(Directory::default())));
    let (actor, known) = begin(&rows);
    actor.send(ask_for(add("ann"))).await.unwrap().unwrap();
    assert_eq!(users(&known.borrow()), ["ann"]);
    let twice = actor.send(ask_for(add("ann"))).await.unwrap();
    assert!(matches!(twice, Err(ChangeFailure::Write(WriteError::AccessRefused(_)))));
}

#[actix_rt::test]
async fn what_was_known_stays_while_the_database_is_away() {
    tokio::time::pause();
    let rows = Rows::new(Mutex::new(Some(Directory::default())));
    let (actor, mut known) = begin(&rows);
    actor.send(ask_for(add("ann"))).await.unwrap().unwrap();
    let before = rows.lock().unwrap().take();
    tokio::time::sleep(super::INTERVAL * 40).await;
    assert_eq!(users(&known.borrow_and_update()), ["ann"]);
    // It comes back as it was before, with another row under the same count.
    let mut after = before.unwrap();
    decide(&after, add("bob"), WallMillis(0)).unwrap().into_iter().for_each(|row| put(&mut after, row));
    *rows.lock().unwrap() = Some(after);
    known.changed().await.unwrap();
    assert_eq!(users(&known.borrow()), ["ann", "bob"]);
}
