//! Microsoft Teams: a card to a channel, through a connector (`MessageCard`, as seed 002) or through
//! a workflow (adaptive card).
//!
//! Source: Microsoft, "Create and send messages with Incoming Webhook", "Legacy actionable message
//! card reference", "Retirement of Office 365 connectors", Power Automate's "When a Teams webhook
//! request is received", "Adaptive Cards: RichTextBlock". A connector answers 200 with `1`, and tells
//! some failures by 200 with a sentence; a workflow answers 202. Both take 28 KB.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::model::Severity;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::chat::{Sink, Unit, html, plain};
use crate::http::answer::{self, Answer, classify};
use crate::http::params::{SecretUrl, TlsParams};
use crate::http::{HttpClient, Post};
use crate::pace::Bound;
use crate::params::Within;
use crate::posting::{Group, Poster, Posting};

/// Leaves room in 28 KB for quotes that JSON doubles, and for the card around the text.
const TEXT_BYTES: usize = 12_000;

/// Text of a `MessageCard`, in which HTML is markup.
const CONNECTOR: Sink = Sink { max: TEXT_BYTES, unit: Unit::Bytes, escape: html, line_end: "<br>" };

/// Text of an adaptive card's `TextRun`, in which nothing is.
const WORKFLOW: Sink = Sink { max: TEXT_BYTES, unit: Unit::Bytes, escape: plain, line_end: "\n" };

/// Longest id in a footer.
const MAX_ID: usize = 64;

/// The kind `msteams`.
pub struct MsteamsKind;

impl EndpointKind for MsteamsKind {
    const NAME: &'static str = "msteams";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/msteams.toml");
    type Params = MsteamsParams;
    type RecipientParams = NoParams;

    fn build(params: MsteamsParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Msteams { params, http })))
    }
}

/// Parameters of a Teams endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MsteamsParams {
    /// Address of the channel's connector or workflow.
    webhook_url: SecretUrl,
    /// What the address takes.
    #[serde(default)]
    card: Card,
    /// Most alerts in one card.
    #[serde(default)]
    batch: Within<1, 50, 10>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// The form of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Card {
    /// For a connector.
    #[default]
    MessageCard,
    /// For a workflow.
    AdaptiveCard,
}

#[derive(Debug)]
struct Msteams {
    params: MsteamsParams,
    http: HttpClient,
}

impl Posting for Msteams {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// Four a second.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_endpoint(240))
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        match self.params.card {
            Card::MessageCard => Some(&CONNECTOR),
            Card::AdaptiveCard => Some(&WORKFLOW),
        }
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let title = title(group);
        let body = match self.params.card {
            Card::MessageCard => json!({
                "@type": "MessageCard",
                "@context": "https://schema.org/extensions",
                "themeColor": colour(group.severity()),
                "summary": title,
                "title": title,
                "sections": sections(group),
            }),
            Card::AdaptiveCard => json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": null,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "msteams": { "width": "Full" },
                        "body": blocks(&title, group),
                    },
                }],
            }),
        };
        Post::json(&self.params.webhook_url.0, &body)
    }

    fn reads(&self) -> Option<usize> {
        Some(16 * 1024)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        answer.classify_saying(std::str::from_utf8(&answer.body).ok())?;
        if self.params.card == Card::AdaptiveCard || !answer.whole {
            return Ok(());
        }
        match answer.body.trim_ascii() {
            b"1" | b"" => Ok(()),
            _ => Err(failure_in_text(&answer.said())),
        }
    }
}

/// Words of our own alone: no text from the network.
fn title(group: &Group) -> String {
    match group.alerts.len() {
        0 => "flowhook".to_owned(),
        1 => format!("flowhook: {}", group.severity().label()),
        many => format!("flowhook: {many} alerts, {} at most", group.severity().label()),
    }
}

/// What the alerts of a card are known by: a card that comes twice has the same. Nothing in a test.
fn footer(group: &Group, sink: &Sink) -> Option<String> {
    let ids: Vec<_> = group.alerts.iter().map(|a| sink.line_within(&a.transition_id(), MAX_ID)).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}

fn sections(group: &Group) -> Vec<Value> {
    let text = json!({ "text": group.lines.join(CONNECTOR.line_end), "markdown": false });
    let ids = footer(group, &CONNECTOR).map(|ids| json!({ "text": ids, "markdown": false }));
    [text].into_iter().chain(ids).collect()
}

fn blocks(title: &str, group: &Group) -> Vec<Value> {
    let block = |run: Value| json!({ "type": "RichTextBlock", "inlines": [run] });
    let run = |text: &str, weight: &str| json!({ "type": "TextRun", "text": text, "weight": weight });
    let small = |ids: String| json!({ "type": "TextRun", "text": ids, "size": "Small", "isSubtle": true });
    let lines = group.lines.iter().map(|line| block(run(line, "Default")));
    let ids = footer(group, &WORKFLOW).map(|ids| block(small(ids)));
    [block(run(title, "Bolder"))].into_iter().chain(lines).chain(ids).collect()
}

/// A connector repeats what Teams itself answered, as "… returned HTTP error 429 with …".
fn failure_in_text(said: &str) -> DeliveryError {
    let reason = format!("answered 200 and: {said}");
    let status = said.split_once("HTTP error ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    match status.map(|status| classify(status, None, shared::model::Timestamp::ZERO)) {
        Some(Err(DeliveryError::Retry { after: Some(after), .. })) => {
            answer::wait(after.as_secs_f64(), reason)
        }
        Some(Err(DeliveryError::Retry { after: None, .. })) => DeliveryError::retry(reason),
        _ => DeliveryError::permanent(reason),
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => "2B7CD3",
        Severity::Warning => "F2A900",
        Severity::Error => "D83B01",
        Severity::Critical | Severity::Emergency => "A4262C",
    }
}
