//! RTMP (Adobe's specification 1.0) by its handshake.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

const VERSION: u8 = 3;
/// The version, and 1,536 bytes of time, zero or a player's version, and noise.
const HELLO: usize = 1537;

pub(super) static RTMP: Dissector = Dissector {
    name: "RTMP",
    category: AppCategory::Streaming,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == VERSION,
    ports: &[(L4::TCP, 1935)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(player) = be32(bytes, 5) else {
        return Probe::No;
    };
    // Players put their version where zeros were meant to be: 9 and later, or above 128.
    let versioned = player == 0 || matches!(player >> 24, 9..=32 | 0x80);
    let tpkt = bytes.get(1) == Some(&0) && super::be16(bytes, 2).map(usize::from) == Some(bytes.len());
    if !versioned || tpkt {
        return Probe::No;
    }
    let version_fits = player >> 16 & 0xff <= 3;
    // A server's hello is followed by its copy of the client's.
    let whole = bytes.len() == HELLO || (!cx.from_client && bytes.len() >= HELLO);
    if whole {
        Probe::Certain
    } else if bytes.len() < HELLO && version_fits && (bytes.len() >= 1000 || cx.has_port(1935)) {
        Probe::Maybe
    } else {
        Probe::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    fn hello() -> Vec<u8> {
        let mut hello = hex("03 00001000 00000000");
        hello.resize(HELLO, 0x5a);
        hello
    }

    #[test]
    fn a_hello_in_one_segment_or_two() {
        assert_eq!(Run::new(tcp(50_000, 11_935)).client(&hello()), Verdict::Decided("RTMP"));
        let mut run = Run::new(tcp(50_000, 11_935));
        assert_eq!(run.client(&hello()[..1460]), Verdict::Undecided);
        assert_eq!(run.client(&hello()[1460..]), Verdict::Decided("RTMP"));
    }

    #[test]
    fn others_begin_with_three_as_well() {
        assert_eq!(Run::new(tcp(50_000, 11_935)).client(&hex("0300000b06e00000000000")), Verdict::Undecided);
        let mut wrong = hello();
        wrong[5] = 0x50;
        assert_eq!(Run::new(tcp(50_000, 1935)).client(&wrong), Verdict::Undecided);
    }
}
