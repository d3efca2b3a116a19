//! Management and devices by their magic: remote management of servers (RMCP, ASF 2.0 and IPMI 2.0),
//! Canon's printers (BJNP), medical images (DICOM part 8), Java's remote calls (JRMP), the AFS file
//! system's calls (Rx), Check Point's clusters (CPHA) and streams of MPEG packets (ISO 13818-1).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

const MPEG_PACKET: usize = 188;
const MPEG_SYNC: u8 = 0x47;

const fn device(
    name: &'static str,
    category: AppCategory,
    carrier: Carrier,
    ports: &'static [(L4, u16)],
    first: fn(u8) -> bool,
    probe: fn(&[u8], &L7Context) -> Probe,
) -> Dissector {
    Dissector { name, category, breed: Breed::Acceptable, carrier, ports, first, probe, dissect: name_only }
}

pub(super) static RMCP: Dissector = device(
    "RMCP",
    AppCategory::System,
    Carrier::Udp,
    &[(L4::UDP, 623)],
    |byte| byte == 6,
    |bytes, cx| {
        // Version 1.0, reserved, sequence, class (alerting or IPMI, or its acknowledgement).
        let known = matches!(bytes, [6, 0, _, 6 | 7 | 0x86 | 0x87, ..]) && bytes.len() >= 4;
        certain(known && (cx.has_port(623) || bytes.get(2) == Some(&0xff)))
    },
);

pub(super) static BJNP: Dissector = device(
    "BJNP",
    AppCategory::System,
    Carrier::Either,
    &[(L4::UDP, 8611), (L4::UDP, 8612)],
    |byte| matches!(byte, b'B' | b'M'),
    |bytes, _| {
        let known = [&b"BJNP"[..], b"BJNB", b"MFNP"].iter().any(|magic| bytes.starts_with(magic));
        certain(known && bytes.len() >= 16)
    },
);

pub(super) static DICOM: Dissector = device(
    "DICOM",
    AppCategory::Iot,
    Carrier::Tcp,
    &[(L4::TCP, 11_112)],
    |byte| matches!(byte, 1 | 2),
    |bytes, _| {
        // An association asked for or accepted: length, version, and titles of sixteen letters each.
        let length = be32(bytes, 2).and_then(|length| usize::try_from(length).ok());
        let whole = length.is_some_and(|length| length >= 68 && length + 6 >= bytes.len());
        let titles =
            bytes.get(10..42).is_some_and(|titles| titles.iter().all(|letter| matches!(letter, b' '..=b'~')));
        certain(whole && titles && be16(bytes, 6) == Some(1) && bytes.get(1) == Some(&0))
    },
);

pub(super) static JRMI: Dissector = device(
    "JRMI",
    AppCategory::Rpc,
    Carrier::Tcp,
    &[(L4::TCP, 1099)],
    |byte| byte == b'J',
    |bytes, _| certain(matches!(bytes, [b'J', b'R', b'M', b'I', 0, 1 | 2, 0x4b..=0x4d, ..])),
);

pub(super) static RX: Dissector = device(
    "RX",
    AppCategory::Rpc,
    Carrier::Udp,
    &[(L4::UDP, 7000), (L4::UDP, 7001), (L4::UDP, 7003)],
    super::any_byte,
    |bytes, cx| {
        // Epoch, connection, call, sequence, serial, then a kind and flags; a header of 28 bytes.
        let at_home = (7000..=7009).any(|port| cx.has_port(port));
        let known = matches!(bytes.get(20..23), Some([1..=13, flags, 0..=4]) if flags & 0xc0 == 0);
        certain(at_home && known && bytes.len() >= 28 && be32(bytes, 4) != Some(0))
    },
);

pub(super) static CPHA: Dissector = device(
    "CPHA",
    AppCategory::Network,
    Carrier::Udp,
    &[(L4::UDP, 8116)],
    |byte| byte == 0x1a,
    |bytes, cx| certain(bytes.starts_with(&[0x1a, 0x90]) && cx.has_port(8116) && bytes.len() > 20),
);

pub(super) static MPEG_TS: Dissector = device(
    "MPEG_TS",
    AppCategory::Streaming,
    Carrier::Udp,
    &[],
    |byte| byte == MPEG_SYNC,
    |bytes, _| {
        let whole = !bytes.is_empty() && bytes.len().is_multiple_of(MPEG_PACKET);
        let synchronised = bytes.iter().step_by(MPEG_PACKET).all(|byte| *byte == MPEG_SYNC);
        match (whole && synchronised, bytes.len() / MPEG_PACKET) {
            (true, 3..) => Probe::Certain,
            (true, _) => Probe::Maybe,
            _ => Probe::No,
        }
    },
);

fn certain(known: bool) -> Probe {
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn magic_tells_them() {
        let ping = hex("06 00 ff 06 000011be 80 00 00 00");
        assert_eq!(Run::new(udp(50_000, 10_623)).client(&ping), Verdict::Decided("RMCP"));
        let printer = hex("424a4e50 01 01 0000 0001 0000 00000000");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&printer), Verdict::Decided("BJNP"));
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(b"JRMI\x00\x02\x4b"), Verdict::Decided("JRMI"));
        assert_eq!(Run::new(tcp(50_000, 1099)).client(b"JRMI\x00\x02"), Verdict::Undecided);
        let mut associate = hex("01 00 000000cd 0001 0000");
        associate.extend([b' '; 32]);
        associate.resize(211, 0);
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&associate), Verdict::Decided("DICOM"));
        associate.push(0);
        assert_eq!(Run::new(tcp(50_000, 11_112)).client(&associate), Verdict::Undecided);
    }

    #[test]
    fn streams_are_synchronised() {
        let mut packets = vec![0x5a; 7 * 188];
        packets.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&packets), Verdict::Decided("MPEG_TS"));
        packets[188] = 0;
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&packets), Verdict::Undecided);
    }

    #[test]
    fn calls_on_their_ports() {
        let call = hex("5f3a2b1c 80000001 00000001 00000001 00000001 01 05 00 00 0000 0034");
        assert_eq!(Run::new(udp(7001, 7003)).client(&call), Verdict::Decided("RX"));
        assert_eq!(Run::new(udp(7101, 7103)).client(&call), Verdict::Undecided);
        let [member, short] = [24, 20].map(|length| [&hex("1a90 0001")[..], &vec![0; length - 4]].concat());
        assert_eq!(Run::new(udp(8116, 8116)).client(&member), Verdict::Decided("CPHA"));
        assert_eq!(Run::new(udp(8116, 8116)).client(&short), Verdict::Undecided);
        assert_eq!(Run::new(udp(8117, 8117)).client(&member), Verdict::Undecided);
    }
}
