//! Layer 7: which protocol a flow speaks, and what its first messages tell.
//!
//! One file a protocol, each a [`Dissector`]: a probe that says whether a payload is its own, and a
//! reader that fills [`L7Info`] and status bits. [`L7State`] asks them in turn while a flow is
//! young. Payloads are hostile: nothing here panics, allocates without bound or trusts a length.

#![forbid(unsafe_code)]

#[cfg(test)]
mod corpus;
mod dhcp;
mod dhcpv6;
mod dns;
mod dtls;
mod ftp;
mod http;
mod imap;
mod ntp;
mod pop3;
mod ports;
mod quic;
mod smtp;
mod ssdp;
mod ssh;
mod stun;
mod telnet;
#[cfg(test)]
mod tests;
mod text;
mod tls;

use shared::model::L4;
use shared::model::flow::L7Info;
use shared::model::status::StatusBits;

pub use ports::{by_l4, guess_by_port, is_standard_port};

/// Payload-bearing packets that detection looks at before it gives up, and that a decided flow's
/// dissector reads at most unless it wants the whole flow.
pub const MAX_PAYLOADS: u32 = 12;

/// Bytes of a message that is split over TCP segments kept at most, per direction.
const MAX_STASH: usize = 8 * 1024;

/// What is known about a payload besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L7Context {
    /// Layer-4 protocol.
    pub l4: L4,
    /// Port of the side that opened the flow.
    pub client_port: u16,
    /// Port of the side that was asked.
    pub server_port: u16,
    /// Whether the client sent this payload.
    pub from_client: bool,
    /// Packets of the flow so far, this one included.
    pub packets_seen: u32,
}

impl L7Context {
    fn has_port(&self, port: u16) -> bool {
        self.server_port == port || self.client_port == port
    }
}

/// What a dissector thinks of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Mine.
    Certain,
    /// Plausible, or too short to tell. Decides with a usual port, or once both directions are
    /// plausible.
    Maybe,
    /// Not mine.
    No,
}

/// What a dissector wants to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The same bytes again with the next ones of that direction behind them.
    Longer,
    /// The next payload, but no more than [`MAX_PAYLOADS`] in all.
    Next,
    /// Every payload of the flow.
    Always,
    /// Nothing.
    Nothing,
}

/// One protocol.
#[derive(Debug)]
pub struct Dissector {
    /// Protocol name as ntopng spells it.
    pub name: &'static str,
    /// Its usual ports.
    pub ports: &'static [(L4, u16)],
    /// Judges a payload, or a direction's first payloads joined.
    pub probe: fn(&[u8], &L7Context) -> Probe,
    /// Reads a payload of a flow that is known to speak the protocol.
    pub dissect: fn(&[u8], &L7Context, &mut L7Info, &mut StatusBits) -> Want,
}

/// All dissectors. Of several that are equally sure the first one wins.
pub const DISSECTORS: &[&Dissector] = &[
    &tls::TLS,
    &dns::DNS,
    &http::HTTP,
    &http::HTTP2,
    &quic::QUIC,
    &dns::MDNS,
    &dns::LLMNR,
    &dns::NETBIOS,
    &ssh::SSH,
    &ntp::NTP,
    &dhcp::DHCP,
    &dhcpv6::DHCPV6,
    &ssdp::SSDP,
    &stun::STUN,
    &dtls::DTLS,
    &smtp::SMTP,
    &ftp::FTP,
    &pop3::POP3,
    &imap::IMAP,
    &telnet::TELNET,
];

/// The outcome of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet.
    Undecided,
    /// Known since this payload; the protocol's name.
    Decided(&'static str),
    /// Decided before, details are still wanted.
    Reading,
    /// Decided before, nothing more is wanted.
    Done,
}

/// Detection state of one flow. Drop it at [`Verdict::Done`], or to give up.
#[derive(Debug, Default)]
pub struct L7State {
    chosen: Option<&'static Dissector>,
    done: bool,
    reads: u32,
    /// Payloads in a row that did not finish a message.
    unfinished: u32,
    /// Dissectors that found a direction plausible, as bits.
    plausible: [u32; 2],
    /// Unfinished messages, from the client and from the server.
    stash: [Vec<u8>; 2],
}

