//! What is promised for a time when an alert is accepted: to say it again while it lasts, or to tell
//! another when nobody has acknowledged it. Each is an event of its own in the ledger, due later; when its
//! time has come it is looked at whether it is still wanted.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::bus::SharedBus;
use shared::model::{Alert, AlertAction, Timestamp};
use shared::settings::{LiveSettings, Settings};
use shared::store::{Delivery, Dropped, EventKind, Ledger, LedgerEvent, Outcome, StoreError};
use shared::wire::subject::Subjects;

use crate::gate::GateConfig;
use crate::inhibit::{self, Rules};

/// How long an aggregator may take to say whether an alert is acknowledged.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seconds after which it is looked again whether what keeps an escalation back is over.
const LOOK_AGAIN_S: i64 = 60;

/// The key by which a payload says what it is.
const KEY: &str = "follow_up";

/// What a delivery follows up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// What it is.
    pub kind: FollowUpKind,
    /// The recipient that was told first.
    pub of: String,
    /// Which repetition, from 1.
    pub number: u32,
    /// Seconds between two.
    pub after_s: u64,
}

/// Why something is told later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpKind {
    /// The same recipient is told again.
    Repeat,
    /// Another is told.
    Escalation,
}

impl FollowUpKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::Escalation => "escalation",
        }
    }
}

/// What a delivery follows up, if anything.
pub fn of(delivery: &Delivery) -> Option<FollowUp> {
    #[derive(Deserialize)]
    struct Payload {
        follow_up: FollowUp,
    }
    // Most deliveries follow up nothing, and are not read for that.
    if delivery.kind != EventKind::Alert || !delivery.payload.contains("\"follow_up\"") {
        return None;
    }
    serde_json::from_str::<Payload>(&delivery.payload).ok().map(|payload| payload.follow_up)
}

/// What is promised when `event`, an alert, is accepted for `recipient`.
pub fn promised(
    event: &LedgerEvent,
    alert: &Alert,
    recipient: &str,
    gate: &GateConfig,
    now: Timestamp,
) -> Vec<LedgerEvent> {
    let mut promised = Vec::new();
    let mut promise = |kind, to: &str, after_s| {
        let follow_up = FollowUp { kind, of: recipient.to_owned(), number: 1, after_s };
        promised.extend(made(event, alert, to, &follow_up, now));
    };
    if gate.repeat_s > 0 && alert.action == AlertAction::Engage {
        promise(FollowUpKind::Repeat, recipient, gate.repeat_s);
    }
    if let (after_s @ 1.., Some(to)) = (gate.escalate_after_s, &gate.escalate_to)
        && matches!(alert.action, AlertAction::Engage | AlertAction::Store)
    {
        promise(FollowUpKind::Escalation, to, after_s);
    }
    promised
}

fn made(
    event: &LedgerEvent,
    alert: &Alert,
    to: &str,
    follow_up: &FollowUp,
    now: Timestamp,
) -> Option<LedgerEvent> {
    let FollowUp { kind, of, number, after_s } = follow_up;
    let said = match kind {
        FollowUpKind::Repeat => format!("Still engaged, told again ({number}): {}", alert.message),
        FollowUpKind::Escalation => format!("Not acknowledged within {after_s} s: {}", alert.message),
    };
    let mut payload = serde_json::to_value(Alert { message: said, ..alert.clone() }).ok()?;
    payload.as_object_mut()?.insert(KEY.to_owned(), json!(follow_up));
    payload["original"] = Value::String(alert.message.clone());
    let suffix = format!("#{}/{of}", kind.name());
    Some(LedgerEvent {
        id: format!("{}{suffix}/{number}", alert.transition_id()),
        // Its own order: it must not make what happens meanwhile wait.
        order_key: format!("{}{suffix}", alert.order_key()),
        payload: payload.to_string(),
        recipients: vec![to.to_owned()],
        spared: Vec::new(),
        not_before: Some(now.plus_secs(i64::try_from(*after_s).unwrap_or(i64::MAX / 2_000_000_000))),
        ..event.clone()
    })
}

/// Finds out whether what was promised is still wanted.
#[derive(Clone)]
pub struct FollowUps {
    /// Aggregators are asked over it.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Silences and pools.
    pub settings: LiveSettings,
    /// Which alerts mute others.
    pub rules: Rules,
}

/// What a lane has to know to look at all that it claims at a time: asked for once.
#[derive(Debug)]
pub struct Round {
    settings: Arc<Settings>,
    /// What mutes, as the ledger notes it; read when it is first needed.
    mutes: Option<inhibit::State>,
    /// Nobody answers who knows what is acknowledged: nobody is asked again.
    unanswered: bool,
}

