//! Syslog (RFC 5424, RFC 3164) over UDP, and over TCP in both framings (RFC 6587).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Highest facility times eight plus highest severity (RFC 5424 §6.2.1).
const MAX_PRIORITY: u32 = 191;
/// Text that must follow elsewhere than on the usual port.
const ENOUGH: usize = 12;
const MONTHS: [&[u8]; 12] = [
    b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ",
    b"Dec ",
];

pub(super) static SYSLOG: Dissector = Dissector {
    name: "Syslog",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == b'<' || byte.is_ascii_digit(),
    ports: &[(L4::UDP, 514), (L4::TCP, 514), (L4::TCP, 601)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let counted = bytes.first() != Some(&b'<');
    let message = match (counted, cx.l4) {
        (false, _) => Some(bytes),
        // The length in digits goes before.
        (true, L4::TCP) => number(bytes, 5).and_then(|(_, rest)| rest.strip_prefix(b" ")),
        _ => None,
    };
    let Some(text) = message.and_then(text) else {
        return Probe::No;
    };
    let dated =
        text.starts_with(b"1 ") || MONTHS.iter().any(|month| text.trim_ascii_start().starts_with(month));
    let legible = text.len() >= ENOUGH && text.iter().take(ENOUGH).all(|byte| matches!(byte, b' '..=b'~'));
    match (dated && legible, legible && cx.l4 == L4::UDP && !counted) {
        (true, _) => Probe::Certain,
        // Many devices send a priority and whatever they like.
        (_, true)
            if text
                .first()
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'[' | b'%')) =>
        {
            Probe::Certain
        }
        _ if cx.l4 == L4::UDP && !text.is_empty() => Probe::Maybe,
        _ => Probe::No,
    }
}

/// What follows the priority.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let (priority, rest) = number(bytes.strip_prefix(b"<")?, 3)?;
    if priority > MAX_PRIORITY { None } else { rest.strip_prefix(b">") }
}

fn number(bytes: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = bytes.split_at_checked(count).filter(|_| (1..=digits).contains(&count))?;
    Some((number.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp, udp};

    // Composed after the specifications.
    const NEW: &[u8] =
        b"<13>1 2026-01-01T00:00:00.000000+00:00 host root - - [timeQuality tzKnown=\"1\"] hello";
    const OLD: &[u8] = b"<13>Jan  1 00:00:00 host root: hello";

    #[test]
    fn both_formats_in_every_framing() {
        for message in [NEW, OLD, b"<134>dnsmasq[12]: query from 10.0.0.1"] {
            assert_eq!(Run::new(udp(40_000, 5140)).client(message), Verdict::Decided("Syslog"));
        }
        assert_eq!(Run::new(tcp(40_000, 6514)).client(NEW), Verdict::Decided("Syslog"));
        let counted = [format!("{} ", NEW.len()).as_bytes(), NEW].concat();
        assert_eq!(Run::new(tcp(40_000, 6514)).client(&counted), Verdict::Decided("Syslog"));
    }

    #[test]
    fn other_angle_brackets_are_not_it() {
        for bytes in [
            &b"<?xml version='1.0'?>"[..],
            b"<192>Jan  1 00:00:00 x",
            b"<>Jan  1 00:00:00 x",
            b"<1234>Jan",
            b"12 days",
        ] {
            assert_eq!(Run::new(udp(40_000, 514)).client(bytes), Verdict::Undecided);
            assert_eq!(Run::new(tcp(40_000, 514)).client(bytes), Verdict::Undecided);
        }
        assert_eq!(Run::new(tcp(40_000, 5140)).client(b"<1>html-like text of no date"), Verdict::Undecided);
    }
}
