//! Writing to standard output, where a reader that has seen enough (`| head`) is no failure, and to standard error.

use std::io::{self, Write};

use crate::api::ApiError;
use crate::config::ConfigError;

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

/// Tells an error on standard error; what it is made of comes first, each on its line.
pub(crate) fn complain(error: &anyhow::Error) {
    let of_config = error.chain().find_map(|cause| cause.downcast_ref::<ConfigError>());
    let of_api = error.chain().find_map(|cause| cause.downcast_ref::<ApiError>());
    of_config
        .into_iter()
        .flat_map(|config| &config.faults)
        .for_each(|fault| eprintln!("{fault}"));
    of_api
        .into_iter()
        .flat_map(ApiError::fields)
        .for_each(|field| eprintln!("{field}"));
    eprintln!("error: {error:#}");
}
