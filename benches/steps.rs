//! What an event costs on its way, step by step, in time. `make bench-instructions` counts the same steps' instructions.

use criterion::Criterion;
use postrider_benches::operations;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("steps");
    for mut operation in operations::all()? {
        group.bench_function(operation.name, |bencher| bencher.iter(|| (operation.run)()));
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
