//! Small messages between routers over UDP and TCP: HSRP (RFC 2281), GLBP (Cisco), BFD (RFC 5880),
//! RIP (RFC 2453, RFC 2080) and LDP (RFC 5036).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const HSRP_PORTS: [u16; 2] = [1985, 2029];
const GLBP_PORT: u16 = 3222;
/// Single hop, echo, several hops, micro sessions.
const BFD_PORTS: [u16; 4] = [3784, 3785, 4784, 6784];
const ECHO_PORT: u16 = 3785;
const RIP_PORT: u16 = 520;
const RIPNG_PORT: u16 = 521;

const fn router(
    name: &'static str,
    carrier: Carrier,
    ports: &'static [(L4, u16)],
    first: fn(u8) -> bool,
    probe: fn(&[u8], &L7Context) -> Probe,
) -> Dissector {
    let (category, breed) = (AppCategory::Network, Breed::Acceptable);
    Dissector { name, category, breed, carrier, ports, first, probe, dissect: name_only }
}

pub(super) static HSRP: Dissector =
    router("HSRP", Carrier::Udp, &[(L4::UDP, 1985), (L4::UDP, 2029)], |byte| byte <= 4, hsrp);
pub(super) static GLBP: Dissector =
    router("GLBP", Carrier::Udp, &[(L4::UDP, GLBP_PORT)], |byte| byte == 1, glbp);
pub(super) static BFD: Dissector = router(
    "BFD",
    Carrier::Udp,
    &[(L4::UDP, 3784), (L4::UDP, 3785), (L4::UDP, 4784), (L4::UDP, 6784)],
    |byte| matches!(byte >> 5, 0 | 1),
    bfd,
);
pub(super) static RIP: Dissector = router(
    "RIP",
    Carrier::Udp,
    &[(L4::UDP, RIP_PORT), (L4::UDP, RIPNG_PORT)],
    |byte| matches!(byte, 1..=10),
    rip,
);
pub(super) static LDP: Dissector =
    router("LDP", Carrier::Either, &[(L4::UDP, 646), (L4::TCP, 646)], |byte| byte == 0, ldp);

fn certain(known: bool) -> Probe {
    if known { Probe::Certain } else { Probe::No }
}

fn hsrp(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = match bytes {
        // Version 0: hello, coup, resign, advertisement; states are powers of two.
        [0, 0..=2, 0 | 1 | 2 | 4 | 8 | 16, ..] => bytes.len() >= 20,
        [0, 3, ..] => bytes.len() >= 16,
        // Version 2: a group's state, 40 bytes long, leads the elements.
        [1, 40, 2, ..] => bytes.len() >= 42,
        [1..=4, length, ..] => bytes.len() == 2 + usize::from(*length) && *length >= 6,
        _ => false,
    };
    certain(known && HSRP_PORTS.iter().any(|port| cx.has_port(*port)))
}

fn glbp(bytes: &[u8], cx: &L7Context) -> Probe {
    // A head of twelve bytes, then elements with kind and length.
    let element = bytes.get(12..14).is_some_and(|element| matches!(element, [1..=4, length] if *length >= 8));
    certain(element && cx.has_port(GLBP_PORT) && bytes.get(1) == Some(&0))
}

fn bfd(bytes: &[u8], cx: &L7Context) -> Probe {
    let at_home = BFD_PORTS.iter().any(|port| cx.has_port(*port));
    let &[version, _, multiplier, length, ..] = bytes else {
        return Probe::No;
    };
    let known = matches!(version >> 5, 0 | 1)
        && multiplier != 0
        && length >= 24
        && usize::from(length) == bytes.len();
    // Echoes are what their sender likes (RFC 5881 §4).
    match (at_home && known, cx.server_port == ECHO_PORT) {
        (true, _) => Probe::Certain,
        (false, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn rip(bytes: &[u8], cx: &L7Context) -> Probe {
    // Head of four bytes, entries of twenty.
    let entries = bytes.len() >= 24 && bytes.len() % 20 == 4;
    let known = match bytes {
        [1..=10, 1 | 2, 0, 0, high, low, ..] if cx.has_port(RIP_PORT) => {
            matches!([*high, *low], [0, 0 | 2] | [0xff, 0xff])
        }
        [1 | 2, 1, 0, 0, ..] => cx.has_port(RIPNG_PORT),
        _ => false,
    };
    certain(known && entries)
}

fn ldp(bytes: &[u8], _: &L7Context) -> Probe {
    // Version, length of what follows, identifier; then a message with its own length.
    let (Some(1), Some(length), Some(kind), Some(inner)) =
        (be16(bytes, 0), be16(bytes, 2).map(usize::from), be16(bytes, 10), be16(bytes, 12).map(usize::from))
    else {
        return Probe::No;
    };
    let known =
        matches!(kind & 0x7fff, 0x0001 | 0x0100 | 0x0200..=0x0202 | 0x0300 | 0x0301 | 0x0400..=0x0404);
    certain(known && length + 4 == bytes.len() && length >= 10 + inner)
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Composed after the specifications; tshark reads them so.
    const HSRP_HELLO: &str = "00 00 10 03 0a 78 01 00 636973636f000000 c0a80001";
    const BFD_DOWN: &str = "20 40 03 18 00000001 00000000 000f4240 000f4240 00000000";
    const RIP_ASKS: &str = "01 02 0000 0000 0000 00000000 00000000 00000000 00000010";
    const LDP_HELLO: &str =
        "0001 001e c0000201 0000 0100 0014 00000000 0400 0004 000f 0000 0401 0004 c0000201";

    #[test]
    fn each_has_its_form_on_its_port() {
        for (name, port, message) in [
            ("HSRP", 1985, HSRP_HELLO),
            ("BFD", 3784, BFD_DOWN),
            ("RIP", 520, RIP_ASKS),
            ("LDP", 646, LDP_HELLO),
        ] {
            let message = hex(message);
            assert_eq!(Run::new(udp(port, port)).client(&message), Verdict::Decided(name));
            assert_eq!(
                Run::new(udp(port, port)).client(&message[..message.len() - 1]),
                Verdict::Undecided,
                "{name}"
            );
        }
        assert_eq!(Run::new(udp(1984, 1984)).client(&hex(HSRP_HELLO)), Verdict::Undecided);
        assert_eq!(Run::new(tcp(40_000, 646)).client(&hex(LDP_HELLO)), Verdict::Decided("LDP"));
        let glbp = hex("01 00 0001 0000 001122334455 01 1c 0020");
        assert_eq!(Run::new(udp(3222, 3222)).client(&glbp), Verdict::Decided("GLBP"));
    }
}
