//! Who asks, and what it takes to be answered. Owns the rule; which access a route or a message needs is a row of its
//! door's table, and what is in no table is refused. No header makes a caller somebody.

use super::error::ApiError;

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: anybody may ask.
    Public,
    /// Read configurations.
    Read,
    /// Change configurations.
    Write,
    /// Look at and change the node and its namespaces.
    Admin,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody in particular.
    Anonymous,
}

impl Principal {
    /// Whoever reaches the address may do everything: addresses that others reach have to be asked for at the start.
    ///
    /// # Errors
    /// The caller may not do this.
    pub(crate) fn require(&self, access: Access) -> Result<(), ApiError> {
        match (self, access) {
            (Self::Anonymous, Access::Public | Access::Read | Access::Write | Access::Admin) => Ok(()),
        }
    }

    /// The name under which changes are recorded.
    pub(crate) fn operator(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
        }
    }
}
