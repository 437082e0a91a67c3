//! The ways out of the poll thread. All are bounded; an offer that finds no room is given back, because
//! the thread has to go on polling.

use std::time::Duration;

use postrider_types::room::place_with_room;
use postrider_types::{Arrival, Position, Settled};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Where records go.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// Events of source records, to routing.
    pub fresh: mpsc::Sender<Arrival>,
    /// Parked deliveries that came due, to routing.
    pub retries: mpsc::Sender<Arrival>,
    /// Records that are settled as they are: dead letters, hops.
    pub settled: mpsc::Sender<Settled>,
}

/// Something on its way out of the poll thread as soon as it was read.
pub(crate) enum Outgoing {
    Arrival(Arrival),
    Settled(Settled),
}

pub(crate) enum Offer {
    Taken,
    Full(Outgoing),
    Closed,
}

impl Outgoing {
    pub(crate) fn position(&self) -> &Position {
        match self {
            Self::Arrival(arrival) => arrival.record.position(),
            Self::Settled(settled) => &settled.position,
        }
    }

    pub(crate) fn give_back(self) {
        if let Self::Arrival(arrival) = self {
            arrival.record.give_back();
        }
    }

    pub(crate) fn offer(self, outlets: &Outlets, runtime: &Handle, wait: Duration) -> Offer {
        match self {
            Self::Arrival(arrival) => match send(&outlets.fresh, arrival, runtime, wait) {
                Ok(()) => Offer::Taken,
                Err(Some(same)) => Offer::Full(Self::Arrival(same)),
                Err(None) => Offer::Closed,
            },
            Self::Settled(settled) => match send(&outlets.settled, settled, runtime, wait) {
                Ok(()) => Offer::Taken,
                Err(Some(same)) => Offer::Full(Self::Settled(same)),
                Err(None) => Offer::Closed,
            },
        }
    }
}

/// Sends, waiting a little for room; gives the item back when there is none, nothing when the other
/// end is gone.
fn send<T>(sender: &mpsc::Sender<T>, item: T, runtime: &Handle, wait: Duration) -> Result<(), Option<T>> {
    use mpsc::error::TrySendError;
    let item = match sender.try_send(item) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Closed(_)) => return Err(None),
        Err(TrySendError::Full(same)) => same,
    };
    let place = runtime.block_on(async { tokio::time::timeout(wait, place_with_room(sender)).await });
    match place {
        Ok(Ok(place)) => {
            place.send(item);
            Ok(())
        }
        Ok(Err(_)) => Err(None),
        // Some may be free all the same.
        Err(_) => sender.try_send(item).map_err(|error| match error {
            TrySendError::Full(same) => Some(same),
            TrySendError::Closed(_) => None,
        }),
    }
}
