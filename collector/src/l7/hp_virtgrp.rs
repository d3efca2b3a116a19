//! The transport that the public classifiers call HP_VIRTGRP (IANA's name for its port, 5223). There
//! is no specification; its framing, a kind and the length of the whole, is read off its messages.

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const PORT: u16 = 5223;
const ASKS: u8 = 0x16;
const ANSWERS: u8 = 0x17;

pub(super) static HP_VIRTGRP: Dissector = Dissector {
    name: "HP_VIRTGRP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, ASKS | ANSWERS),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let &[kind, _, _, fourth, ..] = bytes else {
        return Probe::No;
    };
    let whole = be16(bytes, 1).map(usize::from) == Some(bytes.len());
    // Keys are exchanged first, by messages with a zero here.
    let opens = matches!(kind, ASKS | ANSWERS) && fourth == 0 && (40..=512).contains(&bytes.len());
    if cx.has_port(PORT) && whole && opens { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn a_length_of_the_whole_on_the_port() {
        let mut asked = hex("16 0084 00");
        asked.resize(0x84, 0x5a);
        assert_eq!(Run::new(tcp(50_000, 5223)).client(&asked), Verdict::Decided("HP_VIRTGRP"));
        assert_eq!(Run::new(tcp(50_000, 5224)).client(&asked), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 5223)).client(&asked[..0x83]), Verdict::Undecided);
    }
}
