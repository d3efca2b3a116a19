//! What flows have counted since a summary last looked at them.
//!
//! A flow does not carry what the summary knows of it. Whoever touches a flow first after a summary
//! notes the counters of before; at the next summary, or when the flow ends, the difference is what
//! is new.

use super::event::FlowIndex;
use super::marks::Marks;
use super::state::{Direction, Flow};

/// What a flow has counted since the last summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    /// Client to server; flags are all those seen.
    pub cli2srv: Direction,
    /// Server to client.
    pub srv2cli: Direction,
    /// TCP segments of client and server that are missing for good.
    pub lost: [u32; 2],
    /// DNS questions.
    pub dns_queries: u32,
    /// DNS answers with an error.
    pub dns_errors: u32,
    /// DNS answers.
    pub dns_replies: u32,
    /// The flow is new to the summary.
    pub begun: bool,
    /// The connection has failed, and that is new.
    pub failed: bool,
    /// What the flow carries has become known.
    pub named: bool,
}

/// A flow's counters when the last summary was made.
#[derive(Clone, Copy, Debug)]
struct Before {
    place: FlowIndex,
    cli2srv: Direction,
    srv2cli: Direction,
    lost: [u32; 2],
    dns: [u32; 3],
}

/// The flows touched since the last summary.
#[derive(Debug, Default)]
pub(super) struct Touched {
    flows: Vec<Before>,
    /// Nobody asks what flows have counted.
    off: bool,
}

impl Touched {
    /// Whether anybody asks what flows have counted.
    pub(super) fn set(&mut self, on: bool) {
        self.off = !on;
    }

    /// Notes a flow that is about to count, once.
    pub(super) fn note(&mut self, place: FlowIndex, flow: &mut Flow) {
        if flow.touched == 0 && !self.off {
            let dns = flow.dns_counts();
            let (cli2srv, srv2cli, lost) = (flow.cli2srv, flow.srv2cli, flow.tcp.lost());
            self.flows.push(Before { place, cli2srv, srv2cli, lost, dns });
            flow.touched = self.flows.len() as u32;
        }
    }

    /// What `flow` has counted, and forgets that it was touched.
    ///
    /// `ended` says that nothing more comes: a connection request that was not answered has failed.
    pub(super) fn settle(&self, flow: &mut Flow, ended: bool) -> Growth {
        let before = (flow.touched as usize).checked_sub(1).and_then(|at| self.flows.get(at));
        flow.touched = 0;
        let begun = !flow.marks.has(Marks::BEGUN);
        // A refused connection has failed at once, an unanswered one when it is given up.
        let over = ended || flow.tcp.is_over();
        let failed = over && !flow.marks.has(Marks::FAILED) && flow.connection_failed();
        flow.marks.set(Marks::BEGUN, true);
        if failed {
            flow.marks.set(Marks::FAILED, true);
        }
        let named = flow.l7().is_some() && !flow.marks.has(Marks::NAMED);
        if named {
            flow.marks.set(Marks::NAMED, true);
        }
        let Some(before) = before else {
            return Growth { begun, failed, named, ..Growth::default() };
        };
        let dns = flow.dns_counts();
        Growth {
            cli2srv: since(&flow.cli2srv, &before.cli2srv),
            srv2cli: since(&flow.srv2cli, &before.srv2cli),
            lost: [0, 1].map(|side| flow.tcp.lost()[side] - before.lost[side]),
            dns_queries: dns[0].saturating_sub(before.dns[0]),
            dns_errors: dns[1].saturating_sub(before.dns[1]),
            dns_replies: dns[2].saturating_sub(before.dns[2]),
            begun,
            failed,
            named,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The place of the flow touched as number `at`.
    pub(super) fn place(&self, at: usize) -> Option<FlowIndex> {
        self.flows.get(at).map(|before| before.place)
    }

    /// Forgets all of them; after a burst, most of its memory too.
    pub(super) fn clear(&mut self) {
        let used = self.flows.len();
        self.flows.clear();
        if self.flows.capacity() > 65_536.max(used * 8) {
            self.flows.shrink_to(used * 2);
        }
    }
}

fn since(now: &Direction, then: &Direction) -> Direction {
    Direction {
        bytes: now.bytes - then.bytes,
        packets: now.packets - then.packets,
        goodput_bytes: now.goodput_bytes - then.goodput_bytes,
        retransmissions: now.retransmissions - then.retransmissions,
        out_of_order: now.out_of_order - then.out_of_order,
        zero_windows: now.zero_windows - then.zero_windows,
        syns: now.syns.wrapping_sub(then.syns),
        resets: now.resets.wrapping_sub(then.resets),
        tcp_flags: now.tcp_flags,
        tos: now.tos,
    }
}
