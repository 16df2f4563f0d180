//! Bytes as hexadecimal digits, for everything that is written so. Owns that digits of either case are read and
//! lowercase ones written; knows nothing of what they stand for.

/// Two lowercase digits for each byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The bytes that digits stand for. `None` when there is half a byte, or anything but digits.
#[must_use]
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| {
        let [high, low] = pair else { return None };
        Some(value(*high)? << 4 | value(*low)?)
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// What a digit stands for.
#[must_use]
pub fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    //! There and back, and nothing but digits.

    use proptest::prelude::*;

    use super::{decode, encode};

    #[test]
    fn what_is_no_pair_of_digits_is_refused() {
        for text in ["0", "0g", "+f", " f", "00 ", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("00fFA0"), Some(vec![0, 255, 160]));
    }

    proptest! {
        #[test]
        fn digits_are_bytes(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
