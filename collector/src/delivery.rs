//! From the capture thread to the publisher, and flows also to the file that `--flows-out` names.

use shared::model::{FlowRecord, Timestamp};
use shared::wire::flow_batch::WrittenBatch;
use shared::wire::subject::{EventSubject, Subjects};

use crate::interface::FlowSink;
use crate::pipeline::Item;
use crate::shards::Outlet;

/// Where a capture thread's items go.
pub struct Delivery {
    outlet: Outlet,
    /// What the outlet was last told to be complete.
    closed: Option<Timestamp>,
    site: String,
    subjects: Subjects,
    flow_sink: Option<FlowSink>,
    /// Flows that could not be written to the sink.
    unwritten: u64,
    /// Nobody takes what is handed over.
    orphaned: bool,
}

impl Delivery {
    /// To `outlet`, and to `flow_sink` when there is one.
    pub fn new(outlet: Outlet, site: String, subjects: Subjects, flow_sink: Option<FlowSink>) -> Self {
        Self { outlet, closed: None, site, subjects, flow_sink, unwritten: 0, orphaned: false }
    }

    /// Which of the interface's threads this is.
    pub fn shard(&self) -> usize {
        self.outlet.shard()
    }

    /// True when nobody takes what is handed over any more.
    pub fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    /// Flows that could not be written to the file since the last time.
    pub fn take_unwritten(&mut self) -> u64 {
        std::mem::take(&mut self.unwritten)
    }

    /// Says that nothing more comes.
    pub fn end(&mut self) {
        self.outlet.end();
    }

    /// Gives items to the publisher; waits while it has no credit to give. Until `closed`, every
    /// summary has been given.
    pub fn deliver(&mut self, out: &mut Vec<Item>, closed: Option<Timestamp>) {
        if out.is_empty() && (closed == self.closed || self.outlet.shards() == 1) {
            return;
        }
        self.closed = closed;
        let mut out = std::mem::take(out);
        for item in &mut out {
            match item {
                Item::Flows(batch) => self.write_flows(batch),
                // What a flow script makes of flows that it chose is an event where it says so.
                Item::Publish { subject, .. } if is_flow_event(subject) => {
                    *subject = self.subjects.prefixed(subject);
                }
                Item::Publish { subject, .. } => *subject = self.subjects.script(&self.site, subject),
                _ => {}
            }
        }
        // The publisher outlives the thread, unless it panicked: then there is nothing to go on for.
        self.orphaned |= !self.outlet.send(out, closed);
    }

    fn write_flows(&mut self, batch: &WrittenBatch) {
        let Some(sink) = &self.flow_sink else { return };
        let Ok(mut sink) = sink.lock() else { return };
        let Ok(read) = batch.read() else {
            self.unwritten += batch.len() as u64;
            return;
        };
        for flow in &read.flows {
            let line = FlowLine {
                community_id: flow.community_id(),
                name: flow.info.name(),
                status_names: shared::model::status::names(flow.status),
                flow,
            };
            let written = serde_json::to_writer(&mut *sink, &line).is_ok() && sink.write_all(b"\n").is_ok();
            self.unwritten += u64::from(!written);
        }
    }
}

/// An ended flow as `--flows-out` writes it.
#[derive(serde::Serialize)]
struct FlowLine<'a> {
    community_id: String,
    name: &'a str,
    status_names: Vec<String>,
    #[serde(flatten)]
    flow: &'a FlowRecord,
}

/// True for the subject of a flow's event.
fn is_flow_event(subject: &str) -> bool {
    matches!(EventSubject::parse(subject), Some(EventSubject::Flow { .. }))
}
