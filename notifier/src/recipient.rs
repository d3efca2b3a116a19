//! The lane of one recipient.
//!
//! Owns the order of its deliveries, its breaker and its pauses; the deliveries themselves are in
//! the ledger. The dispatcher wakes it, a timer does when something becomes due. It emits nothing
//! but attempts. A restart loses nothing: what was claimed is tried again with the same idempotency key, and
//! is known to have been told perhaps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use shared::clock::SharedClock;
use shared::events::Emitter;
use shared::model::Timestamp;
use shared::store::{Delivery, Ledger, Outcome, StoreError};
use shared::teller::Teller;
use tokio::task::JoinHandle;

pub use self::handle::LaneHandle;
pub use self::health::EndpointHealth;
use crate::endpoint::Endpoint;
use crate::failpoint;
use crate::follow_up::{FollowUps, Round};
use crate::gate::Gate;
use crate::lane::{Lane, Policy, Turn, left};
use crate::metrics;
use crate::pace::SharedPace;

mod attempt;
mod choosing;
mod handle;
mod health;
mod telling;

use attempt::Attempt;
use choosing::EXPIRED_AT_MOST;

/// How long a stop waits for the try under way.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Pause after the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait without a look into the ledger: a lost wake-up costs no more than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Looks into the ledger in one turn, as long as they find only what is not to be told now.
const LOOKS_AT_MOST: usize = 256;

/// Shortest wait, so that a delivery that is due and cannot be claimed does not spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// Messages to a lane.
#[derive(Debug)]
pub enum RecipientMessage {
    /// Something new is in the ledger.
    Wake,
    /// A wait is over.
    Timer,
    /// The try under way has ended.
    Done,
}

/// What a lane is started with.
#[derive(Clone)]
pub struct RecipientArgs {
    /// Name of the recipient.
    pub name: String,
    /// In whose name it claims; no other lane's.
    pub owner: String,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Tells events.
    pub events: Emitter,
    /// Wall clock.
    pub clock: SharedClock,
    /// Where deliveries go.
    pub endpoint: Arc<dyn Endpoint>,
    /// The endpoint's name, and how it does for all its recipients; nothing of what is built in.
    pub endpoint_health: Option<(String, Arc<EndpointHealth>)>,
    /// How it behaves.
    pub policy: Policy,
    /// How fast the far end is asked, by all who share a bound.
    pub pace: SharedPace,
    /// How long a claim lasts.
    pub lease: Duration,
    /// How others reach it.
    pub handle: Arc<LaneHandle>,
    /// The lane that gets what is given up.
    pub fallback: Option<Arc<LaneHandle>>,
    /// Knows whether what was promised is still wanted.
    pub follow_ups: FollowUps,
    /// Tells that the recipient hears nothing.
    pub teller: Teller,
}

/// The lane actor.
pub struct RecipientActor;

/// State of a lane.
pub struct RecipientState {
    args: RecipientArgs,
    myself: ActorRef<RecipientMessage>,
    lane: Lane,
    /// Made from the ledger's notes when it is first needed.
    gate: Option<Gate>,
    /// What it may have claimed and does not know of.
    left: Left,
    under_way: Option<Attempt>,
    /// Results that the ledger has not taken yet.
    unsettled: Vec<(Delivery, Outcome)>,
    timer: Option<JoinHandle<Result<(), ractor::MessagingErr<RecipientMessage>>>>,
}

/// What is claimed in a lane's name without being under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// What an earlier run has left, which was killed perhaps: nobody knows what has arrived of it.
    Lost,
    /// What was not tried, because the ledger failed after the claim.
    Untried,
    /// Nothing.
    Nothing,
}

impl Actor for RecipientActor {
    type Msg = RecipientMessage;
    type State = RecipientState;
    type Arguments = RecipientArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        args.handle.attach(myself.clone());
        args.handle.open.store(false, Ordering::Relaxed);
        let lane = Lane::new(args.policy.clone(), args.pace.clone());
        let (gate, under_way, unsettled, timer) = (None, None, Vec::new(), None);
        Ok(RecipientState { args, myself, lane, gate, left: Left::Lost, under_way, unsettled, timer })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Before the look, so that what comes during it wakes again.
            RecipientMessage::Wake => state.args.handle.woken.store(false, Ordering::SeqCst),
            RecipientMessage::Timer => {}
            RecipientMessage::Done => state.finish().await,
        }
        if let Some(wait) = state.turn().await {
            state.wait(wait);
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(timer) = state.timer.take() {
            timer.abort();
        }
        let ended = tokio::time::timeout(STOP_WAIT, state.finish()).await.is_ok();
        state.settle().await?;
        if !ended {
            tracing::warn!(
                recipient = state.args.name,
                "a delivery did not end in time and will be repeated"
            );
            state.under_way = None;
        }
        let RecipientArgs { ledger, owner, clock, .. } = &state.args;
        // Where there was no turn, what a kill left is still claimed, and may have arrived.
        match ended && state.left != Left::Lost {
            true => ledger.release_claims(owner).await?,
            false => ledger.lose_claims(owner, clock.now()).await?,
        };
        Ok(())
    }
}

