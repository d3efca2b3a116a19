//! Answers questions about recipients: `rq.v1._role.notifier.<verb>`, JSON in and out.
//!
//! | verb | question | answer |
//! |---|---|---|
//! | `kinds` | `{"kind"?}` | list of the kinds of endpoints that may be configured: `{"kind", "schema", "sample", "documentation"}` |
//! | `recipients` | – | list of recipients with criteria, counts and breaker |
//! | `test` | `{"recipient"}` | `{"ok", "detail"}` |
//! | `explain` | `{"alert", "recipient"}` | `{"passes", "reasons", "delivery"?, "follow_ups", "configuration"?}` |
//! | `deliveries` | `{"event"}` | list of the deliveries of an event and of what follows from it, with every try |
//! | `dead_letters` | `{"recipient"?, "limit"?}` | list of dead letters, newest first |
//! | `dead_letter` | `{"recipient", "event"}` | `{"kind", "payload", "delivery"}` of one dead letter |
//! | `replay_dead` | `{"recipient", "event"?}` | `{"replayed"}` |
//! | `discard_dead` | `{"recipient", "event"?}` | `{"discarded"}` |
//! | `of_file` | – | `{"endpoints", "recipients"}` of the configuration file and the built-in ones, by name |
//! | `check_settings` | `{"before", "after", "move"?}` | `{"wrong"}`: what documents would be wrong afterwards and were not before |
//!
//! What cannot be answered is `{"error": {"code", "message"}}`.

use std::sync::Arc;

use async_trait::async_trait;
use ractor::ActorRef;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::SharedClock;
use shared::model::Alert;
use shared::store::documents::Document;
use shared::store::{DeliveryRecord, EventKind, Ledger, RecipientStats};

use crate::answering::{Answers, Refusal, read};
use crate::criteria::Reason;
use crate::directory::Directory;
use crate::endpoint::{self, EndpointDeps, Kind};
use crate::http::HttpUrl;
use crate::inhibit;
use crate::lane::HORIZON;
use crate::roster::{Known, LiveRoster, Roster};
use crate::route::ALERT_STORE;
use crate::supervisor::NotifierMessage;

/// Most dead letters in one answer.
const MAX_LETTERS: usize = 1000;

/// Knows what questions are about.
pub struct Desk {
    /// The recipients, and who decides what they get.
    pub roster: LiveRoster,
    /// Knows what may be edited.
    pub directory: Directory,
    /// What endpoints are built with.
    pub endpoint_deps: EndpointDeps,
    /// Told of recipients that are to be removed.
    pub supervisor: ActorRef<NotifierMessage>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Wall clock.
    pub clock: SharedClock,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AboutKind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct AboutRecipient {
    recipient: String,
}

#[derive(Deserialize)]
struct Explain {
    alert: Alert,
    recipient: String,
}

#[derive(Deserialize)]
struct AboutEvent {
    event: String,
}

#[derive(Deserialize)]
struct DeadOne {
    recipient: String,
    event: String,
}

#[derive(Deserialize)]
struct DeadOnes {
    recipient: String,
    event: Option<String>,
}

/// A change of endpoints and recipients that is about to be made.
#[derive(Deserialize)]
struct Edit {
    before: Vec<Document>,
    after: Vec<Document>,
    /// Who gets what is still owed to a recipient that is removed.
    #[serde(rename = "move")]
    moved: Option<Move>,
}

#[derive(Deserialize)]
struct Move {
    from: String,
    to: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Letters {
    recipient: Option<String>,
    limit: Option<usize>,
}

#[async_trait]
impl Answers for Desk {
    const VERBS: &'static [&'static str] = &[
        "kinds",
        "recipients",
        "test",
        "explain",
        "deliveries",
        "dead_letters",
        "dead_letter",
        "replay_dead",
        "discard_dead",
        "of_file",
        "check_settings",
    ];

