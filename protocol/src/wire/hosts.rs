//! Which host a request is for, and whose page sends it: the rule that keeps the pages of other hosts out of a node
//! that asks nobody who he is. Owns the forms of host names; decides nothing about what is asked.
//!
//! A browser sends what any page tells it to, from inside the network of its user, and says two things about it: the
//! name under which it found this node (`Host`), and whose page it is (`Origin`, `Sec-Fetch-Site`; see the Fetch
//! standard and W3C Fetch Metadata). A page whose own name was bound to this address after it was loaded is told by the
//! name alone.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The names under which this node is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHosts {
    any: bool,
    named: Vec<String>,
}

impl OwnHosts {
    /// The names `named`, and the host that a page is of besides. With `any`, every name is this node's: it can be
    /// reached from elsewhere, and nobody knows under which.
    #[must_use]
    pub fn new(any: bool, named: &[String]) -> Self {
        Self { any, named: named.iter().map(|name| plain(name).to_ascii_lowercase()).collect() }
    }

    /// Whether a request for `host` (and perhaps a port) is meant for this node. An address is always, and so is a name
    /// that no foreign page can have: one of this machine, or one without a dot, as those of a machine or a container
    /// are. Nothing is, too: whoever names no host is no browser.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.any || host.is_empty() || is_address(host) || is_local(plain(host)) || self.is_named(host)
    }

    /// Whether a page may change something here: one of the very host that is asked, or of a named one.
    #[must_use]
    pub fn admits(&self, page: Page<'_>, host: &str) -> bool {
        let authority = page.origin.map(|origin| origin.split_once("://").map(|(_, authority)| authority));
        match (authority, page.site) {
            (Some(Some(authority)), _) if self.is_named(authority) => true,
            (_, Some("cross-site" | "same-site")) => false,
            (Some(authority), _) => authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)),
            (None, _) => true,
        }
    }

    /// Whether a browser says that the page may, where keeping silent is not enough: what proves who asks is sent by
    /// the browser itself, whoever's page makes it.
    #[must_use]
    pub fn vouches(&self, page: Page<'_>, host: &str) -> bool {
        (page.origin.is_some() || page.site == Some("same-origin")) && self.admits(page, host)
    }

    fn is_named(&self, host: &str) -> bool {
        let name = plain(host);
        self.named.iter().any(|named| named.eq_ignore_ascii_case(name))
    }
}

/// What a browser says of the page that sends something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub site: Option<&'a str>,
}

/// Whether a text is one host name or address, without a port.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(legal);
    is_name || text.parse::<Ipv6Addr>().is_ok() || is_bracketed_address(text)
}

/// The name without its port and the dot of the root.
fn plain(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether it is an address of either kind. A name whose last part is a number is one in every browser, however short.
fn is_address(host: &str) -> bool {
    let last = plain(host).rsplit('.').next().unwrap_or_default();
    let is_number = |text: &str, legal: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(legal);
    plain(host).parse::<Ipv4Addr>().is_ok()
        || is_number(last, u8::is_ascii_digit)
        || last
            .strip_prefix(['0'])
            .and_then(|rest| rest.strip_prefix(['x', 'X']))
            .is_some_and(|digits| is_number(digits, u8::is_ascii_hexdigit))
        || is_bracketed_address(host)
}

/// `[address]`, perhaps with a zone or a port.
fn is_bracketed_address(host: &str) -> bool {
    let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let address = address.split('%').next().unwrap_or_default();
    let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
    address.parse::<Ipv6Addr>().is_ok() && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name that no zone of the public tree of names can give to somebody else.
fn is_local(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost") || (!name.is_empty() && name.bytes().all(legal))
}

#[cfg(test)]
mod tests;
