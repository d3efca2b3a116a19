//! Endpoint kinds: how a delivery reaches the outside. One file a kind.
//!
//! A kind is a type that implements [`EndpointKind`]; [`KINDS`] lists them all. An endpoint answers
//! one thing about each delivery: delivered, try again (after?), or never.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::model::Alert;
use shared::settings::LiveSettings;
use shared::store::{Delivery, Ledger};
use shared::wire::subject::Subjects;

pub use self::error::{DeliveryError, Told};
use crate::gate::GateConfig;
use crate::http::HttpClient;
use crate::messages::Messages;
use crate::pace::Bound;
use crate::params::schema_of;
use crate::redact;

pub mod alert_store;
pub mod discord;
pub mod elasticsearch;
pub mod email;
mod error;
pub mod fail2ban;
pub mod http_post;
pub mod mattermost;
pub mod msteams;
pub mod pagerduty;
mod quiet;
pub mod shell;
pub mod slack;
pub mod syslog;
pub mod telegram;
pub mod thehive;
pub mod webhook;
pub mod wechat;

/// Every kind there is.
pub const KINDS: &[&dyn Kind] = &[
    &alert_store::AlertStoreKind,
    &discord::DiscordKind,
    &elasticsearch::ElasticsearchKind,
    &email::EmailKind,
    &fail2ban::Fail2banKind,
    &http_post::HttpPostKind,
    &mattermost::MattermostKind,
    &msteams::MsteamsKind,
    &pagerduty::PagerdutyKind,
    &shell::ShellKind,
    &slack::SlackKind,
    &self::syslog::SyslogKind,
    &telegram::TelegramKind,
    &thehive::ThehiveKind,
    &webhook::WebhookKind,
    &wechat::WechatKind,
];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// Names of the kinds that a configuration may use.
pub fn configurable_kinds() -> Vec<&'static str> {
    KINDS.iter().filter(|kind| !kind.is_builtin()).map(|kind| kind.name()).collect()
}

/// How a lane treats an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Deliveries handed over at once, at most.
    pub batch: usize,
    /// All deliveries go to one far end: its failures open the breaker, its `Retry-After` holds the
    /// whole lane.
    pub one_target: bool,
    /// Deliveries are never given up.
    pub never_gives_up: bool,
    /// Bound of a wait, when shorter than the configured one.
    pub backoff_cap: Option<Duration>,
    /// It shows text to people, so that several alerts may become one.
    pub has_text: bool,
    /// What becomes of what the far end gets a second time.
    pub repetition: Repetition,
    /// What the far end takes, where its vendor names a bound.
    pub bound: Option<Bound>,
}

/// What becomes of what the far end gets a second time, because nobody knows whether it had come the
/// first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// The far end tells it by its key, or has done already what it is asked to do.
    Known,
    /// Programs read it twice, which is better than not at all.
    Harmless,
    /// People are told twice.
    Told,
}

impl Manners {
    /// The usual manners, with this batch size.
    pub const fn of_batch(batch: usize) -> Self {
        Self {
            batch,
            one_target: true,
            never_gives_up: false,
            backoff_cap: None,
            has_text: false,
            repetition: Repetition::Known,
            bound: None,
        }
    }

    /// Says whether a recipient's gate goes with it.
    ///
    /// # Errors
    /// Names the key that does not.
    pub fn takes(&self, gate: &GateConfig, kind: &str) -> Result<(), String> {
        match gate.joins() && !self.has_text {
            true => Err(format!(
                "gate.group_by and gate.digest_above: kind '{kind}' has no text that could tell several alerts"
            )),
            false => Ok(()),
        }
    }
}

/// Delivers to one recipient.
#[async_trait]
pub trait Endpoint: Send + Sync + std::fmt::Debug + 'static {
    /// How a lane treats it.
    fn manners(&self) -> Manners;

    /// Delivers; one result for each of `batch`, in its order.
    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>>;

    /// As [`Self::deliver`], with what the far end answered to what it took, where it answers something
    /// that an operator may want to see; without secrets.
    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        self.deliver(batch).await.into_iter().map(|result| result.map(|()| None)).collect()
    }

    /// Requests made so far, of which one delivery may need several; `None` when a batch is one.
    fn requests(&self) -> Option<u64> {
        None
    }

    /// Sends something harmless and says what the far end answered.
    async fn test(&self) -> Result<String, DeliveryError>;
}

/// The alert of a delivery.
///
/// # Errors
/// Permanent: what the ledger holds does not get better.
pub fn alert_of(delivery: &Delivery) -> Result<Alert, DeliveryError> {
    serde_json::from_str(&delivery.payload)
        .map_err(|_| DeliveryError::permanent("the ledger's payload is not an alert"))
}

/// Results of a batch in which some deliveries could not even be sent (`Err`) and the others ended,
/// in their order, as `sent` says.
pub fn merged<T, R>(
    prepared: &[Result<T, DeliveryError>],
    sent: Vec<Result<R, DeliveryError>>,
) -> Vec<Result<R, DeliveryError>> {
    let mut sent = sent.into_iter();
    let unsaid = || Err(DeliveryError::retry("the endpoint did not say how it ended"));
    let result = |one: &Result<T, DeliveryError>| match one {
        Ok(_) => sent.next().unwrap_or_else(unsaid),
        Err(error) => Err(error.clone()),
    };
    prepared.iter().map(result).collect()
}

