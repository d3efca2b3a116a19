//! PagerDuty: an event an alert, by the Events API v2.
//!
//! Source: PagerDuty, "Events API v2 Overview", "Send an Alert Event", "PD-CEF". Engage and store
//! trigger, release resolves; all of one alert have its id as `dedup_key`, so that a repetition opens
//! nothing twice. Answers 202; 400 is for good.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::model::{Alert, AlertAction, Severity};
use shared::secret::Secret;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::chat::{Sink, Unit, plain};
use crate::http::answer::Answer;
use crate::http::params::TlsParams;
use crate::http::{HttpClient, HttpUrl, Post};
use crate::pace::Bound;
use crate::params::SecretText;
use crate::posting::{Group, Poster, Posting, TEST_TEXT};

/// Most that `summary` holds.
const SINK: Sink = Sink { max: 1024, unit: Unit::Utf16, escape: plain, line_end: "\n" };

/// Most that is said of one thing in other fields, in UTF-16 units.
const FIELD: usize = 1024;

/// The kind `pagerduty`.
pub struct PagerdutyKind;

impl EndpointKind for PagerdutyKind {
    const NAME: &'static str = "pagerduty";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/pagerduty.toml");
    type Params = PagerdutyParams;
    type RecipientParams = NoParams;

    fn build(params: PagerdutyParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let url = match &params.url {
            Some(url) => url.clone(),
            None => HttpUrl::parse("https://events.pagerduty.com/v2/enqueue")?,
        };
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Pagerduty { url, params, http })))
    }
}

/// Parameters of a PagerDuty endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyParams {
    /// The integration's key, also called routing key.
    #[schemars(with = "SecretText")]
    integration_key: Secret,
    /// Address of the Events API; that of the US region when absent.
    url: Option<HttpUrl>,
    /// Address of flowhook's console, shown as a link.
    client_url: Option<HttpUrl>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

#[derive(Debug)]
struct Pagerduty {
    url: HttpUrl,
    params: PagerdutyParams,
    http: HttpClient,
}

impl Pagerduty {
    fn event(&self, action: &str, dedup_key: &str, payload: Value) -> Post<'_> {
        let mut event = json!({
            "routing_key": self.params.integration_key.reveal(),
            "event_action": action,
            "dedup_key": dedup_key,
            "client": "flowhook",
        });
        if let Some(url) = &self.params.client_url {
            event["client_url"] = json!(url.to_string());
        }
        if !payload.is_null() {
            event["payload"] = payload;
        }
        Post::json(&self.url, &event)
    }
}

impl Posting for Pagerduty {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    /// An incident tells of one alert, which its key names.
    fn has_text(&self) -> bool {
        false
    }

    /// By `dedup_key`.
    fn repetition(&self) -> Repetition {
        Repetition::Known
    }

    /// For each integration key.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_endpoint(120))
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let Some(alert) = group.alerts.first() else {
            return self.event("trigger", "flowhook-test", test_payload());
        };
        match alert.action {
            AlertAction::Release => self.event("resolve", &alert.id, Value::Null),
            AlertAction::Engage | AlertAction::Store | AlertAction::Update => {
                let summary = group.lines.first().map_or("", String::as_str);
                self.event("trigger", &alert.id, payload(alert, summary))
            }
        }
    }

    /// Opens an incident of the mildest severity, and closes it.
    fn test_posts(&self) -> Vec<Post<'_>> {
        ["trigger", "resolve"].map(|action| self.event(action, "flowhook-test", test_payload())).into()
    }

    fn reads(&self) -> Option<usize> {
        Some(4096)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        let json = answer.json();
        let errors: Vec<_> =
            json["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        answer.classify_saying(Some(&errors.join("; ")).filter(|text| !text.is_empty()).map(String::as_str))
    }
}

fn test_payload() -> Value {
    json!({ "summary": TEST_TEXT, "source": "flowhook", "severity": "info" })
}

fn payload(alert: &Alert, summary: &str) -> Value {
    let short = |text: &str| SINK.line_within(text, FIELD);
    // A source is asked for; a flow's value is empty when it has none.
    let source = if alert.entity_value.is_empty() { &alert.node } else { &alert.entity_value };
    json!({
        "summary": summary,
        "source": short(source),
        "severity": severity(alert.severity),
        "timestamp": alert.tstamp.rfc3339_millis(),
        "component": short(&alert.interface),
        "group": short(&alert.site),
        "class": short(&alert.alert_type),
        "custom_details": {
            "message": short(&alert.message),
            "entity": alert.entity.name(),
            "category": alert.category.name(),
            "score": alert.score,
            "node": short(&alert.node),
            "script": short(&alert.script),
            "mitre": alert.mitre.iter().map(|technique| short(technique)).collect::<Vec<_>>(),
        },
    })
}

/// PagerDuty knows four.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical | Severity::Emergency => "critical",
    }
}
