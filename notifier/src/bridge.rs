//! The ZeroMQ bridge: a PUB socket that speaks the envelope of the hook manager whose subscribers it
//! serves: a frame with the key, a frame with the content in base64.
//!
//! It hears events as they are told, at most once as a PUB socket does, and keeps for each subscriber no
//! more than a bounded number of bytes: what a slow one has no room for is lost to it alone, and counted.
//! The protocol (ZMTP 3.0, NULL) is our own in [`zmtp`]: of the crates that speak it none bounds a
//! subscriber by bytes, and a stalled one with large events costs gigabytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::bus::{BusError, Message, SharedBus};
use shared::clock::SharedClock;
use shared::events::{Event, cloud};
use shared::wire::subject::Subjects;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::publisher::{Publisher, serve};
use crate::hook::message::{event_xml, keys, retry_xml};
use crate::hook::plan::event_json;

pub mod publisher;
pub mod zmtp;

#[cfg(test)]
mod tests;

/// What the content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A HOOK_MESSAGE document.
    #[default]
    Xml,
    /// The event.
    Json,
}

/// The `[notifier.bridge]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeConfig {
    /// Serve subscribers.
    pub enabled: bool,
    /// Address to listen on.
    pub listen: String,
    /// What the content is.
    pub content: Content,
    /// Publish states under their keys by id and group too.
    pub aliases: bool,
    /// KiB that wait for one subscriber at most.
    pub subscriber_kib: u64,
    /// Messages that wait for one subscriber at most.
    pub subscriber_messages: usize,
    /// Subscribers at most.
    pub subscribers: usize,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: "127.0.0.1:2101".to_owned(),
            content: Content::Xml,
            aliases: false,
            subscriber_kib: 65_536,
            subscriber_messages: 1000,
            subscribers: 64,
        }
    }
}

impl BridgeConfig {
    /// Everything that is wrong, each with its key.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.listen.parse::<SocketAddr>().is_err() {
            wrong.push(format!("notifier.bridge.listen: '{}' is not ADDRESS:PORT", self.listen));
        }
        let mut range = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                wrong.push(format!("notifier.bridge.{key}: must be {least} to {most}, not {value}"));
            }
        };
        range("subscriber_kib", self.subscriber_kib, 64, 16 << 20);
        range("subscriber_messages", self.subscriber_messages as u64, 1, 1_000_000);
        range("subscribers", self.subscribers as u64, 1, 10_000);
        wrong
    }
}

/// What the bridge needs.
#[derive(Clone)]
pub struct BridgeArgs {
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Its section of the configuration.
    pub config: BridgeConfig,
}

/// Why the bridge does not run.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The address cannot be listened on.
    #[error("notifier.bridge.listen: cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Time between tries to listen again, when another program has the address.
const AGAIN: Duration = Duration::from_secs(5);

/// Listens for subscribers, trying again while another program has the address.
pub async fn run(args: BridgeArgs) {
    loop {
        match start(&args).await {
            Ok((_, serving)) => serving.await,
            Err(BridgeError::Bus(BusError::Closed)) => return,
            Err(error) => tracing::error!(%error, "the ZeroMQ bridge does not run, trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens, and gives the address and what serves until the bus closes.
///
/// # Errors
/// [`BridgeError`] says what is in the way.
pub async fn start(
    args: &BridgeArgs,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send + use<>), BridgeError> {
    let BridgeArgs { bus, subjects, clock, config } = args.clone();
    let cannot = |cause| BridgeError::Listen { address: config.listen.clone(), cause };
    let listener = TcpListener::bind(&config.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let mut events = bus.subscribe(&subjects.prefixed("event.>")).await?;
    let mut retries = bus.subscribe(&subjects.prefixed("hook.retried.>")).await?;
    let publisher = Arc::new(Publisher::new(
        usize::try_from(config.subscriber_kib << 10).unwrap_or(usize::MAX),
        config.subscriber_messages,
    ));
    tracing::info!(%address, "the ZeroMQ bridge serves subscribers; anybody who can connect hears everything");
    // Ends with what is returned.
    let mut accepting = JoinSet::new();
    accepting.spawn(serve(listener, Arc::clone(&publisher), config.subscribers));
    Ok((address, async move {
        // One task publishes: everybody hears everything in one order.
        loop {
            let message = tokio::select! {
                event = events.next() => event,
                retry = retries.next() => retry,
            };
            let Some(message) = message else { break };
            for (key, content) in envelopes(&message, &subjects, &clock, &config) {
                publisher.publish(&[Bytes::from(key), Bytes::from(content)]);
            }
        }
        accepting.abort_all();
    }))
}

/// Keys and contents of a message on the bus.
fn envelopes(
    message: &Message,
    subjects: &Subjects,
    clock: &SharedClock,
    config: &BridgeConfig,
) -> Vec<(String, String)> {
    if let Some(hook) = subjects.parse_hook_retried(&message.subject) {
        let retried: serde_json::Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let arguments = retried["arguments"].as_str().unwrap_or_default();
        let content = match config.content {
            Content::Xml => STANDARD.encode(retry_xml(&hook, arguments)),
            Content::Json => STANDARD.encode(&message.payload),
        };
        // An empty second word follows the content, as subscribers of retries expect.
        return vec![("RETRY".to_owned(), format!("{content} "))];
    }
    let subject = subjects.unprefixed(&message.subject).unwrap_or(&message.subject);
    match cloud::read(subject, "", &message.headers, &message.payload, clock.now()) {
        Ok(event) => of_event(&event, config),
        Err(error) => {
            tracing::debug!(subject = ?message.subject, ?error, "no event");
            Vec::new()
        }
    }
}

fn of_event(event: &Event, config: &BridgeConfig) -> Vec<(String, String)> {
    let content = match config.content {
        Content::Xml => event_xml(event),
        Content::Json => event_json(event).to_string(),
    };
    let content = STANDARD.encode(content);
    keys(event, config.aliases).into_iter().map(|key| (key, content.clone())).collect()
}
