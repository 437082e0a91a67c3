//! Why a change of a webhook is not made.

use postrider_kafka::journal::Obstacle;
use postrider_types::Fault;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such webhook.
    #[error("there is no such webhook")]
    NotFound,
    /// It is one of the configuration file's.
    #[error("this webhook is in the configuration file; change it there and reload it with SIGHUP")]
    OfTheFile,
    /// It was cancelled.
    #[error("this webhook was cancelled; add a new one, or remove this one with ?purge=true to free its place")]
    Cancelled,
    /// It is not of the version that the change was made for.
    #[error("this webhook has changed meanwhile: it is at version {0}; read it again and repeat the change")]
    Stale(u64),
    /// The account has as many as it may have.
    #[error(
        "the account has {0} webhooks, cancelled ones included, and may have no more; remove a cancelled one with \
         ?purge=true to free its place"
    )]
    Full(u32),
    /// Another webhook has its id.
    #[error("another webhook has this id")]
    Taken,
    /// It signs with nothing that could be rotated.
    #[error("this webhook does not sign; switch signing on first")]
    NotSigning,
    /// Fields that cannot be taken.
    #[error("some fields cannot be taken")]
    Faults(Vec<Fault>),
    /// Kafka cannot be written to.
    #[error("the change could not be kept: {}; nothing was changed, try again", .0.sentence())]
    Unavailable(Obstacle),
    /// Kafka was given the change, and did not say in time what became of it.
    #[error(
        "it is not known whether the change was made: {}; look what the webhook is like now before you repeat it",
        .0.sentence()
    )]
    Uncertain(Obstacle),
}
