//! Which of the deliveries that were claimed are tried now.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::model::Timestamp;
use shared::store::{Delivery, Outcome, StoreError};

use super::RecipientState;
use crate::failpoint;
use crate::follow_up::Round;
use crate::gate::{BEHIND_AT_MOST, Due, Telling};

/// Deliveries that a probe looks at for those past their deadlines.
pub(super) const EXPIRED_AT_MOST: usize = 256;

/// Why something waits.
const PROBING: &str = "the endpoint fails and is tried seldom";
const APART: &str = "others that were tried together go first";

impl RecipientState {
    /// Gives up what is past its deadline, and gives back what is not to be tried now: all but `limit`, and
    /// what a gate wants to see.
    pub(super) async fn expire(
        &mut self,
        batch: Vec<Delivery>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, StoreError> {
        let wants = self.gate().await?.map_or(limit, |gate| gate.wants(limit));
        let (mut ends, mut tried) = (Vec::new(), Vec::new());
        for delivery in batch {
            match self.lane.expired(&delivery, now) {
                Some(end) => ends.push((delivery, end)),
                None if tried.len() < wants => tried.push(delivery),
                None => ends.push((delivery, Outcome::Postponed { at: now, reason: PROBING })),
            }
        }
        if !ends.is_empty() {
            self.tell(&ends, self.lane.is_open());
            // As what was tried: it is settled before anything else is claimed, whatever happens.
            self.unsettled.extend(ends);
            self.settle().await?;
        }
        Ok(tried)
    }

    /// What was refused for good holds nothing back as a duplicate.
    pub(super) async fn note_refused(&mut self) -> Result<(), StoreError> {
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Dead { .. } | Outcome::Diverted { .. });
        let events: BTreeSet<&str> = self
            .unsettled
            .iter()
            .filter(|(_, outcome)| refused(outcome))
            .map(|(delivery, _)| delivery.event_id.as_str())
            .collect();
        let Some(gate) = self.gate.as_mut().filter(|_| !events.is_empty()) else { return Ok(()) };
        let notes = gate.refused(&events);
        match notes.is_empty() {
            true => Ok(()),
            false => self.args.ledger.note(&self.scope(), notes).await,
        }
    }

    /// Makes messages of what is due, `most` at most, of which `oldest` by age. What is put off, or wanted
    /// no more, is settled, and what has to be remembered is noted, before anything is sent. Also whether there
    /// was something promised that is not to be told now.
    pub(super) async fn pass(
        &mut self,
        batch: Vec<Delivery>,
        (most, oldest): (usize, usize),
        round: &mut Round,
        now: Timestamp,
    ) -> Result<(Vec<Telling>, bool), StoreError> {
        let ledger = Arc::clone(&self.args.ledger);
        let (mut due, mut settled) = (Vec::with_capacity(batch.len()), Vec::new());
        for delivery in batch {
            match self.args.follow_ups.over(&*ledger, &delivery, round, now).await? {
                Some(end) => settled.push((delivery, end)),
                None => due.push(delivery),
            }
        }
        let (scope, promised) = (self.scope(), !settled.is_empty());
        let tellings = match self.gate().await? {
            None => due.into_iter().map(Telling::alone).collect(),
            Some(gate) => {
                let mut seen = Vec::with_capacity(due.len());
                for delivery in due {
                    let behind = match gate.looks_behind() {
                        true => ledger.behind(&delivery, BEHIND_AT_MOST).await?,
                        false => Vec::new(),
                    };
                    seen.push(Due { delivery, behind });
                }
                let plan = gate.plan(seen, most, oldest, now);
                if !plan.notes.is_empty() {
                    ledger.note(&scope, plan.notes).await?;
                    failpoint::hit(failpoint::AFTER_NOTES);
                }
                settled.extend(plan.put_off);
                plan.tell
            }
        };
        let (tellings, apart): (Vec<_>, Vec<_>) = match tellings.first().map(|first| first.carrier.clone()) {
            Some(first) => tellings.into_iter().partition(|t| self.lane.goes_with(&first, &t.carrier)),
            None => (tellings, Vec::new()),
        };
        let waiting = apart.into_iter().flat_map(|t| std::iter::once(t.carrier).chain(t.with));
        settled.extend(waiting.map(|delivery| (delivery, Outcome::Postponed { at: now, reason: APART })));
        if !settled.is_empty() {
            self.tell(&settled, self.lane.is_open());
            ledger.settle(settled, now).await?;
        }
        Ok((tellings, promised))
    }
}
