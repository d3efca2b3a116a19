//! IEC 60870-5-104, telecontrol over TCP, by its frames.

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, Want};

const START: u8 = 0x68;

pub(super) static IEC60870: Dissector = Dissector {
    name: "IEC60870",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == START,
    ports: &[(L4::TCP, 2404)],
    probe,
    dissect,
};

/// Length of a frame with one of the three forms of control fields.
fn frame(bytes: &[u8]) -> Option<usize> {
    let [START, length, control @ ..] = bytes else { return None };
    let sane = match (length, control) {
        // Unnumbered: start, stop, test, each asked for or confirmed; supervisory.
        (4, [0x07 | 0x0b | 0x13 | 0x23 | 0x43 | 0x83, 0, 0, 0, ..]) | (4, [1, 0, _, _, ..]) => true,
        // Numbered: the even counters, type, number of objects, cause.
        (12..=253, [sent, _, received, _, kind, _, cause, ..]) => {
            sent & 1 == 0 && received & 1 == 0 && matches!(kind, 1..=127) && matches!(cause & 0x3f, 1..=47)
        }
        _ => false,
    };
    sane.then_some(usize::from(*length) + 2)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match (walk(bytes, frame), bytes.get(1)) {
        (Fit::Whole, Some(4)) => Probe::Certain,
        (Fit::Whole | Fit::Cut, _) => Probe::Maybe,
        (Fit::No, _) => Probe::No,
    }
}

/// Notes the type ids of the frames that carry something; a frame that goes on in the next segment
/// shows its type here, and its rest is no frame.
fn dissect(bytes: &[u8], _: &L7Context, info: &mut L7Info, _: &mut StatusBits) -> Want {
    let mut rest = bytes;
    while let Some(length) = frame(rest) {
        if let [_, 12..=u8::MAX, _, _, _, _, kind, ..] = rest {
            info.control.get_or_insert_default().note(*kind);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Want::Always
}

// Recorded between the client and the server of c104.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn type_ids_are_noted_throughout() {
        let asdu = |kind: u8| {
            let mut frame = hex("680e00000000000106002f0000000014");
            frame[6] = kind;
            frame
        };
        let mut run = Run::new(tcp(50_000, 2404));
        for _ in 0..20 {
            run.client(&asdu(100));
            run.server(&[asdu(100), hex("680401000e00"), asdu(36)].concat());
        }
        let control = run.info.control.as_ref().unwrap();
        assert_eq!((control.messages, control.codes()), (60, vec!["36".to_owned(), "100".to_owned()]));
        assert_eq!(control.transitions(), ["100>100", "100>36", "36>100"]);
    }

    #[test]
    fn frames() {
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hex("680407000000")), Verdict::Decided("IEC60870"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hex("680401000e00")), Verdict::Decided("IEC60870"));
        let interrogation = hex("680e00000000640106002f0000000014");
        let answer = hex("6812020002000d8114002f000b00000000000000");
        assert_eq!(Run::new(tcp(50_000, 2404)).client(&interrogation), Verdict::Decided("IEC60870"));
        let mut run = Run::new(tcp(50_000, 9999));
        assert_eq!(run.client(&interrogation), Verdict::Undecided);
        assert_eq!(run.server(&answer), Verdict::Decided("IEC60870"));
        assert_eq!(Run::new(tcp(50_000, 2404)).client(&interrogation[..15]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 2404)).client(&hex("680408000000")), Verdict::Undecided);
    }
}
