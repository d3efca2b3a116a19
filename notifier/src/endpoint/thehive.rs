//! TheHive: an alert each, for version 5 and for version 4.
//!
//! Source: StrangeBee, "TheHive 5 API: Create alert", "TheHive 4 API: Alert". `sourceRef` is the
//! alert's id, with `-release` for its end; 400 that says it exists already means that an earlier try
//! arrived. Answers 201. The description is Markdown, so text from the network is escaped.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::model::{Alert, AlertAction, Party, Severity};
use shared::secret::Secret;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::chat::{Sink, Unit, markdown, plain};
use crate::format::text;
use crate::http::answer::Answer;
use crate::http::params::{OwnHeaders, TlsParams};
use crate::http::{Auth, HttpClient, HttpUrl, Post};
use crate::params::SecretText;
use crate::posting::{Group, Poster, Posting, TEST_TEXT};

/// The description; TheHive takes a megabyte.
const SINK: Sink = Sink { max: 16_384, unit: Unit::Utf16, escape: markdown, line_end: "\n" };

/// The title, which takes 512 characters.
const TITLE: Sink = Sink { max: 512, unit: Unit::Utf16, escape: plain, line_end: "\n" };

/// The kind `thehive`.
pub struct ThehiveKind;

impl EndpointKind for ThehiveKind {
    const NAME: &'static str = "thehive";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/thehive.toml");
    type Params = ThehiveParams;
    type RecipientParams = NoParams;

    fn build(params: ThehiveParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let url = match params.version {
            Version::Five => params.url.with_segments(&["api", "v1", "alert"]),
            Version::Four => params.url.with_segments(&["api", "alert"]),
        };
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Thehive { url, params, node: deps.node.clone(), http })))
    }
}

/// Parameters of a TheHive endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThehiveParams {
    /// Address of the server, such as `https://thehive.example.com`.
    url: HttpUrl,
    /// API key of a user who may create alerts (`manageAlert/create`).
    #[schemars(with = "SecretText")]
    token: Secret,
    /// Version of the server: 5 or 4.
    #[serde(default)]
    version: Version,
    /// Address added to each alert as an observable, such as that of flowhook's console.
    observable_url: Option<HttpUrl>,
    /// Mail address added to each alert as an observable, such as that of the people in charge.
    observable_mail: Option<String>,
    /// Further headers, such as `X-Organisation`.
    #[serde(default)]
    headers: OwnHeaders,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// The API that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
enum Version {
    #[default]
    Five,
    Four,
}

crate::params::schema_is!(Version, { "enum": [4, 5], "default": 5 });

impl TryFrom<i64> for Version {
    type Error = String;

    fn try_from(version: i64) -> Result<Self, String> {
        match version {
            5 => Ok(Self::Five),
            4 => Ok(Self::Four),
            other => Err(format!("version must be 4 or 5, not {other}")),
        }
    }
}

#[derive(Debug)]
struct Thehive {
    url: HttpUrl,
    params: ThehiveParams,
    node: String,
    http: HttpClient,
}

impl Thehive {
    fn observables(&self, alert: &Alert) -> Vec<Value> {
        let observable = |kind: &str, value: String, tags: Vec<&str>| json!({ "dataType": kind, "data": value, "tags": tags });
        let party = |party: &Party, side: &'static str| {
            let flags = [(party.is_attacker, "attacker"), (party.is_victim, "victim")];
            let roles = flags.into_iter().filter(|(is, _)| *is).map(|(_, name)| name);
            observable("ip", party.ip.to_string(), std::iter::once(side).chain(roles).collect())
        };
        let mut found: Vec<Value> = Vec::new();
        found.extend(alert.client.as_ref().map(|client| party(client, "client")));
        found.extend(alert.server.as_ref().map(|server| party(server, "server")));
        let name = alert.flow.as_ref().map(|flow| flow.name.as_str()).filter(|name| !name.is_empty());
        found.extend(name.map(|name| observable("fqdn", TITLE.line(name), Vec::new())));
        found.extend(
            self.params.observable_url.as_ref().map(|u| observable("url", u.to_string(), Vec::new())),
        );
        found.extend(self.params.observable_mail.clone().map(|mail| observable("mail", mail, Vec::new())));
        // The server refuses an alert that has the same observable twice.
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|o| seen.insert((o["dataType"].to_string(), o["data"].to_string())));
        found
    }

    fn alert(&self, alert: &Alert, description: &str) -> Value {
        let title = format!("{}: {}", text::type_label(&alert.alert_type), alert.message);
        let (source_ref, label) = match alert.action {
            AlertAction::Release => (format!("{}-release", alert.id), "[Released] "),
            AlertAction::Update => (alert.transition_id(), "[Updated] "),
            AlertAction::Engage | AlertAction::Store => (alert.id.clone(), ""),
        };
        let tags = [
            format!("entity={}", alert.entity.name()),
            format!("category={}", alert.category.name()),
            format!("site={}", TITLE.line_within(&alert.site, 100)),
        ];
        let mitre = alert.mitre.iter().map(|technique| TITLE.line_within(technique, 100));
        json!({
            "type": "flowhook",
            "source": self.node,
            "sourceRef": source_ref,
            "title": TITLE.line(&format!("{label}{title}")),
            "description": description,
            "severity": severity(alert.severity),
            "date": alert.tstamp.ns() / 1_000_000,
            "tags": tags.into_iter().chain(mitre).collect::<Vec<_>>(),
            "tlp": 2,
            "pap": 2,
            self.observables_key(): self.observables(alert),
        })
    }

    fn observables_key(&self) -> &'static str {
        match self.params.version {
            Version::Five => "observables",
            Version::Four => "artifacts",
        }
    }
}

impl Posting for Thehive {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    /// An alert there stands for one of ours.
    fn has_text(&self) -> bool {
        false
    }

    /// By `sourceRef`.
    fn repetition(&self) -> Repetition {
        Repetition::Known
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let line = group.lines.first().map_or("", String::as_str);
        let body = match group.alerts.first() {
            Some(alert) => self.alert(alert, line),
            None => json!({
                "type": "flowhook",
                "source": self.node,
                "sourceRef": "flowhook-test",
                "title": TEST_TEXT,
                "description": line,
                "severity": 1,
            }),
        };
        let auth = Auth::Token("Bearer", &self.params.token);
        Post { auth, own: Some(&self.params.headers), ..Post::json(&self.url, &body) }
    }

    fn reads(&self) -> Option<usize> {
        Some(64 * 1024)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        let json = answer.json();
        let message = json["message"].as_str();
        if answer.status == 400 && message.is_some_and(|text| text.contains("already exist")) {
            return Ok(());
        }
        answer.classify_saying(message)
    }
}

/// TheHive counts from 1, low, to 4, critical.
fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => 1,
        Severity::Warning => 2,
        Severity::Error => 3,
        Severity::Critical | Severity::Emergency => 4,
    }
}
