//! `login --sso`: somebody logs in with a browser at a real provider while the command waits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::oidc::{Browser, Provider};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::access::Guarded;
use super::terminal::Terminal;

/// A provider has a command ask every five seconds.
const ANSWERED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_on_another_device_and_the_command_waits() -> Result<()> {
    let Some(provider) = Provider::for_test()? else { return Ok(()) };
    let guarded = Guarded::start_with(|options, secrets| {
        Ok(provider.trusted_by(options, secrets)?.flag("oidc-roles", "clerks=shop"))
    })
    .await?;
    let admin = guarded.administrator().await?;
    admin.done("role add shop").await?;
    admin.done("grant shop read --namespace public --group shop").await?;
    provider.set_groups("clerk", &["clerks"]).await?;

    let terminal = guarded.stranger()?;
    let mut child = terminal.command(&format!("login --sso={}", guarded.node().http()))?.spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("it is piped")?).lines();
    let line = timeout(ANSWERED, lines.next_line()).await??.context("it says where to go")?;
    let address = line.split_whitespace().find(|word| word.starts_with("http")).with_context(|| line.clone())?;
    let page = Browser::new()?.walk(address, "clerk").await?;
    assert!(page.text.contains("Sign-in Success"), "{page:?}");
    let output = timeout(ANSWERED, child.wait_with_output()).await??;
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && said.starts_with("logged in as clerk for 5h; kept in "), "{said}");

    assert!(terminal.done("whoami").await?.starts_with("clerk\n"));
    let users = admin.done("user ls").await?;
    let clerk = users.lines().find(|line| line.starts_with("clerk ")).context("a line")?;
    assert!(clerk.contains(provider.issuer()) && clerk.trim_end().ends_with("shop"), "{users}");
    assert_eq!(terminal.done("logout").await?, "logged out clerk\n");
    terminal.run("whoami").await?.expect(6)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_no_single_sign_on() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let said = Terminal::at(&node)?.run(&format!("login --sso={}", node.http())).await?.expect(3)?;
    assert!(said.contains("no provider of single sign-on"), "{said}");
    assert!(Terminal::at(&node)?.run("login --sso=n1").await?.expect(2)?.contains("https://HOST"));
    Ok(())
}
