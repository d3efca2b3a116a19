//! Elasticsearch: alerts as ECS documents, many in one `_bulk` request.
//!
//! Source: Elastic, "Elasticsearch API: Bulk index or delete documents", ECS field reference. The
//! index is `<prefix>-YYYY-MM-DD` of the alert's time in UTC. `create` with the alert's transition as
//! `_id` makes a repetition harmless: 409 says that the document is there. The answer is 200 also when
//! documents are refused, so each is looked at: 429 and 5xx are tried again, the rest is for good.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::model::Alert;
use shared::secret::Secret;
use shared::store::Delivery;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, Told, alert_of, merged};
use crate::format::{ecs, json::to_line};
use crate::http::answer::{self, Answer, classify};
use crate::http::params::TlsParams;
use crate::http::{Auth, HttpClient, HttpUrl, Post};
use crate::params::{SecretText, Within};

/// Prefix of indices where neither endpoint nor recipient has one.
const PREFIX: &str = "alerts-flowhook";

/// Bytes in one request; Elastic advises a few megabytes.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Most of an answer that is read: some hundred bytes a document.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Parts of the answer that are asked for.
const FILTER: &str = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";

/// The oldest major version that is supported.
const OLDEST: u64 = 7;

/// The kind `elasticsearch`.
pub struct ElasticsearchKind;

impl EndpointKind for ElasticsearchKind {
    const NAME: &'static str = "elasticsearch";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/elasticsearch.toml");
    type Params = ElasticsearchParams;
    type RecipientParams = ElasticsearchRecipient;

    fn build(
        params: ElasticsearchParams,
        recipient: ElasticsearchRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        if params.api_key.is_some() && params.username.is_some() {
            return Err("api_key and username exclude each other".to_owned());
        }
        let http = deps.http.with_tls(&params.tls)?;
        let bulk = params.url.with_segments(&["_bulk"]).with_query(FILTER);
        let prefix = recipient.index_prefix.or_else(|| params.index_prefix.clone());
        let prefix = prefix.map_or_else(|| PREFIX.to_owned(), |prefix| prefix.0);
        Ok(Arc::new(Elasticsearch { bulk, prefix, params, http }))
    }
}

/// Parameters of an Elasticsearch endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchParams {
    /// Address of the server, such as `https://search.example.com:9200`.
    url: HttpUrl,
    /// User of HTTP basic authentication.
    username: Option<String>,
    /// Password of HTTP basic authentication.
    #[schemars(with = "Option<SecretText>")]
    password: Option<Secret>,
    /// API key in its encoded form, in place of user and password.
    #[schemars(with = "Option<SecretText>")]
    api_key: Option<Secret>,
    /// What the names of indices begin with; `alerts-flowhook` when absent.
    index_prefix: Option<IndexPrefix>,
    /// Most documents in one request.
    #[serde(default)]
    batch: Within<1, 256, 256>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of an Elasticsearch recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchRecipient {
    /// What the names of this recipient's indices begin with, in place of the endpoint's.
    index_prefix: Option<IndexPrefix>,
}

/// Begin of an index's name, as Elasticsearch allows it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct IndexPrefix(String);

impl TryFrom<String> for IndexPrefix {
    type Error = String;

    fn try_from(prefix: String) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let starts_well = prefix.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        match starts_well && prefix.len() <= 200 && prefix.chars().all(allowed) {
            true => Ok(Self(prefix)),
            false => Err("must be at most 200 lower-case letters, digits, '-', '_' or '.', and begin with \
                          a letter or a digit"
                .to_owned()),
        }
    }
}

#[derive(Debug)]
struct Elasticsearch {
    bulk: HttpUrl,
    prefix: String,
    params: ElasticsearchParams,
    http: HttpClient,
}

impl Elasticsearch {
    fn auth(&self) -> Auth<'_> {
        match (&self.params.api_key, &self.params.username) {
            (Some(key), _) => Auth::Token("ApiKey", key),
            (None, Some(user)) => Auth::Basic(user, self.params.password.as_ref()),
            (None, None) => Auth::None,
        }
    }

    /// The two lines of a document.
    fn lines(&self, id: &str, alert: &Alert) -> String {
        let index = format!("{}-{}", self.prefix, alert.tstamp.date_utc());
        let action = json!({ "create": { "_index": index, "_id": id } });
        format!("{}\n{}\n", to_line(&action), to_line(&ecs::document(alert)))
    }

    async fn send(&self, bodies: &[String]) -> Vec<Told> {
        let post = Post {
            content_type: "application/x-ndjson",
            auth: self.auth(),
            body: Some(bodies.concat().into_bytes()),
            ..Post::to(&self.bulk)
        };
        match self.http.exchange(post, Some(ANSWER_BYTES)).await {
            Ok(answer) => read_bulk(&answer, bodies.len()),
            Err(error) => vec![Err(error); bodies.len()],
        }
    }
}

