//! What Patroni and etcd are told. Owns the words; starts nothing and keeps nothing.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::database_server::programs;

/// The settings of one member, which lives in `home` under `name` and listens on `port` for clients and on `rest` for
/// questions; `store` is the port of etcd. JSON is YAML.
pub(super) fn member(name: &str, (port, rest): (u16, u16), store: u16, home: &Path) -> anyhow::Result<Value> {
    let binaries = programs::find("initdb").context("initdb is not installed")?;
    let (rest, listen) = (format!("127.0.0.1:{rest}"), format!("127.0.0.1:{port}"));
    Ok(json!({
        "scope": "callboard",
        "name": name,
        "restapi": { "listen": rest, "connect_address": rest },
        "etcd3": { "host": format!("127.0.0.1:{store}") },
        "bootstrap": {
            "dcs": {
                // The shortest that Patroni takes.
                "ttl": 20,
                "loop_wait": 1,
                "retry_timeout": 4,
                "synchronous_mode": true,
                "postgresql": {
                    "use_pg_rewind": true,
                    "parameters": { "max_connections": 150, "wal_log_hints": "on", "wal_keep_size": "128MB",
                                    "shared_buffers": "64MB" },
                },
            },
            "initdb": [{ "encoding": "UTF8" }, { "locale": "C" }, "data-checksums"],
            "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                       "host replication all 127.0.0.1/32 trust"],
        },
        "postgresql": {
            "listen": listen,
            "connect_address": listen,
            "data_dir": data(home, name),
            "basebackup": [{ "checkpoint": "fast" }],
            "bin_dir": binaries.parent(),
            "pgpass": home.join(format!("{name}.pgpass")),
            "authentication": { "superuser": { "username": "postgres" }, "rewind": { "username": "postgres" },
                                "replication": { "username": "replicator" } },
            "parameters": { "unix_socket_directories": home },
        },
    }))
}

/// Where the files of a member's server are.
pub(super) fn data(home: &Path, name: &str) -> std::path::PathBuf {
    home.join(format!("{name}-data"))
}

/// The arguments of an etcd that listens on two ports of loopback. It never crashes here, so nothing needs to be
/// synced.
pub(super) fn etcd(home: &Path, clients: u16, peers: u16) -> Vec<String> {
    vec![
        format!("--data-dir={}", home.join("etcd-data").display()),
        format!("--listen-client-urls=http://127.0.0.1:{clients}"),
        format!("--advertise-client-urls=http://127.0.0.1:{clients}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peers}"),
        format!("--initial-cluster=default=http://127.0.0.1:{peers}"),
        "--unsafe-no-fsync".to_owned(),
    ]
}
