//! What flow hooks tell as events: those of a sample of flows, and what scripts make of flows that they chose.

use serde_json::Value;
use shared::events::{Body, FlowBody};
use shared::model::FlowRecord;
use shared::script::FlowHook;
use shared::wire::subject::EventSubject;

use super::{Item, Pipeline};

impl Pipeline {
    /// Tells the hooks of one flow in `every` as events, always of the same flows; 0 tells of none.
    pub fn sample_flow_events(&mut self, every: u32) {
        self.event_every = every;
    }

    /// Whether the hooks of the flow with this number are told.
    pub(super) fn is_sampled(&self, flow: u64) -> bool {
        // Spread, because several threads number their flows in steps.
        let spread = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.event_every > 0 && spread.is_multiple_of(self.event_every.into())
    }

    /// Tells that a hook of a sampled flow was due.
    pub(super) fn tell_hook(&self, hook: FlowHook, record: &FlowRecord, out: &mut Vec<Item>) {
        let flow = serde_json::to_value(record).unwrap_or_default();
        out.push(item(hook.name().to_owned(), self.parts.place.ifid, self.event_every, flow));
    }
}

/// A script's message; on a subject of flows' events it is what the script makes of its flow.
pub(super) fn published(subject: String, payload: String) -> Item {
    match EventSubject::parse(&subject) {
        Some(EventSubject::Flow { hook, ifid }) => {
            item(hook, ifid, 1, serde_json::from_str(&payload).unwrap_or(Value::String(payload)))
        }
        _ => Item::Publish { subject, payload },
    }
}

fn item(hook: String, ifid: u32, sampled: u32, flow: Value) -> Item {
    let subject = EventSubject::Flow { hook: hook.clone(), ifid }.to_string();
    let body = Body::Flow(FlowBody { hook, ifid, sampled, flow });
    Item::Publish { subject, payload: serde_json::to_string(&body).unwrap_or_default() }
}
