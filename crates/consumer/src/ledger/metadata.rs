//! The metadata of a commit: which offsets above the committed one are settled, in at most 4,096
//! ASCII characters (Kafka counts characters, other brokers may count bytes). It begins with `W1` and the kind: `E` nothing, `B` a bitmap, `R` run lengths,
//! whichever is shorter; then base64 (URL alphabet, no padding) of a checksum and the rest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Ledger, MAX_SPAN};

const MAGIC: &str = "W1";
/// Reserved for telling configurations apart; always zero now.
const CONFIG_EPOCH: u16 = 0;

/// A commit's metadata that postrider cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMetadata {
    /// Somebody else's.
    #[error("the commit's metadata was not written by postrider")]
    Foreign,
    /// Ours, but damaged.
    #[error("the commit's metadata is damaged: {0}")]
    Damaged(&'static str),
}

/// The metadata of a commit at `ledger`'s watermark; `sequence` makes commits of one process differ.
#[must_use]
pub fn encode(ledger: &Ledger, sequence: u32) -> String {
    let settled: Vec<i64> = ledger.settled_above().map(|offset| offset - ledger.base()).collect();
    let Some(last) = settled.last() else {
        return frame('E', sequence, &[]);
    };
    let span = u64::try_from(last + 1).expect("settled offsets lie above the watermark");
    let (runs, bitmap) = (runs(&settled), bitmap(&settled));
    let (kind, coded) = if runs.len() < bitmap.len() {
        ('R', runs)
    } else {
        ('B', bitmap)
    };
    let mut rest = Vec::with_capacity(coded.len() + 3);
    put_varint(&mut rest, span);
    rest.extend(coded);
    frame(kind, sequence, &rest)
}

fn frame(kind: char, sequence: u32, rest: &[u8]) -> String {
    let mut body = Vec::with_capacity(rest.len() + 6);
    body.extend(sequence.to_be_bytes());
    body.extend(CONFIG_EPOCH.to_be_bytes());
    body.extend(rest);
    let mut bytes = checksum(kind, &body).to_be_bytes().to_vec();
    bytes.extend(body);
    format!("{MAGIC}{kind}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Any bytes behind a checksum that is right: what a fuzzer cannot come to by itself.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
#[must_use]
pub fn framed(kind: char, sequence: u32, rest: &[u8]) -> String {
    frame(kind, sequence, rest)
}

fn checksum(kind: char, body: &[u8]) -> u32 {
    let mut kind_bytes = [0; 4];
    crc32c::crc32c_append(crc32c::crc32c(kind.encode_utf8(&mut kind_bytes).as_bytes()), body)
}

fn bitmap(settled: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for at in settled.iter().filter_map(|at| usize::try_from(*at).ok()) {
        if bytes.len() <= at / 8 {
            bytes.resize(at / 8 + 1, 0);
        }
        bytes[at / 8] |= 1 << (at % 8);
    }
    bytes
}

/// Lengths of alternating runs, beginning with the unsettled ones.
fn runs(settled: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut end, mut length) = (0, 0_u64);
    for at in settled {
        if *at != end || length == 0 {
            if length > 0 {
                put_varint(&mut bytes, length);
            }
            put_varint(&mut bytes, at.abs_diff(end));
            length = 0;
        }
        length += 1;
        end = at + 1;
    }
    put_varint(&mut bytes, length);
    bytes
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The settled offsets above a committed one, ascending. No metadata at all means none.
///
/// # Errors
/// [`BadMetadata`] when the text is not ours, or not whole.
pub fn decode(base: i64, metadata: &str) -> Result<Vec<i64>, BadMetadata> {
    if metadata.is_empty() {
        return Ok(Vec::new());
    }
    let rest = metadata.strip_prefix(MAGIC).ok_or(BadMetadata::Foreign)?;
    let kind = rest
        .chars()
        .next()
        .filter(|kind| "EBR".contains(*kind))
        .ok_or(BadMetadata::Foreign)?;
    let bytes = URL_SAFE_NO_PAD
        .decode(&rest[1..])
        .map_err(|_| BadMetadata::Damaged("it is no base64"))?;
    let (sum, body) = bytes
        .split_first_chunk::<4>()
        .ok_or(BadMetadata::Damaged("it is cut off"))?;
    if checksum(kind, body) != u32::from_be_bytes(*sum) {
        return Err(BadMetadata::Damaged("its checksum is wrong"));
    }
    let mut coded = body.get(6..).ok_or(BadMetadata::Damaged("it is cut off"))?;
    if kind == 'E' {
        return Ok(Vec::new());
    }
    let span = take_varint(&mut coded).and_then(|span| i64::try_from(span).ok());
    let span = span
        .filter(|span| *span <= MAX_SPAN)
        .ok_or(BadMetadata::Damaged("its span is too large"))?;
    let settled = if kind == 'B' {
        from_bitmap(coded)
    } else {
        from_runs(coded)
    };
    let settled = settled.ok_or(BadMetadata::Damaged("its runs do not add up"))?;
    if settled.last().map(|last| last + 1) != Some(span) {
        return Err(BadMetadata::Damaged("its span is not what it holds"));
    }
    let offsets: Option<Vec<i64>> = settled.into_iter().map(|at| base.checked_add(at)).collect();
    offsets.ok_or(BadMetadata::Damaged("it goes beyond the last offset there is"))
}

fn from_bitmap(bytes: &[u8]) -> Option<Vec<i64>> {
    let bits = (0_i64..).zip(
        bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte & (1 << bit) != 0)),
    );
    Some(bits.filter_map(|(at, set)| set.then_some(at)).collect())
}

fn from_runs(mut bytes: &[u8]) -> Option<Vec<i64>> {
    let mut settled = Vec::new();
    let mut at = 0_i64;
    while !bytes.is_empty() {
        let unsettled = i64::try_from(take_varint(&mut bytes)?).ok()?;
        let run = i64::try_from(take_varint(&mut bytes)?).ok()?;
        let start = at.checked_add(unsettled)?;
        at = start.checked_add(run).filter(|end| *end <= MAX_SPAN)?;
        settled.extend(start..at);
    }
    Some(settled)
}
