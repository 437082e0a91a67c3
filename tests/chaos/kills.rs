//! kill -9 at random instants, ready or not.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::Daemon;
use tokio::time::sleep;

use crate::trial::{BOUNDS, Trial};
use crate::turn;

#[tokio::test]
async fn killed_at_random_instants_every_law_holds() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("kills").await?;
    trial.begin().await?;
    trial.load()?;
    for _ in 0..turn::sized(10, 200) {
        let mut daemon = Daemon::spawn(&trial.instance("a")?).await?;
        // One in four is killed before it is ready.
        if trial.seed.below(4) > 0 {
            daemon.ready().await?;
        }
        sleep(
            trial
                .seed
                .between(Duration::from_millis(50), Duration::from_millis(1_500)),
        )
        .await;
        trial.kill(&mut daemon).await?;
    }
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(1)).await;
    trial.judge(&mut [daemon], BOUNDS).await.map(drop)
}
