//! The link between a site and its hub in trouble: cut both ways, cut one way, coming and going each second,
//! and gone without a word, as behind a router that forgets its connections. A collector at the site, with
//! nats-server as a leaf node, goes on; the hub's aggregator has everything afterwards, once.

use std::sync::atomic::Ordering;

use serde_json::Value;
use shared::clock::Stopwatch;

use super::load::Exporter;
use super::number;
use crate::multi_site::{Servers, processes, programs};
use crate::support::http::{Recorder, ask};
use crate::support::proxy::Proxy;
use crate::support::{free_port, wait_for};

/// Seconds after which a link that is gone without a word has been made anew, with what was kept meanwhile.
const SILENCE_S: u64 = 60;

fn pause(ms: u64) {
    let clock = Stopwatch::start();
    wait_for("a while", 600, || (clock.elapsed().as_millis() >= u128::from(ms)).then_some(()));
}

/// The row of the only interface, as the hub's aggregator tells it.
fn row(api: &str) -> Option<Value> {
    let (_, body) = ask("GET", &format!("{api}/interfaces")).filter(|(status, _)| *status == 200)?;
    let body: Value = serde_json::from_str(&body).ok()?;
    body["items"].as_array()?.first().cloned()
}

#[test]
fn a_site_whose_link_is_in_trouble_loses_nothing() {
    let Some(program) = programs().into_iter().next() else { return };
    let seconds = if number("CHAOS_ROUNDS").is_some_and(|rounds| rounds > 1) { 60 } else { 5 };
    let servers = Servers::new(program);
    let hub_server = servers.hub();
    let link = Proxy::to(servers.leaves());
    let site_server = servers.kiosk_over("kiosk", link.port);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Whoever sets the site up makes its streams.
    let maker = runtime.block_on(site_server.bus("aggregator", Vec::new()));
    let recorder = Recorder::start();
    let (port, exported) = (free_port(), free_port());
    let more = format!(
        "[[bus.nats.sites]]\ndomain = \"kiosk\"\nown_aggregator = false\n\
         [aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n"
    );
    let hub = processes::setup(&hub_server, "aggregator", "hub", &recorder, &more);
    let _hub = processes::start("aggregator", &hub);
    processes::healthy(port);
    let more = format!(
        "[collector]\nflow_idle_s = 1\n\
         [[collector.interface]]\nname = \"far0\"\nlisten = \"udp://127.0.0.1:{exported}\"\n"
    );
    let kiosk = processes::setup(&site_server, "collector", "kiosk", &recorder, &more);
    let _kiosk = processes::start("collector", &kiosk);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    wait_for("the collector", 60, || row(&api));
    let (exporter, exporting) = Exporter::start(exported);
    let counted = || row(&api).and_then(|row| row["stats"]["packets"].as_u64()).unwrap_or(0);
    // Everything that was sent until now.
    let caught_up = |what: &str, patience: u64| {
        let sent = exporter.sent.load(Ordering::SeqCst);
        let clock = Stopwatch::start();
        wait_for(what, patience, || (counted() >= sent).then_some(()));
        eprintln!("{what}: the hub has caught up after {:.1} s", clock.elapsed().as_secs_f64());
    };
    caught_up("a calm link", 60);
    link.cut(false);
    pause(seconds * 1000);
    link.heal();
    caught_up("cut both ways", 60);
    link.cut(true);
    pause(seconds * 1000);
    link.heal();
    caught_up("cut one way", 60);
    for _ in 0..seconds {
        link.cut(false);
        pause(500);
        link.heal();
        pause(500);
    }
    caught_up("coming and going", 60);
    link.forget();
    caught_up("gone without a word", SILENCE_S);

    exporter.stop();
    exporting.join().unwrap();
    let sent = exporter.sent.load(Ordering::SeqCst);
    let whole = wait_for("everything at the hub", 60, || row(&api).filter(|_| counted() >= sent));
    assert_eq!(whole["stats"]["packets"], sent, "nothing is counted twice: {whole}");
    let batches = whole["batches"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(batches["missing"], 0, "{whole}");
    assert_eq!(whole["stats"]["drops"], 0, "{whole}");
    drop(maker);
}
