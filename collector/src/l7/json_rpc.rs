//! JSON-RPC 2.0 without a carrier of its own (jsonrpc.org/specification).

use shared::model::{AppCategory, Breed};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Bytes of a message in which its version stands.
const HEAD: usize = 1024;

pub(super) static JSON_RPC: Dissector = Dissector {
    name: "JSON-RPC",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'{' | b'['),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    // The version is a member of every message, which calls or answers.
    let version = has(head, b"\"jsonrpc\":\"2.0\"") || has(head, b"\"jsonrpc\": \"2.0\"");
    let message = [&b"\"method\""[..], b"\"result\"", b"\"error\""].iter().any(|member| has(head, member));
    if version && message { Probe::Certain } else { Probe::No }
}

// The examples of the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn calls_and_answers() {
        let ask = br#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#;
        assert_eq!(Run::new(tcp(50_000, 9999)).client(ask), Verdict::Decided("JSON-RPC"));
        let answer = br#"{"jsonrpc":"2.0","result":19,"id":1}"#;
        assert_eq!(Run::new(tcp(50_000, 9999)).server(answer), Verdict::Decided("JSON-RPC"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"{\"method\": 1}"), Verdict::Undecided);
    }
}
