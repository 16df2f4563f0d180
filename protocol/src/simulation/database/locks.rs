//! How requests are carried out: at once, when a lock is free, or never. Answers come out in the order they are given.

use super::{Answer, Database, Lock, OnRow, OpId, Request};
use crate::cache::Loaded;

/// What follows from a step of the database.
#[derive(Debug)]
pub(in crate::simulation) enum Outcome {
    /// The client is answered.
    Answer(OpId, Answer),
    /// A single statement has its lock; it is durable a little later.
    Durable(OpId),
    /// The connection waits for its client, or for a lock: not for ever.
    Waits(OpId, u32),
}

impl Database {
    /// Carries out a request that has come in.
    pub(in crate::simulation) fn arrive(&mut self, op: OpId, request: Request, out: &mut Vec<Outcome>) {
        if self.is_down {
            return out.push(Outcome::Answer(op, Answer::Broken));
        }
        let begins = matches!(request, Request::Lock | Request::Statement(..));
        if !begins && !self.sessions.contains_key(&op) {
            return match request {
                Request::ReadRows
                | Request::Load(_)
                | Request::Look(..)
                | Request::Page(..)
                | Request::ChangedSince(_) => {
                    let answer = self.read(op, request);
                    out.push(Outcome::Answer(op, answer));
                }
                _ => out.push(Outcome::Answer(op, Answer::Broken)),
            };
        }
        let session = self.sessions.entry(op).or_default();
        session.step += 1;
        match request {
            Request::Lock => {
                session.early.clone_from(&self.rows);
                self.meta.queue.push_back(op);
                out.push(Outcome::Waits(op, 1));
                self.pass_meta(out);
            }
            Request::Statement(node, statement) => {
                session.single = true;
                self.on_row(op, node, statement, out);
            }
            Request::WriteRow(node, statement) => self.on_row(op, node, statement, out),
            Request::WriteBatch(writes) => {
                session.writes = Some(writes);
                self.answer(op, Answer::Done, out);
            }
            Request::Commit => self.commit(op, out),
            Request::Rollback => self.kill(op, out),
            read => {
                let answer = self.read(op, read);
                self.answer(op, answer, out);
            }
        }
    }

    /// Begins a transaction that locks no meta row.
    pub(in crate::simulation) fn begin_unlocked(&mut self, op: OpId, out: &mut Vec<Outcome>) {
        if self.is_down {
            return out.push(Outcome::Answer(op, Answer::Broken));
        }
        self.sessions.entry(op).or_default().step += 1;
        self.answer(op, Answer::Done, out);
    }

    /// A statement of its own is on the disk.
    pub(in crate::simulation) fn durable(&mut self, op: OpId, out: &mut Vec<Outcome>) {
        if self.sessions.contains_key(&op) {
            self.commit(op, out);
        }
    }

    /// Undoes what is open; the client hears nothing by this.
    pub(in crate::simulation) fn kill(&mut self, op: OpId, out: &mut Vec<Outcome>) {
        if self.sessions.remove(&op).is_some() {
            self.free(op, out);
        }
    }

    /// The wait for a lock, or for the client, was too long. True when something was undone.
    pub(in crate::simulation) fn time_out(&mut self, op: OpId, step: u32, out: &mut Vec<Outcome>) -> bool {
        if !self.is_at(op, step) {
            return false;
        }
        let waits = self.meta.queue.contains(&op) || self.row_locks.iter().any(|lock| lock.queue.contains(&op));
        self.kill(op, out);
        out.push(Outcome::Answer(op, if waits { Answer::Undone } else { Answer::Broken }));
        true
    }

    /// The database stops: everything open is undone.
    pub(in crate::simulation) fn stop(&mut self, out: &mut Vec<Outcome>) {
        self.is_down = true;
        let open = self.open();
        self.sessions.clear();
        self.meta = Lock::default();
        self.row_locks.iter_mut().for_each(|lock| *lock = Lock::default());
        out.extend(open.into_iter().map(|op| Outcome::Answer(op, Answer::Broken)));
    }

