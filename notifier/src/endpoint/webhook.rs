//! Webhook: alerts as JSON by POST (seed 002 "Webhook").
//!
//! Body: `{"version":"0.2","sharedsecret":"…","alerts":[…]}`; each alert carries
//! `idempotency_key`, the same in every try, so that the receiver can tell a repetition. A request
//! with one alert has it in the header `Idempotency-Key` too; `webhook-id` names the request. With a
//! signing secret the request is signed as Standard Webhooks says (specification, "Webhook Headers",
//! "Signature scheme"). With a template each alert is a request whose body the template gives.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::clock::SharedClock;
use shared::model::Alert;
use shared::secret::Secret;

use super::{Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::one_line;
use crate::format::template::{Template, json_inside};
use crate::http::params::{OwnHeaders, TlsParams};
use crate::http::{Auth, HttpClient, HttpUrl, Post};
use crate::params::{SecretText, Within, schema_is};
use crate::posting::{Group, Poster, Posting};

/// Version of the body's form, as ntopng's webhook counts it.
const VERSION: &str = "0.2";

/// The kind `webhook`.
pub struct WebhookKind;

impl EndpointKind for WebhookKind {
    const NAME: &'static str = "webhook";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/webhook.toml");
    type Params = WebhookParams;
    type RecipientParams = NoParams;

    fn build(params: WebhookParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        if params.password.is_some() && params.username.is_none() {
            return Err("a password needs a username".to_owned());
        }
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Webhook { params, http, clock: Arc::clone(&deps.clock) })))
    }
}

/// Parameters of a webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookParams {
    /// Where to.
    url: HttpUrl,
    /// Sent in every body as `sharedsecret`.
    #[schemars(with = "Option<SecretText>")]
    shared_secret: Option<Secret>,
    /// Signs every request: `whsec_` and the key in base64, 24 to 64 bytes of it.
    signing_secret: Option<SigningKey>,
    /// User of HTTP basic authentication.
    username: Option<String>,
    /// Password of HTTP basic authentication.
    #[schemars(with = "Option<SecretText>")]
    password: Option<Secret>,
    /// Further headers.
    #[serde(default)]
    headers: OwnHeaders,
    /// Alerts in one request.
    #[serde(default)]
    batch: Within<1, 10, 10>,
    /// Requests under way at once; with one, alerts arrive in the order in which they were accepted.
    #[serde(default)]
    at_once: Within<1, 64, 1>,
    /// The body of each request, in place of the usual one; `${message}` and so on stand for an
    /// alert's fields.
    template: Option<Template>,
    /// What the template makes.
    #[serde(default)]
    template_type: TemplateType,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// What a template makes, and with it how fields are escaped.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TemplateType {
    /// JSON; fields stand inside strings.
    #[default]
    Json,
    /// Plain text; fields stay on their line.
    Text,
}

/// A key of Standard Webhooks.
struct SigningKey(hmac::Key);

schema_is!(SigningKey, { "type": "string", "format": "password", "writeOnly": true });

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        let text = secret.reveal().strip_prefix("whsec_").unwrap_or_else(|| secret.reveal());
        match STANDARD.decode(text) {
            Ok(key) if (24..=64).contains(&key.len()) => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key))),
            _ => Err(serde::de::Error::custom(
                "must be 'whsec_' and 24 to 64 bytes in base64, as `openssl rand -base64 32` gives them",
            )),
        }
    }
}

impl SigningKey {
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.0, &signed)))
    }
}

#[derive(Debug)]
struct Webhook {
    params: WebhookParams,
    http: HttpClient,
    clock: SharedClock,
}

#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sharedsecret: Option<&'a str>,
    alerts: Vec<SentAlert<'a>>,
}

#[derive(Serialize)]
struct SentAlert<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    idempotency_key: &'a str,
}

impl Webhook {
    fn body(&self, group: &Group) -> Vec<u8> {
        if let (Some(template), Some(alert)) = (&self.params.template, group.alerts.first()) {
            let text = match self.params.template_type {
                TemplateType::Json => template.fill(alert, json_inside),
                TemplateType::Text => template.fill(alert, one_line),
            };
            return text.into_bytes();
        }
        let pairs = group.alerts.iter().zip(&group.keys);
        let alerts = pairs.map(|(alert, idempotency_key)| SentAlert { alert, idempotency_key }).collect();
        let sharedsecret = self.params.shared_secret.as_ref().map(Secret::reveal);
        // Alerts that were read from JSON can be written as JSON.
        serde_json::to_vec(&Body { version: VERSION, sharedsecret, alerts }).unwrap_or_default()
    }
}

impl Posting for Webhook {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        false
    }

    /// By `webhook-id` and `idempotency_key`.
    fn repetition(&self) -> Repetition {
        Repetition::Known
    }

    fn batch(&self) -> usize {
        if self.params.template.is_some() { 1 } else { self.params.batch.get() }
    }

    fn at_once(&self) -> usize {
        self.params.at_once.get()
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let body = self.body(group);
        let id = group.id();
        let mut headers = Vec::new();
        if let Some(key) = &self.params.signing_secret {
            let now = self.clock.now().secs();
            headers.push(("webhook-timestamp", now.to_string()));
            headers.push(("webhook-signature", key.sign(&id, now, &body)));
        }
        headers.push(("webhook-id", id));
        if let [only] = group.keys.as_slice() {
            headers.push(("idempotency-key", only.clone()));
        }
        let content_type = match (&self.params.template, self.params.template_type) {
            (Some(_), TemplateType::Text) => "text/plain; charset=utf-8",
            _ => "application/json",
        };
        let user = self.params.username.as_deref();
        Post {
            content_type,
            headers,
            own: Some(&self.params.headers),
            auth: user.map_or(Auth::None, |user| Auth::Basic(user, self.params.password.as_ref())),
            body: Some(body),
            ..Post::to(&self.params.url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, "Verifying signatures".
    #[test]
    fn a_signature_is_that_of_the_specifications_example() {
        let key: SigningKey = serde_json::from_str("\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_that_is_too_short_is_refused_unshown() {
        let error = serde_json::from_str::<SigningKey>("\"whsec_aHVudGVyMg==\"").unwrap_err().to_string();
        assert!(error.contains("24 to 64") && !error.contains("aHVu"), "{error}");
    }
}