/// The same result for each of `batch`.
pub fn same_for_all(
    batch: &[Delivery],
    result: &Result<(), DeliveryError>,
) -> Vec<Result<(), DeliveryError>> {
    batch.iter().map(|_| result.clone()).collect()
}

/// What endpoints are built with.
#[derive(Clone)]
pub struct EndpointDeps {
    /// The HTTP client.
    pub http: HttpClient,
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Name of this node.
    pub node: String,
    /// Most deliveries in one batch.
    pub batch: usize,
    /// The ledger, for kinds that have to remember what they sent.
    pub ledger: Arc<dyn Ledger>,
    /// Folder of the scripts that may be run; `None` runs none.
    pub shell_dir: Option<PathBuf>,
    /// Host pools.
    pub settings: LiveSettings,
}

impl EndpointDeps {
    /// Where messages are noted that are to be changed later, if they are.
    pub fn messages(&self, wanted: bool) -> Option<Messages> {
        wanted.then(|| Messages::new(Arc::clone(&self.ledger), Arc::clone(&self.clock)))
    }
}

/// A kind of endpoint, with typed parameters: unknown keys and wrong values are refused while they
/// are read, so that what was read can be built.
pub trait EndpointKind: Send + Sync + 'static {
    /// The name in the configuration.
    const NAME: &'static str;
    /// A configuration with one endpoint and one recipient, as a user would write it.
    const SAMPLE: &'static str;
    /// Always there, and not to be configured.
    const BUILTIN: bool = false;
    /// Parameters that recipients share.
    type Params: DeserializeOwned + JsonSchema;
    /// Parameters of each recipient.
    type RecipientParams: DeserializeOwned + JsonSchema;

    /// Builds the endpoint of one recipient. Does no I/O.
    ///
    /// # Errors
    /// Says what about parameters that are right one by one does not go together.
    fn build(
        params: Self::Params,
        recipient: Self::RecipientParams,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String>;
}

/// A kind of endpoint whose parameters are still text.
pub trait Kind: Send + Sync {
    /// The name in the configuration.
    fn name(&self) -> &'static str;
    /// A configuration with one endpoint and one recipient; empty for what is built in.
    fn sample(&self) -> &'static str;
    /// What parameters there are: JSON Schema (draft 2020-12) of an object with `endpoint` and
    /// `recipient`. Secrets are marked `writeOnly`.
    fn schema(&self) -> serde_json::Value;
    /// Always there, and not to be configured.
    fn is_builtin(&self) -> bool;
    /// What is wrong with an endpoint's parameters.
    ///
    /// # Errors
    /// Names the parameter, never its value when it is a secret.
    fn check_endpoint(&self, params: &toml::Table) -> Result<(), String>;
    /// What is wrong with a recipient's parameters.
    ///
    /// # Errors
    /// Names the parameter, never its value when it is a secret.
    fn check_recipient(&self, params: &toml::Table) -> Result<(), String>;
    /// Builds the endpoint of one recipient.
    ///
    /// # Errors
    /// What the checks say.
    fn build(
        &self,
        endpoint: &toml::Table,
        recipient: &toml::Table,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String>;
}

impl<K: EndpointKind> Kind for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn sample(&self) -> &'static str {
        K::SAMPLE
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": K::NAME,
            "type": "object",
            "properties": {
                "endpoint": schema_of::<K::Params>(),
                "recipient": schema_of::<K::RecipientParams>(),
            },
        })
    }

    fn is_builtin(&self) -> bool {
        K::BUILTIN
    }

    fn check_endpoint(&self, params: &toml::Table) -> Result<(), String> {
        read::<K::Params>(params).map(drop)
    }

    fn check_recipient(&self, params: &toml::Table) -> Result<(), String> {
        read::<K::RecipientParams>(params).map(drop)
    }

    fn build(
        &self,
        endpoint: &toml::Table,
        recipient: &toml::Table,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let built = K::build(read(endpoint)?, read(recipient)?, deps)?;
        let built = quiet::quiet(built, endpoint, recipient);
        // The one place that every endpoint of every test comes from.
        #[cfg(test)]
        let built = crate::testing::watched(built);
        Ok(built)
    }
}

fn read<T: DeserializeOwned>(params: &toml::Table) -> Result<T, String> {
    // An error about a wrong type shows the value, so secrets are looked at first.
    let is_text = |value: &toml::Value| match value {
        toml::Value::Table(table) => table.values().all(toml::Value::is_str),
        value => value.is_str(),
    };
    let not_text = |(key, value): &(&String, &toml::Value)| redact::is_secret(key) && !is_text(value);
    if let Some((key, _)) = params.iter().find(not_text) {
        return Err(format!("'{key}' must be a string"));
    }
    toml::Value::Table(params.clone()).try_into().map_err(|e: toml::de::Error| {
        let text = e.to_string();
        text.trim_end().replace('\n', " ")
    })
}

/// A recipient has none of its own parameters.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// The endpoint of deliveries whose recipient is there no longer: it gives them up, as dead letters
/// that can be replayed once the recipient is back.
#[derive(Debug)]
pub struct Gone {
    /// Why there is no recipient.
    pub reason: &'static str,
}

#[async_trait]
impl Endpoint for Gone {
    fn manners(&self) -> Manners {
        Manners::of_batch(64)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        same_for_all(batch, &Err(DeliveryError::permanent(self.reason)))
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        Err(DeliveryError::permanent(self.reason))
    }
}

#[cfg(test)]
mod tests;
