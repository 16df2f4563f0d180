//! From where callers come, and what is written down of them: who logged in, who was refused. Owns that no secret gets
//! there; what is done with it is the `audit` actor's.

use callboard_protocol::access::audit::{Event, Outcome, Target, What, Who};
use callboard_protocol::access::directory::Directory;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::write_request::Source;

use super::{Authenticator, Credentials, Identity};
use crate::api::error::ApiError;

/// From where somebody comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whence<'a> {
    /// The address of the other end, without the port.
    pub(crate) address: &'a str,
    /// The door.
    pub(crate) door: Source,
}

impl Whence<'_> {
    /// Who that is.
    pub(crate) fn who(self, user: Option<String>) -> Who {
        let address = Some(self.address.to_owned()).filter(|address| !address.is_empty());
        Who { user, address, door: self.door }
    }
}

impl Authenticator {
    /// Writes down that somebody was refused, if that is why there is this error.
    pub(crate) fn tell_refused(&self, error: &ApiError, user: Option<String>, whence: Whence<'_>) {
        if let Some(target) = error.refused() {
            self.tell_refusal((error.code(), target.clone()), whence.who(user));
        }
    }

    /// Writes down that somebody was refused.
    pub(crate) fn tell_refusal(&self, (code, target): (ErrorCode, Target), who: Who) {
        self.trail.note(|at| Event::done(at, What::AccessRefused, who, target).ended(Outcome::Refused, Some(code)));
    }

    pub(super) fn tell(&self, what: What, who: Who, refused: Option<ErrorCode>) {
        let outcome = if refused.is_some() { Outcome::Refused } else { Outcome::Done };
        self.trail.note(|at| Event::done(at, what, who, Target::default()).ended(outcome, refused));
    }

    /// What was looked at anew is written down. A name is, if it is a user's: people type their passwords where the
    /// name should be.
    pub(super) fn tell_of(
        &self,
        credentials: Credentials<'_>,
        whence: Whence<'_>,
        (looked, directory): (&Result<Identity, ApiError>, &Directory),
    ) {
        let refused = looked.as_ref().err().map(ApiError::code);
        match credentials {
            Credentials::Password(user, _) => {
                let user = directory.users.contains_key(user).then(|| user.to_owned());
                let what = if refused.is_some() { What::LogInRefused } else { What::LogIn };
                self.tell(what, whence.who(user), refused);
            }
            Credentials::Token(_) if refused.is_some() => self.tell(What::AccessRefused, whence.who(None), refused),
            Credentials::Token(_) | Credentials::None => {}
        }
    }
}
