//! A node's part in its cluster, put together: the two sockets on one port, the addresses that others are told, and
//! what the actors need of all that. Owns the order in which it comes up; decides nothing.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use actix_rt::ArbiterHandle;
use anyhow::{Context as _, bail};
use callboard_actors::gossip::Advertised;
use callboard_actors::metrics::GossipMetrics;
use callboard_actors::peer_links::PEER_VERSIONS;
use callboard_actors::wiring::{Node, Peers};
use callboard_protocol::member::NodeId;
use callboard_protocol::membership_view::{Addresses, ProtocolRange};

use crate::api::addresses::{ClientAddresses, listen};
use crate::peer::datagram::Sealing;
use crate::peer::key::ClusterKeys;
use crate::peer::links::{Identity, LinkConfig, TcpDialer};
use crate::peer::seeds::SeedNames;
use crate::peer::udp::{UdpReceiver, UdpSender};
use crate::peer::{links, udp};
use crate::settings::Settings;

/// How often a port that is free for TCP and not for UDP is exchanged for another one.
const TRIES: usize = 16;
/// The program's version, as other nodes are told.
const SOFTWARE: &str = env!("CARGO_PKG_VERSION");

/// What is open before the actors start.
pub struct Opened {
    tcp: TcpListener,
    sender: Arc<UdpSender>,
    receiver: UdpReceiver,
    metrics: GossipMetrics,
    links: Arc<LinkConfig>,
    /// Where peers are listened for.
    pub address: SocketAddr,
    advertised: Advertised,
}

/// Reads the key and opens the sockets, if the settings make the node part of a cluster.
///
/// # Errors
/// The key, an address or a socket can't be used; the message names the setting.
pub async fn open(settings: &Settings, node: &NodeId, bound: ClientAddresses) -> anyhow::Result<Option<Opened>> {
    if !settings.cluster.has_key() {
        return Ok(None);
    }
    let keys = ClusterKeys::load(&settings.cluster.key_file)?;
    let wanted = settings.peer.address();
    let (tcp, udp) = bind(wanted).with_context(|| {
        format!("cannot listen for peers on {wanted} (peer.addr): stop what uses the port, or choose another with --peer-addr")
    })?;
    let address = tcp.local_addr().context("cannot read the address that was bound for peers")?;
    let host = &settings.advertise.addr;
    let advertised = Advertised {
        node: node.clone(),
        peer: told(host, address, "peer.addr").await?,
        http: told(host, bound.http, "http.addr").await?,
        grpc: Some(told(host, bound.grpc, "grpc.addr").await?),
        session: Some(told(host, bound.tcp, "tcp.addr").await?),
        protocols: ProtocolRange { min: PEER_VERSIONS.min, max: PEER_VERSIONS.max },
        version: SOFTWARE.into(),
    };
    let cluster = settings.cluster.name.clone();
    let metrics = GossipMetrics::default();
    let (sender, receiver) = udp::split(udp, Sealing::new(&keys, &cluster), metrics.clone())?;
    let identity =
        Identity { node: node.clone(), cluster, keys, versions: PEER_VERSIONS, software: SOFTWARE.to_owned() };
    let links = Arc::new(LinkConfig { identity, bind: address });
    Ok(Some(Opened { tcp, sender: Arc::new(sender), receiver, metrics, links, address, advertised }))
}

impl Opened {
    /// The addresses for the membership row.
    #[must_use]
    pub fn row_text(&self) -> String {
        let Advertised { peer, http, grpc, session, .. } = &self.advertised;
        Addresses { peer: Some(*peer), http: Some(*http), grpc: *grpc, session: *session }.to_text()
    }

    /// What the actors need.
    #[must_use]
    pub fn peers(&self, seeds: &[String]) -> Peers {
        let links = Arc::clone(&self.links);
        Peers {
            dialer: Box::new(move || Box::new(TcpDialer::new(Arc::clone(&links)))),
            advertised: self.advertised.clone(),
            outlet: Arc::clone(&self.sender) as _,
            seeds: Arc::new(SeedNames::new(seeds.to_vec())),
            metrics: self.metrics.clone(),
        }
    }

    /// Listens: from now on peers are heard, on `arbiter`, where the actors of `node` live.
    ///
    /// # Errors
    /// A socket can't be used.
    pub fn listen(self, arbiter: &ArbiterHandle, node: &Node) -> anyhow::Result<()> {
        let (Some(peer_links), Some(gossip)) = (node.peer_links.clone(), node.gossip.clone()) else {
            bail!("the node was started without peers");
        };
        links::listen(arbiter, self.tcp, self.links, peer_links, node.metrics.peer.clone())?;
        let (receiver, gossip) = (self.receiver, gossip.recipient());
        arbiter.spawn(async move {
            if let Err(error) = receiver.run(gossip).await {
                tracing::error!(%error, "gossip can't be listened for");
            }
        });
        Ok(())
    }
}

/// Takes the same port for TCP and UDP.
fn bind(wanted: SocketAddr) -> anyhow::Result<(TcpListener, UdpSocket)> {
    for _ in 0..TRIES {
        let tcp = listen(wanted)?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if wanted.port() != 0 => return Err(error).context("the UDP port is taken"),
            Err(error) => tracing::debug!(%error, "a port is free for TCP alone; another one is taken"),
        }
    }
    bail!("no port is free for both TCP and UDP")
}

/// The addresses that clients are told. Without a name that others reach, those that are listened on.
///
/// # Errors
/// The name that was given has no address.
pub async fn told_to_clients(settings: &Settings, bound: ClientAddresses) -> anyhow::Result<ClientAddresses> {
    let host = &settings.advertise.addr;
    if host.is_empty() {
        return Ok(bound);
    }
    Ok(ClientAddresses {
        http: told(host, bound.http, "http.addr").await?,
        tcp: told(host, bound.tcp, "tcp.addr").await?,
        grpc: told(host, bound.grpc, "grpc.addr").await?,
    })
}

/// The address that others are told for one that is listened on.
async fn told(host: &str, bound: SocketAddr, setting: &str) -> anyhow::Result<SocketAddr> {
    if host.is_empty() {
        if bound.ip().is_unspecified() {
            bail!(
                "{setting} is {bound}, which no other node can use; name the host that others reach with --advertise-addr"
            );
        }
        return Ok(bound);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, bound.port()));
    }
    let mut found = tokio::net::lookup_host((host, bound.port()))
        .await
        .with_context(|| format!("advertise.addr {host} can't be resolved"))?;
    found.next().with_context(|| format!("advertise.addr {host} has no address"))
}
