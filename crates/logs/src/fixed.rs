//! An index that nothing follows, for tests of what reads it.

use std::error::Error;
use std::path::Path;

use postrider_kafka::feed::Record;
use postrider_types::Timestamp;

use crate::progress::Standing;
use crate::reader::Reader;
use crate::writer::{Batch, Writer};

/// An index of these records at this path. What is no outcome is passed over.
///
/// # Errors
/// When the index cannot be written.
pub fn index_of(
    path: &Path,
    records: impl IntoIterator<Item = Record>,
) -> Result<Reader, Box<dyn Error + Send + Sync>> {
    let (mut writer, _) = Writer::open(path, "results")?;
    let mut batch = Batch::default();
    for record in records {
        // Told of by nobody: there is no topic in which to look for it.
        let _ = batch.take(record);
    }
    writer.write(&batch)?;
    let reader = Reader::new(path.to_owned());
    let mut now = Timestamp::from_millis(0);
    let standings = writer.reached()?.into_iter().map(|(partition, reached)| {
        now = now.max(reached.timestamp);
        let standing = Standing {
            next: reached.next,
            end: reached.next,
            timestamp: reached.timestamp,
        };
        (partition, standing)
    });
    let standings = standings.collect();
    reader.shared().progress.set(standings, now);
    Ok(reader)
}
