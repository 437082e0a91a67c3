//! A fault in something a person wrote: which field, and what is wrong with it. Collected, so that
//! one run names them all.

use std::fmt;

use serde::Serialize;

/// One field that cannot be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The field's dotted path, such as `routing.webhooks[2].url`; empty for the whole document.
    pub path: String,
    /// What is wrong and what would be right. Never the value of a secret.
    pub reason: String,
}

impl Fault {
    /// A fault of a field.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// The same fault, seen from the section or list entry that holds the field.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        if self.path.is_empty() {
            self.path = prefix.to_owned();
        } else if self.path.starts_with('[') {
            self.path.insert_str(0, prefix);
        } else if !prefix.is_empty() {
            self.path = format!("{prefix}.{}", self.path);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(f, "{}: {}", self.path, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_from_the_inside_out() {
        let fault = Fault::new("url", "is missing")
            .under("[2]")
            .under("webhooks")
            .under("routing");
        assert_eq!(fault.to_string(), "routing.webhooks[2].url: is missing");
    }
}
