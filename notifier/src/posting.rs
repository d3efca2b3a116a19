//! Delivers alerts by HTTP requests, for the kinds that make one request of an alert or of several.
//!
//! A kind says what a request looks like and what an answer means ([`Posting`]); everything else is
//! here, the same for all: which alerts go together, and what happens to the others when one fails.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use shared::clock::Stopwatch;
use shared::model::alert::derive_id;
use shared::model::{Alert, AlertAction, Severity};
use shared::store::Delivery;

use crate::endpoint::{DeliveryError, Endpoint, Manners, Repetition, Told, alert_of, merged};
use crate::failpoint;
use crate::format::chat::Sink;
use crate::format::text;
use crate::http::answer::Answer;
use crate::http::{HttpClient, HttpUrl, Post};
use crate::messages::Messages;
use crate::pace::Bound;

/// How long a batch may take before what is left of it is put off: less than a claim lasts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where several requests are under way at once, so many times as many alerts are taken together: the ledger
/// is asked less often.
const ROUNDS: usize = 4;

/// What a test says.
pub const TEST_TEXT: &str = "Test message of flowhook";

/// Alerts that go into one request.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The alerts; none in a test.
    pub alerts: Vec<Alert>,
    /// The idempotency key of each.
    pub keys: Vec<String>,
    /// Whom they go to.
    pub recipient: String,
    /// What each reads as, escaped and cut as the kind's sink says; one line in a test.
    pub lines: Vec<String>,
}

impl Group {
    /// The same for the same alerts to the same recipient.
    pub fn id(&self) -> String {
        derive_id(&self.keys.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The gravest severity.
    pub fn severity(&self) -> Severity {
        self.alerts.iter().map(|alert| alert.severity).max().unwrap_or(Severity::Info)
    }
}

/// A kind that makes requests of alerts.
pub trait Posting: Send + Sync + fmt::Debug + 'static {
    /// The client.
    fn http(&self) -> &HttpClient;

    /// Alerts in one request, at most.
    fn batch(&self) -> usize {
        1
    }

    /// Requests under way at once, at most. Alerts of one batch have nothing to do with each other, so
    /// their order is nobody's but a reader's.
    fn at_once(&self) -> usize {
        1
    }

    /// How an alert's line is written; `None` when the request has no use for it.
    fn sink(&self) -> Option<&Sink> {
        None
    }

    /// It shows text to people, so that several alerts may become one. A sink alone does not say so: a
    /// text may be one field of something that stands for a single alert.
    fn has_text(&self) -> bool;

    /// What becomes of a request that is made a second time because nobody knows how the first ended.
    fn repetition(&self) -> Repetition;

    /// What the far end takes, where its vendor names a bound.
    fn bound(&self) -> Option<Bound> {
        None
    }

    /// The request for these alerts, which are at least one.
    fn post(&self, group: &Group) -> Post<'_>;

    /// Harmless requests for a test, made in order.
    fn test_posts(&self) -> Vec<Post<'_>> {
        vec![self.post(&Group { lines: vec![TEST_TEXT.to_owned()], ..Group::default() })]
    }

    /// Knows which message tells of which alert, where an alert's end is written into the message of its
    /// beginning.
    fn messages(&self) -> Option<&Messages> {
        None
    }

    /// What the far end calls the message that it has taken.
    fn message(&self, _: &Answer) -> Option<String> {
        None
    }

    /// Where a message is changed.
    fn message_url(&self, _: &str) -> Option<HttpUrl> {
        None
    }

    /// The request that puts `group` into the place of a message.
    fn edit<'a>(&'a self, group: &Group, _: &str, url: &'a HttpUrl) -> Post<'a> {
        Post { url, ..self.post(group) }
    }

    /// Most of an answer's body that [`Self::read`] needs, in bytes; `None` when the status is enough.
    fn reads(&self) -> Option<usize> {
        None
    }

    /// What an answer means.
    ///
    /// # Errors
    /// [`DeliveryError`] for everything but delivered.
    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        answer.classify()
    }
}

/// The endpoint of a [`Posting`].
#[derive(Debug)]
pub struct Poster<P> {
    kind: P,
    /// Requests made so far.
    requests: AtomicU64,
}

impl<P: Posting> Poster<P> {
    /// Of this kind.
    pub fn new(kind: P) -> Self {
        Self { kind, requests: AtomicU64::new(0) }
    }

    /// Alerts in one request; a message that is to be changed tells of one.
    fn most(&self) -> usize {
        if self.kind.messages().is_some() { 1 } else { self.kind.batch().max(1) }
    }

    async fn send(&self, post: Post<'_>) -> Result<Answer, DeliveryError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.kind.http().exchange(post, self.kind.reads()).await?;
        self.kind.read(&answer)?;
        Ok(answer)
    }

    /// Writes an update or the end of an alert into the message of its beginning, or notes which message
    /// that is.
    async fn deliver_in_place(&self, messages: &Messages, group: &Group, alert: &Alert) -> Told {
        let to = &group.recipient;
        if matches!(alert.action, AlertAction::Release | AlertAction::Update)
            && let Some(message) = messages.of(to, &alert.id).await
            && let Some(url) = self.kind.message_url(&message)
        {
            match self.send(self.kind.edit(group, &message, &url)).await {
                // Somebody has deleted it: the end is told by a message of its own.
                Err(DeliveryError::Permanent { .. } | DeliveryError::Refused { .. }) => {}
                Err(error) => return Err(error),
                Ok(answer) => {
                    if alert.action == AlertAction::Release {
                        messages.forget(to, &alert.id).await;
                    }
                    return Ok(words(&answer));
                }
            }
        }
        let answer = self.send(self.kind.post(group)).await?;
        let goes_on = matches!(alert.action, AlertAction::Engage | AlertAction::Update);
        if let Some(message) = self.kind.message(&answer).filter(|_| goes_on) {
            failpoint::hit(failpoint::BEFORE_MESSAGE_NOTE);
            messages.note(to, &alert.id, message).await;
        }
        Ok(words(&answer))
    }

