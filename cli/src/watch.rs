//! `callboard watch`: prints each change, runs a command at each, and tells the cluster what became of it.

mod exec;

use std::collections::HashSet;
use std::time::SystemTime;

use callboard_client::{Change, Client, Config, ConfigKey, Connection, Prefix, Selection};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::Receiver;

use super::arguments::{DEFAULT_GROUP, Format, WatchOptions};
use super::failure::Failure;
use super::output::{document, print, remark};
use super::{Setting, session};

/// Watches until somebody stops it, or the number of changes that was asked for is reached.
pub(super) async fn run(options: &WatchOptions, setting: &Setting) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let (client, _) = tokio::select! {
        () = stop.asked() => return Ok(()),
        connected = session::connect(setting) => connected?,
    };
    let ended = follow(&client, options, setting, &mut stop).await;
    session::close(client).await;
    ended
}

async fn follow(client: &Client, options: &WatchOptions, setting: &Setting, stop: &mut Stop) -> Result<(), Failure> {
    let mut watch = client.watch(selection(options, &setting.preferences.namespace));
    let mut connection = client.connection();
    connection.mark_unchanged();
    let mut was_connected = true;
    let mut seen = Seen::default();
    let mut left = options.count;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            changed = connection.changed() => {
                if changed.is_ok() {
                    tell(&mut connection, &mut was_connected);
                }
                continue;
            }
            next = watch.next() => next,
        };
        let Some(change) = next else {
            let nodes = &setting.preferences.nodes;
            let unnamed = || Failure::Server("the watch ended".to_owned());
            return Err(watch.error().map_or_else(unnamed, |error| Failure::of_read(error, nodes)));
        };
        if !seen.is_change(&change.config) {
            remark(&format!("{} does not exist at present", change.config.key));
            continue;
        }
        take(change, options, setting.preferences.output).await?;
        left = left.map(|left| left.saturating_sub(1));
        if left == Some(0) {
            return Ok(());
        }
    }
}

/// Prints a change, runs the command, and says what became of it.
async fn take(change: Change, options: &WatchOptions, format: Format) -> Result<(), Failure> {
    print(&line(&change.config, format, SystemTime::now()))?;
    let Some(command) = &options.exec else {
        change.applied();
        return Ok(());
    };
    match exec::run(command, &change.config).await {
        Ok(()) => change.applied(),
        Err(reason) => {
            remark(&format!("version {} of {} is rejected: {reason}", change.config.version, change.config.key));
            change.reject(reason);
        }
    }
    Ok(())
}

fn selection(options: &WatchOptions, namespace: &str) -> Selection {
    match &options.prefix {
        Some(prefix) => Prefix::new(namespace, options.group.as_deref().unwrap_or_default(), prefix).into(),
        None => {
            let group = options.group.as_deref().unwrap_or(DEFAULT_GROUP);
            options.data_ids.iter().map(|data_id| ConfigKey::new(namespace, group, data_id)).collect()
        }
    }
}

/// Which configurations existed at some time of the watch.
#[derive(Debug, Default)]
struct Seen(HashSet<ConfigKey>);

impl Seen {
    /// False for a configuration that does not exist when it is looked at first: nothing has happened to it.
    fn is_change(&mut self, config: &Config) -> bool {
        if config.exists() {
            self.0.insert(config.key.clone());
        }
        self.0.contains(&config.key)
    }
}

/// One line about a change.
fn line(config: &Config, format: Format, at: SystemTime) -> String {
    let Config { key, version, md5, kind, content } = config;
    let time = humantime::format_rfc3339_seconds(at);
    match (format, content) {
        (Format::Table, Some(content)) => {
            format!("{time}  {key}  version {version}  published  {} bytes\n", content.len())
        }
        (Format::Table, None) => format!("{time}  {key}  version {version}  removed\n"),
        (Format::Json, content) => {
            let more = json!({
                "at": time.to_string(),
                "version": version,
                "removed": content.is_none(),
                "md5": md5,
                "type": kind,
                "content": content.as_deref(),
            });
            format!("{}\n", document(key, more))
        }
    }
}

/// Tells people when the session is lost, and when there is one again.
fn tell(connection: &mut Receiver<Connection>, was_connected: &mut bool) {
    match &*connection.borrow_and_update() {
        Connection::Connected(node) if !*was_connected => {
            *was_connected = true;
            remark(&format!("watching again, at {}", node.address));
        }
        Connection::Disconnected { reason, .. } if *was_connected => {
            *was_connected = false;
            remark(&format!("the session is lost, trying again: {reason}"));
        }
        // What is denied ends the watch, which says so.
        Connection::Connected(_)
        | Connection::Disconnected { .. }
        | Connection::Denied { .. }
        | Connection::Connecting => {}
    }
}

/// Whether somebody asks for the end, by Ctrl-C or SIGTERM. A command that runs is waited for: it may be half-way
/// through its standard input.
#[derive(Debug)]
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Server(format!("cannot hear of signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
