//! Telnet (RFC 854): known by its option negotiation.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
/// Highest option in use (IANA lists up to 49, terminals for games go on to 93).
const MAX_OPTION: u8 = 93;

/// User name and password come one letter a packet, so they are not looked for.
pub(super) static TELNET: Dissector = Dissector {
    name: "Telnet",
    category: AppCategory::RemoteAccess,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0xff,
    ports: &[(L4::TCP, 23)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    let mut rest = bytes;
    let mut commands = 0;
    loop {
        rest = match *rest {
            // WILL, WONT, DO, DONT and an option.
            [IAC, 251..=254, 0..=MAX_OPTION, ..] => rest.get(3..).unwrap_or_default(),
            [IAC, SB, 0..=MAX_OPTION, ..] => match rest.windows(2).position(|pair| pair == [IAC, SE]) {
                Some(end) => rest.get(end + 2..).unwrap_or_default(),
                None => {
                    return if commands > 0 { Probe::Certain } else { Probe::Maybe };
                }
            },
            _ => break,
        };
        commands += 1;
    }
    match commands {
        0 => Probe::No,
        1 => Probe::Maybe,
        _ => Probe::Certain,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn negotiation_tells_it() {
        let negotiation = [255, 253, 24, 255, 250, 31, 0, 80, 0, 24, 255, 240];
        assert_eq!(Run::new(tcp(50_000, 2323)).client(&negotiation), Verdict::Decided("Telnet"));
        assert_eq!(Run::new(tcp(50_000, 2323)).client(&negotiation[..3]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 23)).client(&negotiation[..3]), Verdict::Decided("Telnet"));
        let mut both = Run::new(tcp(50_000, 2323));
        both.client(&negotiation[..3]);
        assert_eq!(both.server(&[255, 251, 24]), Verdict::Decided("Telnet"));
    }
}
