//! The tunnels of mobile networks and their control: GTP-U and GTP-C versions 1 and 2 (3GPP TS 29.281,
//! TS 29.060, TS 29.274), GTP' (TS 32.295) and PFCP (TS 29.244).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const USER_PORT: u16 = 2152;
const CONTROL_PORT: u16 = 2123;
const CHARGING_PORT: u16 = 3386;
const PFCP_PORT: u16 = 8805;
/// Message kind of a user's packet.
const PACKET: u8 = 255;

pub(super) static GTP_U: Dissector =
    part("GTP_U", &[(L4::UDP, USER_PORT)], |bytes, cx| on(USER_PORT, bytes, cx));

pub(super) static GTP_C: Dissector =
    part("GTP_C", &[(L4::UDP, CONTROL_PORT)], |bytes, cx| on(CONTROL_PORT, bytes, cx));

pub(super) static GTP_PRIME: Dissector =
    part("GTP_PRIME", &[(L4::UDP, CHARGING_PORT)], |bytes, cx| on(CHARGING_PORT, bytes, cx));

const fn part(
    name: &'static str,
    ports: &'static [(L4, u16)],
    probe: fn(&[u8], &L7Context) -> Probe,
) -> Dissector {
    Dissector {
        name,
        category: AppCategory::Network,
        breed: Breed::Acceptable,
        carrier: Carrier::Udp,
        first: |byte| matches!(byte >> 5, 0..=2),
        ports,
        probe,
        dissect: name_only,
    }
}

pub(super) static PFCP: Dissector = Dissector {
    name: "PFCP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte >> 5 == 1,
    ports: &[(L4::UDP, PFCP_PORT)],
    probe: pfcp,
    dissect: name_only,
};

fn on(port: u16, bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.has_port(port) { gtp(bytes, cx) } else { Probe::No }
}

fn gtp(bytes: &[u8], cx: &L7Context) -> Probe {
    let (&[flags, kind, ..], Some(length)) = (bytes, be16(bytes, 2).map(usize::from)) else {
        return Probe::No;
    };
    let control = cx.has_port(CONTROL_PORT);
    let (version, behind) = (flags >> 5, bytes.len());
    let whole = match version {
        // Version 1 with its bit of the protocol's own; spare bit zero, eight bytes of head.
        1 if flags & 0x18 == 0x10 && (control || cx.has_port(USER_PORT)) => {
            let carries = control || matches!(kind, 1 | 2 | 26 | 31 | 253 | 254 | PACKET);
            // Four bytes more come with any of the flags for them.
            let optional = flags & 0x07 == 0 || length >= 4;
            length + 8 == behind && kind != 0 && carries && optional
        }
        2 if control && flags & 0x03 == 0 => {
            // Another message may be piggybacked.
            let sized = if flags & 0x10 == 0 { length + 4 == behind } else { length + 4 <= behind };
            sized && kind != 0 && length >= if flags & 0x08 != 0 { 8 } else { 4 }
        }
        // Charging; six bytes of head, or twenty in its first version.
        0..=2 if cx.has_port(CHARGING_PORT) && flags & 0x10 == 0 => {
            let known = matches!(kind, 1..=7 | 240 | 241);
            known && (length + 6 == behind || length + 20 == behind)
        }
        _ => false,
    };
    if whole { Probe::Certain } else { Probe::No }
}

fn pfcp(bytes: &[u8], cx: &L7Context) -> Probe {
    let (&[flags, kind, ..], Some(length)) = (bytes, be16(bytes, 2).map(usize::from)) else {
        return Probe::No;
    };
    // Node messages have no session, session messages have one.
    let kind_fits = match flags & 1 {
        0 => matches!(kind, 1..=15),
        _ => matches!(kind, 50..=57),
    };
    let least = if flags & 1 == 0 { 4 } else { 12 };
    let whole =
        length >= least && (length + 4 == bytes.len() || (flags & 4 != 0 && length + 4 <= bytes.len()));
    if flags >> 5 != 1 || flags & 0x18 != 0 || !kind_fits || !whole {
        return Probe::No;
    }
    // The first element: a kind, and a length within the message.
    let element = be16(bytes, 4 + least + 2).map(usize::from);
    let fits = element.is_none_or(|size| 4 + least + 4 + size <= bytes.len());
    match (fits, cx.has_port(PFCP_PORT)) {
        (true, true) => Probe::Certain,
        (true, false) if element.is_some() => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the specifications; tshark reads them so: echo requests and a heartbeat.
    const ECHO_1: &str = "32 01 0004 00000000 0001 00 00";
    const ECHO_2: &str = "40 01 0009 000001 00 03 0001 00 05";
    const HEARTBEAT: &str = "20 01 000c 000001 00 0060 0004 e0000001";

    fn name(port: u16, bytes: &[u8]) -> Verdict {
        Run::new(udp(40_000, port)).client(bytes)
    }

    #[test]
    fn versions_and_ports() {
        assert_eq!(name(USER_PORT, &hex(ECHO_1)), Verdict::Decided("GTP_U"));
        assert_eq!(name(CONTROL_PORT, &hex(ECHO_1)), Verdict::Decided("GTP_C"));
        assert_eq!(name(CONTROL_PORT, &hex(ECHO_2)), Verdict::Decided("GTP_C"));
        assert_eq!(name(CHARGING_PORT, &hex("0f 01 0000 0001")), Verdict::Decided("GTP_PRIME"));
        assert_eq!(name(USER_PORT, &hex(ECHO_2)), Verdict::Undecided);
        assert_eq!(name(40_001, &hex(ECHO_1)), Verdict::Undecided);
        assert_eq!(name(USER_PORT, &hex(ECHO_1)[..11]), Verdict::Undecided);
    }

    #[test]
    fn pfcp_has_elements() {
        let heartbeat = hex(HEARTBEAT);
        assert_eq!(name(PFCP_PORT, &heartbeat), Verdict::Decided("PFCP"));
        assert_eq!(name(40_001, &heartbeat), Verdict::Undecided);
        for cut in 1..heartbeat.len() {
            assert_eq!(name(PFCP_PORT, &heartbeat[..cut]), Verdict::Undecided);
        }
    }
}
