//! Connections that are all live at once: each makes its handshake and an HTTP exchange, then all send
//! in turn. One packet a microsecond, so even millions of flows stay well inside any idle timeout.
//!
//! What a packet costs in a table of so many flows is the difference between a trace and the one with
//! PACKETS = 0, divided by PACKETS.

use std::io::{self, Write};

use shared::model::flow::{TCP_ACK as ACK, TCP_SYN as SYN};

use crate::frame::Talk;
use crate::payload::{http_answer, http_request};
use crate::pcap::Pcap;

/// Bytes in each later packet.
const DATA: [u8; 10] = [b'x'; 10];

pub fn write(out: &mut Pcap<impl Write>, flows: u32, packets: u64) -> io::Result<()> {
    let flows = flows.max(1);
    let stride = stride(flows);
    let (request, answer) = (http_request("live.example", 1), http_answer(1_000_000_000));
    let opening: [(bool, u8, &[u8]); 5] = [
        (true, SYN, &[]),
        (false, SYN | ACK, &[]),
        (true, ACK, &[]),
        (true, ACK, &request),
        (false, ACK, &answer),
    ];
    let mut frame = Vec::new();
    let mut seq = [1_000, 2_000];
    for (from_client, flags, payload) in opening {
        let mut after = seq;
        for turn in 0..flows {
            let mut talk = talk(place(turn, stride, flows), seq);
            talk.frame(from_client, flags, payload, &mut frame);
            out.packet(out.packets(), &frame)?;
            after = talk.seq;
        }
        seq = after;
    }
    for number in 0..packets {
        let turn = (number % u64::from(flows)) as u32;
        let round = (number / u64::from(flows)) as u32;
        let sent = round.wrapping_mul(DATA.len() as u32);
        let mut talk = talk(place(turn, stride, flows), [seq[0], seq[1].wrapping_add(sent)]);
        talk.frame(false, ACK, &DATA, &mut frame);
        out.packet(out.packets(), &frame)?;
    }
    Ok(())
}

/// The connection number `number`; all have said the same so far.
fn talk(number: u32, seq: [u32; 2]) -> Talk {
    Talk {
        tcp: true,
        client: (0x0a00_0000 + number / 60, 1024 + (number % 60) as u16 * 1000),
        server: (0x2d00_0000 + number % 50_000, 80),
        seq,
    }
}

/// Which flow has its turn: neighbours in time are far from each other in any table that keeps flows in
/// the order of their arrival, as they are on a real link.
fn place(turn: u32, stride: u32, flows: u32) -> u32 {
    (u64::from(turn) * u64::from(stride) % u64::from(flows)) as u32
}

/// A step through all flows that meets each once: near the golden section, without a common divisor.
fn stride(flows: u32) -> u32 {
    let divisor = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = (f64::from(flows) * 0.618_034) as u32;
    (start.max(1)..).find(|&stride| divisor(stride, flows) == 1).unwrap_or(1)
}
