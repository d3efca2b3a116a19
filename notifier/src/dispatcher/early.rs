//! Ends of alerts that come before their begins.
//!
//! The bus keeps order, but several notifiers take from it, and what one of them could not put on record
//! comes again later. By then another may have what followed. An end whose begin the ledger does not know
//! waits a little for it.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::bus::Queued;
use shared::model::Timestamp;
use shared::store::{Ledger, LedgerEvent, StoreError};

/// Between two looks whether the begin has come.
pub(super) const AGAIN: Duration = Duration::from_secs(2);

/// For how long after it was appended an end waits. The bus gives again after half a minute what was not
/// settled; a begin that is not there by then was forgotten long ago, or never told here.
const PATIENCE_S: i64 = 120;

/// Who is due and who has to wait.
#[derive(Default)]
pub(super) struct Sorted {
    /// What can be put on record, in order, with what was read of it.
    pub due: Vec<(Queued, Vec<LedgerEvent>)>,
    /// What comes too early.
    pub early: Vec<Queued>,
}

/// Sorts a batch.
pub(super) async fn sort(
    ledger: &dyn Ledger,
    read: Vec<(Queued, Vec<LedgerEvent>)>,
    now: Timestamp,
) -> Result<Sorted, (StoreError, Vec<Queued>)> {
    let mut sorted = Sorted::default();
    let mut begun = BTreeSet::new();
    let mut left = read.into_iter();
    while let Some((queued, events)) = left.next() {
        let id = events.first().map(|event| event.id.clone()).unwrap_or_default();
        let is_early = match id.strip_suffix("/release").filter(|_| is_new(&queued, now)) {
            Some(alert) if !begun.contains(&format!("{alert}/engage")) => {
                match ledger.payload(&format!("{alert}/engage")).await {
                    Ok(known) => known.is_none(),
                    Err(error) => {
                        let taken = sorted.due.into_iter().map(|(queued, _)| queued);
                        let rest = left.map(|(queued, _)| queued);
                        return Err((error, taken.chain(sorted.early).chain([queued]).chain(rest).collect()));
                    }
                }
            }
            _ => false,
        };
        match is_early {
            true => sorted.early.push(queued),
            false => {
                begun.insert(id);
                sorted.due.push((queued, events));
            }
        }
    }
    Ok(sorted)
}

/// True when the message was appended a short while ago. A carrier that does not say when has one receiver
/// alone and keeps the order.
fn is_new(queued: &Queued, now: Timestamp) -> bool {
    queued.at.is_some_and(|at| now < at.plus_secs(PATIENCE_S))
}
