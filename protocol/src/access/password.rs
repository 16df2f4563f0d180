//! Which passwords are taken. Owns the rule; hashes nothing and keeps nothing.

/// Shortest password, in characters.
pub const MIN_PASSWORD: usize = 8;
/// Longest password, in bytes.
pub const MAX_PASSWORD: usize = 1_024;

/// What attackers try first, in lower case; those that are shorter than [`MIN_PASSWORD`] need not be here.
const KNOWN: [&str; 40] = [
    "password",
    "password1",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "00000000",
    "88888888",
    "66666666",
    "abcd1234",
    "1234abcd",
    "abc12345",
    "qwertyui",
    "qwerty123",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "letmein1",
    "welcome1",
    "administrator",
    "admin123",
    "admin1234",
    "admin12345",
    "changeme",
    "changeit",
    "nacosnacos",
    "nacos123",
    "nacos1234",
    "nacos@123",
    "callboard",
    "callboard1",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Too short.
    #[error("a password has at least {MIN_PASSWORD} characters")]
    Short,
    /// Too long.
    #[error("a password has at most {MAX_PASSWORD} bytes")]
    Long,
    /// Attackers try it first.
    #[error("this password is one of those that attackers try first")]
    Known,
    /// It is the user's name, or one sign again and again.
    #[error("a password is neither the user's name nor one character again and again")]
    Guessable,
}

/// Checks the password of `user`.
///
/// # Errors
/// [`WeakPassword`].
pub fn check(password: &str, user: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(WeakPassword::Short);
    }
    if password.len() > MAX_PASSWORD {
        return Err(WeakPassword::Long);
    }
    let lower = password.to_lowercase();
    if KNOWN.contains(&lower.as_str()) {
        return Err(WeakPassword::Known);
    }
    let mut signs = password.chars();
    let first = signs.next();
    let is_one_sign = signs.all(|sign| Some(sign) == first);
    if is_one_sign || lower == user.to_lowercase() { Err(WeakPassword::Guessable) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    //! What is taken and what is not.

    use super::{WeakPassword, check};

    #[test]
    fn passwords_have_a_rule() {
        for (password, verdict) in [
            ("short", Err(WeakPassword::Short)),
            ("PassWord", Err(WeakPassword::Known)),
            ("aaaaaaaaaa", Err(WeakPassword::Guessable)),
            ("Ann Lee 1", Err(WeakPassword::Guessable)),
            ("correct horse", Ok(())),
            ("密码密码密码密码1", Ok(())),
        ] {
            assert_eq!(check(password, "ann lee 1"), verdict, "{password}");
        }
        assert_eq!(check(&"ab".repeat(600), "ann"), Err(WeakPassword::Long));
    }
}
