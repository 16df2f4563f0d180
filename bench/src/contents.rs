//! The contents of the one key that all listen to: another one for each round. Owns their form; sends nothing.

use md5::{Digest as _, Md5};
use uuid::Uuid;

use super::arguments::Target;
use super::{content, template};

/// The contents, one after the other.
pub(super) struct Contents<'a> {
    target: &'a Target,
    prefix: &'static str,
    size: usize,
    run: u64,
    number: u64,
    present: String,
}

impl<'a> Contents<'a> {
    /// Contents of `size` bytes, of the key whose name begins with `prefix`; unlike those of any other run.
    ///
    /// # Errors
    /// This machine can't count so far.
    pub(super) fn new(target: &'a Target, prefix: &'static str, size: u64) -> anyhow::Result<Self> {
        let run = Uuid::new_v4().as_u64_pair().0;
        Ok(Self { target, prefix, size: usize::try_from(size)?, run, number: 0, present: String::new() })
    }

    /// The request that publishes the next content.
    pub(super) fn publish(&mut self) -> Vec<u8> {
        self.number += 1;
        self.present = format!("run-{:016x}.round-{}.", self.run, self.number);
        content::pad(&mut self.present, self.size, self.number);
        let (mut template, _) = template::begin_publish(self.target, self.prefix, self.size);
        template.text(&self.present);
        template.bytes().to_vec()
    }

    /// The content that was published last.
    pub(super) fn present(&self) -> &str {
        &self.present
    }

    /// The MD5 digest of it, as clients of Nacos say what they hold.
    pub(super) fn digest(&self) -> String {
        format!("{:x}", Md5::digest(&self.present))
    }

    /// The data id of the key.
    pub(super) fn data_id(&self) -> String {
        template::data_id(self.prefix, 0)
    }

    /// Where it is published.
    pub(super) fn target(&self) -> &'a Target {
        self.target
    }
}
