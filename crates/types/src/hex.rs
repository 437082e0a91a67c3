//! Bytes as lower-case hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Bytes that are turned into digits at a time.
const PIECE: usize = 16;

/// Two digits for each byte.
#[must_use]
pub fn of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push(&mut text, bytes);
    text
}

/// Adds two digits for each byte.
pub fn push(text: &mut String, bytes: &[u8]) {
    // In pieces: a text looks for room each time that something is added.
    for piece in bytes.chunks(PIECE) {
        let mut digits = [0; 2 * PIECE];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(piece) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        let digits = std::str::from_utf8(&digits[..2 * piece.len()]);
        text.push_str(digits.expect("digits are ASCII"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_any_number_have_two_digits_each(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let each: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(of(&bytes), each);
        }

        #[test]
        fn digits_are_those_that_formatting_gives(number in any::<u128>()) {
            let mut text = "00-".to_owned();
            push(&mut text, &number.to_be_bytes());
            prop_assert_eq!(text, format!("00-{number:032x}"));
        }
    }
}
