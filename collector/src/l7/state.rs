//! Detection of one flow's protocol, and the reading of its first messages.

use shared::model::L4;
use shared::model::flow::L7Info;
use shared::model::status::StatusBits;

use super::registry::{Set, candidates};
use super::{DISSECTORS, Dissector, Head, L7Context, MAX_PAYLOADS, Probe, ProtocolId, Want, kept};

/// Bytes of a message that is split over segments or datagrams kept at most, per direction.
pub(super) const MAX_STASH: usize = 16 * 1024;

/// The outcome of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet.
    Undecided,
    /// Known since this payload, or known to be another one since; the protocol's name.
    Decided(&'static str),
    /// Decided before, details are still wanted.
    Reading,
    /// Decided before, nothing more is wanted.
    Done,
}

/// A dissector and the number of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chosen {
    dissector: &'static Dissector,
    protocol: ProtocolId,
}

impl Chosen {
    fn place(place: usize) -> Option<Self> {
        let dissector = DISSECTORS.get(place)?;
        Some(Self { dissector, protocol: ProtocolId::of_dissector(place) })
    }
}

/// Detection state of one flow. Drop it at [`Verdict::Done`], or to give up.
#[derive(Debug, Default)]
pub struct L7State {
    chosen: Option<Chosen>,
    done: bool,
    /// The dissector wants every payload.
    always: bool,
    reads: u32,
    /// Payloads in a row that did not finish a message.
    unfinished: u32,
    /// Dissectors that found a direction plausible.
    plausible: [Set; 2],
    /// How the last datagram from the client and the last one from the server began.
    heads: [Head; 2],
    /// Unfinished messages, from the client and from the server.
    pub(super) stash: [Vec<u8>; 2],
}

impl L7State {
    /// A flow of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that unfinished messages take, with the room behind them.
    pub fn stashed(&self) -> usize {
        self.stash.iter().map(Vec::capacity).sum()
    }

    /// Forgets unfinished messages, and keeps no more than `room` bytes for the next of each direction.
    pub fn forget(&mut self, room: usize) {
        for stash in &mut self.stash {
            stash.clear();
            if stash.capacity() > room {
                *stash = Vec::new();
            }
        }
    }

    /// Waits no longer for the rest of a message: a known protocol's dissector reads nothing more.
    /// Returns how many bytes that sets free.
    pub fn give_up_message(&mut self) -> usize {
        let stashed = self.stashed();
        self.forget(0);
        self.done |= self.chosen.is_some();
        stashed
    }

    /// Makes this the state of another flow, with the memory that it has.
    pub fn reset(&mut self) {
        let stash = self.stash.each_mut().map(|stash| {
            stash.clear();
            std::mem::take(stash)
        });
        *self = Self { stash, ..Self::default() };
    }

    /// Makes this the state of a flow of which only the protocol is known: its dissector reads on.
    pub fn reset_to(&mut self, protocol: ProtocolId) {
        self.reset();
        self.chosen = protocol.dissector().map(|dissector| Chosen { dissector, protocol });
        self.done = self.chosen.is_none();
        self.always = true;
    }

    /// What was decided.
    pub fn protocol(&self) -> Option<ProtocolId> {
        Some(self.chosen?.protocol)
    }

    /// True when nothing more is wanted.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// True when nothing but the protocol needs to be remembered to read on: the dissector wants
    /// every payload and no message is unfinished.
    pub fn is_light(&self) -> bool {
        self.always && !self.done && self.stash.iter().all(Vec::is_empty)
    }

    /// Feeds one payload-bearing packet, in the order of the stream, each byte once: split messages are
    /// joined as they are fed.
    ///
    /// What is learnt goes to `info` and, as bits, to `status`.
    pub fn on_payload(
        &mut self,
        payload: &[u8],
        cx: &L7Context,
        info: &mut L7Info,
        status: &mut StatusBits,
    ) -> Verdict {
        match self.chosen {
            _ if self.done => Verdict::Done,
            None if payload.is_empty() => Verdict::Undecided,
            None => self.detect(payload, cx, info, status),
            Some(before) => {
                self.read(before.dissector, payload, cx, info, status);
                match self.chosen {
                    Some(now) if now != before => Verdict::Decided(now.dissector.name),
                    _ if self.done => Verdict::Done,
                    _ => Verdict::Reading,
                }
            }
        }
    }

    fn detect(
        &mut self,
        payload: &[u8],
        cx: &L7Context,
        info: &mut L7Info,
        status: &mut StatusBits,
    ) -> Verdict {
        let side = usize::from(!cx.from_client);
        let cx = &L7Context { before: self.swap_head(side, payload, cx.l4), ..*cx };
        let mut found = Found::No;
        if let Some(stash) = self.stash.get_mut(side).filter(|stash| !stash.is_empty()) {
            let before = stash.len();
            stash.extend_from_slice(payload);
            found = search(stash, cx);
            stash.truncate(if matches!(found, Found::No) { 0 } else { before });
        }
        if matches!(found, Found::No) {
            found = search(payload, cx);
        }
        let chosen = match found {
            Found::Sure(chosen) => chosen,
            Found::Plausible(set) => {
                let Some(chosen) = self.both_plausible(side, &set) else {
                    self.keep(side, payload, cx);
                    return Verdict::Undecided;
                };
                chosen
            }
            Found::No => return Verdict::Undecided,
        };
        self.chosen = Some(chosen);
        self.read(chosen.dissector, payload, cx, info, status);
        Verdict::Decided(self.chosen.unwrap_or(chosen).dissector.name)
    }

