//! DNS (RFC 1035) over UDP and TCP, and its kin: multicast DNS (RFC 6762) and LLMNR (RFC 4795),
//! which share the message format; the NetBIOS name service (RFC 1002) does, too.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::wire_name;
use super::{Carrier, Dissector, L7Context, Probe, Want, any_byte, be16, host};

const HEADER: usize = 12;
const MAX_NAME: usize = 255;
/// Questions in one message; more than one is rare already.
const MAX_QUESTIONS: u16 = 32;
/// Records in one message; zone transfers have hundreds in each.
const MAX_RECORDS: u32 = 4096;

const DNS_PORT: u16 = 53;
const MDNS_PORT: u16 = 5353;
const LLMNR_PORT: u16 = 5355;
const NETBIOS_PORT: u16 = 137;

/// The flag that must be zero (RFC 1035 §4.1.1; RFC 4035 took its two neighbours).
const RESERVED: u16 = 0x0040;

/// A single label this long hardly comes from a person; tunnels fill theirs up to 63.
const SUSPICIOUS_LABEL: usize = 52;
/// Query type NULL: obsolete but for tunnels.
const TYPE_NULL: u16 = 10;
const TYPE_OPT: u16 = 41;
/// Longest message over UDP without an extension (RFC 1035 §4.2.1).
const MAX_PLAIN: usize = 512;

pub(super) static DNS: Dissector = Dissector {
    name: "DNS",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: any_byte,
    ports: &[(L4::UDP, DNS_PORT), (L4::TCP, DNS_PORT)],
    probe: |bytes, cx| {
        let others = [MDNS_PORT, LLMNR_PORT, NETBIOS_PORT];
        if others.iter().any(|port| cx.has_port(*port)) { Probe::No } else { probe(bytes, cx) }
    },
    dissect,
};

pub(super) static MDNS: Dissector = Dissector {
    name: "MDNS",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: any_byte,
    ports: &[(L4::UDP, MDNS_PORT)],
    probe: |bytes, cx| probe_on(MDNS_PORT, bytes, cx),
    dissect,
};

pub(super) static LLMNR: Dissector = Dissector {
    name: "LLMNR",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: any_byte,
    ports: &[(L4::UDP, LLMNR_PORT), (L4::TCP, LLMNR_PORT)],
    probe: |bytes, cx| probe_on(LLMNR_PORT, bytes, cx),
    dissect,
};

fn probe_on(port: u16, bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.has_port(port) { probe(bytes, cx) } else { Probe::No }
}

pub(super) fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let message = match cx.l4 {
        L4::UDP => bytes,
        L4::TCP => match framed(bytes) {
            Some((message, _)) => message,
            None => return Probe::No,
        },
        _ => return Probe::No,
    };
    let at_home = [DNS_PORT, MDNS_PORT, LLMNR_PORT, NETBIOS_PORT].iter().any(|port| cx.has_port(*port));
    match parse(message, None) {
        // Elsewhere only what DNS looks like nearly always, so that others' zeros do not pass for it.
        Ok(message) if !at_home && !message.plain => Probe::No,
        // The prefix must agree with the message itself.
        Ok(Message { end: Some(end), .. })
            if cx.l4 == L4::TCP && be16(bytes, 0).map(usize::from) != Some(end) =>
        {
            Probe::No
        }
        Ok(Message { end: Some(end), .. }) if end == message.len() || at_home => Probe::Certain,
        Ok(Message { end: None, .. }) if at_home => Probe::Maybe,
        Ok(_) | Err(Malformed) => Probe::No,
    }
}

/// The first message of a TCP stream and what follows (RFC 1035 §4.2.2); the message may be unfinished.
fn framed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(be16(bytes, 0)?);
    let rest = bytes.get(2..)?;
    if length < HEADER {
        return None;
    }
    Some(rest.split_at_checked(length).unwrap_or((rest, &[])))
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.l4 != L4::TCP {
        if read(bytes, cx, info, status) == Err(Malformed) {
            *status |= FlowStatus::MalformedPacket.bit();
        }
        return Want::Always;
    }
    // Counters must not count twice what is read again, so only the last message may be unfinished
    // and nothing before it may be counted together with it.
    let mut rest = bytes;
    let mut counted = false;
    while let Some((message, behind)) = framed(rest) {
        let length = be16(rest, 0).map_or(0, usize::from);
        if message.len() < length {
            return if counted { Want::Always } else { Want::Longer };
        }
        // After a lost segment a payload begins anywhere, so what does not parse proves nothing.
        let _ = read(message, cx, info, status);
        counted = true;
        rest = behind;
    }
    Want::Always
}

