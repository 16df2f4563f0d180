//! The way to a node: one session for as long as a command lasts. Owns when a command gives up connecting: once every
//! node that it was told of has failed, or the time is up.

use std::time::Duration;

use callboard_client::{Client, ConfigKey, Connection, Node, Options};
use tokio::time::timeout;

use super::Setting;
use super::arguments::Named;
use super::failure::Failure;
use super::preferences::Trust;

/// What operators see as the application of a client command.
const APPLICATION: &str = "callboard";
/// How long a node may take to answer a connection, when there is that much time.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the last words to a node may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Begins a session with one of the nodes.
///
/// # Errors
/// [`Failure::Unreachable`]; [`Failure::Usage`] for something that no session can be had with.
pub(super) async fn connect(setting: &Setting) -> Result<(Client, Node), Failure> {
    let preferences = &setting.preferences;
    let mut options = Options::new(preferences.nodes.iter().cloned());
    APPLICATION.clone_into(&mut options.application);
    options.namespace.clone_from(&preferences.namespace);
    options.tls = preferences.trust.as_ref().map(Trust::tls).transpose()?;
    options.connect_timeout = setting.timeout.min(CONNECT);
    options.request_timeout = setting.timeout;
    let client = Client::connect(options).map_err(|error| Failure::Usage(error.to_string()))?;
    match connected(&client, setting).await {
        Ok(node) => Ok((client, node)),
        Err(reason) => Err(Failure::Unreachable { nodes: preferences.nodes.join(", "), reason }),
    }
}

/// Waits for the first session. The client tells of failures one by one once the first round is over, or takes too
/// long; with as many of them as there are nodes, each was tried.
async fn connected(client: &Client, setting: &Setting) -> Result<Node, String> {
    let mut connection = client.connection();
    let mut reason = format!("no answer within {}", humantime::format_duration(setting.timeout));
    let mut failures = 0;
    let first = async {
        loop {
            match &*connection.borrow_and_update() {
                Connection::Connected(node) => return Some(node.clone()),
                Connection::Connecting => {}
                Connection::Disconnected { reason: told, .. } => {
                    reason.clone_from(told);
                    failures += 1;
                    if failures >= setting.preferences.nodes.len() {
                        return None;
                    }
                }
            }
            if connection.changed().await.is_err() {
                return None;
            }
        }
    };
    match timeout(setting.timeout, first).await {
        Ok(Some(node)) => Ok(node),
        Ok(None) | Err(_) => Err(reason),
    }
}

/// Ends the session, so that the node hears what was left to be said. Nobody else may hold a part of the client.
pub(super) async fn close(client: Client) {
    let mut connection = client.connection();
    drop(client);
    // The sender is gone when the client has ended.
    let ended = async { while connection.changed().await.is_ok() {} };
    // One that does not end in time is left behind: the command is done.
    drop(timeout(LAST_WORDS, ended).await);
}

impl Setting {
    /// The configuration that the arguments name.
    pub(super) fn key(&self, named: &Named) -> ConfigKey {
        ConfigKey::new(&self.preferences.namespace, &named.group, &named.data_id)
    }
}
