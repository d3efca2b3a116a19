//! Disks that are full: that of a collector whose bus is away, and that of nats-server's streams. Everything
//! goes on by itself when there is room, what was lost is counted, and no process grows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::load::Exporter;
use super::site::peak_kib;
use crate::multi_site::{Servers, processes, programs};
use crate::support::disk::SmallDisk;
use crate::support::http::{Recorder, ask};
use crate::support::program::{Running, Setup};
use crate::support::proxy::Proxy;
use crate::support::{free_port, wait_for};

/// The most memory that a process may have had, in KiB.
const PEAK_KIB: u64 = 300 << 10;

/// A collector that an exporter sends to, and an aggregator, on one server; the collector has a way of its own
/// to it.
struct Small {
    aggregator: Setup,
    collector: Setup,
    running: [Option<Running>; 2],
    way: Proxy,
    api: String,
    exported: u16,
    exporter: Option<(Arc<Exporter>, std::thread::JoinHandle<()>)>,
    _recorder: Recorder,
}

impl Small {
    fn start(servers: &mut crate::multi_site::Server, spool_mib: u32) -> Self {
        let recorder = Recorder::start();
        let (port, exported) = (free_port(), free_port());
        let more = format!("[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n");
        let aggregator = processes::setup(servers, "aggregator", "hub", &recorder, &more);
        let first = processes::start("aggregator", &aggregator);
        processes::healthy(port);
        let way = Proxy::to(servers.port);
        let direct = std::mem::replace(&mut servers.port, way.port);
        let more = format!(
            "[collector]\nflow_idle_s = 1\nspool_mib = {spool_mib}\n\
             [[collector.interface]]\nname = \"far0\"\nlisten = \"udp://127.0.0.1:{exported}\"\n"
        );
        let collector = processes::setup(servers, "collector", "far", &recorder, &more);
        servers.port = direct;
        Self {
            aggregator,
            collector,
            running: [Some(first), None],
            way,
            api: format!("http://127.0.0.1:{port}/api/v1"),
            exported,
            exporter: None,
            _recorder: recorder,
        }
    }

    fn collect(&mut self) {
        self.running[1] = Some(processes::start("collector", &self.collector));
        wait_for("the collector", 60, || self.row());
        self.exporter = Some(Exporter::start(self.exported));
    }

    /// What the collector has said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.collector.path("log")).unwrap_or_default()
    }

    fn row(&self) -> Option<Value> {
        let (_, body) =
            ask("GET", &format!("{}/interfaces", self.api)).filter(|(status, _)| *status == 200)?;
        let body: Value = serde_json::from_str(&body).ok()?;
        body["items"].as_array()?.iter().find(|row| row["site"] == "far").cloned()
    }

    /// Waits until what is sent now is counted.
    fn goes_on(&self, what: &str, seconds: u64) -> Value {
        let packets = |row: &Value| row["stats"]["packets"].as_u64().unwrap_or(0);
        let before = self.row().map_or(0, |row| packets(&row));
        wait_for(what, seconds, || self.row().filter(|row| packets(row) > before + 600))
    }

    /// Ends it; gives the row when all that will ever come has come.
    fn end(mut self) -> (u64, Value) {
        let (exporter, exporting) = self.exporter.take().unwrap();
        exporter.stop();
        exporting.join().unwrap();
        let sent = exporter.sent.load(Ordering::SeqCst);
        // At its end a collector tells everything that it has.
        assert_eq!(self.running[1].as_mut().unwrap().terminate(), Some(0));
        let settled = |row: &Value| {
            let batches = row["batches"].as_object()?.values().next()?.clone();
            let number = |name: &str| batches[name].as_u64();
            let (expected, received, missing) =
                (number("expected")?, number("received")?, number("missing")?);
            (expected == received + missing && row["stats"]["packets"].as_u64()? + 100_000 * missing >= sent)
                .then_some(())
        };
        let row = wait_for("all that will ever come", 60, || self.row().filter(|row| settled(row).is_some()));
        for running in self.running.iter().flatten() {
            let kib = peak_kib(running.0.id());
            assert!(kib < PEAK_KIB, "{kib} KiB");
        }
        drop(self.aggregator);
        (sent, row)
    }
}

#[test]
fn a_collector_whose_disk_is_full_while_the_bus_is_away_goes_on_by_itself() {
    let Some(program) = programs().into_iter().next() else { return };
    let servers = Servers::new(program);
    let mut server = servers.hub();
    let mut small = Small::start(&mut server, 64);
    let Some(disk) = SmallDisk::at(&small.collector.path("state"), "8m") else { return };
    small.collect();
    small.goes_on("a calm begin", 60);
    small.way.cut(false);
    wait_for("the spool", 30, || small.log().contains("messages go to disk").then_some(()));
    let ballast = disk.fill();
    wait_for("the disk to be full", 30, || small.log().contains("No space left on device").then_some(()));
    std::fs::remove_file(&ballast).unwrap();
    small.way.heal();
    small.goes_on("the way and the room are there again", 60);
    let (sent, row) = small.end();
    let (packets, missing) = (row["stats"]["packets"].as_u64().unwrap(), &row["batches"]);
    eprintln!("{packets} of {sent} flows are counted, batches: {missing}");
    assert!(packets <= sent, "{row}");
    let lost = row["batches"].as_object().unwrap().values().next().unwrap()["missing"] != 0;
    assert_eq!(packets < sent, lost, "what is not counted is known to be missing: {row}");
}

#[test]
fn streams_on_a_full_disk_lose_nothing_that_they_have_not_taken() {
    let Some(program) = programs().into_iter().next() else { return };
    let servers = Servers::new(program);
    let Some(disk) = SmallDisk::at(&servers.store("hub"), "48m") else { return };
    let mut server = servers.hub();
    let mut small = Small::start(&mut server, 64);
    small.collect();
    small.goes_on("a calm begin", 60);
    let ballast = disk.fill();
    wait_for("the spool", 60, || small.log().contains("messages go to disk").then_some(()));
    std::fs::remove_file(&ballast).unwrap();
    // A server that could not write has given JetStream up until it is started again.
    server.kill();
    server.start();
    small.goes_on("the server has room again", 60);
    let (sent, row) = small.end();
    assert_eq!(row["stats"]["packets"], sent, "{row}");
    assert_eq!(row["stats"]["drops"], 0, "{row}");
}
