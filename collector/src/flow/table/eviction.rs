//! Who has to go when the table is full.

use shared::model::{FlowEnd, Timestamp};

use super::FlowTable;
use crate::flow::Flow;
use crate::flow::event::{FlowEvent, FlowIndex};

/// Flows looked at for an eviction, and how many of those worth nothing are enough.
const SAMPLE: usize = 64;
const SAMPLE_WORTHLESS: usize = 8;
/// Leads from place to place of a sample that is to come from everywhere.
const SCATTER: usize = 0x9e37_79b1;

impl FlowTable {
    /// Makes room: of a sample, the longest idle of those worth least. A flood leaves enough flows of one
    /// packet that some are met soon; a table full of conversations is looked at more closely.
    pub(super) fn evict(&mut self, events: &mut Vec<FlowEvent>) {
        let len = self.flows.len();
        let start = self.sampled % len.max(1);
        let mut end = start;
        let around = (start..len).chain(0..start).take(SAMPLE).inspect(|place| end = place + 1);
        let mut victim = self.least(around, SAMPLE_WORTHLESS);
        self.sampled = end;
        if victim.is_none_or(|((worth, ..), _)| worth > 1) {
            // Conversations that began together lie together: look elsewhere too.
            let scattered = (1..=SAMPLE).map(|n| start.wrapping_add(n.wrapping_mul(SCATTER)) % len.max(1));
            victim = self.least(scattered, 1).into_iter().chain(victim).min();
        }
        let victim =
            victim.map(|(_, place)| place).or_else(|| self.flows.iter().position(|flow| flow.id != 0));
        if let Some(place) = victim {
            self.evicted += 1;
            self.end(place as FlowIndex, FlowEnd::Evicted, events);
        }
    }

    /// Of the flows at these places the one that is worth least, then longest idle, with what it is
    /// measured by; so many that are worth nothing are enough.
    fn least(
        &self,
        places: impl Iterator<Item = usize>,
        mut enough: usize,
    ) -> Option<((u8, Timestamp, u64), usize)> {
        let mut least = None;
        for place in places {
            let Some(flow) = self.flows.get(place).filter(|flow| flow.id != 0) else { continue };
            let worth = flow.worth();
            least = least.into_iter().chain([((worth, flow.last_seen, flow.id), place)]).min();
            enough -= usize::from(worth == 0);
            if enough == 0 {
                break;
            }
        }
        least
    }
}

impl Flow {
    /// How much is lost with the flow when there is no room for it: nothing with a packet that nobody
    /// answered, little with one that is over or goes one way only.
    fn worth(&self) -> u8 {
        let answered = self.cli2srv.packets > 0 && self.srv2cli.packets > 0;
        match (self.packets(), answered && !self.is_over()) {
            (0 | 1, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        }
    }
}
