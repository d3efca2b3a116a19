//! Captures of a folder, each many times over with other client addresses, woven together.
//!
//! A client is the side that speaks first to an address (unless the ports say it is the server). Only
//! the outermost addresses are rewritten; what is inside tunnels stays.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use collector::capture::{Batch, LinkType, SourceState, file};

use crate::draw::Draw;
use crate::pcap::Pcap;

/// Between the first and the last packet of the trace.
const LENGTH_US: u64 = 300_000_000;

/// A pause in a capture is cut to this.
const LONGEST_PAUSE_US: u64 = 1_000_000;

/// A capture whose pauses add up to more is played faster.
const LONGEST_CAPTURE_US: u64 = 60_000_000;

/// A capture in memory.
pub struct Capture {
    packets: Vec<Packet>,
    /// Number of clients, each of which gets an address of its own in each copy.
    clients: u32,
}

struct Packet {
    /// Since the capture's first packet.
    at_us: u64,
    /// An Ethernet frame.
    frame: Vec<u8>,
    /// Its bytes on the wire.
    length: u32,
    /// Where addresses of clients stand: offset, bytes, number of the client.
    rewrites: Vec<(usize, usize, u32)>,
}

/// Reads every capture of the folder, in the order of their names.
pub fn load(folder: &Path) -> anyhow::Result<Vec<Capture>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap"));
    paths.sort();
    let captures = paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    if captures.iter().all(|capture| capture.packets.is_empty()) {
        bail!("no capture in {}", folder.display());
    }
    Ok(captures)
}

fn read(path: &Path) -> anyhow::Result<Capture> {
    let mut source = file::open(path)?;
    let mut batch = Batch::default();
    let mut packets: Vec<Packet> = Vec::new();
    let mut ends: Vec<Option<Ends>> = Vec::new();
    let mut before = None;
    let mut at_us = 0;
    loop {
        let state = source.next_batch(&mut batch).with_context(|| path.display().to_string())?;
        for (desc, bytes) in batch.iter() {
            let Some((frame, added)) = ethernet(desc.link, bytes) else { continue };
            let pause = before.map_or(0, |before| desc.ts.since(before).max(0) as u64 / 1000);
            before = Some(desc.ts);
            at_us += pause.min(LONGEST_PAUSE_US);
            ends.push(Ends::of(&frame));
            let length = desc.length.saturating_add_signed(added);
            packets.push(Packet { at_us, frame, length, rewrites: Vec::new() });
        }
        if state == SourceState::End {
            break;
        }
    }
    if at_us > LONGEST_CAPTURE_US {
        for packet in &mut packets {
            packet.at_us = packet.at_us * LONGEST_CAPTURE_US / at_us;
        }
    }
    let clients = clients(ends.iter().flatten());
    for (packet, ends) in packets.iter_mut().zip(&ends) {
        let Some(ends) = ends else { continue };
        for (offset, address) in [(ends.source_at, ends.source), (ends.target_at, ends.target)] {
            if let Some(&client) = clients.get(&address) {
                packet.rewrites.push((offset, if address.is_ipv4() { 4 } else { 16 }, client));
            }
        }
    }
    Ok(Capture { packets, clients: clients.len() as u32 })
}

/// Where a frame's addresses stand, and its ports (0 without).
struct Ends {
    source_at: usize,
    target_at: usize,
    source: IpAddr,
    target: IpAddr,
    ports: (u16, u16),
}

