//! Memory of layer-7 detection, lent to flows while they need it.

use shared::model::flow::{L7Info, TCP_ACK, TCP_SYN};
use shared::model::status::FlowStatus;
use shared::model::{L7Source, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::early::{Early, Span, Turn};
use super::expected::Expected;
use super::marks::Marks;
use super::names::Names;
use super::state::{Extra, Flow};
use super::tcp::Segment;
use crate::decode::Packet;
use crate::l7::{self, L7Context, L7State, Verdict};

/// Flows under detection at once at most: beyond, protocols are guessed by port.
const MAX_SCRATCHES: usize = 1 << 18;

/// Bytes of unfinished messages kept for all flows together at most: beyond, a message is not waited
/// for. A head as long as those of browsers of 5,000 flows that all stopped in its middle.
const MAX_STASHED: usize = 32 << 20;

/// What a flow leaves to the next one that gets its memory, per direction at most.
const LEFT_TO_NEXT: usize = 2048;

#[derive(Debug, Default)]
struct Scratch {
    state: L7State,
    last_payload: Timestamp,
    /// Segments that came before their turn.
    early: Option<Box<Early>>,
}

/// Lends memory to flows that are being recognised.
#[derive(Debug, Default)]
pub(super) struct Detection {
    scratches: Vec<Scratch>,
    free: Vec<u32>,
    /// A box to write into what a payload tells; kept for the next one when it told nothing.
    spare: Option<Box<Extra>>,
    expected: Expected,
    /// Bytes that unfinished messages take, room that waits for the next flow included.
    stashed: usize,
    /// Flows that got no memory, or none any more.
    refused: u64,
}

impl Detection {
    /// Flows that were not read on because all flows' detection had no memory left: their protocol was
    /// guessed, or a long message of theirs not read.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Time of the last payload that detection has seen of `flow`.
    pub(super) fn last_payload(&self, flow: &Flow) -> Timestamp {
        let scratch = (flow.scratch as usize).checked_sub(1).and_then(|at| self.scratches.get(at));
        scratch.map_or(flow.first_seen, |scratch| scratch.last_payload)
    }

    /// Takes back what `flow` was lent.
    pub(super) fn release(&mut self, flow: &mut Flow) {
        if let Some(at) = flow.scratch.checked_sub(1) {
            flow.scratch = 0;
            if let Some(Scratch { state, early, .. }) = self.scratches.get_mut(at as usize) {
                if let Some(early) = early.take() {
                    flow.marks.set(Marks::EARLY, false);
                    self.stashed = self.stashed.saturating_sub(early.bytes());
                }
                let before = state.stashed();
                // What one flow needed once is not kept for ever, and nothing where room is short.
                state.forget(if self.stashed > MAX_STASHED / 2 { 0 } else { LEFT_TO_NEXT });
                self.stashed = self.stashed.saturating_sub(before - state.stashed());
            }
            self.free.push(at);
        }
    }

    /// Names a flow that begins with `packet` when another flow announced it.
    pub(super) fn greet(&self, flow: &mut Flow, packet: &Packet<'_>, now: Timestamp) {
        if let Some(protocol) = self.expected.find(packet, now) {
            flow.decide(protocol, L7Source::Announced);
        }
    }

    /// Whether the next payload of `flow` is of interest.
    pub(super) fn wants(flow: &Flow) -> bool {
        flow.scratch != 0 || flow.marks.has(Marks::READING) || !flow.marks.has(Marks::DECIDED)
    }

    /// Reads the payload of a packet, as far as it was not read before, and what waited for it. A TCP
    /// segment that comes before its turn waits.
    pub(super) fn read(
        &mut self,
        flow: &mut Flow,
        packet: &Packet<'_>,
        segment: Segment,
        from_client: bool,
        now: Timestamp,
        names: &mut Names,
    ) {
        let before = flow.status;
        let plain = segment.missing == 0 && segment.old == 0 && !flow.marks.has(Marks::EARLY);
        match &packet.tcp {
            Some(tcp) if !plain => {
                let seq = tcp.seq.wrapping_add(u32::from(tcp.flags & TCP_SYN != 0));
                let span = Span { seq, len: packet.payload_len, missing: segment.missing, old: segment.old };
                self.in_turn(flow, span, packet.payload, from_client, now, names);
            }
            _ => self.feed(flow, packet.payload, from_client, now, names),
        }
        if (packet.payload.len() as u32) < packet.payload_len {
            // What the capture cut off proves nothing.
            flow.status &= before | !FlowStatus::MalformedPacket.bit();
        }
    }

    /// Gives up what is missing on one side of `flow` once its receiver has it, by the other side's
    /// packet.
    pub(super) fn acknowledged(
        &mut self,
        flow: &mut Flow,
        packet: &Packet<'_>,
        from_client: bool,
        now: Timestamp,
        names: &mut Names,
    ) {
        let (Some(tcp), side) = (&packet.tcp, usize::from(from_client)) else { return };
        let early = self.early(flow).filter(|_| tcp.flags & TCP_ACK != 0);
        if let Some(early) = early.filter(|early| early.passed_by(side, tcp.ack)) {
            early.pass_hole(side);
            self.catch_up(flow, !from_client, now, names);
        }
    }

    /// Reads all that waits: nothing more is to come.
    pub(super) fn flush(&mut self, flow: &mut Flow, now: Timestamp, names: &mut Names) {
        for from_client in [true, false] {
            let side = usize::from(!from_client);
            // Each round reads one segment at least.
            while let Some(early) = self.early(flow).filter(|early| early.waits(side)) {
                early.pass_hole(side);
                self.catch_up(flow, from_client, now, names);
            }
        }
    }

    fn early(&mut self, flow: &Flow) -> Option<&mut Early> {
        let at = flow.scratch.checked_sub(1).filter(|_| flow.marks.has(Marks::EARLY))?;
        self.scratches.get_mut(at as usize)?.early.as_deref_mut()
    }

    #[inline(never)]
    fn in_turn(
        &mut self,
        flow: &mut Flow,
        span: Span,
        payload: &[u8],
        from_client: bool,
        now: Timestamp,
        names: &mut Names,
    ) {
        let Some(at) = self.lend(flow) else {
            return self.feed(flow, payload, from_client, now, names);
        };
        let Some(scratch) = self.scratches.get_mut(at) else { return };
        let before = scratch.early.as_ref().map_or(0, |early| early.bytes());
        let side = usize::from(!from_client);
        let turn = Early::turn(&mut scratch.early, side, span, payload);
        let after = scratch.early.as_ref().map_or(0, |early| early.bytes());
        if turn == Turn::Waits {
            scratch.last_payload = now;
            flow.marks.set(Marks::EARLY, true);
            self.stashed = self.stashed.saturating_add(after).saturating_sub(before);
            if self.stashed > MAX_STASHED {
                self.refused += 1;
                if let Some(early) = self.early(flow) {
                    early.pass_hole(side);
                }
            }
        }
        if let Turn::Now(old) = turn {
            self.feed(flow, payload.get(old..).unwrap_or_default(), from_client, now, names);
        }
        self.catch_up(flow, from_client, now, names);
    }

    /// Reads what waited on one side and whose turn has come.
    fn catch_up(&mut self, flow: &mut Flow, from_client: bool, now: Timestamp, names: &mut Names) {
        while let Some(early) = self.early(flow) {
            let before = early.bytes();
            let next = early.next(usize::from(!from_client));
            let (empty, after) = (early.is_empty(), early.bytes());
            self.stashed = self.stashed.saturating_sub(before - after);
            if empty {
                flow.marks.set(Marks::EARLY, false);
                let scratch = flow.scratch.checked_sub(1).and_then(|at| self.scratches.get_mut(at as usize));
                scratch.into_iter().for_each(|scratch| scratch.early = None);
            }
            match next {
                Some(payload) => self.feed(flow, &payload, from_client, now, names),
                None => return,
            }
        }
    }

    /// Gives the next payload of one side to the dissectors.
    fn feed(
        &mut self,
        flow: &mut Flow,
        payload: &[u8],
        from_client: bool,
        now: Timestamp,
        names: &mut Names,
    ) {
        if !Self::wants(flow) {
            return;
        }
        let Some(at) = self.lend(flow) else {
            self.refused += 1;
            return flow.give_up();
        };
        flow.payloads = flow.payloads.saturating_add(1);
        let (client_port, server_port) = flow.ports();
        let [client, server] = flow.host_keys().map(|host| host.ip);
        let context = L7Context {
            l4: flow.l4(),
            client,
            server,
            client_port,
            server_port,
            from_client,
            packets_seen: flow.payloads.into(),
            at_s: now.secs(),
            before: l7::Head::default(),
        };
        let mut extra = flow.extra.take().or_else(|| self.spare.take()).unwrap_or_default();
        let Some(scratch) = self.scratches.get_mut(at) else { return };
        scratch.last_payload = now;
        let before = xxh3_64(extra.info.name().as_bytes());
        let stashed = scratch.state.stashed();
        let verdict = scratch.state.on_payload(payload, &context, &mut extra.info, &mut flow.status);
        self.stashed = (self.stashed + scratch.state.stashed()).saturating_sub(stashed);
        if self.stashed > MAX_STASHED && scratch.state.stashed() > stashed {
            self.stashed -= scratch.state.give_up_message();
            self.refused += 1;
        }
        let (protocol, done) = (scratch.state.protocol(), scratch.state.is_done());
        let light = scratch.state.is_light() && scratch.early.is_none();
        let hint = std::mem::take(&mut extra.info.hint);
        // Most payloads of a long flow tell no other name than the one that was looked up.
        let news = !hint.is_empty()
            || matches!(verdict, Verdict::Decided(_))
            || xxh3_64(extra.info.name().as_bytes()) != before;
        let name = protocol.filter(|_| news).and_then(|protocol| {
            let told = [extra.info.name(), &hint].into_iter().filter(|name| !name.is_empty());
            let mut known = told.map(|name| names.with_host(protocol, name));
            let name = known.find(|name| *name != Names::plain(protocol))?;
            Some((protocol, name))
        });
        if let Some(announced) = extra.info.announced.take() {
            self.expected.add(&announced, now);
        }
        if extra.info == L7Info::default()
            && extra.alerts.is_empty()
            && (extra.score, extra.earlier_s) == (0, 0)
        {
            self.spare = Some(extra);
        } else {
            flow.extra = Some(extra);
        }
        match (verdict, protocol) {
            (Verdict::Decided(_), Some(protocol)) => flow.decide(protocol, L7Source::Payload),
            (Verdict::Undecided, _) if u32::from(flow.payloads) >= l7::MAX_PAYLOADS => flow.give_up(),
            _ => {}
        }
        // The first name that tells an application stays: a resolver's flow asks for many.
        if let Some((protocol, name)) = name.filter(|_| flow.name == Names::plain(flow.l7)) {
            debug_assert_eq!(protocol, flow.l7);
            flow.name = name;
        }
        let given_up = flow.marks.has(Marks::DECIDED) && flow.l7_source != L7Source::Payload;
        flow.marks.set(Marks::READING, light);
        if light || done || given_up {
            self.release(flow);
        }
    }

    /// The place of the flow's memory, which is lent now when it has none.
    fn lend(&mut self, flow: &mut Flow) -> Option<usize> {
        if let Some(at) = flow.scratch.checked_sub(1) {
            return Some(at as usize);
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.scratches.len() < MAX_SCRATCHES => {
                self.scratches.push(Scratch::default());
                (self.scratches.len() - 1) as u32
            }
            None => return None,
        };
        let state = &mut self.scratches.get_mut(at as usize)?.state;
        match flow.marks.has(Marks::READING) {
            true => state.reset_to(flow.l7),
            false => state.reset(),
        }
        flow.scratch = at + 1;
        Some(at as usize)
    }
}
