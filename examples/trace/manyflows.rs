//! Many short flows: of ten, four are DNS exchanges (2 packets), three HTTP (10), one TLS (7), one a SYN
//! answered by RST (2), one unknown UDP (3), between 20,000 clients and 50,000 servers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use shared::model::flow::{TCP_ACK as ACK, TCP_FIN as FIN, TCP_RST as RST, TCP_SYN as SYN};

use crate::draw::Draw;
use crate::frame::Talk;
use crate::payload::{client_hello, dns, http_answer, http_request, server_hello};
use crate::pcap::Pcap;

const CLIENTS: u32 = 20_000;
const SERVERS: u32 = 50_000;

/// Between the beginnings of two flows: 2,000 flows a second, a million in 500 s.
const FLOW_EVERY_US: u64 = 500;

/// A step of a conversation: from the client or not, TCP flags, payload.
type Step = (bool, u8, Vec<u8>);

struct Flow {
    talk: Talk,
    /// Longest wait for an answer, in microseconds.
    round_us: u32,
    steps: std::vec::IntoIter<Step>,
}

/// When the next step of a flow is due: time, number of the flow, its place among the open ones.
type Due = Reverse<(u64, u64, usize)>;

pub fn write(out: &mut Pcap<impl Write>, packets: u64, seed: u64) -> io::Result<()> {
    let mut draw = Draw::new(seed);
    let mut kinds = Kinds::default();
    // The next port of each client, so that no two flows are the same.
    let mut ports = vec![0_u16; CLIENTS as usize];
    let mut open: Vec<Option<Flow>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut due: BinaryHeap<Due> = BinaryHeap::new();
    let mut frame = Vec::new();
    let mut begun = 0;
    while out.packets() < packets {
        let begins_us = begun * FLOW_EVERY_US;
        if due.peek().is_none_or(|Reverse((at, ..))| *at >= begins_us) {
            let flow = begin(kinds.next(&mut draw), &mut ports, &mut draw);
            let place = free.pop().unwrap_or_else(|| {
                open.push(None);
                open.len() - 1
            });
            open[place] = Some(flow);
            due.push(Reverse((begins_us + u64::from(draw.below(FLOW_EVERY_US as u32)), begun, place)));
            begun += 1;
            continue;
        }
        let Some(Reverse((at, number, place))) = due.pop() else { continue };
        let Some(flow) = &mut open[place] else { continue };
        if let Some((from_client, flags, payload)) = flow.steps.next() {
            flow.talk.frame(from_client, flags, &payload, &mut frame);
            out.packet(at, &frame)?;
            let wait = 1 + flow.round_us / 4 + draw.below(flow.round_us);
            due.push(Reverse((at + u64::from(wait), number, place)));
        } else {
            open[place] = None;
            free.push(place);
        }
    }
    Ok(())
}

/// Deals the ten kinds of ten flows out in changing order.
#[derive(Default)]
struct Kinds(Vec<u32>);

impl Kinds {
    fn next(&mut self, draw: &mut Draw) -> u32 {
        if self.0.is_empty() {
            self.0.extend(0..10);
        }
        let place = draw.below(self.0.len() as u32) as usize;
        self.0.swap_remove(place)
    }
}

fn begin(kind: u32, ports: &mut [u16], draw: &mut Draw) -> Flow {
    let client = draw.below(CLIENTS);
    let next = &mut ports[client as usize];
    let client_port = 1024 + *next;
    *next = (*next + 1) % 60_000;
    let server_port = match kind {
        0..4 => 53,
        4..7 => 80,
        7 => 443,
        8 => 8000 + draw.below(1000) as u16,
        _ => 30_000 + draw.below(1000) as u16,
    };
    let talk = Talk {
        tcp: (4..9).contains(&kind),
        client: (0x0a00_0000 + client, client_port),
        server: (0x2d00_0000 + draw.below(SERVERS), server_port),
        seq: [draw.below(u32::MAX), draw.below(u32::MAX)],
    };
    let round_us = 1_000 + draw.below(80_000);
    Flow { talk, round_us, steps: steps(kind, draw).into_iter() }
}

fn steps(kind: u32, draw: &mut Draw) -> Vec<Step> {
    let name = format!("h{}.example", draw.below(100_000));
    match kind {
        0..4 => {
            let id = draw.below(65_536) as u16;
            vec![(true, 0, dns(id, &name, false)), (false, 0, dns(id, &name, true))]
        }
        4..7 => vec![
            (true, SYN, vec![]),
            (false, SYN | ACK, vec![]),
            (true, ACK, vec![]),
            (true, ACK, http_request(&name, draw.below(999))),
            (false, ACK, http_answer(80)),
            (false, ACK, vec![b'x'; 40]),
            (false, ACK, vec![b'x'; 40]),
            (true, ACK, vec![]),
            (false, FIN | ACK, vec![]),
            (true, FIN | ACK, vec![]),
        ],
        7 => vec![
            (true, SYN, vec![]),
            (false, SYN | ACK, vec![]),
            (true, ACK, vec![]),
            (true, ACK, client_hello(draw, &name)),
            (false, ACK, server_hello(draw)),
            (true, FIN | ACK, vec![]),
            (false, FIN | ACK, vec![]),
        ],
        8 => vec![(true, SYN, vec![]), (false, RST | ACK, vec![])],
        _ => vec![(true, 0, vec![0xee; 30]), (false, 0, vec![0xee; 60]), (true, 0, vec![0xee; 30])],
    }
}
