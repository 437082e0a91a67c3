//! What is wrong with the configuration, and where it was said: a file's line, a variable, a flag.

use std::fmt;
use std::path::PathBuf;

use postrider_types::Fault;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file, with the line and column where known.
    File {
        file: PathBuf,
        line: Option<u64>,
        column: Option<u64>,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => {
                write!(f, "{}", file.display())?;
                let place = [line, column].into_iter().flatten();
                place.into_iter().try_for_each(|number| write!(f, ":{number}"))
            }
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A fault and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedFault {
    pub(crate) origin: Origin,
    pub(crate) fault: Fault,
}

impl fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.fault)
    }
}

/// The configuration cannot be taken. Its text is the number of faults; whoever shows it lists them first.
#[derive(Debug)]
pub(crate) struct ConfigError {
    pub(crate) faults: Vec<PlacedFault>,
}

/// Faults that a section found in itself outside of loading, seen from the whole.
pub(crate) fn under(section: &'static str) -> impl Fn(Vec<Fault>) -> ConfigError {
    move |faults| {
        let placed = |fault: Fault| PlacedFault {
            origin: Origin::Default,
            fault: fault.under(section),
        };
        ConfigError {
            faults: faults.into_iter().map(placed).collect(),
        }
    }
}

impl From<PlacedFault> for ConfigError {
    fn from(fault: PlacedFault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {count} {noun}")
    }
}

impl std::error::Error for ConfigError {}