fn read(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Result<(), Malformed> {
    let mut name = Name::EMPTY;
    let message = parse(bytes, Some(&mut name))?;
    note(&message, &name, cx, info, status);
    Ok(())
}

fn note(message: &Message, name: &Name, cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) {
    let dns = info.dns.get_or_insert_default();
    if message.reply {
        dns.replies += 1;
        dns.reply_code = message.code;
        if message.code != 0 {
            dns.errors += 1;
            *status |= FlowStatus::ErrorCode.bit();
        }
    } else {
        dns.queries += 1;
    }
    if message.reserved {
        *status |= FlowStatus::MinorIssues.bit();
    }
    if cx.l4 == L4::UDP && message.length > MAX_PLAIN && !message.has_edns {
        *status |= FlowStatus::LargeDns.bit();
    }
    if let Some(kind) = message.question {
        let local = cx.has_port(MDNS_PORT) || cx.has_port(LLMNR_PORT);
        if !local && (name.longest >= SUSPICIOUS_LABEL || kind == TYPE_NULL) {
            *status |= FlowStatus::SuspiciousDns.bit();
        }
        dns.query_type = kind;
        // An answer repeats the question: of the same name nothing else can be told.
        let name = name.text();
        if dns.query.as_bytes().eq_ignore_ascii_case(name) {
            return;
        }
        dns.query = wire_name(name);
        if !local && name.iter().any(|byte| !byte.is_ascii_graphic()) {
            *status |= FlowStatus::InvalidCharacters.bit();
        }
        // At home anything goes but what looks like another name.
        let meant = if local { FlowStatus::PunycodeName.bit() } else { StatusBits::MAX };
        *status |= host::of_name(&dns.query) & meant;
    }
}

/// A message that breaks the grammar, not one that is merely cut off.
#[derive(Debug, PartialEq)]
struct Malformed;

struct Message {
    reply: bool,
    code: u16,
    /// A standard query with one question, or the answer to one.
    plain: bool,
    /// The flag that must be zero is not.
    reserved: bool,
    /// Type of the first question, whose name was kept.
    question: Option<u16>,
    /// It has an OPT record (RFC 6891).
    has_edns: bool,
    length: usize,
    /// Where the message ends; `None` when the bytes end before.
    end: Option<usize>,
}

/// Reads a message and writes the first question's name to `keep`.
fn parse(bytes: &[u8], mut keep: Option<&mut Name>) -> Result<Message, Malformed> {
    let word = |at: usize| be16(bytes, at);
    let (Some(flags), Some(questions), Some(answers), Some(authorities), Some(additional)) =
        (word(2), word(4), word(6), word(8), word(10))
    else {
        return Err(Malformed);
    };
    let reply = flags & 0x8000 != 0;
    let opcode = flags >> 11 & 0x0f;
    // Query, inverse query, status, notify, update; NetBIOS registers, releases and refreshes.
    if !matches!(opcode, 0..=2 | 4..=9 | 15) || questions > MAX_QUESTIONS {
        return Err(Malformed);
    }
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additional);
    let asks_nothing = questions == 0 && records == 0;
    // A server that could not read a question answers with a bare header.
    if records > MAX_RECORDS || (asks_nothing && !(reply && flags & 0x0f != 0)) {
        return Err(Malformed);
    }
    let code = flags & 0x0f;
    if !reply && code != 0 {
        return Err(Malformed);
    }
    let reserved = flags & RESERVED != 0;
    let plain = opcode == 0 && questions == 1 && !reserved;
    let length = bytes.len();
    let mut message =
        Message { reply, code, plain, reserved, question: None, has_edns: false, length, end: None };
    let mut at = HEADER;
    for number in 0..questions {
        let Some(end) = name(bytes, at, keep.take())? else {
            return Ok(message);
        };
        let (Some(kind), Some(class)) = (word(end), word(end + 2)) else {
            return Ok(message);
        };
        // IN, CHAOS, HESIOD, NONE, ANY; the top bit asks for a unicast answer (RFC 6762 §5.4).
        if !matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255) || kind == 0 {
            return Err(Malformed);
        }
        if number == 0 {
            message.question = Some(kind);
        }
        at = end + 4;
    }
    for _ in 0..records {
        let Some(end) = name(bytes, at, None)? else {
            return Ok(message);
        };
        let Some(length) = word(end + 8) else {
            return Ok(message);
        };
        message.has_edns |= word(end) == Some(TYPE_OPT);
        at = end + 10 + usize::from(length);
        if at > bytes.len() {
            return Ok(message);
        }
    }
    message.end = Some(at);
    Ok(message)
}

/// A name with dots between its labels. It lies on the stack: most messages repeat the name of the one
/// before, and nothing is kept of it.
struct Name {
    text: [u8; MAX_NAME],
    length: usize,
    longest: usize,
}

impl Name {
    const EMPTY: Self = Self { text: [b'.'; MAX_NAME], length: 0, longest: 0 };

    fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, label: &[u8]) {
        let start = self.length + usize::from(self.length > 0);
        if let Some(place) = self.text.get_mut(start..start + label.len()) {
            place.copy_from_slice(label);
            (self.length, self.longest) = (start + label.len(), self.longest.max(label.len()));
        }
    }
}

/// Walks the name at `start`, and writes its labels to `keep`: where it ends; `None` when the bytes end
/// inside.
///
/// A pointer must go back behind every place seen so far, so that the walk ends.
fn name(bytes: &[u8], start: usize, mut keep: Option<&mut Name>) -> Result<Option<usize>, Malformed> {
    let (mut at, mut floor, mut end, mut total) = (start, start, None, 0);
    loop {
        let Some(&length) = bytes.get(at) else {
            return Ok(None);
        };
        match length {
            0 => return Ok(Some(end.unwrap_or(at + 1))),
            1..=63 => {
                let length = usize::from(length);
                total += length + 1;
                if total > MAX_NAME {
                    return Err(Malformed);
                }
                let Some(label) = bytes.get(at + 1..at + 1 + length) else {
                    return Ok(None);
                };
                if let Some(name) = &mut keep {
                    name.push(label);
                }
                at += 1 + length;
            }
            0xc0.. => {
                let Some(pointer) = be16(bytes, at) else {
                    return Ok(None);
                };
                let target = usize::from(pointer & 0x3fff);
                if target >= floor || target < HEADER {
                    return Err(Malformed);
                }
                let after = *end.get_or_insert(at + 2);
                if keep.is_none() {
                    return Ok(Some(after));
                }
                (at, floor) = (target, target);
            }
            _ => return Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
