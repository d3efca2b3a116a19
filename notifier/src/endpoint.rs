//! Endpoint kinds: how a delivery reaches the outside. One file a kind.
//!
//! A kind is a type that implements [`EndpointKind`]; [`KINDS`] lists them all. An endpoint answers
//! one thing about each delivery: delivered, try again (after?), or never.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::store::Delivery;
use shared::wire::subject::Subjects;

use crate::http::HttpClient;
use crate::redact;

pub mod alert_store;
pub mod http_post;
pub mod syslog;
pub mod webhook;

/// Every kind there is.
pub const KINDS: &[&dyn Kind] = &[
    &alert_store::AlertStoreKind,
    &http_post::HttpPostKind,
    &self::syslog::SyslogKind,
    &webhook::WebhookKind,
];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// Names of the kinds that a configuration may use.
pub fn configurable_kinds() -> Vec<&'static str> {
    KINDS.iter().filter(|kind| !kind.is_builtin()).map(|kind| kind.name()).collect()
}

/// Why a delivery did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may arrive next time.
    #[error("{reason}")]
    Retry {
        /// How long the far end asks everybody to wait; it is alive. `None` counts as a failure of
        /// the endpoint.
        after: Option<Duration>,
        /// Why, without secrets.
        reason: String,
    },
    /// It will not arrive next time either.
    #[error("{reason}")]
    Permanent {
        /// Why, without secrets.
        reason: String,
    },
}

impl DeliveryError {
    /// To be tried again because of `reason`.
    pub fn retry(reason: impl std::fmt::Display) -> Self {
        Self::Retry { after: None, reason: reason.to_string() }
    }

    /// To be given up because of `reason`.
    pub fn permanent(reason: impl std::fmt::Display) -> Self {
        Self::Permanent { reason: reason.to_string() }
    }
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
}

impl Manners {
    /// The usual manners, with this batch size.
    pub const fn of_batch(batch: usize) -> Self {
        Self { batch, one_target: true, never_gives_up: false, backoff_cap: None }
    }
}

/// Delivers to one recipient.
#[async_trait]
pub trait Endpoint: Send + Sync + std::fmt::Debug + 'static {
    /// How a lane treats it.
    fn manners(&self) -> Manners;

    /// Delivers; one result for each of `batch`, in its order.
    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>>;

    /// Sends something harmless and says what the far end answered.
    async fn test(&self) -> Result<String, DeliveryError>;
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
}

/// A kind of endpoint, with typed parameters: unknown keys and wrong values are refused while they
/// are read, so that what was read can be built.
pub trait EndpointKind: Send + Sync + 'static {
    /// The name in the configuration.
    const NAME: &'static str;
    /// A TOML table with `endpoint` and `recipient` parameters as a user would write them.
    const SAMPLE: &'static str;
    /// Always there, and not to be configured.
    const BUILTIN: bool = false;
    /// Parameters that recipients share.
    type Params: DeserializeOwned;
    /// Parameters of each recipient.
    type RecipientParams: DeserializeOwned;

    /// Builds the endpoint of one recipient. Does no I/O.
    fn build(
        params: Self::Params,
        recipient: Self::RecipientParams,
        deps: &EndpointDeps,
    ) -> Arc<dyn Endpoint>;
}

/// A kind of endpoint whose parameters are still text.
pub trait Kind: Send + Sync {
    /// The name in the configuration.
    fn name(&self) -> &'static str;
    /// A TOML table with `endpoint` and `recipient` parameters.
    fn sample(&self) -> &'static str;
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
        Ok(K::build(read(endpoint)?, read(recipient)?, deps))
    }
}

fn read<T: DeserializeOwned>(params: &toml::Table) -> Result<T, String> {
    // An error about a wrong type shows the value, so secrets are looked at first.
    let not_text = |(key, value): &(&String, &toml::Value)| redact::is_secret(key) && !value.is_str();
    if let Some((key, _)) = params.iter().find(not_text) {
        return Err(format!("'{key}' must be a string"));
    }
    toml::Value::Table(params.clone()).try_into().map_err(|e: toml::de::Error| {
        let text = e.to_string();
        text.trim_end().replace('\n', " ")
    })
}

/// A recipient has none of its own parameters.
#[derive(Debug, Default, serde::Deserialize)]
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
