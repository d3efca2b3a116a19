//! SAP's network interface (NI) and the dialogues over it (published analyses: pysap).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static SAP: Dissector = Dissector {
    name: "SAP",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 3200), (L4::TCP, 3299), (L4::TCP, 3300), (L4::TCP, 3600)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(length) = be32(bytes, 0).and_then(|length| usize::try_from(length).ok()) else {
        return Probe::No;
    };
    let rest = bytes.get(4..).unwrap_or_default();
    let sign = [&b"NI_PING\0"[..], b"NI_PONG\0", b"NI_ROUTE\0", b"NI_RTERR\0"]
        .iter()
        .any(|sign| rest.starts_with(sign));
    if sign && length >= 8 {
        return Probe::Certain;
    }
    // A dialogue's first words to a dispatcher.
    let at_home = (3200..=3299).any(|port| cx.has_port(port));
    let first = be32(bytes, 4) == Some(u32::MAX) && bytes.get(8) == Some(&10);
    if at_home && first && length >= rest.len() && length < 1 << 20 { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn signs_and_dialogues() {
        let ping = [&hex("00000008")[..], b"NI_PING\0"].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ping), Verdict::Decided("SAP"));
        let open = hex("00000010 ffffffff 0a000000 00000000 00ffffff");
        assert_eq!(Run::new(tcp(50_000, 3201)).client(&open), Verdict::Decided("SAP"));
        assert_eq!(Run::new(tcp(50_000, 3301)).client(&open), Verdict::Undecided);
    }
}
