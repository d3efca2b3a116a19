//! What time does to flows: timers, ends and successors.

use shared::model::{FlowEnd, Timestamp};

use super::FlowTable;
use crate::flow::event::{FlowEvent, FlowIndex};
use crate::flow::marks::Marks;
use crate::flow::prefetch::prefetch_all;
use crate::flow::state::Flow;

impl FlowTable {
    /// Moves time to `now` by at most one second that has timers, and tells what ended or is due.
    /// Returns true while there is more to do before `now`.
    pub fn advance(&mut self, now: Timestamp, events: &mut Vec<FlowEvent>) -> bool {
        let Some(wheel) = &mut self.wheel else {
            self.now = self.now.max(now);
            return false;
        };
        let mut fired = std::mem::take(&mut self.fired);
        let second = wheel.fire(now, &mut fired);
        match second {
            Some(at) => {
                self.now = self.now.max(at);
                for (number, place) in fired.iter().enumerate() {
                    if let Some(flow) =
                        fired.get(number + 8).and_then(|ahead| self.flows.get(*ahead as usize))
                    {
                        prefetch_all(flow);
                    }
                    if let Some(flow) =
                        fired.get(number + 4).and_then(|ahead| self.flows.get(*ahead as usize))
                    {
                        self.index.prefetch(flow.key().hash(self.config.seed));
                    }
                    self.wake(*place, at, events);
                }
            }
            None => self.now = self.now.max(now),
        }
        self.fired = fired;
        second.is_some()
    }

    /// A timer fired: does what is due, then sleeps until the next thing can be due.
    fn wake(&mut self, place: FlowIndex, at: Timestamp, events: &mut Vec<FlowEvent>) {
        let config = self.config;
        let Some(flow) = self.flows.get_mut(place as usize).filter(|flow| flow.id != 0) else { return };
        let secs = |s: u32| i64::from(s);
        let over = flow.is_over();
        let ends = flow.last_seen.plus_secs(secs(if over { config.closed_s } else { config.idle_s }));
        if ends <= at {
            let reason = if over { FlowEnd::Closed } else { FlowEnd::Idle };
            return self.end(place, reason, events);
        }
        let mut wake = ends;
        // A connection may be silent for long before its first word.
        if !flow.marks.has(Marks::DETECTED) && (flow.payloads > 0 || flow.marks.has(Marks::EARLY)) {
            let gives_up = self.detection.last_payload(flow).plus_secs(secs(config.silence_s));
            if gives_up <= at {
                self.detection.flush(flow, at, &mut self.names);
                flow.give_up();
                self.detection.release(flow);
                flow.marks.set(Marks::DETECTED, true);
                events.push(FlowEvent::ProtocolDetected(place));
            } else {
                wake = wake.min(gives_up);
            }
        }
        if config.periodic_s > 0 {
            let age = at.since(flow.first_seen) / shared::model::time::NS_PER_S;
            let ticks = u64::try_from(age / secs(config.periodic_s)).unwrap_or(0);
            if ticks as u16 != flow.ticks_told {
                flow.ticks_told = ticks as u16;
                // What the application says first is read however late it comes, but told it is before
                // any update, once.
                if !flow.marks.has(Marks::DETECTED) {
                    flow.marks.set(Marks::DETECTED, true);
                    events.push(FlowEvent::ProtocolDetected(place));
                }
                events.push(FlowEvent::PeriodicUpdate { flow: place, tick: ticks });
            }
            let next = (ticks as i64 + 1) * secs(config.periodic_s);
            wake = wake.min(flow.first_seen.plus_secs(next));
        }
        if config.active_s > 0 {
            let expires = flow.first_seen.plus_secs(secs(config.active_s));
            if expires <= at {
                return self.renew(place, at, events);
            }
            wake = wake.min(expires);
        }
        self.set_timer(place, wake);
    }

    /// Ends a flow that is too old and puts its successor in its place.
    fn renew(&mut self, place: FlowIndex, at: Timestamp, events: &mut Vec<FlowEvent>) {
        let Some(flow) = self.get(place) else { return };
        let mut successor = flow.succeed(self.next_id, at);
        let hash = flow.key().hash(self.config.seed);
        successor.last_seen = flow.last_seen;
        self.next_id += self.id_step;
        self.end(place, FlowEnd::Active, events);
        let place = self.insert(hash, successor);
        self.set_timer(place, at.plus_secs(i64::from(self.config.silence_s)));
    }

    pub(super) fn end(&mut self, place: FlowIndex, reason: FlowEnd, events: &mut Vec<FlowEvent>) {
        let Some(live) = self.flows.get_mut(place as usize).filter(|flow| flow.id != 0) else { return };
        if live.tcp.has_holes() {
            // It counts once more, after the summary that may have been its last.
            self.touched.note(place, live);
            live.tcp.give_up_holes(&mut self.holes);
        }
        let mut flow = self.boxes.pop().unwrap_or_else(|| Box::new(Flow::vacant()));
        std::mem::swap(&mut *flow, live);
        self.index.remove(flow.key().hash(self.config.seed), place);
        self.free.push(place);
        if let Some(wheel) = &mut self.wheel {
            wheel.unset(place);
        }
        self.detection.flush(&mut flow, self.now, &mut self.names);
        self.detection.release(&mut flow);
        flow.give_up();
        if reason != FlowEnd::Active {
            flow.conclude();
        }
        events.push(FlowEvent::End { flow, reason });
    }
}
