//! Bytes as lower-case hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two digits for each byte.
#[must_use]
pub fn of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push(&mut text, bytes);
    text
}

/// Adds two digits for each byte.
pub fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::push;

    proptest! {
        #[test]
        fn digits_are_those_that_formatting_gives(number in any::<u128>()) {
            let mut text = "00-".to_owned();
            push(&mut text, &number.to_be_bytes());
            prop_assert_eq!(text, format!("00-{number:032x}"));
        }
    }
}
