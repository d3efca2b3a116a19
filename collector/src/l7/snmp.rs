//! SNMP versions 1 (RFC 1157), 2c (RFC 1901) and 3 (RFC 3412).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::ber::{element, integer, tagged};
use super::{Carrier, Dissector, L7Context, Probe, Want, judge};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;

/// Communities that everybody knows, so that reading them tells nobody a secret.
const WELL_KNOWN: &[&[u8]] = &[b"", b"public", b"private"];

pub(super) static SNMP: Dissector = Dissector {
    name: "SNMP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == SEQUENCE,
    ports: &[(L4::UDP, 161), (L4::UDP, 162)],
    probe: |bytes, _| if read(bytes).is_some() { Probe::Certain } else { Probe::No },
    dissect,
};

enum Message<'a> {
    /// Versions 1 and 2c.
    Community { name: &'a [u8], kind: u8, error: u32 },
    /// Version 3.
    Secured,
}

fn read(bytes: &[u8]) -> Option<Message<'_>> {
    let (message, _) = tagged(bytes, SEQUENCE)?;
    let (version, rest) = integer(message)?;
    if version == 3 {
        let (header, rest) = tagged(rest, SEQUENCE)?;
        let (_, header) = integer(header)?;
        let (_, header) = integer(header)?;
        let (flags, header) = tagged(header, OCTETS)?;
        let (model, _) = integer(header)?;
        let (_, _) = tagged(rest, OCTETS)?;
        // Those of the RFCs (3411 §5, 5591), or an enterprise's own.
        return (flags.len() == 1 && matches!(model, 0..=4 | 256..)).then_some(Message::Secured);
    }
    let (name, rest) = (version <= 1).then(|| tagged(rest, OCTETS)).flatten()?;
    let pdu = element(rest).filter(|pdu| pdu.whole && matches!(pdu.tag, 0xa0..=0xa8))?;
    if pdu.tag == 0xa4 {
        // A trap of version 1 begins with who sent it.
        tagged(pdu.body, 0x06)?;
        return Some(Message::Community { name, kind: pdu.tag, error: 0 });
    }
    let (_, rest) = integer(pdu.body)?;
    let (error, rest) = integer(rest)?;
    let (_, rest) = integer(rest)?;
    element(rest).filter(|bindings| bindings.tag == SEQUENCE)?;
    Some(Message::Community { name, kind: pdu.tag, error })
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let message = read(bytes);
    judge(message.is_some(), status);
    if let Some(Message::Community { name, kind, error }) = message {
        if !WELL_KNOWN.contains(&name) {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
        // A bulk request has its numbers where others have the error.
        if error != 0 && kind == 0xa2 {
            *status |= FlowStatus::ErrorCode.bit();
        }
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Encoded by scapy and, for version 3, pysnmp.
    const GET: &str = "302602010104067075626c6963a019020101020100020100300e300c06082b060102010101000500";
    const V3: &str = "303b020103300f02026be8020300ffe30401040201030410300e0400020100020100040004000400\
        301304000400a00d020357cb5d0201000201003000";
    const TRAP: &str = "3029020100040773656372657437a41b06082b06010401bf080340047f0000010201000201004301\
        003000";

    #[test]
    fn all_versions_are_known_by_their_structure() {
        for message in [GET, V3] {
            let message = hex(message);
            assert_eq!(Run::new(udp(50_000, 1161)).client(&message), Verdict::Decided("SNMP"));
            for cut in 1..message.len() {
                assert_eq!(Run::new(udp(50_000, 161)).client(&message[..cut]), Verdict::Undecided);
            }
        }
    }

    #[test]
    fn a_community_of_ones_own_is_a_password_in_the_clear() {
        let mut run = Run::new(udp(50_000, 161));
        run.client(&hex(GET));
        assert_eq!(run.status, 0);
        let mut trap = Run::new(udp(50_000, 162));
        assert_eq!(trap.client(&hex(TRAP)), Verdict::Decided("SNMP"));
        assert_eq!(trap.status, FlowStatus::ClearTextCredentials.bit());
    }

    #[test]
    fn a_version_that_is_none_is_not_it() {
        let mut message = hex(GET);
        message[4] = 4;
        assert_eq!(Run::new(udp(50_000, 161)).client(&message), Verdict::Undecided);
    }
}