    fn read(&self, op: OpId, request: Request) -> Answer {
        match request {
            Request::ReadRows => Answer::Rows(self.observation(op)),
            Request::ReadBatch(ids, keys) => Answer::Batch(Box::new(self.snapshot(op, &ids, &keys))),
            Request::Load(key) => match self.newest.get(&key) {
                Some(state) => {
                    Answer::Loaded(Loaded { revision: self.revision, timeline: self.timeline, state: state.clone() })
                }
                None => Answer::Broken,
            },
            Request::Look(ids, keys) => Answer::Found(self.found(&ids), self.states(&keys)),
            Request::Page(after, limit) => Answer::Page(self.page(after, limit)),
            Request::ChangedSince(after) => {
                let newer = self.history.iter().filter(|state| state.version > after);
                Answer::ChangedSince(self.revision, newer.cloned().collect())
            }
            _ => Answer::Broken,
        }
    }

    /// Answers a transaction, which then waits for its client.
    fn answer(&self, op: OpId, answer: Answer, out: &mut Vec<Outcome>) {
        out.push(Outcome::Answer(op, answer));
        if let Some(session) = self.sessions.get(&op) {
            out.push(Outcome::Waits(op, session.step));
        }
    }

    fn on_row(&mut self, op: OpId, node: usize, statement: OnRow, out: &mut Vec<Outcome>) {
        let decided = statement.applied(self.rows[node].as_ref()).is_some();
        let Some(session) = self.sessions.get_mut(&op) else { return };
        session.decided = decided;
        session.waits = Some((node, statement));
        let step = session.step;
        self.row_locks[node].queue.push_back(op);
        out.push(Outcome::Waits(op, step));
        self.pass_row(node, out);
    }

    fn commit(&mut self, op: OpId, out: &mut Vec<Outcome>) {
        let Some(mut session) = self.sessions.remove(&op) else { return };
        let changed = session.row.is_some();
        self.apply(op, &mut session);
        out.push(Outcome::Answer(op, if session.single { Answer::Changed(changed) } else { Answer::Done }));
        self.free(op, out);
    }

    fn free(&mut self, op: OpId, out: &mut Vec<Outcome>) {
        self.meta.queue.retain(|other| *other != op);
        if self.meta.holder == Some(op) {
            self.meta.holder = None;
        }
        self.pass_meta(out);
        for node in 0..self.row_locks.len() {
            self.row_locks[node].queue.retain(|other| *other != op);
            if self.row_locks[node].holder == Some(op) {
                self.row_locks[node].holder = None;
            }
            self.pass_row(node, out);
        }
    }

    fn pass_meta(&mut self, out: &mut Vec<Outcome>) {
        if self.meta.holder.is_some() {
            return;
        }
        self.meta.holder = self.meta.queue.pop_front();
        if let Some(op) = self.meta.holder {
            if let Some(session) = self.sessions.get_mut(&op) {
                session.step += 1;
            }
            self.answer(op, Answer::Done, out);
        }
    }

    /// Gives the row to whoever waits first; the statement is judged by the row as it is now.
    fn pass_row(&mut self, node: usize, out: &mut Vec<Outcome>) {
        while self.row_locks[node].holder.is_none() {
            let Some(op) = self.row_locks[node].queue.pop_front() else { return };
            let Some(session) = self.sessions.get_mut(&op) else { continue };
            let Some((_, statement)) = session.waits.take() else { continue };
            session.step += 1;
            let mut after = statement.applied(self.rows[node].as_ref());
            if self.laxity.fences_by_snapshot && matches!(statement, OnRow::Fence(..)) {
                after = session.decided.then_some(None);
            }
            let Some(row) = after else {
                let single = session.single;
                if single {
                    self.sessions.remove(&op);
                    out.push(Outcome::Answer(op, Answer::Changed(false)));
                } else {
                    self.answer(op, Answer::Changed(false), out);
                }
                continue;
            };
            self.fenced += u64::from(matches!(statement, OnRow::Fence(..)));
            session.row = Some((node, row));
            self.row_locks[node].holder = Some(op);
            if session.single {
                out.push(Outcome::Durable(op));
            } else {
                self.answer(op, Answer::Changed(true), out);
            }
        }
    }
}
