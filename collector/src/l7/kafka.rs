//! Apache Kafka (its protocol guide).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Numbers of requests, and versions of any of them, that exist.
const MAX_KEY: u16 = 92;
const MAX_VERSION: u16 = 17;
/// Clients count their requests up from zero.
const MAX_CORRELATION: u32 = 1 << 24;
const MAX_LENGTH: usize = 1 << 24;

pub(super) static KAFKA: Dissector = Dissector {
    name: "Kafka",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 9092)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(length) = be32(bytes, 0).and_then(|length| usize::try_from(length).ok()) else {
        return Probe::No;
    };
    if !(4..=MAX_LENGTH).contains(&length) || length + 4 < bytes.len() {
        return Probe::No;
    }
    let whole = length + 4 == bytes.len();
    if !cx.from_client {
        // Answers name nothing but the request's number.
        let counted = be32(bytes, 4).is_some_and(|number| number < MAX_CORRELATION);
        return if whole && counted && length > 6 { Probe::Maybe } else { Probe::No };
    }
    let (Some(key), Some(version), Some(number)) = (be16(bytes, 4), be16(bytes, 6), be32(bytes, 8)) else {
        return Probe::No;
    };
    let client = be16(bytes, 12)
        .map(usize::from)
        .filter(|size| (1..=255).contains(size))
        .and_then(|size| bytes.get(14..14 + size));
    let legible = client.is_some_and(|client| client.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let known = key <= MAX_KEY && version <= MAX_VERSION && number < MAX_CORRELATION && legible;
    // A long batch goes on in the next segment.
    match (known, whole || bytes.len() > 512) {
        (true, true) => Probe::Certain,
        (true, false) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification; tshark reads it so: the versions are asked for.
    const VERSIONS: &str = "00000011 0012 0000 00000001 0007 72646b61666b61";

    #[test]
    fn requests_name_their_client() {
        let request = hex(VERSIONS);
        assert_eq!(Run::new(tcp(50_000, 19_092)).client(&request), Verdict::Decided("Kafka"));
        for cut in 1..request.len() {
            assert_eq!(Run::new(tcp(50_000, 19_092)).client(&request[..cut]), Verdict::Undecided);
        }
        let mut wrong = request;
        wrong[4] = 1;
        assert_eq!(Run::new(tcp(50_000, 9092)).client(&wrong), Verdict::Undecided);
    }

    #[test]
    fn answers_count_on_the_port() {
        let answer = hex("0000000a 00000001 0000 00000000");
        assert_eq!(Run::new(tcp(50_000, 9092)).server(&answer), Verdict::Decided("Kafka"));
        assert_eq!(Run::new(tcp(50_000, 9093)).server(&answer), Verdict::Undecided);
    }
}
