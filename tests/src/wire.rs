//! A record written by hand, as Kafka's protocol has it: for what no client lets its user send.

use anyhow::{Context, ensure};
use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::patience::PATIENCE;
use crate::topic::Topic;

/// Kafka's number for producing, and a version of it that every broker of today takes.
const PRODUCE: (i16, i16) = (0, 3);
/// How many bytes of a batch its checksum does not cover: offset, length, leader's epoch, magic and the checksum.
const UNCHECKED: usize = 21;
/// The version of batches.
const MAGIC: i8 = 2;

/// Produces one record to partition 0 of a topic of a single broker, with header names of any bytes, and waits until
/// the broker has it.
///
/// # Errors
/// When the broker does not take it in time.
pub async fn produce(topic: &Topic, value: &[u8], headers: &[(&[u8], &[u8])]) -> anyhow::Result<()> {
    let request = request(topic.name(), &batch(value, headers)?)?;
    let answer = timeout(PATIENCE, exchange(topic.bootstrap(), &request)).await??;
    // Correlation, one topic with its name, one partition with its number; then the error.
    let at = 4 + 4 + 2 + topic.name().len() + 4 + 4;
    let code = answer
        .get(at..at + 2)
        .context("an answer that is as long as it has to be")?;
    ensure!(code == [0, 0], "the broker refuses the record: {code:?}");
    Ok(())
}

async fn exchange(address: &str, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_i32(i32::try_from(request.len())?).await?;
    stream.write_all(request).await?;
    let mut answer = vec![0; usize::try_from(stream.read_i32().await?)?];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn request(topic: &str, batch: &[u8]) -> anyhow::Result<Vec<u8>> {
    const NO_TEXT: i16 = -1;
    const ALL_REPLICAS: i16 = -1;
    let mut request = Vec::new();
    request.put_i16(PRODUCE.0);
    request.put_i16(PRODUCE.1);
    // Correlation, client, transaction.
    request.put_i32(1);
    request.put_i16(NO_TEXT);
    request.put_i16(NO_TEXT);
    request.put_i16(ALL_REPLICAS);
    request.put_i32(i32::try_from(PATIENCE.as_millis())?);
    request.put_i32(1);
    request.put_i16(i16::try_from(topic.len())?);
    request.put_slice(topic.as_bytes());
    request.put_i32(1);
    request.put_i32(0);
    request.put_i32(i32::try_from(batch.len())?);
    request.put_slice(batch);
    Ok(request)
}

fn batch(value: &[u8], headers: &[(&[u8], &[u8])]) -> anyhow::Result<Vec<u8>> {
    const NO_PRODUCER: i64 = -1;
    let mut checked = Vec::new();
    // Attributes, the last offset's distance, first and last timestamp.
    checked.put_i16(0);
    checked.put_i32(0);
    checked.put_i64(1);
    checked.put_i64(1);
    checked.put_i64(NO_PRODUCER);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(1);
    let record = record(value, headers);
    varint(&mut checked, record.len());
    checked.put_slice(&record);

    let mut batch = Vec::new();
    batch.put_i64(0);
    // What follows the length: epoch, magic and checksum are nine bytes.
    batch.put_i32(i32::try_from(checked.len() + 9)?);
    batch.put_i32(0);
    batch.put_i8(MAGIC);
    batch.put_u32(crc32c(&checked));
    debug_assert_eq!(batch.len(), UNCHECKED);
    batch.put_slice(&checked);
    Ok(batch)
}

fn record(value: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    // Attributes; timestamp and offset as those of the batch; a zigzag -1: no key.
    let mut record = vec![0, 0, 0, 1];
    text(&mut record, value);
    varint(&mut record, headers.len());
    for (name, value) in headers {
        text(&mut record, name);
        text(&mut record, value);
    }
    record
}

fn text(record: &mut Vec<u8>, bytes: &[u8]) {
    varint(record, bytes.len());
    record.put_slice(bytes);
}

/// Seven bits a byte; zigzag, so twice the number.
fn varint(into: &mut Vec<u8>, number: usize) {
    let mut rest = number * 2;
    while rest > 0x7f {
        into.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}

/// The checksum of Kafka's batches (Castagnoli's polynomial).
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let shift = |sum: u32, _| (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn numbers_are_written_as_kafka_writes_them() {
        let written = |number| {
            let mut bytes = Vec::new();
            varint(&mut bytes, number);
            bytes
        };
        assert_eq!([written(0), written(63)].concat(), [0, 126]);
        assert_eq!([written(64), written(300)].concat(), [0x80, 1, 0xd8, 4]);
    }
}
