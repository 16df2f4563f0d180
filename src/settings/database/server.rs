//! The database server that `database.url` names: its hosts, and what the driver is told. Owns which parameters are
//! taken; what would be silently ignored is refused. Pure: connects to nothing and reads no environment.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use url::Url;

/// Why the URL can't be used. No variant holds a piece of it that may belong to a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no URL of a database server.
    #[error(
        "is no URL of a database server ({0}); of a name or password, /, ?, #, @ and : are written %2F, %3F, %23, %40 and %3A"
    )]
    Form(String),
    /// What follows a `#` would be ignored.
    #[error("has a # in it; write %23 where it belongs to a name or password")]
    Fragment,
    /// A host of the list can't be one.
    #[error("host {place} is not a name or an IP address, with or without a :port from 1 to 65535 (IPv6 in brackets)")]
    Host {
        /// Its place in the list, from 1.
        place: usize,
    },
    /// Sockets and hosts are mixed, or there are several sockets.
    #[error("names a Unix socket beside another host; it can be one socket, or one or more hosts")]
    Mixed,
    /// Not as many ports as hosts.
    #[error(
        "the parameter port has to name one port for all hosts, or as many as there are hosts, and none that differs from \
         one written with a host"
    )]
    Ports,
    /// A parameter that would be ignored.
    #[error("{name} can't be used here: {instead}")]
    Parameter {
        /// The parameter, or that it is one whose name can't be shown.
        name: String,
        /// What to do.
        instead: String,
    },
    /// The name in a certificate is to be looked at, and the hosts have several.
    #[error(
        "sslmode={0} looks for one name in the certificate, and the list has several hosts: use {1}, which checks who \
         signed it, or one name that leads to all of them"
    )]
    SeveralNames(&'static str, &'static str),
    /// The driver can't look for an IPv6 address in a certificate.
    #[error("sslmode=verify_identity needs a host name in place of an IPv6 address")]
    NoName,
}

/// One host of the server, or of its fellows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name, or an IP address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv6() {
            write!(out, "[{}]:{}", self.name, self.port)
        } else {
            write!(out, "{}:{}", self.name, self.port)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Postgres,
    MySql,
}

/// A database server, as its URL names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    engine: Engine,
    /// With one host and none of the parameters that are ours.
    url: Url,
    hosts: Vec<Host>,
}

/// Shows the hosts alone.
impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads a URL. `standard_port` is that of a host without one, where it is not the engine's.
    ///
    /// # Errors
    /// [`Fault`] says what to change.
    pub fn parse(text: &str, standard_port: Option<u16>) -> Result<Self, Fault> {
        let form = |reason: &str| Fault::Form(reason.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| form("it has no ://"))?;
        let engine = match scheme {
            "postgres" | "postgresql" => Engine::Postgres,
            "mysql" | "mariadb" => Engine::MySql,
            _ => return Err(form("it begins otherwise")),
        };
        if rest.contains('#') {
            return Err(Fault::Fragment);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // A password with a slash would be taken for a port and the name of a database.
        if tail.split('?').next().is_some_and(|path| path.contains('@')) {
            return Err(form("write / and @ in a user or password as %2F and %40"));
        }
        let (credentials, list) = authority.rsplit_once('@').map_or(("", authority), |(before, list)| (before, list));
        let at = if authority.contains('@') { "@" } else { "" };
        let scheme = if engine == Engine::MySql { "mysql" } else { scheme };
        let with_host = |host: &str| {
            Url::parse(&format!("{scheme}://{credentials}{at}{host}{tail}")).map_err(|error| form(&error.to_string()))
        };
        let parameters = Parameters::sort(engine, &with_host("localhost")?)?;
        let named = parameters.host.as_deref().unwrap_or(list);
        let is_socket =
            |host: &str| host.starts_with('/') || host.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2F"));
        if named.split(',').any(is_socket) && engine == Engine::Postgres || parameters.socket.is_some() {
            if named.contains(',') {
                return Err(Fault::Mixed);
            }
            let url = with_host(if list.is_empty() { "localhost" } else { list })?;
            return Ok(Self { engine, url: parameters.told(url, &parameters.place()), hosts: Vec::new() });
        }
        if named.is_empty() && engine == Engine::Postgres {
            return Ok(Self { engine, url: parameters.told(with_host("")?, &parameters.place()), hosts: Vec::new() });
        }
        let named = if named.is_empty() { "localhost" } else { named };
        let standard_port = standard_port.unwrap_or(engine.port());
        // A host among the parameters takes the place of another one, whose port stays.
        let port_before = parameters.host.as_ref().and_then(|_| Some(Host::parse(list, standard_port)?.port));
        let hosts = hosts(named, parameters.port.as_deref(), port_before.unwrap_or(standard_port))?;
        parameters.check_names(engine, &hosts)?;
        let first = hosts.first().ok_or(Fault::Host { place: 1 })?;
        let mut url = with_host(&first.in_url(engine))?;
        // Only a URL without a host has no place for a port.
        url.set_port(Some(first.port)).map_err(|()| Fault::Host { place: 1 })?;
        let own_name = (first.is_ipv6() && engine == Engine::Postgres).then(|| ("host", first.name.clone()));
        Ok(Self { engine, url: parameters.told(url, own_name.as_slice()), hosts })
    }

    /// The hosts, in the order in which they are tried. None where the driver finds its own way: by a Unix socket, or
    /// without any host by what it finds in its environment.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What the driver is told when it goes its own way. Holds the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// What the driver is told when it is to come over a Unix socket in `directory`, and that socket. The URL keeps the
    /// first host: the driver looks for its name in certificates, and in the file of passwords. Holds the password.
    #[must_use]
    pub fn url_through(&self, directory: &Path) -> (String, PathBuf) {
        let mut url = self.url.clone();
        let socket = match self.engine {
            Engine::Postgres => directory.join(format!(".s.PGSQL.{}", url.port().unwrap_or(self.engine.port()))),
            Engine::MySql => directory.join("server.sock"),
        };
        match self.engine {
            Engine::Postgres => url.query_pairs_mut().append_pair("host", &directory.to_string_lossy()),
            Engine::MySql => url.query_pairs_mut().append_pair("socket", &socket.to_string_lossy()),
        };
        (url.to_string(), socket)
    }
}

