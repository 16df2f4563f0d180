//! `Content-Type`, in both directions: the type that a publish declares, and the header that a read answers with.
//! Owns the table between media types and [`ConfigType`]; never looks at the content.

use crate::config::ConfigType;

/// Why a `Content-Type` was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// Not a media type with parameters (RFC 9110, 8.3.1).
    #[error("Content-Type is malformed; it has the form type/subtype; name=value")]
    Malformed,
    /// A media type that stands for no kind of configuration.
    #[error(
        "Content-Type is not supported; send text, JSON, XML, HTML, YAML, TOML or Java properties, \
         or application/octet-stream to leave the type open"
    )]
    UnsupportedType,
    /// A charset other than UTF-8.
    #[error("content is UTF-8: the charset in Content-Type must be utf-8, us-ascii or absent")]
    UnsupportedCharset,
}

/// Reads the header of a publish. `None` says nothing about the type: the header is absent or blank, or is what
/// clients send when nobody chose it.
///
/// # Errors
/// [`ContentTypeError`] says what is allowed.
pub fn parse(value: Option<&[u8]>) -> Result<Option<ConfigType>, ContentTypeError> {
    let Some(value) = value else { return Ok(None) };
    let Ok(text) = std::str::from_utf8(value) else { return Err(ContentTypeError::Malformed) };
    if trim(text).is_empty() {
        return Ok(None);
    }
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let essence = trim(essence).to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/').ok_or(ContentTypeError::Malformed)?;
    if !is_token(kind) || !is_token(subtype) {
        return Err(ContentTypeError::Malformed);
    }
    check_parameters(parameters)?;
    config_type(kind, subtype)
}

/// The header of an answer that carries content of this type.
#[must_use]
pub fn of(kind: ConfigType) -> &'static str {
    match kind {
        ConfigType::Json => "application/json",
        ConfigType::Xml => "application/xml",
        ConfigType::Html => "text/html; charset=utf-8",
        ConfigType::Yaml => "application/yaml",
        ConfigType::Toml => "application/toml",
        ConfigType::Text | ConfigType::Properties | ConfigType::Unset => "text/plain; charset=utf-8",
    }
}

fn config_type(kind: &str, subtype: &str) -> Result<Option<ConfigType>, ContentTypeError> {
    Ok(Some(match (kind, subtype) {
        // `curl --data` sends the second when it is told nothing.
        ("application", "octet-stream" | "x-www-form-urlencoded") => return Ok(None),
        ("text", "plain") => ConfigType::Text,
        ("application", "json") => ConfigType::Json,
        ("application" | "text", "xml") => ConfigType::Xml,
        ("text", "html") => ConfigType::Html,
        ("application" | "text", "yaml" | "x-yaml") => ConfigType::Yaml,
        ("application", "toml") | ("text", "x-toml") => ConfigType::Toml,
        ("text", "x-java-properties" | "x-properties") => ConfigType::Properties,
        ("multipart", _) => return Err(ContentTypeError::UnsupportedType),
        (_, subtype) if subtype.ends_with("+json") => ConfigType::Json,
        (_, subtype) if subtype.ends_with("+xml") => ConfigType::Xml,
        _ => return Err(ContentTypeError::UnsupportedType),
    }))
}

/// Reads `name=value; name="value"`, empty places allowed, and checks the charset; other parameters change nothing.
fn check_parameters(mut rest: &str) -> Result<(), ContentTypeError> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Ok(());
        }
        let (name, after) = rest.split_once('=').ok_or(ContentTypeError::Malformed)?;
        let (value, after) = if after.starts_with('"') {
            quoted(after).ok_or(ContentTypeError::Malformed)?
        } else {
            let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
            let (token, after) = after.split_at_checked(end).ok_or(ContentTypeError::Malformed)?;
            (Some(token.to_owned()).filter(|token| is_token(token)).ok_or(ContentTypeError::Malformed)?, after)
        };
        if !is_token(name) {
            return Err(ContentTypeError::Malformed);
        }
        let utf8 = ["utf-8", "us-ascii"].iter().any(|charset| value.eq_ignore_ascii_case(charset));
        if name.eq_ignore_ascii_case("charset") && !utf8 {
            return Err(ContentTypeError::UnsupportedCharset);
        }
        rest = trim(after);
        if !rest.is_empty() && !rest.starts_with(';') {
            return Err(ContentTypeError::Malformed);
        }
    }
}

/// Splits a quoted string from what follows it; `None` when it does not end.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut signs = text.strip_prefix('"')?.chars();
    loop {
        match signs.next()? {
            '"' => return Some((value, signs.as_str())),
            '\\' => value.push(signs.next()?),
            sign => value.push(sign),
        }
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests;
