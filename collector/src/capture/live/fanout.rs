//! How the kernel divides an interface's packets among several threads.

use serde::{Deserialize, Serialize};

use crate::capture::af_packet::ring::Instruction;

/// By what packets are divided.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fanout {
    /// By addresses and ports, in both directions the same, with IPv4's fragments put together before:
    /// the most even. Fragments of IPv6 may come to another thread than the rest of their flow.
    #[default]
    Flows,
    /// By addresses alone: all fragments come to their flow, and all that two hosts say to each other,
    /// tunnels between them included, comes to one thread.
    Addresses,
}

impl Fanout {
    /// What the kernel runs to divide packets; `None` for its own hash.
    pub(super) fn program(self) -> Option<Vec<Instruction>> {
        (self == Self::Addresses).then(by_addresses)
    }
}

/// Loads from here on are from the network header, wherever the link's ends (`linux/filter.h`).
const NETWORK: u32 = libc::SKF_NET_OFF as u32;
const ETHERTYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;

const fn statement(code: u32, operand: u32) -> Instruction {
    (code as u16, 0, 0, operand)
}

const fn load(at: u32) -> Instruction {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

/// Both addresses, word by word, put together so that their order makes no difference; what is not IP
/// goes to the first thread.
fn by_addresses() -> Vec<Instruction> {
    let mixed = |words: std::ops::Range<u32>| {
        let mut program = vec![load(NETWORK + words.start * 4)];
        for word in words.skip(1) {
            program.push(statement(libc::BPF_MISC | libc::BPF_TAX, 0));
            program.push(load(NETWORK + word * 4));
            program.push(statement(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0));
        }
        // Neighbouring addresses are not to come to neighbouring threads alone.
        program.push(statement(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, 0x9e37_79b1));
        program.push(statement(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16));
        program.push(statement(libc::BPF_RET | libc::BPF_A, 0));
        program
    };
    let (v4, v6) = (mixed(3..5), mixed(2..10));
    let is = |ethertype, skipped: usize| {
        ((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, skipped as u8, ethertype)
    };
    let mut program = vec![load(ETHERTYPE), is(IPV4, v4.len())];
    program.extend(&v4);
    program.push(is(IPV6, v6.len()));
    program.extend(&v6);
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_through_the_program_ends_in_it() {
        let program = by_addresses();
        for (at, (code, yes, no, _)) in program.iter().enumerate() {
            if u32::from(*code) & 7 == libc::BPF_JMP {
                assert!(at + 1 + usize::from(*yes.max(no)) < program.len());
            }
        }
        assert_eq!(program.last(), Some(&statement(libc::BPF_RET | libc::BPF_K, 0)));
        assert!(Fanout::Flows.program().is_none());
    }
}
