//! Telephony besides SIP and H.323: IAX2 (RFC 5456), Megaco's text form (RFC 3525), and Cisco's
//! Skinny (SCCP, as Wireshark documents it).

use shared::model::{AppCategory, Breed, L4};

use super::text::starts;
use super::{Carrier, Dissector, L7Context, Probe, be16, le32, name_only};

const IAX_PORT: u16 = 4569;
const IAX_HEADER: usize = 12;

pub(super) static IAX: Dissector = Dissector {
    name: "IAX",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte & 0x80 != 0,
    ports: &[(L4::UDP, IAX_PORT)],
    probe: iax,
    dissect: name_only,
};

pub(super) static MEGACO: Dissector = Dissector {
    name: "Megaco",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'!' | b'M' | b'm'),
    ports: &[(L4::UDP, 2944), (L4::TCP, 2944)],
    probe: megaco,
    dissect: name_only,
};

pub(super) static SKINNY: Dissector = Dissector {
    name: "CiscoSkinny",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: super::any_byte,
    ports: &[(L4::TCP, 2000)],
    probe: skinny,
    dissect: name_only,
};

fn iax(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(source), Some(&[kind, subclass])) =
        (be16(bytes, 0), bytes.get(10..12).and_then(<[u8]>::first_chunk))
    else {
        return Probe::No;
    };
    // Control frames of the protocol's own, whose elements fill the datagram.
    if source & 0x7fff == 0 || kind != 6 || !(1..=40).contains(&subclass) {
        return Probe::No;
    }
    let mut elements = bytes.get(IAX_HEADER..).unwrap_or_default();
    let filled = !elements.is_empty();
    while let &[_, length, ..] = elements {
        let Some(rest) = elements.get(2 + usize::from(length)..) else {
            return Probe::No;
        };
        elements = rest;
    }
    match (elements.is_empty(), cx.has_port(IAX_PORT), filled) {
        (true, true, _) => Probe::Certain,
        (true, false, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// The version, and a sender in brackets or angles.
fn megaco(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(rest) =
        bytes.strip_prefix(b"!/").or_else(|| starts(bytes, b"MEGACO/").then(|| bytes.get(7..)).flatten())
    else {
        return Probe::No;
    };
    match rest {
        [b'1'..=b'3', b' ' | b'\r' | b'\n', b'[' | b'<' | b'\n', ..] => Probe::Certain,
        _ => Probe::No,
    }
}

fn skinny(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(length), Some(version), Some(message)) = (le32(bytes, 0), le32(bytes, 4), le32(bytes, 8))
    else {
        return Probe::No;
    };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8));
    // Several messages may share a segment.
    let fits = (4..4096).contains(&length) && end.is_some_and(|end| end <= bytes.len());
    let known = matches!(version, 0 | 10..=24) && (message < 0x0170 || message == 0x8000);
    if fits && known && cx.has_port(2000) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn each_in_its_form() {
        let new = hex("8001 0000 00000003 00 00 06 01 0b02 0002 0402 6162");
        assert_eq!(Run::new(udp(50_000, 4569)).client(&new), Verdict::Decided("IAX"));
        assert_eq!(Run::new(udp(50_000, 4569)).client(&new[..19]), Verdict::Undecided);
        assert_eq!(
            Run::new(udp(50_000, 12_944)).client(b"!/1 [192.0.2.1]:2944 T=1{"),
            Verdict::Decided("Megaco")
        );
        assert_eq!(Run::new(udp(50_000, 2944)).client(b"!/4 [192.0.2.1]"), Verdict::Undecided);
        let keep_alive = hex("04000000 00000000 00000000");
        assert_eq!(Run::new(tcp(50_000, 2000)).client(&keep_alive), Verdict::Decided("CiscoSkinny"));
        assert_eq!(Run::new(tcp(50_000, 2001)).client(&keep_alive), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 2000)).client(&keep_alive[..11]), Verdict::Undecided);
    }
}
