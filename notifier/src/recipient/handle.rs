//! How others reach a lane, and what they may know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ractor::ActorRef;
use shared::model::Timestamp;
use shared::store::Delivery;

use super::RecipientMessage;
use crate::latency::{Latencies, LatencyStats};
use crate::trouble::Trouble;

/// How others reach a lane, over its restarts.
#[derive(Debug, Default)]
pub struct LaneHandle {
    actor: Mutex<Option<ActorRef<RecipientMessage>>>,
    pub(super) woken: AtomicBool,
    pub(super) open: AtomicBool,
    latencies: Mutex<Latencies>,
    trouble: Mutex<Trouble>,
    pace: Mutex<Option<(u32, Option<u32>)>>,
}

impl LaneHandle {
    /// Tells the lane to look into the ledger; one message is enough until it has looked.
    pub fn wake(&self) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(actor) = &*self.lock() {
            // An actor that is gone looks into the ledger when it starts again.
            let _ = actor.cast(RecipientMessage::Wake);
        }
    }

    /// True while the lane's breaker is open.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// How long its latest deliveries took from acceptance on, and when the last one was made.
    pub fn latency(&self) -> LatencyStats {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).stats()
    }

    /// Requests in a minute at the moment, and at most, where a bound is known or was learned.
    pub fn pace(&self) -> Option<(u32, Option<u32>)> {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn paced(&self, pace: Option<(u32, Option<u32>)>) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// Changes what is known of how the recipient was told of.
    pub(super) fn trouble<T>(&self, change: impl FnOnce(&mut Trouble) -> T) -> T {
        change(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn delivered(&self, delivery: &Delivery, at: Timestamp) {
        let took = at.since(delivery.accepted_at).max(0);
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).note(took, at);
    }

    pub(super) fn attach(&self, actor: ActorRef<RecipientMessage>) {
        *self.lock() = Some(actor);
        self.woken.store(false, Ordering::SeqCst);
        self.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ActorRef<RecipientMessage>>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
