//! Section `oidc`: the provider of single sign-on, and what its groups give. Reads no file and asks no provider.

use std::path::PathBuf;

use callboard_protocol::access::directory::check_name;
use callboard_protocol::access::sign_on::RoleMap;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::error::Invalid;

/// Who says who somebody is, beside the users of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcOptions {
    /// The provider, whose description is found below it; empty for none.
    pub issuer: String,
    /// As whom the cluster is known there.
    pub client_id: String,
    /// The file with the secret of this client; empty for a client without one.
    pub client_secret_file: PathBuf,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim with the name of the user.
    pub user_claim: String,
    /// The claim with the groups of the user.
    pub groups_claim: String,
    /// Which roles groups give, as `group=role`.
    pub roles: Vec<String>,
    /// What everybody from there gets.
    pub default_roles: Vec<String>,
    /// Where the provider sends browsers back to; empty for the host that a browser asked.
    pub redirect_url: String,
    /// The file with the authorities of the provider's certificate; empty for the public ones.
    pub ca_file: PathBuf,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: PathBuf::new(),
            scopes: ["openid", "profile", "email", "groups"].map(str::to_owned).to_vec(),
            user_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            roles: Vec::new(),
            default_roles: Vec::new(),
            redirect_url: String::new(),
            ca_file: PathBuf::new(),
        }
    }
}

/// Whether what is sent to `url` can be read on no way: by TLS, or inside of this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// A group may hold the sign between both, as those of directories do; a role that does can't be named here.
fn parse_role(text: &str) -> Option<(&str, &str)> {
    let (group, role) = text.rsplit_once('=')?;
    (!group.is_empty() && check_name(role).is_ok()).then_some((group, role))
}

impl OidcOptions {
    /// Checks the values and the rules between them.
    ///
    /// # Errors
    /// The first value that is refused.
    pub fn validate(&self) -> Result<(), Invalid> {
        if !self.is_on() {
            let is_meant = !self.client_id.is_empty() || !self.client_secret_file.as_os_str().is_empty();
            let reason = "there is a client and no provider; name its issuer";
            return if is_meant { Err(Invalid::new("oidc.issuer", reason)) } else { Ok(()) };
        }
        let issuer = Url::parse(&self.issuer).ok().filter(is_private);
        if !issuer.is_some_and(|issuer| issuer.query().is_none() && issuer.fragment().is_none()) {
            let reason =
                "must be https://HOST with perhaps a path, as the provider writes it; http:// is for loopback alone";
            return Err(Invalid::new("oidc.issuer", reason));
        }
        if self.client_id.is_empty() {
            let reason = "as whom the cluster is known to the provider has to be named";
            return Err(Invalid::new("oidc.client_id", reason));
        }
        let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.scopes.iter().any(|scope| scope == "openid") || !self.scopes.iter().all(is_scope) {
            return Err(Invalid::new("oidc.scopes", "must hold openid, and words without blanks"));
        }
        if let Some(text) = self.roles.iter().find(|text| parse_role(text).is_none()) {
            return Err(Invalid::new("oidc.roles", format!("must be GROUP=ROLE each; {text:?} is not")));
        }
        if let Some(role) = self.default_roles.iter().find(|role| check_name(role).is_err()) {
            return Err(Invalid::new("oidc.default_roles", format!("{role:?} is no name of a role")));
        }
        let is_fit = |url: &Url| is_private(url) && url.fragment().is_none();
        if !self.redirect_url.is_empty() && !Url::parse(&self.redirect_url).is_ok_and(|url| is_fit(&url)) {
            let reason = "must be https://HOST/api/v1/auth/oidc/callback, under the host that browsers use; http:// is \
                          for loopback alone";
            return Err(Invalid::new("oidc.redirect_url", reason));
        }
        Ok(())
    }

    /// True when there is a provider.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Which roles groups give.
    #[must_use]
    pub fn role_map(&self) -> RoleMap {
        let mut map = RoleMap { default: self.default_roles.iter().cloned().collect(), ..RoleMap::default() };
        for (group, role) in self.roles.iter().filter_map(|text| parse_role(text)) {
            map.roles.entry(group.to_owned()).or_default().insert(role.to_owned());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    //! What is refused by which key, and what groups give.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn options() -> OidcOptions {
        OidcOptions { issuer: "https://id.example".to_owned(), client_id: "c".to_owned(), ..OidcOptions::default() }
    }

    #[test]
    fn what_can_not_work_is_refused_by_its_key() {
        OidcOptions::default().validate().unwrap();
        options().validate().unwrap();
        let refused = |change: fn(&mut OidcOptions)| {
            let mut options = options();
            change(&mut options);
            options.validate().unwrap_err().key
        };
        assert_eq!(refused(|options| options.issuer.clear()), "oidc.issuer");
        for issuer in ["id.example", "http://id.example", "https://id?x", "ftp://localhost", "http://127.0.0.1.x.org"] {
            let options = OidcOptions { issuer: issuer.to_owned(), ..options() };
            assert_eq!(options.validate().unwrap_err().key, "oidc.issuer", "{issuer}");
        }
        for issuer in ["http://127.0.0.1:9", "http://[::1]:9/x", "http://localhost/"] {
            OidcOptions { issuer: issuer.to_owned(), ..options() }.validate().unwrap();
        }
        assert_eq!(refused(|options| options.client_id.clear()), "oidc.client_id");
        assert_eq!(refused(|options| options.scopes = vec!["profile".to_owned()]), "oidc.scopes");
        assert_eq!(refused(|options| options.scopes.push("a b".to_owned())), "oidc.scopes");
        for role in ["ops", "=admin", "ops="] {
            let options = OidcOptions { roles: vec![role.to_owned()], ..options() };
            assert_eq!(options.validate().unwrap_err().key, "oidc.roles", "{role}");
        }
        assert_eq!(refused(|options| options.default_roles.push(" ".to_owned())), "oidc.default_roles");
        assert_eq!(refused(|options| "http://n1/x".clone_into(&mut options.redirect_url)), "oidc.redirect_url");
    }

    #[test]
    fn a_group_may_give_several_roles_and_hold_the_sign_between_both() {
        let roles = ["ops=admin", "cn=dev,dc=x=reader", "cn=dev,dc=x=writer"].map(str::to_owned).to_vec();
        let map = OidcOptions { roles, default_roles: vec!["guest".to_owned()], ..options() }.role_map();
        assert_eq!(map.of(["ops"]).into_iter().collect::<Vec<_>>(), ["admin", "guest"]);
        assert_eq!(map.of(["cn=dev,dc=x"]).into_iter().collect::<Vec<_>>(), ["guest", "reader", "writer"]);
    }
}