    async fn deliver_group(&self, group: &Group) -> Vec<Told> {
        if let (Some(messages), [alert]) = (self.kind.messages(), group.alerts.as_slice()) {
            return vec![self.deliver_in_place(messages, group, alert).await];
        }
        let result = self.send(self.kind.post(group)).await.map(|answer| words(&answer));
        if group.alerts.len() > 1 && matches!(result, Err(DeliveryError::Permanent { .. })) {
            // One of them is refused: told alone, the others are not refused with it.
            let mut results = Vec::with_capacity(group.alerts.len());
            for place in 0..group.alerts.len() {
                let alone = group_of(group, place..place + 1);
                results.push(self.send(self.kind.post(&alone)).await.map(|answer| words(&answer)));
            }
            return results;
        }
        vec![result; group.alerts.len()]
    }

    async fn deliver_all(&self, all: &Group) -> Vec<Told> {
        let most = self.most();
        let packs = match self.kind.sink() {
            Some(sink) => sink.pack(&all.lines, most),
            None => {
                let starts = (0..all.alerts.len()).step_by(most);
                starts.map(|start| start..(start + most).min(all.alerts.len())).collect()
            }
        };
        let watch = Stopwatch::start();
        let (mut results, mut stop) = (Vec::with_capacity(all.alerts.len()), None);
        if self.kind.at_once() > 1 {
            let groups = packs.into_iter().map(|pack| group_of(all, pack)).collect::<Vec<_>>();
            let in_time = async |group: &Group| match watch.elapsed() > PATIENCE {
                true => vec![Err(put_off()); group.alerts.len()],
                false => self.deliver_group(group).await,
            };
            let sent: Vec<_> = groups.iter().map(|group| in_time(group).boxed()).collect();
            return futures::stream::iter(sent).buffered(self.kind.at_once()).concat().await;
        }
        for pack in packs {
            if stop.is_none() && watch.elapsed() > PATIENCE {
                stop = Some(put_off());
            }
            if let Some(error) = &stop {
                // The next request would most likely end as the one before, and what comes later is
                // not to overtake what came first.
                results.extend(pack.map(|_| Err(error.clone())));
                continue;
            }
            let ended = self.deliver_group(&group_of(all, pack)).await;
            let stops = |result: &Told| match result {
                Err(error @ (DeliveryError::Retry { .. } | DeliveryError::Refused { .. })) => {
                    Some(error.clone())
                }
                // Those after it were not sent.
                Err(DeliveryError::Unknown { reason }) => Some(DeliveryError::retry(reason)),
                _ => None,
            };
            stop = ended.iter().find_map(stops);
            results.extend(ended);
        }
        results
    }
}

/// Of what was not sent.
fn put_off() -> DeliveryError {
    let reason = "put off, because those before it took long".to_owned();
    DeliveryError::Retry { after: Some(Duration::ZERO), reason }
}

/// What follows a line that may be read a second time.
const fn mark(again: bool) -> &'static str {
    if again { " (possible duplicate)" } else { "" }
}

/// What is kept of the answer to something that was taken. Not its body, which may repeat a secret.
fn words(answer: &Answer) -> Option<String> {
    Some(format!("answered {}", answer.status))
}

fn group_of(all: &Group, places: std::ops::Range<usize>) -> Group {
    let of = |texts: &[String]| texts.get(places.clone()).unwrap_or_default().to_vec();
    let alerts = all.alerts.get(places.clone()).unwrap_or_default().to_vec();
    Group { alerts, keys: of(&all.keys), recipient: all.recipient.clone(), lines: of(&all.lines) }
}

#[async_trait]
impl<P: Posting> Endpoint for Poster<P> {
    fn manners(&self) -> Manners {
        let rounds = if self.kind.at_once() > 1 { ROUNDS } else { 1 };
        let usual = Manners::of_batch(self.most().saturating_mul(self.kind.at_once()).saturating_mul(rounds));
        let (has_text, repetition) = (self.kind.has_text(), self.kind.repetition());
        Manners { has_text, repetition, bound: self.kind.bound(), ..usual }
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let prepared: Vec<_> = batch.iter().map(alert_of).collect();
        let recipient = batch.first().map(|delivery| delivery.recipient.clone()).unwrap_or_default();
        let mut all = Group { recipient, ..Group::default() };
        for (delivery, alert) in batch.iter().zip(&prepared) {
            if let Ok(alert) = alert {
                all.keys.push(delivery.idempotency_key());
                let again = delivery.maybe_told && self.kind.repetition() == Repetition::Told;
                all.lines.extend(self.kind.sink().map(|sink| sink.line_and(&text::line(alert), mark(again))));
                all.alerts.push(alert.clone());
            }
        }
        merged(&prepared, self.deliver_all(&all).await)
    }

    fn requests(&self) -> Option<u64> {
        Some(self.requests.load(Ordering::Relaxed))
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        let mut told = Vec::new();
        for post in self.kind.test_posts() {
            let target = post.url.to_string();
            let answer = self.send(post).await?;
            let said = if self.kind.reads().is_some() { answer.said() } else { String::new() };
            let line = format!("{target} answered {} {said}", answer.status);
            told.push(line.trim_end().to_owned());
        }
        Ok(told.join("; "))
    }
}