impl L7State {
    /// A flow of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds one payload-bearing packet, in the order of the wire.
    ///
    /// Segments that were sent again should not come here: split messages are joined as they arrive.
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
            Some(dissector) => {
                self.read(dissector, payload, cx, info, status);
                if self.done { Verdict::Done } else { Verdict::Reading }
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
        let dissector = match found {
            Found::Sure(dissector) => dissector,
            Found::Plausible(bits) => {
                let Some(dissector) = self.both_plausible(side, bits) else {
                    self.keep(side, payload, cx);
                    return Verdict::Undecided;
                };
                dissector
            }
            Found::No => return Verdict::Undecided,
        };
        self.chosen = Some(dissector);
        self.read(dissector, payload, cx, info, status);
        Verdict::Decided(dissector.name)
    }

    fn both_plausible(&mut self, side: usize, bits: u32) -> Option<&'static Dissector> {
        if let Some(plausible) = self.plausible.get_mut(side) {
            *plausible |= bits;
        }
        let both = self.plausible.iter().fold(u32::MAX, |all, bits| all & bits);
        DISSECTORS.get(both.trailing_zeros() as usize).copied()
    }

    /// Keeps `payload` to be joined with what follows; a message too long to keep is forgotten.
    fn keep(&mut self, side: usize, payload: &[u8], cx: &L7Context) {
        let Some(stash) = self.stash.get_mut(side) else {
            return;
        };
        if cx.l4 == L4::TCP && stash.len() + payload.len() <= MAX_STASH {
            stash.extend_from_slice(payload);
        } else {
            *stash = Vec::new();
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
        let want = if joined.is_empty() {
            (dissector.dissect)(payload, cx, info, status)
        } else {
            let before = joined.len();
            joined.extend_from_slice(payload);
            let want = (dissector.dissect)(&joined, cx, info, status);
            joined.truncate(before);
            want
        };
        self.reads += 1;
        self.unfinished = if want == Want::Longer { self.unfinished + 1 } else { 0 };
        match want {
            Want::Longer if self.unfinished < MAX_PAYLOADS => {
                if let Some(stash) = self.stash.get_mut(side) {
                    *stash = joined;
                }
                self.keep(side, payload, cx);
            }
            Want::Next if self.reads < MAX_PAYLOADS => {}
            Want::Always => {}
            Want::Longer | Want::Next | Want::Nothing => {
                self.done = true;
                self.stash = Default::default();
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Found {
    Sure(&'static Dissector),
    /// Dissectors that said maybe, as bits.
    Plausible(u32),
    No,
}

/// Asks every dissector. Sure and on its port goes before sure, sure before plausible on its port.
fn search(payload: &[u8], cx: &L7Context) -> Found {
    let (mut sure, mut hinted, mut plausible) = (None, None, 0_u32);
    for (number, &dissector) in DISSECTORS.iter().enumerate() {
        let on_its_port = || dissector.ports.iter().any(|(l4, port)| *l4 == cx.l4 && cx.has_port(*port));
        match (dissector.probe)(payload, cx) {
            Probe::Certain if on_its_port() => return Found::Sure(dissector),
            Probe::Certain => sure = sure.or(Some(dissector)),
            Probe::Maybe => {
                plausible |= 1 << number;
                if hinted.is_none() && on_its_port() {
                    hinted = Some(dissector);
                }
            }
            Probe::No => {}
        }
    }
    match sure.or(hinted) {
        Some(dissector) => Found::Sure(dissector),
        None if plausible != 0 => Found::Plausible(plausible),
        None => Found::No,
    }
}

/// Nothing to read beyond the protocol's name.
fn name_only(_: &[u8], _: &L7Context, _: &mut L7Info, _: &mut StatusBits) -> Want {
    Want::Nothing
}

/// Big-endian 16 bits at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_be_bytes(*raw))
}
