//! Requests that differ in a few numbers only: written once, changed in place. Knows the routes of the interface and
//! sends nothing.

use std::ops::Range;

use super::arguments::{KEY_DIGITS, Target};

/// The path of configurations.
const CONFIGS: &str = "/nacos/v1/cs/configs";

/// A request with gaps for numbers of fixed width.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    bytes: Vec<u8>,
}

/// A gap in the template that gave it out.
#[derive(Debug, Clone)]
pub(super) struct Gap(Range<usize>);

impl Template {
    /// Adds text.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Adds a gap of `width` digits.
    pub(super) fn gap(&mut self, width: usize) -> Gap {
        let begin = self.bytes.len();
        self.bytes.resize(begin + width, b'0');
        Gap(begin..begin + width)
    }

    /// Fills a gap; of a number that is too long the last digits stay.
    pub(super) fn fill(&mut self, gap: &Gap, number: u64) {
        let mut left = number;
        for digit in self.bytes.get_mut(gap.0.clone()).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
    }

    /// The request as it stands.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads of the measure's keys.
#[derive(Debug, Clone)]
pub(super) struct Read {
    template: Template,
    key: Gap,
}

impl Read {
    /// Reads of keys whose names begin with `prefix`.
    pub(super) fn new(target: &Target, prefix: &str) -> Self {
        let mut template = Template::default();
        template.text(&format!("GET {CONFIGS}?dataId={prefix}-"));
        let key = template.gap(KEY_DIGITS);
        let tenant = tenant(target);
        template.text(&format!("&group={}{tenant} HTTP/1.1\r\n{}\r\n", target.group, headers(target)));
        Self { template, key }
    }

    /// Makes it the request for `key`.
    pub(super) fn aim(&mut self, key: u64) {
        self.template.fill(&self.key, key);
    }

    /// The request.
    pub(super) fn bytes(&self) -> &[u8] {
        self.template.bytes()
    }
}

/// The name of a key, as requests have it.
pub(super) fn data_id(prefix: &str, key: u64) -> String {
    format!("{prefix}-{key:0KEY_DIGITS$}")
}

/// Begins a form that publishes: everything up to and with `content=`. Exactly `size` bytes of content must follow.
/// Returns the gap for the key as well.
pub(super) fn begin_publish(target: &Target, prefix: &str, size: usize) -> (Template, Gap) {
    let before = format!("dataId={prefix}-");
    let after = format!("&group={}{}&content=", target.group, tenant(target));
    let length = before.len() + KEY_DIGITS + after.len() + size;
    let mut template = form(target, CONFIGS, "", length);
    template.text(&before);
    let key = template.gap(KEY_DIGITS);
    template.text(&after);
    (template, key)
}

/// A long poll that asks for changes from the content with the digest `md5`.
pub(super) fn poll(target: &Target, data_id: &str, md5: &str) -> Vec<u8> {
    let tenant = target.namespace.as_ref().map_or(String::new(), |namespace| format!("%02{namespace}"));
    let record = format!("Listening-Configs={data_id}%02{}%02{md5}{tenant}%01", target.group);
    let path = format!("{CONFIGS}/listener");
    let mut template = form(target, &path, "Long-Pulling-Timeout: 30000\r\n", record.len());
    template.text(&record);
    template.bytes
}

/// A read of the root, as the fixed answer is asked for.
pub(super) fn root(authority: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: callboard-bench\r\n\r\n").into_bytes()
}

fn form(target: &Target, path: &str, extra: &str, length: usize) -> Template {
    let mut template = Template::default();
    template.text(&format!("POST {path} HTTP/1.1\r\n{}{extra}", headers(target)));
    template.text(&format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"));
    template
}

fn headers(target: &Target) -> String {
    format!("Host: {}\r\nUser-Agent: callboard-bench\r\n", target.url.authority())
}

fn tenant(target: &Target) -> String {
    target.namespace.as_ref().map_or(String::new(), |namespace| format!("&tenant={namespace}"))
}
