//! Reads a live interface for some seconds and prints what a packet costs the reader:
//! `capture_speed INTERFACE libpcap|af_packet SECONDS [BUFFER_MIB]`.
//!
//! The time is the thread's own (`/proc/thread-self/schedstat`), so that waiting is not counted. The
//! other side of a veth pair, flooded with `capture_speed --send INTERFACE SECONDS`, makes a load:
//! UDP packets of 64 bytes in 10,000 flows.
#![expect(clippy::print_stdout, reason = "prints a measurement")]

use std::error::Error;
use std::time::Duration;

use collector::capture::live::{self, LiveConfig, Source};
use collector::capture::{Batch, SourceState};
use shared::clock::Stopwatch;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--send", interface, seconds] => send(interface, Duration::from_secs(seconds.parse()?)),
        [interface, source, seconds] => read(interface, source, seconds.parse()?, 64),
        [interface, source, seconds, buffer] => read(interface, source, seconds.parse()?, buffer.parse()?),
        _ => Err("usage: capture_speed INTERFACE libpcap|af_packet SECONDS [BUFFER_MIB]".into()),
    }
}

fn read(interface: &str, source: &str, seconds: u64, buffer_mib: u32) -> Result<(), Box<dyn Error>> {
    let reader = match source {
        "libpcap" => Source::Libpcap,
        "af_packet" => Source::AfPacket,
        other => return Err(format!("no such source: {other}").into()),
    };
    let config =
        LiveConfig { source: reader, buffer_bytes: buffer_mib * 1024 * 1024, ..LiveConfig::new(interface) };
    let mut capture = live::open(&config)?;
    let mut batch = Batch::default();
    let (mut packets, mut bytes) = (0_u64, 0_u64);
    let begin = cpu_ns()?;
    let watch = Stopwatch::start();
    while watch.elapsed() < Duration::from_secs(seconds) {
        if capture.next_batch(&mut batch)? == SourceState::More {
            packets += batch.len() as u64;
            bytes += batch.iter().map(|(desc, _)| u64::from(desc.length)).sum::<u64>();
        }
    }
    let cost = cpu_ns()? - begin;
    let stats = capture.stats();
    println!(
        "{source} {buffer_mib} MiB: {packets} packets ({:.2} M/s), {bytes} bytes, {:.1} ns CPU a packet, {} dropped of {}",
        packets as f64 / seconds as f64 / 1e6,
        cost as f64 / packets.max(1) as f64,
        stats.dropped_kernel,
        stats.received,
    );
    Ok(())
}

/// Nanoseconds that this thread has run.
fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?)
}

fn send(interface: &str, time: Duration) -> Result<(), Box<dyn Error>> {
    let mut device = pcap::Capture::from_device(interface)?.open()?;
    let mut frame = [0_u8; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..34]
        .copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 0, 198, 19, 0, 1]);
    frame[34..42].copy_from_slice(&[0x4e, 0x20, 0x27, 0x0f, 0, 26, 0, 0]);
    let (mut sent, mut flow) = (0_u64, 0_u16);
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        for _ in 0..256 {
            flow = (flow + 1) % 10_000;
            frame[28..30].copy_from_slice(&flow.to_be_bytes());
            // A full queue refuses; what was refused was not sent.
            sent += u64::from(device.sendpacket(frame).is_ok());
        }
    }
    println!("sent {sent} ({:.2} M/s)", sent as f64 / time.as_secs_f64() / 1e6);
    Ok(())
}
