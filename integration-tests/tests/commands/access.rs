//! `login`, `user`, `role`, `grant`, `token` and `key` at a node where callers have to be known, and the other commands
//! with what these give.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::poll;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::terminal::{Said, Terminal, to_end};

const PASSWORD: &str = "correct horse battery";

/// A node where callers have to be known.
pub(crate) struct Guarded {
    node: Node,
    _passwords: TempDir,
}

impl Guarded {
    async fn start() -> Result<Self> {
        Self::start_with(|options, _| Ok(options)).await
    }

    /// One that is started otherwise; files of secrets have a directory.
    pub(crate) async fn start_with(change: impl FnOnce(NodeOptions, &TempDir) -> Result<NodeOptions>) -> Result<Self> {
        let passwords = tempfile::tempdir()?;
        let file = passwords.path().join("admin");
        fs::write(&file, format!("{PASSWORD}\n"))?;
        let options = NodeOptions::new().flag("auth", "on");
        let options = options.flag("admin-password-file", file.to_str().context("a path of text")?);
        Ok(Self { node: Node::start(change(options, &passwords)?).await?, _passwords: passwords })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Somebody who has not logged in.
    pub(crate) fn stranger(&self) -> Result<Terminal> {
        Terminal::at(&self.node)
    }

    /// The administrator, logged in.
    pub(crate) async fn administrator(&self) -> Result<Terminal> {
        let terminal = self.stranger()?;
        log_in(&terminal, "admin", PASSWORD).await?.expect(0)?;
        Ok(terminal)
    }
}

async fn log_in(terminal: &Terminal, user: &str, password: &str) -> Result<Said> {
    let mut command = terminal.command(&format!("login --user {user}"))?;
    command.env("CALLBOARD_CLIENT_PASSWORD", password);
    to_end(command, None).await
}

async fn with_token(terminal: &Terminal, line: &str, token: &str, input: Option<&str>) -> Result<Said> {
    let mut command = terminal.command(line)?;
    command.env("CALLBOARD_CLIENT_TOKEN", token);
    to_end(command, input).await
}

/// Makes a role that may read and write the group `shop`.
async fn make_shop_role(admin: &Terminal) -> Result<()> {
    admin.done("role add shop --description clerks").await?;
    let said = admin.done("grant shop read write --namespace public --group shop").await?;
    assert_eq!(said, "role shop allows read, write of public/shop/*\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_is_told_to_log_in() -> Result<()> {
    let guarded = Guarded::start().await?;
    let terminal = guarded.stranger()?;
    for line in ["get a", "ls", "watch a", "history a", "nodes", "whoami", "user ls", "grant shop read", "rm a"] {
        let said = terminal.run(line).await?.expect(6)?;
        assert!(said.contains("callboard login") && said.contains("--token-file"), "{line}: {said}");
    }
    assert!(terminal.run_with("put a", "1").await?.expect(6)?.contains("callboard login"));
    let said = log_in(&terminal, "admin", "wrong password").await?.expect(6)?;
    assert!(said.contains("the user name or the password is wrong"), "{said}");
    assert!(with_token(&terminal, "get a", "cbt_0_0", None).await?.expect(6)?.contains("not valid"));
    // Standard input is no terminal.
    assert!(terminal.run("login --user admin").await?.expect(2)?.contains("--password-file"));
    assert!(terminal.run("login").await?.expect(2)?.contains("--user"));
    assert!(terminal.run("login --token t").await?.expect(2)?.contains("need not log in"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_is_kept_for_its_owner_until_it_is_forgotten() -> Result<()> {
    let guarded = Guarded::start().await?;
    let terminal = guarded.stranger()?;
    let said = log_in(&terminal, "admin", PASSWORD).await?.expect(0)?;
    assert!(said.starts_with("logged in as admin for 5h"), "{said}");
    let file = terminal.home().join(".config/callboard/credentials.toml");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file)?.contains(PASSWORD));

    terminal.put("a", "1").await?;
    assert_eq!(terminal.done("get a").await?, "1");
    assert!(terminal.done("whoami").await?.starts_with("admin, an administrator\n"));
    let change = terminal.json("history a").await?;
    assert_eq!(change["items"][0]["operator"], "admin");

    assert_eq!(terminal.done("logout").await?, "logged out admin\n");
    assert!(terminal.done("logout").await?.starts_with("nobody was logged in at "));
    terminal.run("get a").await?.expect(6)?;

    let elsewhere = guarded.administrator().await?;
    log_in(&terminal, "admin", PASSWORD).await?.expect(0)?;
    assert_eq!(elsewhere.json("logout --everywhere").await?["everywhere"], true);
    assert!(terminal.run("whoami").await?.expect(6)?.contains("log in again"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_the_roles_grant_and_nothing_else() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    let made = admin.json("user add ann --role shop --generate").await?;
    assert_eq!((&made["name"], &made["roles"]), (&json!("ann"), &json!(["shop"])));
    let password = made["password"].as_str().context("it is printed once")?;

    let ann = guarded.stranger()?;
    log_in(&ann, "ann", password).await?.expect(0)?;
    let me = ann.json("whoami").await?;
    assert_eq!(
        (&me["user"], &me["administrator"], &me["grants"][0]["group"]),
        (&json!("ann"), &json!(false), &json!("shop"))
    );
    ann.put("prices -g shop", "1").await?;
    assert_eq!(ann.done("get prices -g shop").await?, "1");
    assert!(ann.json("ls -g shop").await?["items"].as_array().is_some_and(|items| items.len() == 1));
    for line in
        ["get a", "ls", "watch a", "rm a", "nodes", "user ls", "role add mine", "key ls", "token add --for admin"]
    {
        let said = ann.run(line).await?.expect(6)?;
        assert!(said.contains("no grant of yours") && said.contains("callboard whoami"), "{line}: {said}");
    }

    assert!(admin.done("revoke shop write --namespace public --group shop").await?.contains("no longer write"));
    ann.run_with("put prices -g shop", "2").await?.expect(6)?;
    assert_eq!(ann.done("get prices -g shop").await?, "1");
    assert_eq!(admin.done("role take ann shop").await?, "took role shop from user ann\n");
    ann.run("get prices -g shop").await?.expect(6)?;
    assert_eq!(admin.done("role give ann shop").await?, "gave user ann role shop\n");
    assert_eq!(ann.done("get prices -g shop").await?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_looked_after() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    fs::write(admin.home().join("first"), "the first password\n")?;
    fs::write(admin.home().join("second"), "the second password\n")?;
    assert_eq!(admin.done("user add ann --role shop --new-password-file first").await?, "made user ann\n");
    assert!(admin.run("user add ann --generate").await?.expect(4)?.contains("ann"));
    assert!(admin.run("user add bob").await?.expect(2)?.contains("--generate"), "there is nobody to ask");
    fs::write(admin.home().join("weak"), "password")?;
    admin.run("user add bob --new-password-file weak").await?.expect(2)?;

    let table = admin.done("user ls").await?;
    assert!(table.starts_with("USER") && table.contains("\nann ") && table.contains("shop"), "{table}");
    let shown = admin.done("user show ann").await?;
    assert!(shown.contains("ann") && shown.contains("read,write"), "{shown}");
    assert!(admin.run("user show bob").await?.expect(3)?.contains("bob"));

    let ann = guarded.stranger()?;
    log_in(&ann, "ann", "the first password").await?.expect(0)?;
    assert_eq!(admin.done("user disable ann").await?, "disabled user ann\n");
    ann.run("whoami").await?.expect(6)?;
    log_in(&ann, "ann", "the first password").await?.expect(6)?;
    admin.done("user enable ann").await?;
    log_in(&ann, "ann", "the first password").await?.expect(0)?;
    admin.done("user logout ann").await?;
    ann.run("whoami").await?.expect(6)?;

    // One changes one's own by the present one.
    fs::write(ann.home().join("first"), "the first password\n")?;
    fs::write(ann.home().join("second"), "the second password\n")?;
    ann.done("user password --user ann --password-file first --new-password-file second").await?;
    log_in(&ann, "ann", "the first password").await?.expect(6)?;
    log_in(&ann, "ann", "the second password").await?.expect(0)?;
    assert!(admin.done("user password ann --generate").await?.contains("password "));
    log_in(&ann, "ann", "the second password").await?.expect(6)?;

    admin.run("user rm admin").await?.expect(4)?;
    assert_eq!(admin.done("user rm ann").await?, "removed user ann\n");
    admin.run("user rm ann").await?.expect(3)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_keys_are_looked_after() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    assert!(admin.run("role add shop").await?.expect(4)?.contains("there is a role shop"));
    let table = admin.done("role ls").await?;
    assert!(table.starts_with("ROLE") && table.contains("clerks") && table.contains("read,write"), "{table}");
    admin.run("grant nothing read").await?.expect(3)?;
    admin.run("role give nobody shop").await?.expect(3)?;
    admin.run("grant shop read --group a%b").await?.expect(2)?;
    assert_eq!(admin.done("role rm shop").await?, "removed role shop\n");
    assert!(admin.json("role ls").await?["items"].as_array().is_some_and(|roles| roles.len() == 1));

    let before = admin.json("key ls").await?;
    assert_eq!(before["items"].as_array().map(Vec::len), Some(1));
    assert!(admin.done("key rotate").await?.starts_with("key "));
    assert!(admin.done("key ls").await?.lines().count() == 3);
    // Nobody has to log in again.
    admin.done("whoami").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_it_is_limited_to_and_can_come_from_anywhere() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    admin.done("user add robot --no-password --role shop").await?;
    let token = admin.done("token add read --group shop --for robot --days 30 --description ci").await?;
    let token = token.trim_end();
    admin.put("prices -g shop", "1").await?;

    let robot = guarded.stranger()?;
    fs::write(robot.home().join("token"), format!("{token}\n"))?;
    assert_eq!(robot.done("get prices -g shop --token-file token").await?, "1");
    assert_eq!(robot.done(&format!("get prices -g shop --token {token}")).await?, "1");
    assert_eq!(with_token(&robot, "get prices -g shop", token, None).await?.expect(0)?, "1");
    let said = with_token(&robot, "put prices -g shop", token, Some("2")).await?.expect(6)?;
    assert!(said.contains("write"), "{said}");
    let me = with_token(&robot, "whoami", token, None).await?.expect(0)?;
    assert!(me.starts_with("robot\n") && me.contains("The token is limited to"), "{me}");

    let listed = admin.json("token ls").await?;
    let item = &listed["items"][0];
    assert_eq!((&item["user"], &item["description"]), (&json!("robot"), &json!("ci")));
    let table = admin.done("token ls").await?;
    assert!(table.contains("read of */shop/*") && !table.contains(token), "{table}");
    let id = item["id"].as_str().context("it has an id")?;
    assert_eq!(admin.done(&format!("token rm {id}")).await?, format!("removed token {id}\n"));
    let said = with_token(&robot, "get prices -g shop", token, None).await?.expect(6)?;
    assert!(said.contains("the token is not valid"), "{said}");
    admin.run(&format!("token rm {id}")).await?.expect(3)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_soon_after_its_token_is_removed() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    admin.done("user add robot --no-password --role shop").await?;
    let made: Value = admin.json("token add --for robot").await?;
    let (id, token) = (made["id"].as_str().context("an id")?, made["token"].as_str().context("a token")?);
    admin.put("prices -g shop", "1").await?;

    let robot = guarded.stranger()?;
    let mut watch = robot.command("watch prices -g shop --exec true")?;
    watch.env("CALLBOARD_CLIENT_TOKEN", token).stdout(Stdio::null());
    let watch = watch.spawn()?;
    poll::until("it is shown the first version", poll::SOON, async || {
        let found = admin.json("pushes prices -g shop").await?;
        Ok((found["counts"]["applied"] == 1).then_some(()))
    })
    .await?;

    let removed = Instant::now();
    admin.done(&format!("token rm {id}")).await?;
    let ended = timeout(poll::SOON, watch.wait_with_output()).await.context("it still runs")??;
    assert!(removed.elapsed() < Duration::from_secs(5), "it took {:?}", removed.elapsed());
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(6), "{said}");
    assert!(said.contains("the token is not valid") && said.contains("callboard login"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_soon_after_its_grant_is_revoked() -> Result<()> {
    let guarded = Guarded::start().await?;
    let admin = guarded.administrator().await?;
    make_shop_role(&admin).await?;
    admin.done("user add robot --no-password --role shop").await?;
    let token = admin.done("token add --for robot").await?;
    admin.put("prices -g shop", "1").await?;

    let robot = guarded.stranger()?;
    let mut watch = robot.command("watch prices -g shop --exec true")?;
    watch.env("CALLBOARD_CLIENT_TOKEN", token.trim_end()).stdout(Stdio::null());
    let watch = watch.spawn()?;
    poll::until("it is shown the first version", poll::SOON, async || {
        let found = admin.json("pushes prices -g shop").await?;
        Ok((found["counts"]["applied"] == 1).then_some(()))
    })
    .await?;
    admin.done("revoke shop --namespace public --group shop").await?;
    let ended = timeout(poll::SOON, watch.wait_with_output()).await.context("it still runs")??;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(6), "{said}");
    assert!(said.contains("no grant of yours is for read of public/shop/prices"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_to_be_known_everybody_may_do_everything() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let terminal = Terminal::at(&node)?;
    assert!(terminal.done("whoami").await?.starts_with("nobody in particular"));
    let made = terminal.json("user add ann --generate").await?;
    log_in(&terminal, "ann", made["password"].as_str().context("a password")?).await?.expect(0)?;
    log_in(&terminal, "ann", "another password").await?.expect(6)?;
    assert_eq!(with_token(&terminal, "whoami", "whatever", None).await?.code, Some(0));
    Ok(())
}