impl Engine {
    fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }

    /// Whether the driver does something with a parameter. Those that name a place are not among them.
    fn knows(self, name: &str) -> bool {
        let of_both = ["sslmode", "ssl-mode", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
        let own: &[&str] = match self {
            Self::Postgres => {
                &["sslrootcert", "ssl-root-cert", "dbname", "user", "password", "application_name", "options"]
            }
            Self::MySql => &["sslca", "charset", "collation", "timezone", "time-zone"],
        };
        let is_option = self == Self::Postgres && name.starts_with("options[") && name.ends_with(']');
        of_both.contains(&name) || own.contains(&name) || is_option
    }
}

impl Host {
    fn is_ipv6(&self) -> bool {
        self.name.parse::<Ipv6Addr>().is_ok()
    }

    /// As the URL for the driver names it. That of MySQL takes an IPv6 address with its brackets for a name, which no
    /// certificate can have.
    fn in_url(&self, engine: Engine) -> String {
        match engine {
            _ if !self.is_ipv6() => self.name.clone(),
            Engine::Postgres => format!("[{}]", self.name),
            Engine::MySql => "localhost".to_owned(),
        }
    }

    fn parse(text: &str, standard_port: u16) -> Option<Self> {
        let host = |name: &str, port: Option<&str>| {
            let port = port.map_or(Some(standard_port), |port| port.parse().ok().filter(|port| *port != 0))?;
            Some(Self { name: name.to_owned(), port })
        };
        if text.parse::<Ipv6Addr>().is_ok() {
            return host(text, None);
        }
        if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            address.parse::<Ipv6Addr>().ok()?;
            return if rest.is_empty() { host(address, None) } else { host(address, Some(rest.strip_prefix(':')?)) };
        }
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if name.is_empty() || !is_name(name) { None } else { host(name, port) }
    }
}

fn hosts(list: &str, ports: Option<&str>, standard_port: u16) -> Result<Vec<Host>, Fault> {
    let names: Vec<&str> = list.split(',').collect();
    let ports: Vec<u16> = match ports {
        None => Vec::new(),
        Some(ports) => {
            ports.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_not_a_port| Fault::Ports)?
        }
    };
    if ports.contains(&0) || ports.len() > 1 && ports.len() != names.len() {
        return Err(Fault::Ports);
    }
    let port_of = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(standard_port);
    let parse = |(index, name): (usize, &&str)| {
        let host = Host::parse(name, port_of(index)).ok_or(Fault::Host { place: index + 1 })?;
        // One named here and another one there: which is meant?
        if ports.is_empty() || host.port == port_of(index) { Ok(host) } else { Err(Fault::Ports) }
    };
    names.iter().enumerate().map(parse).collect()
}

