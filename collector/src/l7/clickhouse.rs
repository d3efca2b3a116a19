//! ClickHouse's native protocol (clickhouse.com/docs, "Native protocol": hello).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static CLICKHOUSE: Dissector = Dissector {
    name: "ClickHouse",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 9000)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Hello, then the name of the program, behind its length.
    let [0, length, name @ ..] = bytes else { return Probe::No };
    let fits = (10..128).contains(length) && usize::from(*length) <= name.len();
    if fits && name.starts_with(b"ClickHouse") { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn both_sides_say_hello() {
        let ask = [&hex("0011")[..], b"ClickHouse client", &hex("1701b1a903")[..]].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("ClickHouse"));
        let answer = [&hex("000a")[..], b"ClickHouse", &hex("1701b1a903")[..]].concat();
        assert_eq!(Run::new(tcp(50_000, 9000)).server(&answer), Verdict::Decided("ClickHouse"));
        assert_eq!(Run::new(tcp(50_000, 9000)).client(&ask[..18]), Verdict::Undecided);
    }
}
