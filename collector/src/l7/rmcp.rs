//! Remote management of servers: RMCP (DMTF, ASF 2.0 §3.2), which carries IPMI (IPMI 2.0 §13).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 623;

pub(super) static RMCP: Dissector = Dissector {
    name: "RMCP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 6,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Version 1.0, reserved, sequence, class (alerting or IPMI, or its acknowledgement).
    let known = matches!(bytes, [6, 0, _, 6 | 7 | 0x86 | 0x87, ..]);
    if known && (cx.has_port(PORT) || bytes.get(2) == Some(&0xff)) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn presence_ping() {
        // Composed after the specification.
        let ping = hex("06 00 ff 06 000011be 80 00 00 00");
        assert_eq!(Run::new(udp(50_000, 10_623)).client(&ping), Verdict::Decided("RMCP"));
        assert_eq!(Run::new(udp(50_000, 623)).client(&ping[..3]), Verdict::Undecided);
    }
}
