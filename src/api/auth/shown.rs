//! What a caller shows, as it came: read from a text such as HTTP's `Authorization`, whatever door it came by. Checks
//! nothing.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// Nothing.
    None,
    /// What a log-in gave him, or a token.
    Token(&'a str),
    /// A name and a password.
    Password(&'a str, &'a str),
}

/// The same, some of it decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// What a log-in gave him, or a token.
    Token(Cow<'a, str>),
    /// A name and a password.
    Password(Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Shown<'a> {
    /// To be looked at.
    pub(crate) fn credentials(&self) -> Credentials<'_> {
        match self {
            Self::Nothing => Credentials::None,
            Self::Token(token) => Credentials::Token(token),
            Self::Password(user, password) => Credentials::Password(user, password),
        }
    }

    /// Reads `Bearer TOKEN` or `Basic BASE64`; `None` for another text.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        if let Some(token) = text.strip_prefix("Bearer ") {
            return Some(Self::Token(Cow::Borrowed(token)));
        }
        let bytes = STANDARD.decode(text.strip_prefix("Basic ")?.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self::Password(Cow::Owned(user.to_owned()), Cow::Owned(password.to_owned())))
    }
}
