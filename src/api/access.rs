//! Who asks, and what it takes to be answered. Owns the rule; which access a route or a message needs is a row of its
//! door's table, and what is in no table is refused. How a caller becomes known is `auth`'s.

use std::sync::Arc;

use callboard_protocol::access::audit::Target;
use callboard_protocol::access::grant::{Action, Area, Demand, Names};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::Secrets;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::{Selector, What};

use super::auth::Identity;
use super::error::ApiError;

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: anybody may ask.
    Public,
    /// Nothing in particular, but he has to be known.
    Known,
    /// This, with what the request names: whoever reads the names asks for it.
    Named(Action),
    /// This, with the whole cluster.
    Cluster(Action),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// There is no authentication: whoever reaches the address may do everything. Addresses that others reach have to
    /// be asked for at the start.
    Unrestricted,
    /// Nobody in particular.
    Anonymous,
    /// Somebody who showed who he is.
    User(Arc<Identity>),
}

impl Principal {
    /// Looks at what can be known before a request is read.
    ///
    /// # Errors
    /// The caller may not do this, whatever the request names.
    pub(crate) fn admit(&self, access: Access) -> Result<(), ApiError> {
        match (access, self) {
            (Access::Public, _) | (_, Self::Unrestricted) | (Access::Known | Access::Named(_), Self::User(_)) => Ok(()),
            (_, Self::Anonymous) => Err(unknown(Target::default())),
            (Access::Cluster(action), Self::User(_)) => self.require(&Demand::Cluster(action)),
        }
    }

    /// The one question of every handler that reads what a request names.
    ///
    /// # Errors
    /// The caller may not do this.
    pub(crate) fn require(&self, demand: &Demand<'_>) -> Result<(), ApiError> {
        if self.may(demand) {
            return Ok(());
        }
        let target = Target::demanded(demand);
        Err(match self {
            Self::Anonymous => unknown(target),
            Self::Unrestricted | Self::User(_) => ApiError::new(ErrorCode::Forbidden, refusal(demand)).refusing(target),
        })
    }

    /// Whether the caller may do this.
    pub(crate) fn may(&self, demand: &Demand<'_>) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Anonymous => false,
            Self::User(identity) => identity.rights.allow(demand),
        }
    }

    /// Which secrets he may see.
    pub(crate) fn secrets(&self) -> Secrets {
        match self {
            Self::Unrestricted => Secrets::Shown,
            Self::Anonymous => Secrets::Hidden,
            Self::User(identity) => Secrets::Granted(identity.rights.clone()),
        }
    }

    /// The name under which changes are recorded.
    pub(crate) fn operator(&self) -> Option<String> {
        match self {
            Self::Unrestricted | Self::Anonymous => None,
            Self::User(identity) => Some(identity.name.clone()),
        }
    }
}

fn unknown(target: Target) -> ApiError {
    ApiError::unauthenticated("this needs a log-in or a token").refusing(target)
}

/// Asks whether the caller may read all that a watch is for.
///
/// # Errors
/// He may not.
pub(crate) fn require_selected(principal: &Principal, selector: &Selector) -> Result<(), ApiError> {
    match selector.what() {
        What::Exact(_) => selector.keys().iter().try_for_each(|key| principal.require(&Demand::Key(Action::Read, key))),
        What::Prefix(prefix) => {
            let data_id = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty()).map(Names::Beginning);
            let group = selector.group().map(Names::One);
            principal.require(&Demand::Area(Action::Read, Area { namespace: selector.namespace(), group, data_id }))
        }
    }
}

/// What is answered to who may read a configuration, and not the secret that it is.
pub(crate) fn is_secret(key: &ConfigKey) -> ApiError {
    let demand = Demand::Key(Action::Secret, key);
    ApiError::new(ErrorCode::Forbidden, refusal(&demand)).refusing(Target::demanded(&demand))
}

/// What was wanted, without telling whether it is there.
fn refusal(demand: &Demand<'_>) -> String {
    match demand {
        Demand::Key(action, key) => format!("no grant of yours is for {action} of {key}"),
        Demand::Area(action, area) => {
            format!("no grant of yours is for {action} of all that was asked for in {}", area.namespace)
        }
        Demand::Namespace(namespace) => format!("no grant of yours is for {namespace}"),
        Demand::Cluster(action) => format!("no grant of yours is for {action} of the whole cluster"),
    }
}
