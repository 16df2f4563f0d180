//! The provider of single sign-on that `scripts/oidc` starts, and a browser in which somebody logs in at it. Owns the
//! browser's cookies; knows the provider's pages by their forms alone.

use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, ensure};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, Url};
use serde_json::json;
use tempfile::TempDir;

use crate::node::NodeOptions;

/// Where the provider sends browsers back to.
pub const CALLBACK: &str = "/api/v1/auth/oidc/callback";
/// The secret that the provider knows the client by.
const SECRET: &str = "a secret of this client: +/%&";
/// Steps of one log-in, at the most.
const STEPS: usize = 20;

/// The provider.
#[derive(Debug, Clone)]
pub struct Provider {
    issuer: String,
    http: reqwest::Client,
}

impl Provider {
    /// The one of `scripts/oidc run`; `None` where there is none, which is said.
    ///
    /// # Errors
    /// There is none, and `CALLBOARD_TEST_REQUIRE_OIDC=1` says that there must be.
    pub fn for_test() -> anyhow::Result<Option<Self>> {
        if let Ok(issuer) = std::env::var("CALLBOARD_TEST_OIDC_ISSUER") {
            return Ok(Some(Self { issuer, http: reqwest::Client::new() }));
        }
        let required = std::env::var("CALLBOARD_TEST_REQUIRE_OIDC").is_ok_and(|value| value == "1");
        ensure!(!required, "there is no provider: CALLBOARD_TEST_OIDC_ISSUER is not set");
        println!("not run: there is no provider; scripts/oidc run -- COMMAND starts one");
        Ok(None)
    }

    /// Its address.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Puts somebody into these groups, and no others.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn set_groups(&self, user: &str, groups: &[&str]) -> anyhow::Result<()> {
        let body = json!({ user: groups });
        let answer = self.http.post(format!("{}/test/groups", self.issuer)).json(&body).send().await?;
        Ok(answer.error_for_status().map(drop)?)
    }

    /// A node whose users may come from here.
    ///
    /// # Errors
    /// The file of the secret can't be written.
    pub fn trusted_by(&self, options: NodeOptions, secrets: &TempDir) -> anyhow::Result<NodeOptions> {
        let path = secrets.path().join("client-secret");
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut &file, SECRET.as_bytes())?;
        let options = options.flag("oidc-issuer", &self.issuer).flag("oidc-client-id", "callboard");
        Ok(options.flag("oidc-client-secret-file", &path.display().to_string()))
    }
}

/// What a browser shows.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// A browser at hosts of this machine, which share their cookies whatever their ports are.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    cookies: Vec<Cookie>,
}

/// A form, and what stands in it.
struct Form {
    action: Url,
    fields: Vec<(String, String)>,
}

impl Page {
    /// Where it leads.
    #[must_use]
    pub fn location(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        self.url.join(location).ok()
    }

    /// Its lines of `Set-Cookie` for a name.
    #[must_use]
    pub fn cookie_line(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines.find(|line| line.split('=').next() == Some(name))
    }

    fn form(&self) -> Option<Form> {
        let (_, rest) = self.text.split_once("<form")?;
        let form = rest.split("</form>").next()?;
        let action = self.url.join(&attribute(form, "action")?).ok()?;
        let inputs = form.split("<input").skip(1).map(|input| input.split('>').next().unwrap_or_default());
        let fields = inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)));
        Some(Form { action, fields: fields.collect() })
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split('"').next().map(|value| value.replace("&amp;", "&"))
}

impl Browser {
    /// One that has been nowhere.
    ///
    /// # Errors
    /// The system gives no HTTP client.
    pub fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, cookies: Vec::new() })
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }

    /// Goes somewhere.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn get(&mut self, url: impl AsRef<str>) -> anyhow::Result<Page> {
        self.ask(Method::GET, url.as_ref(), &[], &[]).await
    }

    /// Sends something, with these headers and this form.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn ask(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        form: &[(String, String)],
    ) -> anyhow::Result<Page> {
        let url: Url = url.parse()?;
        let is_below = |path: &str| {
            url.path()
                .strip_prefix(path.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let shown = self.cookies.iter().filter(|cookie| is_below(&cookie.path));
        let shown: Vec<String> = shown.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let mut request = self.http.request(method, url.clone());
        if !shown.is_empty() {
            request = request.header(COOKIE, shown.join("; "));
        }
        request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = if form.is_empty() { request } else { request.form(form) };
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for line in headers.get_all(SET_COOKIE) {
            self.keep(line.to_str()?, url.path());
        }
        Ok(Page { url, status, headers, text: answer.text().await? })
    }

    fn keep(&mut self, line: &str, at: &str) {
        let mut parts = line.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let attribute = |wanted: &str| {
            let pairs = line.split(';').skip(1).filter_map(|part| part.trim().split_once('='));
            pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
        };
        let path = attribute("path").unwrap_or_else(|| at.to_owned());
        self.cookies.retain(|cookie| cookie.name != name || cookie.path != path);
        if !value.is_empty() && attribute("max-age").as_deref() != Some("0") {
            self.cookies.push(Cookie { name: name.to_owned(), value: value.to_owned(), path });
        }
    }

    /// Goes on from `start` as `user` does, who follows where he is led and sends off every form, up to a page without
    /// one; or up to where he would be led back to [`CALLBACK`].
    ///
    /// # Errors
    /// Somebody does not answer, or it goes on for ever.
    pub async fn walk(&mut self, start: &str, user: &str) -> anyhow::Result<Page> {
        let mut page = self.get(start).await?;
        for _ in 0..STEPS {
            page = if let Some(location) = page.location() {
                if location.path() == CALLBACK {
                    return Ok(page);
                }
                self.get(location).await?
            } else if let Some(Form { action, mut fields }) = page.form() {
                if fields.iter().any(|(name, value)| name == "prompt" && value == "login") {
                    fields.push(("login".to_owned(), user.to_owned()));
                    fields.push(("password".to_owned(), "any".to_owned()));
                }
                self.ask(Method::POST, action.as_str(), &[], &fields).await?
            } else {
                return Ok(page);
            };
        }
        anyhow::bail!("the log-in goes on for ever; it is at {}: {}", page.url, page.text)
    }

    /// Logs `user` in at a node, which sends the browser to the provider, up to where that sends it back to.
    ///
    /// # Errors
    /// It is not sent back.
    pub async fn begin(&mut self, node: &str, user: &str) -> anyhow::Result<Url> {
        let page = self.walk(&format!("{node}/api/v1/auth/oidc/login?return=/console"), user).await?;
        let sent = page.location().filter(|location| location.path() == CALLBACK);
        sent.with_context(|| format!("at {}: {} {}", page.url, page.status, page.text))
    }

    /// Logs `user` in at a node: what the node gives.
    ///
    /// # Errors
    /// It lets nobody in.
    pub async fn log_in(&mut self, node: &str, user: &str) -> anyhow::Result<String> {
        let back = self.begin(node, user).await?;
        let page = self.get(back).await?;
        ensure!(page.status == 302, "{}: {}", page.status, page.text);
        self.cookie("callboard_login").map(str::to_owned).context("the node gives a cookie")
    }
}
