//! The cookies of browsers (RFC 6265): the one that shows who asks, and how any is read and written. Owns their
//! attributes; no value is looked into.

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;

use crate::tls::Encrypted;

/// What a log-in in a browser gave.
pub(crate) const LOGIN: &str = "callboard_login";

/// When a browser sends a cookie along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// With requests of pages of its own site alone.
    Strict,
    /// Also when a link or an answer of another site leads here.
    Lax,
}

/// The value of a cookie that is there once. Who finds two of a name can't tell which of them is his.
pub(crate) fn single<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let lines = request.headers().get_all(COOKIE).filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// A line that sets a cookie below `path` for so many seconds. Scripts can't read it. Its value must be of letters,
/// digits and what a URL may hold unescaped.
pub(crate) fn set((name, value): (&str, &str), path: &str, seconds: u64, (site, secure): (SameSite, bool)) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={site:?}{secure}")
}

/// Whether a request came by TLS.
pub(crate) fn is_encrypted(request: &HttpRequest) -> bool {
    request.conn_data::<Encrypted>().is_some()
}

#[cfg(test)]
mod tests {
    //! Which value counts, and what is said of it.

    use actix_web::test::TestRequest;

    use super::{SameSite, set, single};

    #[test]
    fn a_cookie_counts_only_where_there_is_no_other_one_of_its_name() {
        let request = TestRequest::default().insert_header(("cookie", "a=1; bc=2;b=3")).to_http_request();
        assert_eq!([single(&request, "a"), single(&request, "b"), single(&request, "c")], [Some("1"), Some("3"), None]);
        let twice = TestRequest::default().insert_header(("cookie", "a=1; a=2")).to_http_request();
        assert_eq!(single(&twice, "a"), None);
    }

    #[test]
    fn scripts_and_other_sites_get_nothing() {
        let line = set(("a", "1"), "/x", 60, (SameSite::Strict, true));
        assert_eq!(line, "a=1; Path=/x; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
    }
}
