//! The node under attack. Owns its process, what is stored there before, its certificate and the users that are known
//! to it. It is stocked in clear text by whoever comes, and started again as the siege wants it, with nothing in
//! memory.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use callboard_proto::session::envelope::Kind;
use callboard_protocol::content::MAX_CONTENT;
use callboard_protocol::key::ConfigKey;
use futures_util::future::try_join_all;
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use super::scenario::{Places, Scenario, Stock};
use super::sessions::{self, GROUP};
use super::target::Target;
use super::{FEW, Plan};
use crate::guarded;
use crate::node::{Node, NodeOptions};
use crate::session::Session;
use crate::tls::Authority;

/// Small configurations that are always there.
pub(super) const SMALL: usize = 16;
/// Sessions that stock the node, and what each has under way.
const STOCKERS: usize = 8;
const UNDER_WAY: usize = 48;
/// Connections to one port that one address opens quickly: Linux gives out every other port of 28,232 first, and then
/// looks long for each.
const PORTS: u64 = 14_000;
/// Files that processes keep for other things than connections.
const OTHER_FILES: u64 = 1_000;

/// A node that stands ready.
pub(super) struct Besieged {
    pub(super) node: Node,
    pub(super) target: Target,
    _authority: Option<Authority>,
    _passwords: TempDir,
}

impl Besieged {
    /// Starts and stocks a node for a scenario.
    pub(super) async fn start(plan: &Plan, scenario: &Scenario) -> anyhow::Result<Self> {
        let stock = scenario.stock.scaled(plan);
        let (passwords, places) = (tempfile::tempdir()?, places(scenario.places)?);
        let mut node = Node::start(NodeOptions::new()).await?;
        fill(&node, &stock).await?;
        node.terminate().await?;
        let (authority, token, mut options) = if plan.guarded {
            let options = guarded::guarded(passwords.path())?;
            node.set_up(options.clone());
            node.start_again().await?;
            let token = guarded::user(&node.client(), "siege", &["read", "write"]).await?;
            node.terminate().await?;
            let authority = Authority::make().await?;
            let options = authority.on(options);
            (Some(authority), Some(token), options)
        } else {
            (None, None, NodeOptions::new())
        };
        if let Some(places) = places {
            options = options.flag("http-max-connections", &places.to_string());
        }
        for (name, value) in &plan.settings {
            options = options.flag(name, value);
        }
        node.set_up(options);
        node.start_again().await?;
        if let Some(bytes) = plan.address_space {
            node.limit_address_space(bytes)?;
        }
        let target = Target {
            http: node.address(),
            native: node.session_address(),
            grpc: node.grpc_address(),
            tls: authority.as_ref().map(|authority| authority.trusted(None)).transpose()?,
            token,
            stored: stock.many,
            places: places.unwrap_or(FEW),
            sent: Arc::default(),
        };
        Ok(Self { node, target, _authority: authority, _passwords: passwords })
    }

    /// How many lines the node has logged.
    pub(super) fn log_lines(&self) -> anyhow::Result<usize> {
        let log = fs::read(self.node.log()).context("read the node's log")?;
        Ok(log.iter().filter(|byte| **byte == b'\n').count())
    }
}

/// The data id of a configuration that is always there.
pub(super) fn small(number: usize) -> String {
    format!("small-{number}")
}

/// The data id of a configuration as long as one may be.
pub(super) fn large(number: usize) -> String {
    format!("large-{number}")
}

/// The data id of one of many.
pub(super) fn one_of_many(number: usize) -> String {
    format!("one-{number:06}")
}

/// How many connections over HTTP the node is told to take; it decides itself when nothing is said.
fn places(places: Places) -> anyhow::Result<Option<usize>> {
    Ok(match places {
        Places::Default => None,
        Places::Few => Some(FEW),
        Places::Reachable => {
            let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
            Some(usize::try_from(files.saturating_sub(OTHER_FILES).min(PORTS))?)
        }
    })
}

async fn fill(node: &Node, stock: &Stock) -> anyhow::Result<()> {
    let client = node.client();
    // As JSON, each byte becomes six.
    let long = "\u{1}".repeat(MAX_CONTENT);
    for number in 0..stock.large {
        let key = ConfigKey::new("public", GROUP, &large(number))?;
        client.put(&key, long.clone()).send().await?.expect(201)?;
    }
    let few = (0..SMALL).map(small).collect::<VecDeque<_>>();
    let many: VecDeque<String> = (0..stock.many).map(one_of_many).collect();
    let all: Vec<String> = few.into_iter().chain(many).collect();
    let share = all.len().div_ceil(STOCKERS);
    try_join_all(all.chunks(share).enumerate().map(async |(number, names)| {
        let mut session = Session::open(node.session_address(), &format!("stocker-{number}")).await?;
        let mut waiting = VecDeque::new();
        for name in names {
            let content = format!("the content of {name}: {}", "x".repeat(200));
            let publish =
                callboard_proto::session::Publish { key: Some(sessions::key(name)), content, ..Default::default() };
            waiting.push_back(session.request(Kind::Publish(publish)).await?);
            if waiting.len() >= UNDER_WAY {
                published(&mut session, &mut waiting).await?;
            }
        }
        while !waiting.is_empty() {
            published(&mut session, &mut waiting).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

async fn published(session: &mut Session, waiting: &mut VecDeque<u64>) -> anyhow::Result<()> {
    let Some(id) = waiting.pop_front() else { return Ok(()) };
    match session.answer(id).await? {
        Kind::Published(_) => Ok(()),
        other => anyhow::bail!("the node can't be stocked: {other:?}"),
    }
}
