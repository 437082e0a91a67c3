//! The heads of an answer, as far as its final one: informational answers before it are counted, because the HTTP client
//! skips them without end.

/// Informational answers before the final one.
const MAX_INFORMATIONAL: u32 = 10;
/// Where a head tells its kind: the first digit of the status, after `HTTP/1.1 `.
const CLASS: usize = 9;

/// How far one answer has been followed.
#[derive(Debug, Default)]
pub(super) struct Heads {
    informational: u32,
    at: At,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum At {
    /// A head's first line, of which so many bytes have come.
    Status(usize),
    /// The rest of an informational head, at the begin of a line or in it.
    Fields { begins: bool },
    /// The final head, or what follows it.
    Final,
}

impl Default for At {
    fn default() -> Self {
        Self::Status(0)
    }
}

impl Heads {
    /// Follows the answer's next bytes; tells whether there are still few enough informational ones.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.at = self.after(*byte);
            if matches!(self.at, At::Final) {
                break;
            }
        }
        self.informational <= MAX_INFORMATIONAL
    }

    fn after(&mut self, byte: u8) -> At {
        match (self.at, byte) {
            // Lines may end with a line feed alone, and empty ones may come before a head: so the client reads them.
            (At::Status(0) | At::Fields { begins: true }, b'\r') => self.at,
            (At::Status(0) | At::Fields { begins: true }, b'\n') => At::Status(0),
            (At::Status(CLASS), b'1') => {
                self.informational += 1;
                At::Fields { begins: false }
            }
            (At::Status(CLASS) | At::Final, _) => At::Final,
            (At::Status(length), _) => At::Status(length + 1),
            (At::Fields { .. }, byte) => At::Fields { begins: byte == b'\n' },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn informational() -> impl Strategy<Value = String> {
        let head = (
            "[\r\n]{0,2}",
            100..200_u16,
            "[ -~]{0,9}",
            prop::collection::vec("[a-z]: [ -~]{0,9}", 0..3),
        );
        (head, prop_oneof![Just("\n"), Just("\r\n")]).prop_map(|((before, status, reason, fields), end)| {
            let before = before.replace('\r', "\r\n");
            let lines = fields.into_iter().map(|field| field + end).collect::<String>();
            format!("{before}HTTP/1.1 {status} {reason}{end}{lines}{end}")
        })
    }

    proptest! {
        #[test]
        fn informational_heads_are_counted_however_they_are_cut(
            heads in prop::collection::vec(informational(), 0..20),
            rest in prop_oneof![Just(""), Just("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 No\r\n\r\n"), Just("HTTP/1.0 503 ")],
            size in 1..40_usize,
        ) {
            let mut found = Heads::default();
            let answer = heads.concat() + rest;
            let within = answer.as_bytes().chunks(size).fold(true, |_, bytes| found.follow(bytes));
            prop_assert_eq!(found.informational as usize, heads.len());
            prop_assert_eq!(within, heads.len() <= 10);
            prop_assert_eq!(matches!(found.at, At::Final), !rest.is_empty());
        }
    }
}
