//! Who runs beside whom, and how long: what measures time runs alone.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Whether the long form was asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CHAOS").is_some_and(|form| form == "long")
}

/// The quick form's number, or the long one's.
pub(crate) fn sized<T>(quick: T, long: T) -> T {
    if is_long() { long } else { quick }
}

/// A share of the machine.
pub(crate) async fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

/// All of the machine.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}
