//! Carries a pipeline's items to the bus, in order, and stays until what must not be lost is safe.
//!
//! Between the capture thread and this task stands a channel of [`CREDIT`] batches. Where the bus may be
//! away and the wire does not wait, messages go to disk meanwhile ([`spooling`]); elsewhere this task
//! waits for the bus ([`waiting`]), and with it the thread: a capture file is read no faster, libpcap's
//! ring absorbs and counts.

use bytes::Bytes;
use prost::Message as _;
use shared::bus::SharedBus;
use shared::model::Alert;
use shared::wire::subject::Subjects;
use shared::wire::{compression, partition};
use tokio::sync::mpsc;

use crate::pipeline::Item;
use crate::spool::Record;

pub mod spooling;
mod waiting;

use spooling::{SpoolPlan, Spooling};
use waiting::Waiting;

/// Batches of items under way between thread and publisher.
pub const CREDIT: usize = 4;

/// Appended messages not yet known to be safe, at most.
const IN_FLIGHT: usize = 64;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Delta = 0,
    Flows = 1,
    Alert = 2,
    Post = 3,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Flows => "flows",
            Self::Alert => "alert",
            Self::Post => "post",
        }
    }

    /// True for what is never shed.
    fn is_urgent(self) -> bool {
        matches!(self, Self::Alert | Self::Post)
    }
}

/// A message that the bus keeps.
#[derive(Clone, Debug)]
struct Message {
    kind: Kind,
    subject: String,
    id: String,
    payload: Bytes,
}

impl Message {
    fn record(&self) -> Record {
        let Self { kind, subject, id, payload } = self.clone();
        Record { kind: kind as u8, subject, id, payload }
    }
}

/// Builds messages of items.
struct Writer {
    subjects: Subjects,
    /// Whether summaries and flow records are compressed.
    compress: bool,
}

impl Writer {
    fn packed(&self, message: Bytes) -> Bytes {
        if self.compress { compression::compress(message) } else { message }
    }

    /// The message of an item that the bus keeps; nothing of one that cannot be encoded.
    fn message(&self, item: Item) -> Option<Message> {
        match item {
            Item::Delta(delta) => {
                let p = &delta.producer;
                let partition = partition::of_interface(&p.site, p.ifid);
                let subject = self.subjects.delta(&p.site, partition, &p.node, p.ifid);
                let id = format!("{}/{}/{}/{}/{}", p.site, p.node, p.ifid, p.epoch, p.sequence);
                Some(Message { kind: Kind::Delta, subject, id, payload: self.packed(delta.encode()) })
            }
            Item::Flows(batch) => {
                let p = &batch.producer;
                let subject = self.subjects.flows(&p.site, &p.node, p.ifid);
                let id = format!("{}/{}/{}/{}/{}", p.site, p.node, p.ifid, p.epoch, p.sequence);
                Some(Message { kind: Kind::Flows, subject, id, payload: self.packed(batch.message()) })
            }
            Item::Alert(alert) => self.alert(*alert),
            Item::Post(post) => {
                let payload = Bytes::from(post.encode_to_vec());
                let subject = self.subjects.post(&post.site);
                Some(Message { kind: Kind::Post, subject, id: post.id, payload })
            }
            Item::Publish { .. } => None,
        }
    }

    /// An alert, as a span of the trace of the packets that caused it.
    fn alert(&self, mut alert: Alert) -> Option<Message> {
        if let Some(cause) = alert.traceparent.take() {
            let span = tracing::info_span!("alert", id = alert.id, kind = alert.alert_type);
            shared::telemetry::set_parent(&span, &cause);
            alert.traceparent = shared::telemetry::traceparent(&span).or(Some(cause));
        }
        let subject = self.subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        match serde_json::to_vec(&alert) {
            Ok(json) => {
                let id = alert.transition_id();
                Some(Message { kind: Kind::Alert, subject, id, payload: json.into() })
            }
            Err(error) => {
                tracing::error!(%error, id = alert.id, "alert cannot be encoded");
                None
            }
        }
    }
}

/// Where messages go.
enum Outlet {
    Waiting(Waiting),
    Spooling(Box<Spooling>),
}

/// Publishes until the channel closes and everything is safe, on the bus or, with a `spool`, on disk.
/// Returns how many messages were lost: flow records shed because the bus refused them again and again,
/// or anything after it closed; what a spool loses it counts by itself.
pub async fn run(
    bus: SharedBus,
    subjects: Subjects,
    compress: bool,
    mut items: mpsc::Receiver<Vec<Item>>,
    spool: Option<SpoolPlan>,
) -> u64 {
    let writer = Writer { subjects, compress };
    let mut lost = 0;
    let mut outlet = match spool {
        None => Outlet::Waiting(Waiting::new(SharedBus::clone(&bus))),
        Some(plan) => {
            let count = std::sync::Arc::clone(&plan.count);
            match Spooling::open(&bus, &writer, plan) {
                Ok(spooling) => Outlet::Spooling(Box::new(spooling)),
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be used: the capture waits for the bus");
                    count("spool_failed", 1);
                    Outlet::Waiting(Waiting::new(SharedBus::clone(&bus)))
                }
            }
        }
    };
    loop {
        let batch = match &mut outlet {
            Outlet::Waiting(_) => items.recv().await,
            Outlet::Spooling(spooling) => tokio::select! {
                biased;
                batch = items.recv() => batch,
                () = spooling.progress() => continue,
            },
        };
        let Some(batch) = batch else { break };
        for item in batch {
            if let Item::Publish { subject, payload } = item {
                if let Err(error) = bus.publish(&subject, payload.into()).await {
                    lost += 1;
                    tracing::warn!(%error, subject, "script's message lost");
                }
                continue;
            }
            let Some(message) = writer.message(item) else {
                lost += 1;
                continue;
            };
            match &mut outlet {
                Outlet::Waiting(waiting) => waiting.send(message).await,
                Outlet::Spooling(spooling) => spooling.send(message).await,
            }
        }
    }
    match outlet {
        Outlet::Waiting(waiting) => lost + waiting.finish().await,
        Outlet::Spooling(spooling) => {
            spooling.finish().await;
            lost
        }
    }
}
