//! Slack: messages to a channel through an incoming webhook.
//!
//! Source: Slack, "Sending messages using incoming webhooks", "Formatting text for app surfaces",
//! "Rate limits". Answers 200 with `ok`; errors have a status of their own and a word such as
//! `no_service`. Markup, name lookup and unfolding of links are switched off, so that text stays text.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use shared::model::Severity;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::chat::{Sink, Unit, slack};
use crate::http::answer::Answer;
use crate::http::params::SecretUrl;
use crate::http::{HttpClient, Post};
use crate::params::Within;
use crate::posting::{Group, Poster, Posting};

/// Slack advises 4000 characters and cuts at 40,000.
const SINK: Sink = Sink { max: 4000, unit: Unit::Utf16, escape: slack, line_end: "\n" };

/// The kind `slack`.
pub struct SlackKind;

impl EndpointKind for SlackKind {
    const NAME: &'static str = "slack";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/slack.toml");
    type Params = SlackParams;
    type RecipientParams = NoParams;

    fn build(params: SlackParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        Ok(Arc::new(Poster(Slack { params, http: deps.http.clone() })))
    }
}

/// Parameters of a Slack endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackParams {
    /// Address of the incoming webhook.
    webhook_url: SecretUrl,
    /// Name that messages are shown under, followed by the severity; only webhooks of the older kind
    /// obey it.
    sender_username: Option<String>,
    /// Most alerts in one message.
    #[serde(default)]
    batch: Within<1, 50, 5>,
}

#[derive(Debug)]
struct Slack {
    params: SlackParams,
    http: HttpClient,
}

impl Posting for Slack {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// One a second for each webhook.
    fn per_minute(&self) -> Option<u32> {
        Some(60)
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let severity = group.severity();
        let mut body = json!({
            "text": group.lines.join(SINK.line_end),
            "icon_emoji": emoji(severity),
            "mrkdwn": false,
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if let Some(name) = &self.params.sender_username {
            body["username"] = json!(format!("{name} [{}]", severity.label()));
        }
        Post::json(&self.params.webhook_url.0, &body)
    }

    fn reads(&self) -> Option<usize> {
        Some(4096)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        answer.classify_saying(std::str::from_utf8(&answer.body).ok())
    }
}

fn emoji(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => ":information_source:",
        Severity::Warning => ":warning:",
        Severity::Error | Severity::Critical => ":exclamation:",
        Severity::Emergency => ":triangular_flag_on_post:",
    }
}
