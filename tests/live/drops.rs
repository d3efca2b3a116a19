//! Packets that a live source could not take.

use std::process::Command;

use super::cable::{Cable, udp};
use crate::support::wait_for;

/// More than a ring of one MiB holds.
const SENT: u64 = 60_000;

fn signal(process: u32, name: &str) {
    let done = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(done.success());
}

/// The sum of a metric's lines that have `label`.
fn metric(text: &str, name: &str, label: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// The program is stopped while the wire is busy: what the ring cannot hold the kernel drops, and tells.
fn drops_are_counted(name: &str, source: &str) {
    let Some(cable) = Cable::new(name) else { return };
    let settings = format!("source = \"{source}\"\nfilter = \"udp and net 198.18.0.0/15\"\nbuffer_mib = 1\n");
    let capturing = cable.capture(&settings);
    let mut sender = cable.sender();
    let process = capturing.running.0.id();
    signal(process, "-STOP");
    for number in 0..SENT {
        sender.send(&udp((number % 600) as u16, false, None));
    }
    signal(process, "-CONT");
    let (packets, drops) = wait_for("every packet, taken or dropped", 60, || {
        let row = capturing.get(&cable.namespace, "/interfaces")?;
        let stats = &row["items"][0]["stats"];
        let (packets, drops) = (stats["packets"].as_u64()?, stats["drops"].as_u64()?);
        (packets + drops >= SENT).then_some((packets, drops))
    });
    assert_eq!(packets + drops, SENT, "{source}: {packets} taken, {drops} dropped");
    assert!(packets > 0 && drops > 0, "{source}: {packets} taken, {drops} dropped");
    let text = capturing.text(&cable.namespace, "/metrics").unwrap();
    let told = |by: &str| metric(&text, "flowhook_collector_drops", &format!("by=\"{by}\""));
    assert_eq!((told("kernel"), told("interface"), told("capture")), (drops, 0, 0), "{source}");
}

#[test]
fn what_the_kernel_drops_is_counted_and_told_apart() {
    drops_are_counted("drp-p", "libpcap");
    drops_are_counted("drp-a", "af_packet");
}