impl FollowUps {
    /// A look at what is due.
    pub fn round(&self) -> Round {
        Round { settings: Arc::clone(&self.settings.borrow()), mutes: None, unanswered: false }
    }

    /// What becomes of a promise that is not kept now; `None` when it is. A repetition of what is not over
    /// promises the next one, in the ledger before anything is sent, also while a silence is in force. An
    /// escalation waits until silence or muting is over: it comes once, and nobody would hear of the alert.
    ///
    /// # Errors
    /// The ledger cannot be asked.
    pub async fn over(
        &self,
        ledger: &dyn Ledger,
        delivery: &Delivery,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let over = |reason: &str| Ok(Some(Outcome::Suppressed { reason: reason.to_owned() }));
        let Some(follow_up) = of(delivery) else { return Ok(None) };
        let Ok(mut alert) = serde_json::from_str::<Alert>(&delivery.payload) else { return Ok(None) };
        let released = Alert { action: AlertAction::Release, ..alert.clone() }.transition_id();
        if alert.action == AlertAction::Engage && !ledger.deliveries(&released).await?.is_empty() {
            return over(Dropped::Released.begins());
        }
        if follow_up.kind == FollowUpKind::Escalation {
            let silences = &round.settings.silences;
            let silence = silences.peek(&alert, now, &round.settings.pools).map(silenced);
            let quiet = match silence {
                Some(why) => Some(why),
                None => self.muted(ledger, &alert, round, now).await?,
            };
            if let Some(reason) = quiet {
                return Ok(Some(Outcome::Waits { at: now.plus_secs(LOOK_AGAIN_S), reason }));
            }
        }
        if self.is_acknowledged(&alert, round).await {
            return over(Dropped::Acknowledged.begins());
        }
        if follow_up.kind == FollowUpKind::Escalation {
            return Ok(None);
        }
        self.promise_next(ledger, delivery, &mut alert, follow_up, now).await?;
        let settings = &round.settings;
        if let Some(name) = settings.silences.find(&alert, now, &settings.pools) {
            return over(&silenced(name));
        }
        let muted = self.muted(ledger, &alert, round, now).await?;
        Ok(muted.map(|reason| Outcome::Suppressed { reason }))
    }

    /// Promises the repetition after this one, of the alert as it was at first.
    async fn promise_next(
        &self,
        ledger: &dyn Ledger,
        delivery: &Delivery,
        alert: &mut Alert,
        this: FollowUp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Original {
            original: String,
        }
        if let Ok(payload) = serde_json::from_str::<Original>(&delivery.payload) {
            alert.message = payload.original;
        }
        let next = FollowUp { number: this.number.saturating_add(1), ..this };
        let event = LedgerEvent {
            id: String::new(),
            kind: delivery.kind,
            order_key: String::new(),
            severity: alert.severity,
            payload: String::new(),
            traceparent: delivery.traceparent.clone(),
            recipients: Vec::new(),
            config_version: String::new(),
            not_before: None,
            spared: Vec::new(),
        };
        let next = made(&event, alert, &delivery.recipient, &next, now);
        ledger.accept(next.into_iter().collect(), now, crate::lane::horizon).await?;
        Ok(())
    }

    /// Which other alert's lasting keeps it quiet at `now`.
    async fn muted(
        &self,
        ledger: &dyn Ledger,
        alert: &Alert,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let mutes = match &mut round.mutes {
            Some(mutes) => mutes,
            empty => empty.insert(ledger.notes(inhibit::SCOPE).await?),
        };
        let rule = inhibit::mutes_now(&self.rules, mutes, alert, &round.settings.pools, now);
        Ok(rule.map(|rule| format!("{}: inhibition '{rule}' mutes it", Dropped::Muted.begins())))
    }

    /// Asks an aggregator. One that does not answer, or does not know the alert, has not seen anybody
    /// acknowledge it.
    async fn is_acknowledged(&self, alert: &Alert, round: &mut Round) -> bool {
        if round.unanswered {
            return false;
        }
        let subject = self.subjects.request_role("aggregator", "acknowledged");
        let question = serde_json::to_string(alert).unwrap_or_default();
        let answer = self.bus.request(&subject, question.into(), PATIENCE).await;
        round.unanswered = answer.is_err();
        let answer: Option<Value> = answer.ok().and_then(|answer| serde_json::from_slice(&answer).ok());
        answer.is_some_and(|answer| answer["acknowledged"] == true)
    }
}

/// Why nothing is told of an alert while a silence is in force, whatever was when it began.
fn silenced(name: &str) -> String {
    format!("{}: silence '{name}' is in force", Dropped::Silenced.begins())
}
