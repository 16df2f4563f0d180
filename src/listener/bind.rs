//! The sockets of all doors. Owns which port is taken when the one that nobody chose is in use.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::api::addresses::{ClientAddresses, listen};
use crate::settings::Settings;

/// Where clients come in.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// HTTP.
    pub(crate) http: TcpListener,
    /// Native sessions.
    pub(super) tcp: TcpListener,
    /// Clients of Nacos.
    pub(super) grpc: TcpListener,
}

/// Takes every address that clients come in on.
///
/// # Errors
/// One of them can't be taken; the message names its setting.
pub(crate) fn bind(settings: &Settings) -> anyhow::Result<(Sockets, ClientAddresses)> {
    let address_of = |listener: &TcpListener| listener.local_addr().context("cannot read the address that was bound");
    let http = bind_or_other(settings.http.addr, true, "http")?;
    let tcp = bind_or_other(settings.tcp.address(), settings.tcp.is_chosen(), "tcp")?;
    let (grpc, at) = (&settings.grpc, address_of(&http)?);
    let grpc = bind_or_other(grpc.address(at), grpc.is_chosen(), "grpc")?;
    let bound = ClientAddresses { http: at, tcp: address_of(&tcp)?, grpc: address_of(&grpc)? };
    Ok((Sockets { http, tcp, grpc }, bound))
}

/// Takes the address of a section. One that nobody chose may be another one, where it is taken.
fn bind_or_other(wanted: SocketAddr, is_chosen: bool, section: &str) -> anyhow::Result<TcpListener> {
    match listen(wanted) {
        Ok(listener) => Ok(listener),
        Err(error) if !is_chosen && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(address = %wanted, "the port of {section}.addr is in use; a free one is taken");
            listen(SocketAddr::new(wanted.ip(), 0)).with_context(|| format!("no port is free for {section}.addr"))
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot listen on {wanted} ({section}.addr): stop what uses the port, or choose another with \
                 --{section}-addr"
            )
        }),
    }
}
