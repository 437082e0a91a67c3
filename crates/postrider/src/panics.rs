//! What is left of a panic: a count and one line. Its payload may quote an event or a secret, so it is never shown.

use std::panic::{self, PanicHookInfo};

use postrider_kafka::record;
use prometheus::{IntCounter, Registry};
use tracing::error;

/// Counts panics from now on, and logs where each came from instead of what it says.
///
/// # Errors
/// When the registry has such a count already.
pub(crate) fn watch(registry: &Registry) -> prometheus::Result<()> {
    let count = IntCounter::new("postrider_panics_total", "Faults in postrider itself that ended a task")?;
    registry.register(Box::new(count.clone()))?;
    panic::set_hook(Box::new(move |info| {
        if info.location().is_some_and(record::is_at_a_headers_name) {
            return;
        }
        count.inc();
        tell(info);
    }));
    Ok(())
}

fn tell(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    error!(
        location,
        "A task panicked: this is a fault of postrider, please report it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted() {
        let registry = Registry::new();
        let before = panic::take_hook();
        watch(&registry).unwrap();
        let ended = std::thread::spawn(|| panic!("hunter2")).join();
        panic::set_hook(before);
        assert!(ended.is_err());
        let families = registry.gather();
        assert_eq!(families[0].name(), "postrider_panics_total");
        // Another test of this process may panic on purpose meanwhile.
        assert!(families[0].get_metric()[0].get_counter().get_value() >= 1.0);
    }
}
