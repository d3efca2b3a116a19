//! Gauges of fuel tanks (Veeder-Root TLS-350, serial interface manual 576013-635).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static ATG: Dissector = Dissector {
    name: "ATG",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[(L4::TCP, 10_001)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // SOH, then what is asked or set: a letter, a function, a tank; answers begin with a new line.
    let Some(rest) = bytes.strip_prefix(b"\x01") else { return Probe::No };
    let rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let Some((letter, rest)) = rest.split_first() else { return Probe::No };
    let known = matches!(letter, b'I' | b'S' | b'i' | b's');
    let digits = rest.get(..5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if known && digits && cx.has_port(10_001) { Probe::Certain } else { Probe::No }
}

// After the manual.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_tank_is_asked_and_answers() {
        assert_eq!(Run::new(tcp(50_000, 10_001)).client(b"\x01I20100\n"), Verdict::Decided("ATG"));
        let answer = b"\x01\r\nI20100\r\n11/28/26 15:00\r\n";
        assert_eq!(Run::new(tcp(50_000, 10_001)).server(answer), Verdict::Decided("ATG"));
        assert_eq!(Run::new(tcp(50_000, 10_001)).client(b"\x01I2x100\n"), Verdict::Undecided);
    }
}