impl Ends {
    fn of(frame: &[u8]) -> Option<Self> {
        let (kind, at) = network_header(frame)?;
        let address = |at: usize, bytes: usize| -> Option<IpAddr> {
            let bytes = frame.get(at..at + bytes)?;
            <[u8; 4]>::try_from(bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
                .ok()
        };
        let (source_at, target_at, bytes, l4, next) = if kind == 4 {
            (at + 12, at + 16, 4, *frame.get(at + 9)?, at + usize::from(*frame.get(at)? & 15) * 4)
        } else {
            (at + 8, at + 24, 16, *frame.get(at + 6)?, at + 40)
        };
        let ports = if matches!(l4, 6 | 17 | 132) {
            (u16_at(frame, next).unwrap_or_default(), u16_at(frame, next + 2).unwrap_or_default())
        } else {
            (0, 0)
        };
        let (source, target) = (address(source_at, bytes)?, address(target_at, bytes)?);
        Some(Self { source_at, target_at, source, target, ports })
    }
}

fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// IP version and offset of the outermost IP header of an Ethernet frame.
fn network_header(frame: &[u8]) -> Option<(u8, usize)> {
    let mut at = 12;
    loop {
        let ethertype = u16_at(frame, at)?;
        at += 2;
        match ethertype {
            0x8100 | 0x88a8 | 0x9100 => at += 2,
            0x0800 => return Some((4, at)),
            0x86dd => return Some((6, at)),
            0x8864 => {
                let kind = if u16_at(frame, at + 6)? == 0x0057 { 6 } else { 4 };
                return (u16_at(frame, at + 6)? & 0xff00 == 0).then_some((kind, at + 8));
            }
            0x8847 => {
                while frame.get(at + 2)? & 1 == 0 {
                    at += 4;
                }
                at += 4;
                let version = frame.get(at)? >> 4;
                return matches!(version, 4 | 6).then_some((version, at));
            }
            _ => return None,
        }
    }
}

/// The addresses to rewrite, numbered in the order in which they appear.
fn clients<'e>(ends: impl Iterator<Item = &'e Ends>) -> HashMap<IpAddr, u32> {
    let is_host = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    };
    let mut met = std::collections::HashSet::new();
    let mut clients = HashMap::new();
    for ends in ends {
        let pair = (ends.source.min(ends.target), ends.source.max(ends.target));
        if !met.insert(pair) {
            continue;
        }
        let from_server = ends.ports.0 < 1024 && ends.ports.1 >= 1024;
        let sides = if from_server { [ends.target, ends.source] } else { [ends.source, ends.target] };
        let number = clients.len() as u32;
        if let Some(client) = sides.into_iter().find(is_host) {
            clients.entry(client).or_insert(number);
        }
    }
    clients
}

/// The packet as an Ethernet frame and how much longer it became; `None` for links that have no such
/// form.
fn ethernet(link: LinkType, bytes: &[u8]) -> Option<(Vec<u8>, i32)> {
    let by_version = || match bytes.first()? >> 4 {
        4 => Some([0x08, 0x00]),
        6 => Some([0x86, 0xdd]),
        _ => None,
    };
    let (header, ethertype): (usize, [u8; 2]) = match link {
        LinkType::ETHERNET => return Some((bytes.to_vec(), 0)),
        LinkType::RAW | LinkType::DLT_RAW | LinkType::IPV4 | LinkType::IPV6 => (0, by_version()?),
        LinkType::LINUX_SLL => (16, bytes.get(14..16)?.try_into().ok()?),
        LinkType::C_HDLC => (4, bytes.get(2..4)?.try_into().ok()?),
        _ => return None,
    };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype);
    frame.extend_from_slice(&bytes[header..]);
    Some((frame, 14 - header as i32))
}

/// One copy of a capture on its way.
struct Copy {
    capture: usize,
    next: usize,
    /// How many packets of it there are to be.
    packets: usize,
    begins_us: u64,
    /// Number of its first client among all.
    first_client: u32,
}

/// Writes `packets` packets: every capture as often as they fit, and some once more.
pub fn write(out: &mut Pcap<impl Write>, captures: &[Capture], packets: u64, seed: u64) -> io::Result<()> {
    let mut draw = Draw::new(seed);
    let mut copies = Vec::new();
    let mut due = BinaryHeap::new();
    let (mut left, mut first_client) = (packets, 0);
    for (number, capture) in captures.iter().enumerate().cycle() {
        if left == 0 {
            break;
        }
        let length_us = capture.packets.last().map_or(0, |packet| packet.at_us);
        let begins_us = (LENGTH_US - length_us) / 1000 * u64::from(draw.below(1_000_001)) / 1000;
        let packets = capture.packets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= packets as u64;
        if packets > 0 {
            due.push(Reverse((begins_us, copies.len())));
            copies.push(Copy { capture: number, next: 0, packets, begins_us, first_client });
            first_client += capture.clients;
        }
    }
    let mut frame = Vec::new();
    while let Some(Reverse((at_us, number))) = due.pop() {
        let copy = &mut copies[number];
        let all = &captures[copy.capture].packets[..copy.packets];
        let packet = &all[copy.next];
        frame.clear();
        frame.extend_from_slice(&packet.frame);
        for &(offset, bytes, client) in &packet.rewrites {
            rewrite(&mut frame[offset..offset + bytes], copy.first_client + client);
        }
        out.cut_packet(at_us, &frame, packet.length)?;
        copy.next += 1;
        if let Some(packet) = all.get(copy.next) {
            due.push(Reverse((copy.begins_us + packet.at_us, number)));
        }
    }
    Ok(())
}

/// Gives client number `client` an address: `10.x.y.z`, or the same IPv6 network and another host.
fn rewrite(address: &mut [u8], client: u32) {
    let [_, high, middle, _] = (client / 254 * 256).to_be_bytes();
    let low = (client % 254) as u8 + 1;
    if address.len() == 4 {
        address.copy_from_slice(&[10, high, middle, low]);
    } else {
        address[8..].copy_from_slice(&[2, 0, 0, 0xff, 0xfe, high, middle, low]);
    }
}