    async fn answer(&self, verb: &str, question: &[u8]) -> Result<Value, Refusal> {
        match verb {
            "kinds" => kinds(&read(question)?),
            "recipients" => self.recipients().await,
            "test" => {
                let roster = self.roster();
                Ok(test(find(&roster, &read::<AboutRecipient>(question)?.recipient)?).await)
            }
            "explain" => self.explain(read(question)?).await,
            "deliveries" => Ok(json!(self.ledger.deliveries(&read::<AboutEvent>(question)?.event).await?)),
            "dead_letters" => self.dead_letters(read(question)?).await,
            "dead_letter" => self.dead_letter(read(question)?).await,
            "replay_dead" => self.replay_dead(read(question)?).await,
            "discard_dead" => self.discard_dead(read(question)?).await,
            "of_file" => Ok(self.directory.of_file()),
            "check_settings" => self.check_settings(read(question)?).await,
            _ => Err(Refusal::BadRequest(format!("there is no question {verb:?}"))),
        }
    }
}

impl Desk {
    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// What a change would break. To check reads the files that parameters name.
    async fn check_settings(&self, edit: Edit) -> Result<Value, Refusal> {
        let (directory, deps) = (self.directory.clone(), self.endpoint_deps.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let before = directory.wrong(&edit.before, &deps);
            let mut wrong = directory.wrong(&edit.after, &deps);
            wrong.retain(|cause| !before.contains(cause));
            (wrong, edit)
        });
        let (mut wrong, edit) = checked.await.map_err(|e| Refusal::BadRequest(e.to_string()))?;
        if let Some(Move { from, to }) = edit.moved {
            let there = find(&self.roster(), &to).is_ok_and(|known| !known.builtin) && from != to;
            match (there, wrong.is_empty()) {
                (false, _) => wrong.push(format!("move_to: there is no other recipient '{to}'")),
                // A supervisor that is gone moves nothing, and neither does it give anything up.
                (true, true) => drop(self.supervisor.cast(NotifierMessage::Moves { from, to })),
                (true, false) => {}
            }
        }
        Ok(json!({ "wrong": wrong }))
    }

    async fn recipients(&self) -> Result<Value, Refusal> {
        let stats = self.ledger.stats().await?;
        let of = |known: &Known| {
            let mine = stats.iter().find(|stats| stats.recipient == known.name).cloned();
            let stats = mine
                .unwrap_or_else(|| RecipientStats { recipient: known.name.clone(), ..Default::default() });
            json!({
                "name": known.name,
                "endpoint": known.endpoint,
                "kind": known.kind,
                "builtin": known.builtin,
                "enabled": known.enabled,
                "criteria": known.criteria,
                "stats": stats,
                "latency": known.lane.latency(),
                "rate": known.lane.pace().map(|(now, most)| json!({ "per_minute": now, "most": most })),
                "breaker": if known.lane.is_open() { "open" } else { "closed" },
            })
        };
        Ok(self.roster().recipients.iter().map(of).collect())
    }

    async fn explain(&self, question: Explain) -> Result<Value, Refusal> {
        let event = question.alert.transition_id();
        let muted = inhibit::muted_by(&self.ledger.notes(inhibit::SCOPE).await?, &question.alert);
        let roster = self.roster();
        let verdict = roster.router.explain(question.alert, &question.recipient);
        let mut verdict = verdict.ok_or_else(|| no_recipient(&question.recipient))?;
        if let Some(rule) = muted.filter(|_| question.recipient != ALERT_STORE) {
            let detail = format!("muted by inhibition '{rule}' as long as that lasts");
            verdict.reasons.insert(0, Reason { criterion: "inhibition", passes: false, detail });
            verdict.passes = false;
        }
        let mut made = self.ledger.deliveries(&event).await?;
        // The built-in recipient has a delivery of every alert.
        let then = made.iter().find(|one| one.event_id == event).map(|one| one.config_version.clone());
        made.retain(|delivery| delivery.recipient == question.recipient);
        let now = roster.router.config_version();
        let configuration = then.and_then(|then| match (then == now, made.is_empty()) {
            (false, false) => Some(format!("decided with configuration {then}, now {now}")),
            (false, true) => {
                Some(format!("decided with configuration {then}, now {now}: it was not chosen then"))
            }
            // Nothing of the configuration has changed, but what is not part of it.
            (true, true) if verdict.passes => {
                Some("it was not chosen then: silences, pools or what mutes others have changed".to_owned())
            }
            (true, _) => None,
        });
        let (own, follow_ups): (Vec<_>, Vec<_>) = made.into_iter().partition(|made| made.event_id == event);
        Ok(json!({
            "passes": verdict.passes,
            "reasons": verdict.reasons,
            "delivery": own.first(),
            "follow_ups": follow_ups,
            "configuration": configuration,
        }))
    }

