//! ActiveMQ's own protocol (OpenWire version 2 specification): the first command tells the format.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static OPENWIRE: Dissector = Dissector {
    name: "OpenWire",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 61_616)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let length = be32(bytes, 0).is_some_and(|length| (9..1 << 16).contains(&length));
    if length && bytes.get(4..).is_some_and(|command| command.starts_with(b"\x01ActiveMQ")) {
        Probe::Certain
    } else {
        Probe::No
    }
}

// Put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn the_first_command_tells_the_format() {
        let format = [&hex("000000f0 01")[..], b"ActiveMQ", &hex("0000000c 01 000000dd")[..]].concat();
        assert_eq!(Run::new(tcp(50_000, 61_616)).client(&format), Verdict::Decided("OpenWire"));
        assert_eq!(Run::new(tcp(50_000, 61_616)).client(&format[..12]), Verdict::Undecided);
    }
}