/// The result of each document.
fn read_bulk(answer: &Answer, documents: usize) -> Vec<Told> {
    let json = answer.json();
    if let Err(error) = answer.classify_saying(json["error"]["reason"].as_str()) {
        return vec![Err(error); documents];
    }
    match (&json["errors"], json["items"].as_array()) {
        (Value::Bool(_), Some(items)) if items.len() == documents => items.iter().map(read_item).collect(),
        // Without errors, `items` may be left out; with, there is one for each document.
        (Value::Bool(false), _) => vec![Ok(Some(format!("answered {}", answer.status))); documents],
        _ => vec![Err(answer.unreadable()); documents],
    }
}

fn read_item(item: &Value) -> Told {
    // `{"create": {"status": 201, …}}`; the key repeats the action.
    let item = item.as_object().and_then(|item| item.values().next()).unwrap_or(&Value::Null);
    let Some(status) = item["status"].as_u64().and_then(|status| u16::try_from(status).ok()) else {
        return Err(DeliveryError::retry("answered without the state of a document"));
    };
    if status == 409 {
        return Ok(Some("document is there already".to_owned()));
    }
    let what = |key: &str| answer::said(item["error"][key].as_str().unwrap_or_default());
    let reason = format!("document answered {status}: {}: {}", what("type"), what("reason"));
    match classify(status, None, shared::model::Timestamp::ZERO) {
        Ok(()) => Ok(Some(format!("document answered {status}"))),
        Err(DeliveryError::Retry { after, .. }) => Err(DeliveryError::Retry { after, reason }),
        Err(DeliveryError::Unknown { .. }) => Err(DeliveryError::Unknown { reason }),
        Err(error @ DeliveryError::NoRoom { .. }) => Err(error),
        // Of one document, not of us.
        Err(DeliveryError::Permanent { .. } | DeliveryError::Refused { .. }) => {
            Err(DeliveryError::Permanent { reason })
        }
    }
}

/// How many of `bodies` go into one request; at least one.
fn fitting(bodies: &[String]) -> usize {
    let mut bytes = 0;
    let fits = bodies.iter().take_while(|body| {
        bytes += body.len();
        bytes <= REQUEST_BYTES
    });
    fits.count().max(1)
}

#[async_trait]
impl Endpoint for Elasticsearch {
    fn manners(&self) -> Manners {
        Manners::of_batch(self.params.batch.get())
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let lines = |delivery: &Delivery| alert_of(delivery).map(|a| self.lines(&delivery.event_id, &a));
        let prepared: Vec<Result<String, DeliveryError>> = batch.iter().map(lines).collect();
        let bodies: Vec<String> = prepared.iter().flatten().cloned().collect();
        let mut ends = Vec::with_capacity(bodies.len());
        let mut rest = bodies.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            let ended = self.send(now).await;
            let failed = ended.iter().find_map(|end| match end {
                Err(error @ (DeliveryError::Retry { .. } | DeliveryError::Refused { .. })) => {
                    Some(error.clone())
                }
                Err(DeliveryError::Unknown { reason }) => Some(DeliveryError::retry(reason)),
                _ => None,
            });
            ends.extend(ended);
            rest = later;
            if let Some(failed) = failed {
                ends.extend(later.iter().map(|_| Err(failed.clone())));
                break;
            }
        }
        merged(&prepared, ends)
    }

    /// Asks for the server's version, which must be 7 or newer.
    async fn test(&self) -> Result<String, DeliveryError> {
        let root = Post { auth: self.auth(), ..Post::to(&self.params.url) };
        let answer = self.http.exchange(root, Some(16 * 1024)).await?;
        let json = answer.json();
        answer.classify_saying(json["error"]["reason"].as_str())?;
        let Some(version) = json["version"]["number"].as_str() else { return Err(answer.unreadable()) };
        let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        let shown = answer::said(version);
        match major {
            Some(major) if major >= OLDEST => Ok(format!("{} is version {shown}", self.params.url)),
            _ => Err(DeliveryError::permanent(format!(
                "{} is version {shown}; version {OLDEST} or newer is needed",
                self.params.url
            ))),
        }
    }
}
