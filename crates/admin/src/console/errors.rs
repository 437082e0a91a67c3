//! The fields that cannot be taken: shown beside them, and all together with a way to each.

use postrider_types::Fault;

use super::text::Text;

/// The fields that cannot be taken, for beside them and for a list of all.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<Fault>);

/// A field of the form: its name, which is the path of its faults as well, and what it is called.
const LABELS: [(&str, &str); 24] = [
    ("url", "URL"),
    ("description", "Description"),
    ("account_id", "Account"),
    ("events", "The list of events"),
    ("filter", "Filter"),
    ("signing.secret", "Signing secret"),
    ("signing", "Signing"),
    ("auth.username", "Username"),
    ("auth.password", "Password"),
    ("header.name", "Header name"),
    ("header.value", "Header value"),
    ("retry.max_retries", "Retries"),
    ("tls.certificate", "Certificate"),
    ("tls.key", "Private key"),
    ("timeout_ms", "Timeout"),
    ("max_in_flight", "Requests at once"),
    ("rate_limit_per_second", "Requests per second"),
    ("account", "Account"),
    ("webhook", "Webhook"),
    ("event", "Event"),
    ("result", "Result"),
    ("status_code", "Status"),
    ("from", "From"),
    ("to", "Until"),
];

/// The field of the form that a fault is about, and what it is called.
fn field_of(path: &str) -> Option<(&'static str, &'static str)> {
    let within = |name: &str| {
        path.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match path {
        "tls" => Some(("tls.certificate", "Client certificate")),
        "auth" => Some(("auth.username", "Basic authentication")),
        "header" => Some(("header.name", "Custom header")),
        "retry" => Some(("retry.max_retries", "Retries")),
        _ => LABELS.into_iter().find(|(name, _)| within(name)),
    }
}

impl Errors {
    pub(super) const fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with a field.
    pub(super) fn of(&self, field: &str) -> Vec<Text> {
        let about = self
            .0
            .iter()
            .filter(|fault| field_of(&fault.path).is_some_and(|(name, _)| name == field));
        about.map(told).collect()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        !self.of(field).is_empty()
    }

    /// Whether anything is wrong in the part of the form that is folded away.
    pub(super) fn is_advanced(&self) -> bool {
        let names = [
            "tls.certificate",
            "tls.key",
            "timeout_ms",
            "max_in_flight",
            "rate_limit_per_second",
        ];
        names.iter().any(|name| self.has(name))
    }

    /// All of them, each with its field; those that are about no field of the form have none.
    pub(super) fn all(&self) -> Vec<(Option<&'static str>, Text)> {
        let one = |fault: &Fault| (field_of(&fault.path).map(|(name, _)| name), told(fault));
        self.0.iter().map(one).collect()
    }
}

/// A fault as a sentence.
fn told(fault: &Fault) -> Text {
    let Some((name, label)) = field_of(&fault.path) else {
        return Text::of(&fault.to_string());
    };
    let inner = fault
        .path
        .strip_prefix(name)
        .unwrap_or_default()
        .trim_start_matches('.');
    let place = if inner.is_empty() {
        String::new()
    } else {
        format!(" ({inner})")
    };
    Text::of(&format!("{label}{place} {}.", fault.reason.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_beside_its_field() {
        let errors = Errors::new(vec![
            Fault::new("filter.code.gte", "must be a number"),
            Fault::new("auth.username", "must not hold a colon"),
            Fault::new("tls", "is no certificate"),
            Fault::new("strange", "is no field"),
        ]);
        assert_eq!(errors.of("filter"), [Text::of("Filter (code.gte) must be a number.")]);
        assert_eq!(
            errors.of("auth.username"),
            [Text::of("Username must not hold a colon.")]
        );
        assert!(errors.has("tls.certificate") && errors.is_advanced() && !errors.has("url"));
        assert_eq!(errors.all()[3], (None, Text::of("strange: is no field")));
    }
}
