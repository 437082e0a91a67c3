//! The demo shows the whole of it in one process, and ends by itself when it is told to.

use anyhow::Result;
use postrider_tests::binary::run;

#[tokio::test]
async fn the_demo_delivers_everything_and_leaves() -> Result<()> {
    let ran = run(&["demo", "--count", "6", "--exit"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for shown in [
        "Console   http://127.0.0.1:",
        "24957298",
        "tracking_update",
        "order_shipped",
        "order_error",
        "retrying",
        "success",
    ] {
        assert!(ran.stdout.contains(shown), "{shown} is not shown:\n{}", ran.stdout);
    }
    let rows = ran.stdout.lines().filter(|line| line.ends_with("success")).count();
    assert!(rows >= 6, "every event is delivered:\n{}", ran.stdout);
    Ok(())
}
