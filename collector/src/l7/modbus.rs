//! Modbus/TCP (Modbus Messaging on TCP/IP Implementation Guide 1.0b, Modbus Application Protocol 1.1b3),
//! and Schneider's UMAS, which is function 90 of it.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, name_only};

/// Transaction, protocol (0), length of what follows.
const HEADER: usize = 6;
const MAX_LENGTH: u16 = 254;
const UMAS_FUNCTION: u8 = 90;
const EXCEPTION: u8 = 0x80;

pub(super) static MODBUS: Dissector = Dissector {
    name: "Modbus",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 502)],
    probe,
    dissect,
};

pub(super) static UMAS: Dissector = Dissector {
    name: "UMAS",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[],
    probe: probe_umas,
    dissect: name_only,
};

fn message(bytes: &[u8]) -> Option<usize> {
    let (protocol, length) = (be16(bytes, 2)?, be16(bytes, 4)?);
    (protocol == 0 && (2..=MAX_LENGTH).contains(&length)).then_some(HEADER + usize::from(length))
}

/// Function code and what follows of the first message, when messages fill the payload.
fn function(bytes: &[u8]) -> Option<(u8, &[u8])> {
    if bytes.get(2..4) != Some(&[0, 0]) || walk(bytes, message) != Fit::Whole {
        return None;
    }
    let first = bytes.get(..message(bytes)?)?;
    Some((*first.get(7)?, first.get(8..)?))
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((function, body)) = function(bytes) else { return Probe::No };
    let value = |at: usize| be16(body, at).unwrap_or_default();
    // Bytes counted by the one at `at`, which end the message.
    let counted = |at: usize| {
        body.get(at).is_some_and(|count| *count > 0 && at + 1 + usize::from(*count) == body.len())
    };
    // A capture may begin in the middle, so that who asks is not certain.
    let request = match function {
        1 | 2 => body.len() == 4 && (1..=2000).contains(&value(2)),
        3 | 4 => body.len() == 4 && (1..=125).contains(&value(2)),
        5 => body.len() == 4 && matches!(value(2), 0 | 0xff00),
        6 => body.len() == 4,
        8 => body.len() >= 4 && value(0) <= 18,
        7 | 11 | 12 | 17 => body.is_empty(),
        15 | 16 => value(2) > 0 && counted(4),
        20 | 21 => counted(0),
        22 => body.len() == 6,
        23 => counted(8),
        24 => body.len() == 2,
        // Encapsulated interface: CANopen, device identification.
        43 => matches!(body.first(), Some(13 | 14)),
        _ => false,
    };
    // The same as the request in functions 5, 6, 8, 20 to 22 and 43.
    let answer = match function {
        1..=4 | 12 | 17 | 23 => counted(0),
        7 => body.len() == 1,
        11 | 15 | 16 => body.len() == 4,
        24 => usize::from(value(0)) + 2 == body.len(),
        EXCEPTION..=0xff => body.len() == 1 && matches!(body.first(), Some(1..=11)),
        _ => false,
    };
    match function {
        // Functions that users may define.
        65..=72 | 100..=110 => Probe::Maybe,
        _ if request || answer => Probe::Certain,
        _ => Probe::No,
    }
}

fn probe_umas(bytes: &[u8], _: &L7Context) -> Probe {
    match function(bytes) {
        // Session and what to do.
        Some((UMAS_FUNCTION, [_, _, ..])) => Probe::Certain,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let mut rest = bytes;
    while let Some(length) = message(rest) {
        let Some(&function) = rest.get(7) else { break };
        let control = info.control.get_or_insert_default();
        if cx.from_client {
            control.note(function);
        } else if function & EXCEPTION != 0 {
            control.exceptions = control.exceptions.saturating_add(1);
            *status |= FlowStatus::ErrorCode.bit();
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Want::Always
}

// Bytes of the application protocol's examples under the header of the guide.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn requests_answers_and_exceptions() {
        let mut run = Run::new(tcp(50_000, 1502));
        assert_eq!(run.client(&hex("0001 0000 0006 11 03 006b 0003")), Verdict::Decided("Modbus"));
        assert_eq!(run.server(&hex("0001 0000 0003 11 83 02")), Verdict::Reading);
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        let control = run.info.control.as_ref().unwrap();
        assert_eq!((control.codes(), control.exceptions), (vec!["3".to_owned()], 1));
        let answer = hex("0001 0000 0009 11 03 06 022b 0000 0064");
        assert_eq!(Run::new(tcp(50_000, 1502)).server(&answer), Verdict::Decided("Modbus"));
        let write = hex("0002 0000 000b 11 10 0001 0002 04 000a 0102");
        assert_eq!(Run::new(tcp(50_000, 1502)).client(&write), Verdict::Decided("Modbus"));
        assert_eq!(
            Run::new(tcp(50_000, 1502)).client(&[write.clone(), write].concat()),
            Verdict::Decided("Modbus")
        );
    }

    #[test]
    fn near_misses() {
        for bytes in [
            "0001 0000 0006 11 03 006b 0000",
            "0001 0000 0007 11 03 006b 0003",
            "0001 0001 0006 11 03 006b 0003",
            "0001 0000 0006 11 03 006b 0003 00",
            "0001 0000 0006 11",
            "0000 0000 0000 00 00 0000 0000",
        ] {
            assert_eq!(Run::new(tcp(50_000, 502)).client(&hex(bytes)), Verdict::Undecided, "{bytes}");
        }
    }

    #[test]
    fn function_90_is_umas() {
        assert_eq!(
            Run::new(tcp(50_000, 502)).client(&hex("0000 0000 0004 00 5a 0002")),
            Verdict::Decided("UMAS")
        );
        assert_eq!(Run::new(tcp(50_000, 502)).client(&hex("0000 0000 0003 00 5a 00")), Verdict::Undecided);
    }
}
