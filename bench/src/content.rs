//! What is published: texts of an exact size that name the key they belong to and the order they were written in, of
//! letters that a form need not escape. Also the source of chance, seeded, so that a run can be repeated.

use super::arguments::KEY_DIGITS;

/// The least size of a content, so that the names fit.
pub(super) const SMALLEST: u64 = 64;

/// Digits of a sequence number.
pub(super) const SEQUENCE_DIGITS: usize = 12;

/// A small generator of numbers that look random (xorshift64*).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// Equal seeds give equal numbers.
    pub(super) fn new(seed: u64) -> Self {
        // Spreads small seeds over all bits; the state must not be 0.
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}

/// Lengthens `text` to `size` bytes with letters that `seed` decides.
pub(super) fn pad(text: &mut String, size: usize, seed: u64) {
    let mut chance = Rng::new(seed);
    while text.len() < size {
        let mut bits = chance.next();
        for _ in 0..12.min(size - text.len()) {
            text.push(char::from(b'a' + u8::try_from(bits % 26).unwrap_or_default()));
            bits /= 26;
        }
    }
}

/// The content that `get` publishes under `key`: the same in each run.
pub(super) fn steady(key: u64, size: usize) -> String {
    let mut text = format!("key-{key}.");
    pad(&mut text, size, key);
    text
}

/// How the contents of one run begin; the key follows.
pub(super) fn before_key(run: u64) -> String {
    format!("run-{run:016x}.key-")
}

/// What stands between key and sequence number.
pub(super) const BEFORE_SEQUENCE: &str = ".seq-";

/// The sequence number in a content that `run` wrote under `key`; `None` for any other content.
pub(super) fn sequence(content: &[u8], run: u64, key: u64) -> Option<u64> {
    let beginning = format!("{}{key:0KEY_DIGITS$}{BEFORE_SEQUENCE}", before_key(run));
    let digits = content.strip_prefix(beginning.as_bytes())?.get(..SEQUENCE_DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
