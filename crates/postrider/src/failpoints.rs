//! For tests only, in builds with the feature `failpoints`: ends the process at a named place as a kill
//! would. `POSTRIDER_FAILPOINTS="k4=2,k7=1"` ends it at the second pass of `k4`, or the first of `k7`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Arms what the variable names. A text it cannot read ends the process: a test must not pass because
/// of a misspelt name.
pub(crate) fn arm(points: Option<&String>) {
    for point in points.into_iter().flat_map(|points| points.split(',')) {
        let (name, pass) = point.split_once('=').expect("a failpoint is written name=pass");
        let pass: u64 = pass.parse().expect("a pass is a number");
        let passes = AtomicU64::new(0);
        let end = move || {
            if passes.fetch_add(1, Ordering::Relaxed) + 1 == pass {
                std::process::abort();
            }
        };
        fail::cfg_callback(name, end).expect("failpoints can be armed");
    }
}
