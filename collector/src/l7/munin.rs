//! Munin's node, which greets (Munin guide, "Data exchange between master and node").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static MUNIN: Dissector = Dissector {
    name: "Munin",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'#',
    ports: &[(L4::TCP, 4949)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let greets = bytes.starts_with(b"# munin node at ") || bytes.starts_with(b"# munin client at ");
    if greets { Probe::Certain } else { Probe::No }
}

// The greeting of munin-node 2.0.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn the_node_greets() {
        let greeting = b"# munin node at host.example\n";
        assert_eq!(Run::new(tcp(50_000, 9999)).server(greeting), Verdict::Decided("Munin"));
        assert_eq!(Run::new(tcp(50_000, 4949)).server(&greeting[..12]), Verdict::Undecided);
    }
}