impl RecipientState {
    /// Does what there is to do; how long to wait then, unless a try is under way.
    async fn turn(&mut self) -> Option<Duration> {
        if self.under_way.is_some() {
            return None;
        }
        match self.claim().await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(recipient = self.args.name, %error, "the ledger failed, trying again");
                if self.left == Left::Nothing {
                    self.left = Left::Untried;
                }
                Some(LEDGER_PAUSE)
            }
        }
    }

    async fn claim(&mut self) -> Result<Option<Duration>, StoreError> {
        // First what is known already: a claim before could give the same delivery again.
        self.settle().await?;
        let ledger = Arc::clone(&self.args.ledger);
        let now = self.args.clock.now();
        match self.left {
            Left::Lost => counted("release", ledger.lose_claims(&self.args.owner, now).await)?,
            Left::Untried => counted("release", ledger.release_claims(&self.args.owner).await)?,
            Left::Nothing => 0,
        };
        self.left = Left::Nothing;
        let turn = self.lane.turn(now);
        self.args.handle.paced(self.lane.pace());
        match turn {
            Turn::Wait(wait) => Ok(Some(wait)),
            Turn::Claim(limit) => {
                let mut round = self.args.follow_ups.round();
                let mut wait = Some(Duration::ZERO);
                let long = i64::try_from(self.args.lease.as_nanos() / 4).unwrap_or(i64::MAX);
                // What was promised and is not to be told takes no turn from what is.
                for _ in 0..LOOKS_AT_MOST {
                    if wait != Some(Duration::ZERO) {
                        break;
                    }
                    // A claim counts from when it is made; and whoever asks this lane to stop waits.
                    let begun = self.args.clock.now();
                    if begun.since(now) > long {
                        wait = Some(SHORTEST_WAIT);
                        break;
                    }
                    wait = self
                        .claim_at_most(limit, &mut round, begun)
                        .await
                        .inspect_err(|_| self.lane.unused())?;
                }
                if self.under_way.is_none() {
                    self.lane.unused();
                }
                Ok(wait)
            }
        }
    }

    /// Claims, and hands what is to be told to the endpoint. Else how long to wait: for no time where there may
    /// be more behind what was promised and is not told.
    async fn claim_at_most(
        &mut self,
        limit: usize,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        let ledger = Arc::clone(&self.args.ledger);
        let until = now.plus_ns(i64::try_from(self.args.lease.as_nanos()).unwrap_or(i64::MAX));
        let wants = self.gate().await?.map_or(limit, |gate| gate.wants(limit));
        let probing = self.lane.is_open();
        let oldest = self.lane.oldest(limit);
        // A probe also looks for what has been waiting beyond its deadline.
        let (wants, by_age) =
            if probing { (wants.max(EXPIRED_AT_MOST), wants.max(EXPIRED_AT_MOST)) } else { (wants, oldest) };
        let claimed = ledger.claim(&self.args.name, &self.args.owner, now, until, wants, by_age).await;
        let mut batch = counted("claim", claimed)?;
        if probing {
            batch = counted("expire", self.expire(batch, limit, now).await)?;
        }
        if !batch.is_empty() && !self.args.endpoint.manners().never_gives_up {
            failpoint::hit(failpoint::AFTER_CLAIM);
        }
        let (tellings, promised) = counted("gate", self.pass(batch, (limit, oldest), round, now).await)?;
        if !tellings.is_empty() {
            self.start(tellings);
            return Ok(None);
        }
        if promised {
            return Ok(Some(Duration::ZERO));
        }
        let due = counted("next_due", ledger.next_due(&self.args.name).await)?;
        Ok(Some(due.map_or(LONGEST_WAIT, |at| left(at, now).unwrap_or(SHORTEST_WAIT))))
    }

    /// The gate, where the recipient wants one.
    async fn gate(&mut self) -> Result<Option<&mut Gate>, StoreError> {
        if self.gate.is_none() && !self.lane.gate().is_off() {
            let notes = self.args.ledger.notes(&self.scope()).await?;
            self.gate = Some(Gate::new(self.lane.gate().clone(), notes));
        }
        Ok(self.gate.as_mut())
    }

    fn scope(&self) -> String {
        format!("gate/{}", self.args.name)
    }

    /// Records results; keeps them when the ledger fails.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        let now: Timestamp = self.args.clock.now();
        let told_outside = !self.args.endpoint.manners().never_gives_up;
        if told_outside {
            failpoint::hit(failpoint::AFTER_ANSWER);
        }
        self.note_refused().await?;
        counted("settle", self.args.ledger.settle(self.unsettled.clone(), now).await)?;
        if told_outside {
            failpoint::hit(failpoint::AFTER_RECORD);
        }
        let diverted = self.unsettled.iter().any(|(_, outcome)| matches!(outcome, Outcome::Diverted { .. }));
        if let Some(fallback) = self.args.fallback.as_ref().filter(|_| diverted) {
            fallback.wake();
        }
        self.unsettled.clear();
        Ok(())
    }

    fn wait(&mut self, wait: Duration) {
        let wait = wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        if let Some(earlier) = self.timer.replace(self.myself.send_after(wait, || RecipientMessage::Timer)) {
            earlier.abort();
        }
    }
}

fn counted<T>(operation: &'static str, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if result.is_err() {
        metrics::ledger_failed(operation);
    }
    result
}

#[cfg(test)]
mod tests;
