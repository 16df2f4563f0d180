//! The digest that tells a repeated request from another one under the same id. Owns the canonical form it is taken
//! over: every text with its length in front, so that no two requests share a form.

use super::{Change, Condition, Expected, Fingerprint, KeyWrite};
use crate::config::MetadataEdit;
use crate::content::Md5;

/// The fingerprint of a request to change one key. The content enters by its digest.
#[must_use]
pub fn of(item: &KeyWrite, note: Option<&str>) -> Fingerprint {
    let mut form = Form(Vec::with_capacity(256));
    form.text("rest-1");
    form.text(item.key.namespace());
    form.text(item.key.group());
    form.text(item.key.data_id());
    match &item.change {
        Change::Put { content, edit } => {
            form.text("put");
            form.bytes(&content.md5().0);
            form.edit(edit);
        }
        Change::Remove => form.text("remove"),
    }
    form.condition(&item.condition);
    form.optional(note);
    Fingerprint(Md5::of(&form.0))
}

struct Form(Vec<u8>);

impl Form {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn edit(&mut self, edit: &MetadataEdit) {
        self.optional(edit.kind.map(|kind| kind.as_str()));
        let texts =
            [&edit.description, &edit.application, &edit.usage, &edit.effect, &edit.schema, &edit.encrypted_data_key];
        for text in texts {
            self.optional(text.as_deref());
        }
        self.0.push(u8::from(edit.tags.is_some()));
        let tags = edit.tags.as_deref().unwrap_or_default();
        self.number(tags.len() as u64);
        for tag in tags {
            self.text(tag);
        }
        // Nothing where nothing is said, as it was before there was anything to say.
        if let Some(is_secret) = edit.is_secret {
            self.text(if is_secret { "secret" } else { "open" });
        }
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::None => self.text("none"),
            Condition::Absent => self.text("absent"),
            Condition::Exists => self.text("exists"),
            Condition::Matches(expected) => {
                self.text("matches");
                self.number(expected.len() as u64);
                for expected in expected {
                    match expected {
                        Expected::Version(version) => self.bytes(&version.0.to_be_bytes()),
                        Expected::Md5(md5) => self.bytes(&md5.0),
                    }
                }
            }
            Condition::NacosCas(digest) => {
                self.text("cas");
                self.text(digest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
