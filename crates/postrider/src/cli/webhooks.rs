//! `postrider webhooks`: a merchant's webhooks, through the admin API.

mod add;
mod apply;
mod document;
mod edit;
mod fields;
mod list;
mod one;
mod test;
mod told;

use std::collections::BTreeMap;

use clap::Subcommand;

use super::End;

#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Lists webhooks
    List(list::List),
    /// Adds a webhook, and sends its endpoint a first order_shipped
    Add(Box<add::Add>),
    /// Shows a webhook, secrets masked
    Show(one::Show),
    /// Changes a webhook
    Edit(Box<edit::Edit>),
    /// Cancels a webhook, or removes it for good
    Delete(one::Delete),
    /// Sends a sample and shows all that was transmitted; exit code 1 when it does not pass
    Test(test::Test),
    /// Switches a webhook on
    Enable(one::Enable),
    /// Switches a webhook off; what happens meanwhile is not sent
    Disable(one::Disable),
    /// Gives a webhook another signing secret; the old one signs too for a while
    RotateSecret(one::RotateSecret),
    /// Makes the webhooks what a file says
    Apply(apply::Apply),
}

impl Webhooks {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        match self {
            Self::List(command) => command.run(variables),
            Self::Add(command) => command.run(variables),
            Self::Show(command) => command.run(variables),
            Self::Edit(command) => command.run(variables),
            Self::Delete(command) => command.run(variables),
            Self::Test(command) => command.run(variables),
            Self::Enable(command) => command.run(variables),
            Self::Disable(command) => command.run(variables),
            Self::RotateSecret(command) => command.run(variables),
            Self::Apply(command) => command.run(variables),
        }
    }
}
