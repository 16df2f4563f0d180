//! What a command shows of who asks: a token, or a user and a password. Owns where they come from, and where new
//! passwords do. A secret is never printed as part of something else, and never a part of an error.

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arguments::{Credentials, NewPassword};
use super::failure::Failure;
use super::logins::{self, Logins};
use super::preferences::Preferences;

/// The variable with a token.
const TOKEN_VARIABLE: &str = "CALLBOARD_CLIENT_TOKEN";
/// The variable with the password of `--user`.
const PASSWORD_VARIABLE: &str = "CALLBOARD_CLIENT_PASSWORD";

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for whom it is meant.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("hidden")
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nobody in particular.
    #[default]
    Nothing,
    /// Whoever holds this token.
    Token(Secret),
    /// This user.
    Password { user: String, password: Secret },
}

impl Shown {
    /// Flags win over the environment, this over what `callboard login` kept for one of the nodes.
    ///
    /// # Errors
    /// [`Failure::Usage`]: a file can't be read, or there is no password and nobody to ask for it.
    pub(crate) fn load(
        given: &Credentials,
        preferences: &Preferences,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        if let Some(token) = &given.token {
            return Ok(Self::Token(token.clone()));
        }
        if let Some(path) = &given.token_file {
            return Ok(Self::Token(first_line(path)?));
        }
        if let Some(user) = &given.user {
            return Self::of_user(user, given.password_file.as_deref(), &environment);
        }
        if let Some(token) = variable(TOKEN_VARIABLE, &environment)? {
            return Ok(Self::Token(token));
        }
        let logins = Logins::load(logins::path(&environment))?;
        let kept = logins.find(&preferences.nodes, preferences.trust.is_some(), logins::now());
        Ok(kept.map_or(Self::Nothing, |login| Self::Token(login.token.clone())))
    }

    /// A user, with the password from the file, else from the environment, else from whoever sits at the terminal.
    ///
    /// # Errors
    /// Those of [`Shown::load`].
    pub(crate) fn of_user(
        user: &str,
        password_file: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let password = match password_file {
            Some(path) => first_line(path)?,
            None => match variable(PASSWORD_VARIABLE, environment)? {
                Some(password) => password,
                None => ask(
                    &format!("Password of {user}: "),
                    "give the password of --user by --password-file or CALLBOARD_CLIENT_PASSWORD",
                )?,
            },
        };
        Ok(Self::Password { user: user.to_owned(), password })
    }

    /// As HTTP's `Authorization` has it, and the hello of a session; empty for nobody.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Token(token) => format!("Bearer {}", token.reveal()),
            Self::Password { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal())))
            }
        }
    }
}

/// A password that somebody is to have from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) password: Secret,
    /// Nobody knows it yet: it has to be printed.
    pub(crate) is_made_up: bool,
}

impl NewPassword {
    /// Reads it, makes it up, or asks for it twice.
    ///
    /// # Errors
    /// [`Failure::Usage`]: the file can't be read, both differ, or there is nobody to ask.
    pub(crate) fn choose(&self, user: &str) -> Result<Chosen, Failure> {
        if self.generate {
            // 122 random bits of the system.
            let password = Uuid::new_v4().simple().to_string().into();
            return Ok(Chosen { password, is_made_up: true });
        }
        if let Some(path) = &self.new_password_file {
            return Ok(Chosen { password: first_line(path)?, is_made_up: false });
        }
        let instead = "give the new password by --new-password-file, or let one be made up by --generate";
        let password = ask(&format!("New password of {user}: "), instead)?;
        if ask("The same again: ", instead)? != password {
            return Err(Failure::Usage("these were two different passwords; nothing was done".to_owned()));
        }
        Ok(Chosen { password, is_made_up: false })
    }
}

/// Asks without echo. Where standard input is no terminal there is nobody to ask, and `instead` says what to do.
pub(crate) fn ask(prompt: &str, instead: &str) -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("standard input is no terminal to ask for a password at; {instead}")));
    }
    let typed = rpassword::prompt_password(prompt);
    typed.map(Secret).map_err(|error| Failure::Usage(format!("cannot ask for a password: {error}; {instead}")))
}

/// An empty variable counts as none, as it does in a shell.
fn variable(name: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<Secret>, Failure> {
    let Some(value) = environment(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string().map_err(|_secret| Failure::Usage(format!("{name}: expected UTF-8 text")))?;
    Ok(Some(Secret(text)))
}

/// The line that is all of a file.
fn first_line(path: &Path) -> Result<Secret, Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\r', '\n']) {
        return Err(Failure::Usage(format!("{shown}: expected one line with the secret")));
    }
    Ok(Secret(line.to_owned()))
}

#[cfg(test)]
mod tests;