    /// What a dead letter says, and how it was tried; also of a recipient that is configured no more.
    async fn dead_letter(&self, DeadOne { recipient, event }: DeadOne) -> Result<Value, Refusal> {
        let none = || Refusal::NotFound(format!("{recipient:?} has no dead letter of {event:?}"));
        let made = self.ledger.deliveries(&event).await?;
        let is_it = |made: &DeliveryRecord| {
            made.event_id == event && made.recipient == recipient && made.state == "dead"
        };
        let delivery = made.into_iter().find(is_it).ok_or_else(none)?;
        let (kind, payload) = self.ledger.payload(&event).await?.ok_or_else(none)?;
        let mut payload: Value = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
        if kind == EventKind::Post {
            // Where a script's post goes may hold a secret; what it says is the script's own.
            let url = payload["url"].as_str().and_then(|url| HttpUrl::parse(url).ok());
            let shown = url.map_or_else(|| "****".to_owned(), |url| url.to_string());
            if let Some(post) = payload.as_object_mut() {
                post.insert("url".to_owned(), Value::String(shown));
            }
        }
        Ok(json!({ "kind": kind, "payload": payload, "delivery": delivery }))
    }

    async fn dead_letters(&self, question: Letters) -> Result<Value, Refusal> {
        let limit = question.limit.unwrap_or(100).min(MAX_LETTERS);
        Ok(json!(self.ledger.dead_letters(question.recipient.as_deref(), limit).await?))
    }

    async fn replay_dead(&self, DeadOnes { recipient, event }: DeadOnes) -> Result<Value, Refusal> {
        let roster = self.roster();
        let known = find(&roster, &recipient)?;
        let now = self.clock.now();
        let replayed = self.ledger.replay_dead(&recipient, event.as_deref(), now, HORIZON).await?;
        tracing::info!(recipient, replayed, "dead letters are tried again");
        known.lane.wake();
        Ok(json!({ "replayed": replayed }))
    }

    async fn discard_dead(&self, DeadOnes { recipient, event }: DeadOnes) -> Result<Value, Refusal> {
        // Also those of a recipient that is configured no more.
        let discarded = self.ledger.discard_dead(&recipient, event.as_deref()).await?;
        tracing::info!(recipient, discarded, "dead letters are forgotten");
        Ok(json!({ "discarded": discarded }))
    }
}

/// The kinds of endpoints, or the one that is asked for.
fn kinds(question: &AboutKind) -> Result<Value, Refusal> {
    let wanted = |kind: &&&dyn Kind| question.kind.as_deref().is_none_or(|name| name == kind.name());
    let known = endpoint::KINDS.iter().filter(|kind| !kind.is_builtin());
    let found: Vec<Value> = known.filter(wanted).map(|kind| about(*kind)).collect();
    match (&question.kind, found.is_empty()) {
        (Some(name), true) => Err(Refusal::NotFound(format!("there is no kind of endpoint {name:?}"))),
        _ => Ok(Value::Array(found)),
    }
}

/// What a form for an endpoint of this kind is drawn from.
fn about(kind: &dyn Kind) -> Value {
    json!({
        "kind": kind.name(),
        "schema": kind.schema(),
        "sample": kind.sample(),
        "documentation": format!("docs/endpoints.md#{}", kind.name()),
    })
}

fn find<'a>(roster: &'a Roster, name: &str) -> Result<&'a Known, Refusal> {
    let found = roster.recipients.iter().find(|known| known.name == name);
    found.ok_or_else(|| no_recipient(name))
}

async fn test(known: &Known) -> Value {
    match known.target.test().await {
        Ok(detail) => json!({ "ok": true, "detail": detail }),
        Err(error) => json!({ "ok": false, "detail": error.to_string() }),
    }
}

fn no_recipient(name: &str) -> Refusal {
    Refusal::NotFound(format!("there is no recipient {name:?}"))
}
