//! Writing to standard output. A reader that has seen enough (`| head`) is no failure.

use std::io::{self, Write};

/// Writes a text, with a line's end if it has none.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Whether an error says that the reader of standard output is gone.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}
