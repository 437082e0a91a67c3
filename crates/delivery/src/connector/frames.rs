//! The frames of an HTTP/2 connection, as far as they tell how many requests the endpoint takes at once: the HTTP client
//! knows it, lets those beyond it wait inside, and tells nobody.

/// RFC 9113 4.1
const HEADER: usize = 9;
/// RFC 9113 6.5.1: what is set, and to what.
const ENTRY: usize = 6;
const SETTINGS: u8 = 4;
/// The flag of a frame of settings that only acknowledges ours.
const ACK: u8 = 1;
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];

/// How far what comes from an endpoint has been followed.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What has come of the frame's header, or of the entry.
    piece: [u8; HEADER],
    filled: usize,
    at: At,
    streams: Option<u32>,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Header,
    /// A frame of settings, of which so much is to come.
    Settings(usize),
    /// Any other frame.
    Other(usize),
}

impl Frames {
    /// Follows the next bytes. How many requests the endpoint takes at once is told, `u32::MAX` for any number, once it
    /// has said anything of the kind.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Option<u32> {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Header => self.header(bytes),
                At::Settings(left) => self.entry(bytes, left),
                At::Other(left) => {
                    let (passed, rest) = bytes.split_at(left.min(bytes.len()));
                    self.at = followed_by(At::Other, left - passed.len());
                    rest
                }
            };
        }
        self.streams
    }

    fn header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let rest = self.fill(bytes, HEADER);
        if self.filled == HEADER {
            self.filled = 0;
            let [a, b, c, kind, flags, ..] = self.piece;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let is_settings = kind == SETTINGS && flags & ACK == 0;
            if is_settings {
                // Endpoints that set no bound have none.
                self.streams.get_or_insert(u32::MAX);
            }
            self.at = followed_by(if is_settings { At::Settings } else { At::Other }, length);
        }
        rest
    }

    fn entry<'a>(&mut self, bytes: &'a [u8], left: usize) -> &'a [u8] {
        let rest = self.fill(bytes, ENTRY.min(left + self.filled));
        let left = left - (bytes.len() - rest.len());
        if self.filled == ENTRY || left == 0 {
            let [a, b, value @ .., _, _, _] = self.piece;
            if self.filled == ENTRY && [a, b] == MAX_CONCURRENT_STREAMS {
                self.streams = Some(u32::from_be_bytes(value));
            }
            self.filled = 0;
        }
        self.at = followed_by(At::Settings, left);
        rest
    }

    /// Takes bytes until so many are together; returns those that follow.
    fn fill<'a>(&mut self, bytes: &'a [u8], wanted: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.filled));
        self.piece[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }
}

/// Where a frame goes on that has so much left.
fn followed_by(within: impl Fn(usize) -> At, left: usize) -> At {
    if left == 0 { At::Header } else { within(left) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A frame, and what it says of the number of requests.
    fn any_frame() -> impl Strategy<Value = (Vec<u8>, Option<Option<u32>>)> {
        let entries = prop::collection::vec((1..7_u8, any::<u32>()), 0..5);
        let settings = (entries, any::<bool>(), 0..ENTRY).prop_map(|(entries, is_ack, odd)| {
            let entry = |(name, value): &(u8, u32)| [&[0, *name][..], &value.to_be_bytes()].concat();
            let payload = [entries.iter().flat_map(entry).collect(), vec![0; odd]].concat();
            let last = entries.iter().rfind(|(name, _)| *name == 3).map(|(_, value)| *value);
            (frame(SETTINGS, u8::from(is_ack), &payload), (!is_ack).then_some(last))
        });
        let other = (0..4_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40));
        prop_oneof![
            settings,
            other.prop_map(|(kind, flags, payload)| (frame(kind, flags, &payload), None)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_last_counts_however_it_is_cut(
            frames in prop::collection::vec(any_frame(), 0..8), size in 1..40_usize,
        ) {
            let mut followed = Frames::default();
            let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let told = bytes.chunks(size).fold(None, |_, bytes| followed.follow(bytes));
            let said: Vec<Option<u32>> = frames.iter().filter_map(|(_, said)| *said).collect();
            let last = said.iter().rev().find_map(|said| *said);
            prop_assert_eq!(told, (!said.is_empty()).then(|| last.unwrap_or(u32::MAX)));
        }
    }
}
