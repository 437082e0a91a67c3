//! What postrider costs on a real broker, beside the bare client that does nothing but POST.
//!
//! `make bench` runs every part below; `make bench ARGS="drain-256 steady"` runs those named. `benches/README.md` tells
//! what is measured how.
//!
//! # Life of a drain
//!
//! 1. The events are in the topic before the daemon starts ([`feed`]).
//! 2. The [`bare`] client POSTs to the [`receiver`], which is a process of its own.
//! 3. The daemon drains the topic to the same receiver; what each process used is read from `/proc` ([`usage`]).
//! 4. The bare client POSTs again. Both rates are told by the receiver.
//!
//! Reading order: `options`, `feed`, `receiver`, `bare`, `usage`, `drain`, `steady`, `growth`, `peers`, `report`.

mod bare;
mod drain;
mod feed;
mod growth;
mod options;
mod peers;
mod receiver;
mod report;
mod stage;
mod steady;
mod usage;

use anyhow::Result;

use self::options::Options;
use self::report::Report;
use self::stage::Stage;

/// The word that makes this program a receiver.
const RECEIVER: &str = "receiver";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == RECEIVER) {
        return receiver::serve();
    }
    let options = Options::read(&arguments)?;
    // As many workers as postrider's own runtime has: one for each processor.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::open(options).await?;
    let mut report = Report::begin(options)?;
    drain::warm_up(&mut stage).await?;
    if options.names("peers") {
        run_peers(&mut stage, &mut report).await?;
    }
    for shape in drain::SHAPES.iter().filter(|shape| options.wants("drain", shape.name)) {
        report.drain(drain::run(&mut stage, shape).await?)?;
    }
    for arrivals in steady::ARRIVALS {
        if options.wants("steady", arrivals.name()) {
            report.steady(steady::run(&mut stage, arrivals).await?)?;
        }
    }
    let asked = |row: &&growth::Row| options.names("growth") || options.names(row.name);
    for row in growth::ROWS.iter().filter(asked) {
        report.growth(growth::run(&mut stage, row).await?)?;
    }
    report.end()
}

async fn run_peers(stage: &mut Stage<'_>, report: &mut Report<'_>) -> Result<()> {
    for peer in &peers::PEERS {
        match peer.path() {
            Some(path) => report.peer(peers::run(stage, peer, &path).await?)?,
            None => report.absent(peer.command)?,
        }
    }
    Ok(())
}
