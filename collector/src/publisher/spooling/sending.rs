//! What goes to the bus, straight and from disk, and how that ends.

use futures::FutureExt;
use futures::future::BoxFuture;
use shared::bus::{BusError, SharedBus};

use super::{Count, PATIENCE};
use crate::publisher::Message;
use crate::spool::Record;

/// How sending a message ended.
pub(super) enum Sent {
    /// It is safe.
    Safe,
    /// It never will be.
    Hopeless,
    /// Nobody knows.
    Unknown,
}

/// Appends a message; the answer tells in time whether it is safe.
pub(super) async fn append(bus: &SharedBus, message: &Message) -> Result<BoxFuture<'static, Sent>, BusError> {
    let receipt = bus.append(&message.subject, &message.id, message.payload.clone()).await?;
    let sent = async move {
        match tokio::time::timeout(PATIENCE, receipt.stored()).await {
            Ok(Ok(())) => Sent::Safe,
            Ok(Err(BusError::TooLarge { .. })) => Sent::Hopeless,
            Ok(Err(_)) | Err(_) => Sent::Unknown,
        }
    };
    Ok(sent.boxed())
}

/// Sends what the disk does not take to a bus that may be back, with nothing on disk to go before it.
pub(super) async fn sent_straight(bus: &SharedBus, message: &Message, count: &Count) -> bool {
    let Ok(Ok(sent)) = tokio::time::timeout(PATIENCE, append(bus, message)).await else { return false };
    match sent.await {
        Sent::Safe => true,
        Sent::Hopeless => {
            count("messages_lost", 1);
            true
        }
        Sent::Unknown => false,
    }
}

/// Sends records in order; gives how many will never be safe, or nothing when the bus is away.
pub(super) async fn send_all(bus: &SharedBus, records: Vec<Record>) -> Option<u64> {
    let (mut receipts, mut hopeless) = (Vec::new(), 0);
    for record in records {
        match tokio::time::timeout(PATIENCE, bus.append(&record.subject, &record.id, record.payload)).await {
            Ok(Ok(receipt)) => receipts.push(receipt),
            Ok(Err(BusError::TooLarge { .. })) => hopeless += 1,
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    for receipt in receipts {
        match tokio::time::timeout(PATIENCE, receipt.stored()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    Some(hopeless)
}
