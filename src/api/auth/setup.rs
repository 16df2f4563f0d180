//! What has to be there before somebody can log in: the secret that seals keys, a key that signs, and an administrator.
//! Owns where the secret comes from; prints the administrator's password once and keeps it nowhere.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use callboard_actors::access_directory::{ChangeAccess, ChangeFailure};
use callboard_actors::runtime::ask;
use callboard_actors::store::WriteError;
use callboard_actors::wiring::Node;
use callboard_protocol::access::audit::Who;
use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::directory::{Directory, SigningKey};
use callboard_protocol::access::password;
use callboard_protocol::hex;
use callboard_protocol::time::WallMillis;

pub(crate) use super::signing::Secrets;
use super::signing::{self, KEY, KeyRing};
use super::{Authenticator, millis};
use crate::lossy::print;
use crate::settings::Settings;

/// The file of the secret in the data directory.
const FILE: &str = "auth-secret";
/// The administrator whom the first start makes.
const ADMINISTRATOR: &str = "admin";
/// How long a change may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of a password that is made up.
const MADE_UP: usize = 16;

impl Secrets {
    /// Those of a node: from the file that the settings name, else what its cluster's keys give, else from a file of
    /// its own that is made when it is missing.
    ///
    /// # Errors
    /// A file can't be read or made, can be read by others, or holds too little.
    pub(crate) fn of_node(settings: &Settings, data_dir: &Path, cluster: Vec<[u8; KEY]>) -> anyhow::Result<Self> {
        let named = &settings.auth.secret_file;
        if !named.as_os_str().is_empty() {
            return Ok(Self::new(vec![derived(&read(named)?)]));
        }
        if !cluster.is_empty() {
            return Ok(Self::new(cluster));
        }
        let path = data_dir.join(FILE);
        match read(&path) {
            Ok(secret) => Ok(Self::new(vec![derived(&secret)])),
            Err(error) if is_missing(&error) => {
                let secret = hex::encode(&signing::random(KEY).map_err(|_unspecified| no_randomness())?);
                write(&path, &secret)?;
                Ok(Self::new(vec![derived(secret.as_bytes())]))
            }
            Err(error) => Err(error),
        }
    }
}

impl Secrets {
    /// The master keys of secrets, a line each; `None` where the settings name no file.
    ///
    /// # Errors
    /// The file can't be read, can be read by others, or a line of it holds too little.
    pub(crate) fn of_contents(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let path = &settings.secrets.key_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let text = read_private(path)?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let keys = lines.map(|line| check(line, path).map(|()| derived(line))).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(!keys.is_empty(), "{} holds no key: `openssl rand -hex 32` gives one", path.display());
        Ok(Some(Self::new(keys)))
    }
}

pub(super) fn no_randomness() -> anyhow::Error {
    anyhow::anyhow!("the system gives no random bytes")
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let secret = read_private(path)?;
    check(&secret, path)?;
    Ok(secret)
}

/// A secret in a file that is nobody else's business, without space around it.
pub(super) fn read_private(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let mode = fs::metadata(path).with_context(|| format!("cannot read the secret {shown}"))?.permissions().mode();
    anyhow::ensure!(mode & 0o007 == 0, "the secret {shown} can be read by others; take that away: chmod 600 {shown}");
    let text = fs::read(path).with_context(|| format!("cannot read the secret {shown}"))?;
    Ok(text.trim_ascii().to_vec())
}

fn check(secret: &[u8], path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let is_fit = secret.len() >= KEY && secret.iter().any(|byte| Some(byte) != secret.first());
    anyhow::ensure!(
        is_fit,
        "the secret {shown} is too short or known: it needs {KEY} random bytes or more, such as `openssl rand -hex 32` gives"
    );
    Ok(())
}

fn write(path: &Path, secret: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write the secret {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(cannot)?;
    file.write_all(secret.as_bytes()).with_context(cannot)?;
    file.sync_all().with_context(cannot)
}

fn derived(secret: &[u8]) -> [u8; KEY] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"callboard sealing key");
    let tag = ring::hmac::sign(&key, secret);
    let mut derived = [0; KEY];
    derived.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    derived
}

/// Waits until users are known, and makes a key and an administrator where there is none.
///
/// # Errors
/// The database does not answer; the password that is given is refused.
pub(crate) async fn prepare(settings: &Settings, node: &Node, auth: &Authenticator) -> anyhow::Result<()> {
    let directory = known(node, settings.database.connect_timeout).await?;
    if !KeyRing::of(&directory.keys, &auth.secrets).can_sign() {
        add_key(node, auth, Who::SERVER).await?;
    }
    if auth.is_on() && directory.administrators().next().is_none() {
        add_administrator(settings, node, auth).await?;
    }
    Ok(())
}

pub(super) async fn known(node: &Node, patience: Duration) -> anyhow::Result<Arc<Directory>> {
    let mut access = node.access.clone();
    let waiting = access.wait_for(Option::is_some);
    let known = tokio::time::timeout(patience.max(DEADLINE), waiting).await;
    let known = known.context("users and roles could not be read: the database does not answer")??.clone();
    known.context("users and roles could not be read")
}

/// Makes a new key, which signs from a few seconds on; what others signed is taken for as long as it could last.
pub(crate) async fn add_key(node: &Node, auth: &Authenticator, by: Who) -> anyhow::Result<String> {
    let random = |bytes| signing::random(bytes).map_err(|_unspecified| no_randomness());
    let (id, key) = (hex::encode(&random(8)?), random(KEY)?);
    let sealed = auth.secrets.seal(&id, &key).context("a key could not be sealed")?;
    let now = auth.clock.wall();
    let retire = WallMillis(now.0.saturating_add(millis(auth.lifetime)).saturating_add(60_000));
    let key = SigningKey { sealed, created: now, retires: None };
    change(node, Change::AddKey { id: id.clone(), key, retire }, by).await?;
    Ok(id)
}

pub(super) async fn change(node: &Node, change: Change, by: Who) -> Result<(), ChangeFailure> {
    ask(&node.access_directory, ChangeAccess { change, by }, DEADLINE).await?
}

async fn add_administrator(settings: &Settings, node: &Node, auth: &Authenticator) -> anyhow::Result<()> {
    let file = &settings.auth.admin_password_file;
    let given = if file.as_os_str().is_empty() {
        None
    } else {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    let password = match &given {
        Some(given) => given.clone(),
        None => hex::encode(&signing::random(MADE_UP).map_err(|_unspecified| no_randomness())?),
    };
    password::check(&password, ADMINISTRATOR).context("the password of the first administrator is refused")?;
    let password_hash = auth.hash(&password).await?;
    let first = Change::FirstAdministrator { name: ADMINISTRATOR.to_owned(), password_hash };
    match change(node, first, Who::SERVER).await {
        Ok(()) if given.is_some() => tracing::info!(user = ADMINISTRATOR, "made the first administrator"),
        Ok(()) => print(format_args!(
            "made the first administrator: user {ADMINISTRATOR}, password {password} (shown this once; change it with \
             `callboard user password {ADMINISTRATOR}`)"
        )),
        // Another node was first.
        Err(ChangeFailure::Write(WriteError::AccessRefused(Refusal::Exists { .. }))) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
