//! Room in a full channel.

use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Permit, Sender};

/// The part of a full channel that has to be free again before who waits for it is woken.
const FREE: usize = 4;

/// A place, once a good part of the channel is free: who hands on to a slower stage is not woken for each place.
///
/// # Errors
/// When the other end is gone.
pub async fn place_with_room<T>(sender: &Sender<T>) -> Result<Permit<'_, T>, SendError<()>> {
    let mut places = sender.reserve_many(sender.max_capacity().div_ceil(FREE)).await?;
    Ok(places.next().expect("some were reserved"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_once_for_a_quarter_of_the_places() {
        let (sender, mut receiver) = mpsc::channel(8);
        for number in 0..8 {
            sender.send(number).await.unwrap();
        }
        receiver.recv().await;
        let mut waiting = std::pin::pin!(place_with_room(&sender));
        let waits = timeout(Duration::from_secs(1), &mut waiting).await;
        assert!(waits.is_err(), "one place is not enough");
        receiver.recv().await;
        waiting.await.unwrap().send(8);
        assert_eq!(sender.capacity(), 1, "the others are free again");
        drop(receiver);
        assert!(place_with_room(&sender).await.is_err());
    }
}
