//! Direct Connect: NMDC and ADC (the projects' protocol documents).

use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static DIRECT_CONNECT: Dissector = Dissector {
    name: "DirectConnect",
    category: AppCategory::Download,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'$' | b'H' | b'C' | b'I'),
    ports: &[(L4::TCP, 411), (L4::TCP, 412)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let ours = match bytes {
        [b'$', ..] if cx.l4 == L4::UDP => bytes.starts_with(b"$SR ") && bytes.ends_with(b"|"),
        [b'$', ..] => {
            let lock = bytes.starts_with(b"$Lock ") && (has(bytes, b" Pk=") || bytes.ends_with(b"|"));
            lock || (bytes.starts_with(b"$MyNick ") && has(bytes, b"|"))
                || (bytes.starts_with(b"$Supports ") && has(bytes, b"|"))
        }
        // Hub, client, information: what is supported.
        _ => [&b"HSUP AD"[..], b"CSUP AD", b"ISUP AD"].iter().any(|start| bytes.starts_with(start)),
    };
    if ours { Probe::Certain } else { Probe::No }
}

// Lines of the documents.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp, udp};

    #[test]
    fn greetings() {
        let decided = Verdict::Decided("DirectConnect");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(b"$Lock EXTENDEDPROTOCOL_hub Pk=hub|"), decided);
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"$MyNick me|$Lock x Pk=y|"), decided);
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"HSUP ADBASE ADTIGR\n"), decided);
        assert_eq!(Run::new(udp(50_000, 9999)).client(b"$SR me file\x05100 1/2\x05hub|"), decided);
        assert_eq!(Run::new(tcp(50_000, 411)).server(b"$Lock"), Verdict::Undecided);
    }
}
