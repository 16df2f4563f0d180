//! Three nodes of r-nacos, to measure beside ours. Owns their processes and directories; ends them when dropped. Some
//! of its starts acknowledge publishes that never arrive, so a cluster is used only when what it takes can be read
//! back.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::NODES;
use crate::client::Client;
use crate::database_server::free_port;
use crate::nacos::{self, CONFIGS};
use crate::poll;

/// Starts that may go wrong.
const ATTEMPTS: usize = 30;
/// What the first publish reads back as.
const PROBE: &str = "probe";
const LIMIT: Duration = Duration::from_secs(3);
/// Longest time for a node to take part.
const PATIENCE: Duration = Duration::from_secs(6);

/// The cluster.
#[derive(Debug)]
pub(super) struct Rnacos {
    nodes: Vec<(Child, u16)>,
    home: TempDir,
}

impl Rnacos {
    /// Starts three nodes and waits until what is published on each is read on all.
    pub(super) async fn start(program: &Path) -> anyhow::Result<Self> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match Self::start_once(program).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.context("there are attempts")?.context("r-nacos does not hold what it acknowledges"))
    }

    async fn start_once(program: &Path) -> anyhow::Result<Self> {
        let mut cluster = Self { nodes: Vec::new(), home: tempfile::tempdir()? };
        let mut first = String::new();
        for number in 1..=NODES {
            // Its gRPC port is 1,000 above, and its console 2,000.
            let port = free_port()?;
            let grpc = port + 1000;
            let own = format!("{}:{grpc}", Ipv4Addr::LOCALHOST);
            let data = cluster.home.path().join(number.to_string());
            let mut command = Command::new(program);
            command.env("RUST_LOG", "warn").env("RNACOS_SDK_HOST", "127.0.0.1").env("RNACOS_DATA_DIR", data);
            command.env("RNACOS_HTTP_PORT", port.to_string()).env("RNACOS_GRPC_PORT", grpc.to_string());
            command.env("RNACOS_HTTP_CONSOLE_PORT", "0").env("RNACOS_RAFT_NODE_ID", number.to_string());
            command.env("RNACOS_RAFT_NODE_ADDR", &own);
            if number == 1 {
                command.env("RNACOS_RAFT_AUTO_INIT", "true");
                first = own;
            } else {
                command.env("RNACOS_RAFT_JOIN_ADDR", &first);
            }
            command.current_dir(cluster.home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            cluster.nodes.push((command.spawn().context("start r-nacos")?, port));
            cluster.holds(&format!("with-{number}")).await?;
        }
        Ok(cluster)
    }

    /// Publishes on each node until every node gives it back.
    async fn holds(&mut self, name: &str) -> anyhow::Result<()> {
        let clients: Vec<Client> = self.addresses().iter().map(|at| Client::new(format!("http://{at}"))).collect();
        for (place, publisher) in clients.iter().enumerate() {
            let data_id = format!("{name}-{place}");
            poll::until("r-nacos takes and holds a publish", PATIENCE, async || {
                if self.nodes.iter_mut().any(|(node, _)| !matches!(node.try_wait(), Ok(None))) {
                    bail!("r-nacos ended");
                }
                let pairs = [("dataId", data_id.as_str()), ("group", "G"), ("content", PROBE)];
                let request = nacos::posted(publisher, reqwest::Method::POST, CONFIGS, &pairs).limit(LIMIT);
                if !request.send().await.is_ok_and(|answer| answer.body == "true") {
                    return Ok(None);
                }
                for reader in &clients {
                    let read = nacos::asked(reader, reqwest::Method::GET, CONFIGS, &pairs[..2]).limit(LIMIT);
                    if !read.send().await.is_ok_and(|answer| answer.body == PROBE) {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect()
    }

    /// Where its nodes serve HTTP, and their processes.
    pub(super) fn nodes(&self) -> Vec<(String, u32)> {
        self.addresses().into_iter().zip(self.nodes.iter().map(|(node, _)| node.id())).collect()
    }
}

impl Drop for Rnacos {
    fn drop(&mut self) {
        for (node, port) in &mut self.nodes {
            if let Err(error) = node.kill().and_then(|()| node.wait()) {
                eprintln!("r-nacos on port {port} may be left behind: {error}");
            }
        }
    }
}
