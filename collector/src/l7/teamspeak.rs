//! TeamSpeak 3's voice chat by its first datagrams, and its list of servers (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// What client and server begin with while they set up keys.
const INIT: &[u8] = b"TS3INIT1";
const LIST_PORT: u16 = 2010;

pub(super) static TEAMSPEAK: Dissector = Dissector {
    name: "TeamSpeak",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, b'T' | 1),
    ports: &[(L4::UDP, 9987), (L4::UDP, LIST_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Servers register in a public list: a version, a number, and a kind that has its length.
    let registers = matches!(bytes, [1, _, _, 1]) || (matches!(bytes, [1, _, _, 2, ..]) && bytes.len() == 16);
    match (bytes.starts_with(INIT), registers && cx.has_port(LIST_PORT)) {
        (true, _) => Probe::Certain,
        (false, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    /// Composed by hand after captures that others describe: nothing that was recorded.
    #[test]
    fn keys_are_set_up() {
        let init = hex("545333494e49543100650000880dd05766005f5916e0ade7");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&init), Verdict::Decided("TeamSpeak"));
        assert_eq!(Run::new(udp(50_000, 9987)).client(&init[..7]), Verdict::Undecided);
    }
}
