//! Arguments that may hold a secret: what is wrong with one is said without its text, which the parser's own
//! messages show.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// Reads an argument with a function that says what would be right.
#[derive(Clone)]
pub(super) struct Hidden<F>(pub(super) F);

impl<T, F> TypedValueParser for Hidden<F>
where
    T: Clone + Send + Sync + 'static,
    F: Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let text = value.to_str().ok_or_else(|| "is not UTF-8".to_owned());
        text.and_then(&self.0).map_err(|why| {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let message = format!("invalid value for '{argument}': {why}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}
