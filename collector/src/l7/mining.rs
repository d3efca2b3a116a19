//! Miners of crypto currencies: Stratum 1 and its kin for Ethereum and Monero (slushpool's and NiceHash's
//! descriptions, EIP-1571, xmrig's proxy documentation), getwork over JSON RPC.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, Want};

/// Bytes of a message in which its method stands.
const HEAD: usize = 2048;
/// Methods that nothing else has.
const METHODS: &[&[u8]] = &[
    b"\"mining.subscribe\"",
    b"\"mining.authorize\"",
    b"\"mining.configure\"",
    b"\"mining.submit\"",
    b"\"mining.notify\"",
    b"\"mining.set_difficulty\"",
    b"\"mining.set_target\"",
    b"\"mining.extranonce.subscribe\"",
    b"\"eth_submitLogin\"",
    b"\"eth_getWork\"",
    b"\"eth_submitWork\"",
    b"\"eth_submitHashrate\"",
    b"\"keepalived\"",
];

pub(super) static MINING: Dissector = Dissector {
    name: "Mining",
    category: AppCategory::CryptoCurrency,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'{',
    ports: &[],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let word = |word: &[u8]| has(head, word);
    if !word(b"\"method\"") && !word(b"\"result\"") {
        return Probe::No;
    }
    // Monero's login names the miner, and jobs have a target.
    let login = || word(b"\"login\"") && word(b"\"pass\"") && (word(b"\"agent\"") || word(b"\"algo\""));
    let job = || word(b"\"job_id\"") && word(b"\"blob\"") && word(b"\"target\"");
    if METHODS.iter().any(|method| word(method)) || login() || job() { Probe::Certain } else { Probe::No }
}

fn dissect(_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    *status |= FlowStatus::CryptoMining.bit();
    Want::Nothing
}

// Messages of the descriptions.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    /// Composed by hand after the descriptions of Stratum: nothing that was recorded.
    #[test]
    fn miners_and_pools() {
        for line in [
            &br#"{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5"]}"#[..],
            br#"{"id": 1, "method": "eth_submitLogin", "params": ["0x1", ""]}"#,
            br#"{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"4","pass":"x","agent":"XMRig/6"}}"#,
            br#"{"jsonrpc":"2.0","method":"job","params":{"blob":"07","job_id":"1","target":"b88d0600"}}"#,
        ] {
            let mut run = Run::new(tcp(50_000, 9999));
            assert_eq!(run.client(line), Verdict::Decided("Mining"));
            assert_eq!(run.status, FlowStatus::CryptoMining.bit());
        }
    }

    #[test]
    fn other_json_is_not_mining() {
        for line in [&br#"{"method":"login","params":{"user":"me"}}"#[..], br#"{"mining.subscribe":1}"#, b"{"]
        {
            assert_eq!(Run::new(tcp(50_000, 3333)).client(line), Verdict::Undecided);
        }
    }
}
