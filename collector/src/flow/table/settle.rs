//! Summaries of what flows have counted, and flows that have ended as they go out.

use super::FlowTable;
use crate::flow::event::FlowEvent;
use crate::flow::growth::Growth;
use crate::flow::prefetch::{prefetch_all, prefetch_parts, prefetch_texts};
use crate::flow::state::Flow;

/// Boxes of ended flows kept at most.
const MAX_BOXES: usize = 1024;

/// Takes what flows have counted.
pub trait Settle {
    /// The flow comes in a while: ask for what will be needed first.
    fn soon(&self, flow: &Flow);
    /// The flow comes next: ask for what is needed after that.
    fn next(&self, flow: &Flow);
    /// What `flow` has counted since the last time.
    fn settled(&mut self, flow: &Flow, macs: [Option<shared::model::pool::Mac>; 2], growth: &Growth);
}

impl FlowTable {
    /// Whether [`FlowTable::settle`] is of use; it is unless told otherwise.
    pub fn set_growth(&mut self, on: bool) {
        self.touched.set(on);
    }

    /// True when some flow has counted since the last summary.
    pub fn has_grown(&self) -> bool {
        self.touched.len() > 0
    }

    /// Gives every flow that has counted since the last time, with what it has counted, in the
    /// order in which they first did.
    pub fn settle(&mut self, to: &mut impl Settle) {
        for at in 0..self.touched.len() {
            let Some(place) = self.touched.place(at) else { break };
            if let Some(ahead) = self.touched.place(at + 16).and_then(|place| self.flows.get(place as usize))
            {
                prefetch_all(ahead);
            }
            if let Some(ahead) = self.touched.place(at + 8).and_then(|place| self.flows.get(place as usize)) {
                to.soon(ahead);
            }
            if let Some(ahead) = self.touched.place(at + 4).and_then(|place| self.flows.get(place as usize)) {
                to.next(ahead);
            }
            let Some(flow) = self.flows.get_mut(place as usize) else { continue };
            // Another flow may have the place by now; it has its own number in the list.
            if flow.id != 0 && flow.touched as usize == at + 1 {
                let growth = self.touched.settle(flow, false);
                to.settled(flow, flow.macs.map(|mac| self.macs.get(mac)), &growth);
            }
        }
        self.touched.clear();
    }

    /// What a flow that has left the table counted since the last summary.
    pub fn settle_ended(&self, flow: &mut Flow) -> Growth {
        self.touched.settle(flow, true)
    }

    /// Takes back the box of a flow that has ended, when nothing more is wanted of it.
    pub fn give_back(&mut self, mut flow: Box<Flow>) {
        if self.boxes.len() < MAX_BOXES {
            *flow = Flow::vacant();
            self.boxes.push(flow);
        }
    }

    /// Asks for what the records of ended flows are made of to be brought near. `coming` are the events
    /// that follow the one under way.
    pub fn bring_ended_near(coming: &[FlowEvent], to: &impl Settle) {
        let ended = |ahead: usize| match coming.get(ahead) {
            Some(FlowEvent::End { flow, .. }) => Some(&**flow),
            _ => None,
        };
        if let Some(extra) = ended(9).and_then(|flow| flow.extra.as_deref()) {
            prefetch_all(extra);
        }
        if let Some(flow) = ended(5) {
            to.soon(flow);
            flow.info().into_iter().for_each(prefetch_parts);
        }
        if let Some(flow) = ended(2) {
            to.next(flow);
            flow.info().into_iter().for_each(prefetch_texts);
        }
    }
}
