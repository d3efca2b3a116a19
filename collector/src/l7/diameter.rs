//! Diameter (RFC 6733) over TCP.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

const HEADER: u32 = 20;
/// Flags that must be zero (RFC 6733 §3).
const RESERVED: u8 = 0x0f;
const ERROR: u8 = 0x20;

pub(super) static DIAMETER: Dissector = Dissector {
    name: "Diameter",
    category: AppCategory::Authentication,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[(L4::TCP, 3868)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(head), Some(command), Some(application)) = (be32(bytes, 0), be32(bytes, 4), be32(bytes, 8))
    else {
        return Probe::No;
    };
    let (length, flags, code) = (head & 0xff_ffff, (command >> 24) as u8, command & 0xff_ffff);
    // Attributes fill four bytes each time; the first one's length is within the message.
    let attribute = be32(bytes, 24).is_none_or(|word| (8..=length).contains(&(word & 0xff_ffff)));
    let sane = head >> 24 == 1
        && length >= HEADER
        && length.is_multiple_of(4)
        && flags & RESERVED == 0
        && attribute
        && (257..=0x00ff_ffff).contains(&code);
    let usual = code <= 8_388_999 && (application <= 10 || application >> 24 == 1 || application == u32::MAX);
    let whole = usize::try_from(length).is_ok_and(|length| length <= bytes.len());
    match (sane && usual, whole || cx.has_port(3868)) {
        (true, true) => Probe::Certain,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if bytes.get(4).is_some_and(|flags| flags & ERROR != 0) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after RFC 6733 §5.3: capabilities with one attribute.
    const CAPABILITIES: &str =
        "01 000024 80 000101 00000000 00000001 00000002 00000108 40 00000f 612e622e6578 7800";

    #[test]
    fn a_request_of_its_length() {
        let request = hex(CAPABILITIES);
        assert_eq!(request.len(), 0x24);
        assert_eq!(Run::new(tcp(50_000, 13_868)).client(&request), Verdict::Decided("Diameter"));
        for cut in 1..20 {
            assert_eq!(Run::new(tcp(50_000, 13_868)).client(&request[..cut]), Verdict::Undecided);
        }
        let mut wrong = request;
        wrong[4] = 0x81;
        assert_eq!(Run::new(tcp(50_000, 3868)).client(&wrong), Verdict::Undecided);
    }

    #[test]
    fn errors_are_noted() {
        let mut answer = hex(CAPABILITIES);
        answer[4] = ERROR;
        let mut run = Run::new(tcp(50_000, 3868));
        assert_eq!(run.server(&answer), Verdict::Decided("Diameter"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    }
}