/// The parameters of a URL, by what is done with them.
#[derive(Debug, Default)]
struct Parameters {
    /// The last one that names a host, or several.
    host: Option<String>,
    port: Option<String>,
    socket: Option<String>,
    /// For the driver.
    kept: Vec<(String, String)>,
}

impl Parameters {
    fn sort(engine: Engine, url: &Url) -> Result<Self, Fault> {
        let mut sorted = Self::default();
        let can_show = !url.query().unwrap_or_default().contains('@');
        for (name, value) in url.query_pairs() {
            match (engine, &*name) {
                (Engine::Postgres, "host" | "hostaddr") => sorted.host = Some(value.into_owned()),
                (Engine::Postgres, "port") => sorted.port = Some(value.into_owned()),
                (Engine::MySql, "socket") => sorted.socket = Some(value.into_owned()),
                (Engine::Postgres, "target_session_attrs") if ["any", "read-write", "primary"].contains(&&*value) => {}
                (_, known) if engine.knows(known) => sorted.kept.push((name.into_owned(), value.into_owned())),
                (_, unknown) => {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                    let shown = can_show && !unknown.is_empty() && unknown.bytes().all(plain);
                    let name = if shown { format!("the parameter {unknown}") } else { "a parameter".to_owned() };
                    return Err(Fault::Parameter { name, instead: instead_of(engine, unknown) });
                }
            }
        }
        Ok(sorted)
    }

    /// What the driver is told of its own way.
    fn place(&self) -> Vec<(&'static str, String)> {
        let place = [("host", &self.host), ("port", &self.port), ("socket", &self.socket)];
        place.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// `url` with those parameters that are for the driver, and these.
    fn told(&self, mut url: Url, more: &[(&str, String)]) -> Url {
        url.set_query(None);
        if !self.kept.is_empty() || !more.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.kept).extend_pairs(more);
        }
        url
    }

    /// The driver verifies the one name that it is told, whichever host it is connected to.
    fn check_names(&self, engine: Engine, hosts: &[Host]) -> Result<(), Fault> {
        let (full, less) = match engine {
            Engine::Postgres => ("verify-full", "verify-ca"),
            Engine::MySql => ("verify_identity", "verify_ca"),
        };
        let is_mode = |name: &str| name == "sslmode" || name == "ssl-mode";
        let mode = self.kept.iter().rev().find(|(name, _)| is_mode(name)).map(|(_, mode)| mode.as_str());
        if !mode.is_some_and(|mode| mode.eq_ignore_ascii_case(full)) {
            return Ok(());
        }
        if hosts.windows(2).any(|pair| matches!(pair, [one, other] if one.name != other.name)) {
            return Err(Fault::SeveralNames(full, less));
        }
        if engine == Engine::MySql && hosts.iter().any(Host::is_ipv6) { Err(Fault::NoName) } else { Ok(()) }
    }
}

/// What to do in place of a parameter that would be ignored.
fn instead_of(engine: Engine, name: &str) -> String {
    match name {
        "connect_timeout" | "connect-timeout" => "set database.connect_timeout, and take it out".to_owned(),
        "statement_timeout" => "set database.statement_timeout, and take it out".to_owned(),
        "statement-cache-capacity" => "as many statements are kept as are needed; take it out".to_owned(),
        "tcp_user_timeout" => "every connection has a user time-out already; take it out".to_owned(),
        "target_session_attrs" => {
            "the server that takes writes is looked for; say read-write, primary or any, or take it out".to_owned()
        }
        name if name.starts_with("keepalives") => "every connection has keep-alive already; take it out".to_owned(),
        _ => {
            let of_engine = match engine {
                Engine::Postgres => {
                    "host, port, target_session_attrs, sslmode, sslrootcert, sslcert, sslkey, user, password, dbname, \
                     application_name and options"
                }
                Engine::MySql => "socket, sslmode, sslca, sslcert, sslkey, charset, collation and timezone",
            };
            format!("it would have no effect; take it out (those that have one are {of_engine})")
        }
    }
}

#[cfg(test)]
mod tests;