    /// How the datagram before began; this one's head takes its place.
    fn swap_head(&mut self, side: usize, payload: &[u8], l4: L4) -> Head {
        let Some(head) = self.heads.get_mut(side).filter(|_| l4 == L4::UDP) else {
            return Head::default();
        };
        let mut now = Head::default();
        now.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
        std::mem::replace(head, now)
    }

    fn both_plausible(&mut self, side: usize, set: &Set) -> Option<Chosen> {
        if let Some(plausible) = self.plausible.get_mut(side) {
            plausible.add(set);
        }
        let [client, server] = &self.plausible;
        client.common(server).places().next().and_then(Chosen::place)
    }

    /// Keeps `payload` to be joined with what follows; a message too long to keep is forgotten.
    fn keep(&mut self, side: usize, payload: &[u8], cx: &L7Context) {
        let Some(stash) = self.stash.get_mut(side) else {
            return;
        };
        if cx.l4 == L4::TCP && stash.len() + payload.len() <= MAX_STASH {
            stash.extend_from_slice(payload);
        } else {
            stash.clear();
        }
    }

    fn read(
        &mut self,
        dissector: &'static Dissector,
        payload: &[u8],
        cx: &L7Context,
        info: &mut L7Info,
        status: &mut StatusBits,
    ) {
        let side = usize::from(!cx.from_client);
        let mut joined = self.stash.get_mut(side).map(std::mem::take).unwrap_or_default();
        let before = joined.len();
        let want = if before == 0 {
            (dissector.dissect)(payload, cx, info, status)
        } else {
            let fits = match cx.l4 {
                L4::UDP => kept::add(&mut joined, payload, 2 * MAX_STASH),
                _ => {
                    joined.extend_from_slice(payload);
                    true
                }
            };
            let all = if fits { &joined[..] } else { payload };
            let want = (dissector.dissect)(all, cx, info, status);
            joined.truncate(before);
            want
        };
        let longer = want == Want::Longer;
        if !longer {
            joined.clear();
        }
        if let Some(stash) = self.stash.get_mut(side) {
            *stash = joined;
        }
        self.reads += 1;
        self.unfinished = if longer { self.unfinished + 1 } else { 0 };
        match want {
            Want::Longer if self.unfinished < MAX_PAYLOADS && cx.l4 == L4::UDP => {
                if let Some(stash) = self.stash.get_mut(side) {
                    kept::add(stash, payload, MAX_STASH);
                }
            }
            Want::Longer if self.unfinished < MAX_PAYLOADS => self.keep(side, payload, cx),
            Want::Next if self.reads < MAX_PAYLOADS => {}
            Want::Always => self.always = true,
            Want::Become(dissector) => {
                let protocol = ProtocolId::by_name(dissector.name).unwrap_or_default();
                self.chosen = Some(Chosen { dissector, protocol });
                (self.reads, self.always) = (0, false);
                self.stash.iter_mut().for_each(Vec::clear);
            }
            Want::Longer | Want::Next | Want::Nothing => {
                self.done = true;
                self.stash.iter_mut().for_each(Vec::clear);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Found {
    Sure(Chosen),
    /// Dissectors that said maybe.
    Plausible(Set),
    No,
}

/// Asks every dissector that may. Sure and on its port goes before sure, sure before plausible on
/// its port.
fn search(payload: &[u8], cx: &L7Context) -> Found {
    let Some(&first) = payload.first() else { return Found::No };
    let (mut sure, mut hinted, mut plausible) = (None, None, Set::default());
    for place in candidates(cx.l4, first).places() {
        let Some(chosen) = Chosen::place(place) else { break };
        let dissector = chosen.dissector;
        let on_its_port = || dissector.ports.iter().any(|(l4, port)| *l4 == cx.l4 && cx.has_port(*port));
        match (dissector.probe)(payload, cx) {
            Probe::Certain if on_its_port() => return Found::Sure(chosen),
            Probe::Certain => sure = sure.or(Some(chosen)),
            Probe::Maybe => {
                plausible.insert(place);
                if hinted.is_none() && on_its_port() {
                    hinted = Some(chosen);
                }
            }
            Probe::No => {}
        }
    }
    match sure.or(hinted) {
        Some(chosen) => Found::Sure(chosen),
        None if !plausible.is_empty() => Found::Plausible(plausible),
        None => Found::No,
    }
}
