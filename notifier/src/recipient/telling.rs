//! What others hear of how deliveries end: counts, the log, events, and alerts about the recipient.

use std::sync::atomic::Ordering;

use shared::events::Draft;
use shared::store::{Delivery, Dropped, Outcome};

use super::RecipientState;
use crate::{metrics, trouble};

impl RecipientState {
    /// Counts and logs.
    pub(super) fn tell(&self, ends: &[(Delivery, Outcome)], was_open: bool) {
        let name = &self.args.name;
        for (delivery, outcome) in ends {
            metrics::ended(name, outcome);
            let attempt = delivery.attempts + 1;
            match outcome {
                Outcome::Delivered { .. } => self.args.handle.delivered(delivery, self.args.clock.now()),
                Outcome::Postponed { .. }
                | Outcome::Waits { .. }
                | Outcome::Suppressed { .. }
                | Outcome::Merged { .. } => {}
                Outcome::Retry { reason, .. } | Outcome::Unknown { reason, .. } => {
                    tracing::debug!(recipient = name, event = ?delivery.event_id, attempt, reason, "to be retried");
                }
                Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => {
                    tracing::warn!(recipient = name, event = ?delivery.event_id, attempt, reason, "given up");
                }
            }
        }
        let is_open = self.lane.is_open();
        self.report(ends, was_open);
        if was_open == is_open {
            return;
        }
        self.args.handle.open.store(is_open, Ordering::Relaxed);
        metrics::breaker(name, is_open);
        let because = ends.iter().find_map(|(_, outcome)| reason(outcome));
        let (state, before) = if is_open { ("OPEN", "CLOSED") } else { ("CLOSED", "OPEN") };
        let object = serde_json::json!({ "reason": because });
        if let Some((endpoint, health)) = &self.args.endpoint_health
            && let Some(fails) = health.turned(name, is_open)
        {
            let (state, before) = if fails { ("FAILING", "WORKING") } else { ("WORKING", "FAILING") };
            let object = serde_json::json!({ "recipient": name, "reason": because });
            self.args.events.tell(Draft::state("ENDPOINT", endpoint, state, Some(before), object));
        }
        self.args.events.tell(Draft::state("RECIPIENT", name, state, Some(before), object));
        match (is_open, because) {
            (true, reason) => tracing::warn!(recipient = name, reason, "endpoint fails, trying seldom"),
            (false, _) => tracing::info!(recipient = name, "endpoint works again"),
        }
    }

    /// Tells everybody else that this recipient hears nothing, or hears again. Of the history nothing is
    /// said: it goes on until the aggregator is there again, whose own alerts say that it is not.
    fn report(&self, ends: &[(Delivery, Outcome)], was_open: bool) {
        if self.args.endpoint.manners().never_gives_up {
            return;
        }
        let now = self.args.clock.now();
        let (name, teller) = (&self.args.name, &self.args.teller);
        let opened = (!was_open && self.lane.is_open())
            .then(|| ends.iter().find_map(|(_, end)| reason(end)).unwrap_or_default())
            .map(|why| format!("{why}; it is tried seldom, and what it is owed is kept until its deadline"));
        let given_up = || {
            ends.iter().find_map(|(delivery, end)| match end {
                Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => {
                    // What is said of recipients is not said again of itself.
                    let ours =
                        serde_json::from_str(&delivery.payload).is_ok_and(|a| trouble::about(&a).is_some());
                    let wanted = Dropped::of(reason) != Dropped::Gone && !ours;
                    wanted.then(|| format!("{reason}; it is kept as a dead letter"))
                }
                _ => None,
            })
        };
        let works =
            !self.lane.is_open() && ends.iter().any(|(_, end)| matches!(end, Outcome::Delivered { .. }));
        let alert = match opened.or_else(given_up) {
            Some(why) if self.args.handle.trouble(|trouble| trouble.fails(now)) => {
                trouble::failed(teller, name, &why, now)
            }
            Some(_) => return,
            None if works => match self.args.handle.trouble(|trouble| trouble.works(now)) {
                Some(seconds) => trouble::works(teller, name, seconds, now),
                None => return,
            },
            None => return,
        };
        let teller = teller.clone();
        // Two an hour at most, and the lane has other things to do than to wait for the bus.
        tokio::spawn(async move { teller.tell(alert).await });
    }
}

fn reason(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Delivered { .. }
        | Outcome::Postponed { .. }
        | Outcome::Waits { .. }
        | Outcome::Merged { .. } => None,
        Outcome::Suppressed { reason }
        | Outcome::Unknown { reason, .. }
        | Outcome::Retry { reason, .. }
        | Outcome::Dead { reason }
        | Outcome::Diverted { reason, .. } => Some(reason),
    }
}
