//! `postrider completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::output::say;
use super::{Cli, End};

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider completions bash > /etc/bash_completion.d/postrider")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "postrider", &mut script);
        say(&String::from_utf8(script)?)?;
        Ok(End::Done)
    }
}
