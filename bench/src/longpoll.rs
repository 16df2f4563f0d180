//! `longpoll`: many connections hold one poll each on the same key. Each round publishes that key once from another
//! connection, sees when each of them hears, and sends all polls anew.
//!
//! A poll counts as held when its connection has been answered before (so the server has accepted it), its request was
//! written whole, and the settling time has passed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::arguments::LongPollOptions;
use super::connection::{Broken, Connection};
use super::contents::Contents;
use super::load;
use super::report::Report;
use super::rounds::{Heard, Rounds};
use super::template::{self, Read};

/// How the name of the key begins.
const PREFIX: &str = "longpoll";
/// A new connection is tried so many times.
const ATTEMPTS: u32 = 3;

/// Measures long polls.
///
/// # Errors
/// The server can't be reached, refuses the publishes or the connections, or too few files may be open.
pub(super) fn measure(options: &LongPollOptions) -> anyhow::Result<Report> {
    load::open_files_for(options.listening.listeners)?;
    load::runtime()?.block_on(run(options))
}

async fn run(options: &LongPollOptions) -> anyhow::Result<Report> {
    let address = options.target.url.address()?;
    let mut rounds = Rounds::begin(&options.target, &options.listening, PREFIX, options.size).await?;
    let (mut listeners, mut errors) = (Vec::new(), 0);
    for _ in 0..options.listening.rounds {
        listeners.retain(|listener: &Connection| !listener.closes());
        arm(address, options, &rounds.contents, &mut listeners).await?;
        let (news, mut heard) = mpsc::unbounded_channel();
        let mut polls: JoinSet<Answer> =
            listeners.drain(..).map(|listener| receive_change(listener, news.clone())).collect();
        // Nobody is waited for once all polls have ended.
        drop(news);
        let began = rounds.round(&mut heard).await?;
        let mut answers = Vec::new();
        while let Some(answer) = polls.try_join_next() {
            answers.push(answer.context("a listener panicked")?);
        }
        polls.shutdown().await;
        errors += early(&answers, began);
        listeners.extend(answers.into_iter().filter_map(|answer| answer.connection));
    }
    Ok(Report { errors, ..rounds.report("longpoll") })
}

/// The poll of one that holds the present content.
fn poll(contents: &Contents<'_>) -> Vec<u8> {
    template::poll(contents.target(), &contents.data_id(), &contents.digest())
}

/// Brings the listeners up to their number and sends each one's poll.
async fn arm(
    address: SocketAddr,
    options: &LongPollOptions,
    contents: &Contents<'_>,
    listeners: &mut Vec<Connection>,
) -> anyhow::Result<()> {
    let poll = poll(contents);
    let mut kept = Vec::new();
    for mut listener in listeners.drain(..) {
        // One that the server has hung up on is replaced below.
        if listener.send(&poll).await.is_ok() {
            kept.push(listener);
        }
    }
    *listeners = kept;
    let read = Read::new(&options.target, PREFIX);
    while (listeners.len() as u64) < options.listening.listeners {
        let mut listener = open(address, read.bytes(), contents.present()).await?;
        listener.send(&poll).await.context("a poll could not be sent")?;
        listeners.push(listener);
    }
    Ok(())
}

/// A new connection on which the key was read, as every client begins.
async fn open(address: SocketAddr, read: &[u8], expected: &str) -> anyhow::Result<Connection> {
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match open_once(address, read).await {
            Ok((listener, content)) if *content == *expected.as_bytes() => return Ok(listener),
            Ok(_) => failure = Some(anyhow::anyhow!("it does not answer with the content that it acknowledged")),
            Err(broken) => failure = Some(broken.into()),
        }
        sleep(Duration::from_millis(100)).await;
    }
    let failure = failure.unwrap_or_else(|| anyhow::anyhow!("no attempt was made"));
    Err(failure.context(format!("a listener could not read the key from {address}")))
}

async fn open_once(address: SocketAddr, read: &[u8]) -> Result<(Connection, Vec<u8>), Broken> {
    let mut listener = Connection::open(address).await?;
    let content = listener.exchange(read).await?.body.into_owned();
    Ok((listener, content))
}

/// What a listener got.
struct Answer {
    at: Instant,
    /// That the key changed; otherwise what came instead.
    answer: Result<(), String>,
    connection: Option<Connection>,
}

/// Waits for the answer to a poll, and reports one that names the key.
async fn receive_change(mut connection: Connection, news: mpsc::UnboundedSender<Heard>) -> Answer {
    let name = template::data_id(PREFIX, 0);
    let received = connection.receive().await.map(|reply| {
        let named = reply.body.windows(name.len()).any(|part| part == name.as_bytes());
        if reply.status == 200 && named { Ok(()) } else { Err(reply.describe()) }
    });
    let at = Instant::now();
    match received {
        Ok(answer) => {
            if answer.is_ok() {
                // Nobody hears of it when the round is over.
                drop(news.send(Heard { content: None, at, then: None }));
            }
            Answer { at, answer, connection: Some(connection) }
        }
        Err(broken) => Answer { at, answer: Err(broken.to_string()), connection: None },
    }
}

/// How many answers came before the publish; neither they nor those that do not name the change count as heard. Tells
/// people on standard error about the first of them.
fn early(answers: &[Answer], began: Instant) -> u64 {
    let early = answers.iter().filter(|answer| answer.at < began).count() as u64;
    let wrong = answers.iter().find_map(|answer| answer.answer.as_ref().err());
    if early > 0 || wrong.is_some() {
        let what = wrong.map_or("the change is named, although it was not made yet", String::as_str);
        eprintln!("callboard: {early} polls were answered before the publish; a wrong answer: {what}");
    }
    early
}
