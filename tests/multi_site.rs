//! Sites with NATS servers of their own and a hub that takes their streams over, on real servers with the
//! example configurations: everything comes once, also what came while the hub was away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use shared::bus::nats::{NatsBus, SiteServer};
use shared::bus::{Bus, Consumer, Stream};
use shared::wire::subject::Subjects;

pub use self::server::{Server, Servers, programs};

mod generated;
pub mod processes;
mod server;

async fn append(bus: &NatsBus, subject: &str, id: &str) {
    bus.append(subject, id, Bytes::from(id.to_owned())).await.unwrap().stored().await.unwrap();
}

/// What a stream gave, and where in the stream it lies.
#[derive(Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Reads until all of `wanted` have come. One that comes again is the same message of the stream, whose
    /// acknowledgement was lost with the server.
    async fn read(&mut self, consumer: &mut Consumer, wanted: &[&str]) {
        let missing = |seen: &Self| wanted.iter().find(|text| !seen.0.contains_key(**text)).copied();
        while let Some(missing) = missing(self) {
            let queued = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
            let queued = queued.unwrap_or_else(|_| panic!("{missing} does not come")).unwrap();
            let text = String::from_utf8(queued.payload.to_vec()).unwrap();
            let before = self.0.insert(text.clone(), queued.sequence);
            assert!(before.is_none_or(|sequence| sequence == queued.sequence), "the stream has {text} twice");
            queued.ack();
        }
    }

    fn texts(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_gets_what_sites_keep_once_and_catches_up_after_a_cut() {
    for program in programs() {
        streams_come_once(&Servers::new(program)).await;
    }
}

async fn streams_come_once(servers: &Servers) {
    let mut hub_server = servers.hub();
    let (lyon_server, kiosk_server) = (servers.site("lyon"), servers.site("kiosk"));
    let lyon = lyon_server.bus("aggregator", Vec::new()).await;
    let kiosk = kiosk_server.bus("aggregator", Vec::new()).await;
    let site = |domain: &str, own_aggregator| SiteServer { domain: domain.to_owned(), own_aggregator };
    let sites = || vec![site("lyon", true), site("kiosk", false)];
    let lyon_collector = lyon_server.bus("collector", Vec::new()).await;
    let kiosk_collector = kiosk_server.bus("collector", Vec::new()).await;
    let hub = hub_server.bus("aggregator", sites()).await;

    let subjects = Subjects::new("");
    let mut alerts = hub.consume(Stream::Alert, "alerts", &subjects.all("al")).await.unwrap();
    let mut deltas = hub.consume(Stream::Delta, "deltas", &subjects.all("dl")).await.unwrap();
    let mut at_lyon = lyon.consume(Stream::Alert, "alerts", &subjects.all("al")).await.unwrap();
    let alert = |site: &str| format!("al.v1.{site}.host.error.engage");

    append(&lyon, &alert("lyon"), "lyon-1").await;
    append(&lyon_collector, &subjects.delta("lyon", 3, "n", 0), "lyon-delta").await;
    append(&kiosk, &alert("kiosk"), "kiosk-1").await;
    append(&kiosk_collector, &subjects.delta("kiosk", 3, "n", 0), "kiosk-delta-1").await;
    append(&hub, &alert("hub"), "hub-1").await;
    let (mut hub_alerts, mut hub_deltas, mut lyon_alerts) =
        (Seen::default(), Seen::default(), Seen::default());
    hub_alerts.read(&mut alerts, &["hub-1", "kiosk-1", "lyon-1"]).await;
    hub_deltas.read(&mut deltas, &["kiosk-delta-1"]).await;

    // The way is cut: the site works on.
    hub_server.kill();
    for number in 2..=40 {
        append(&lyon, &alert("lyon"), &format!("lyon-{number}")).await;
        append(&kiosk_collector, &subjects.delta("kiosk", 3, "n", 0), &format!("kiosk-delta-{number}")).await;
    }
    lyon_alerts.read(&mut at_lyon, &["lyon-1", "lyon-40"]).await;
    drop((alerts, deltas));
    hub_server.start();

    let hub = hub_server.bus("aggregator", sites()).await;
    let mut alerts = hub.consume(Stream::Alert, "alerts", &subjects.all("al")).await.unwrap();
    let mut deltas = hub.consume(Stream::Delta, "deltas", &subjects.all("dl")).await.unwrap();
    // What is sent now comes after all that.
    append(&lyon, &alert("lyon"), "lyon-41").await;
    append(&kiosk_collector, &subjects.delta("kiosk", 3, "n", 0), "kiosk-delta-41").await;
    hub_alerts.read(&mut alerts, &["lyon-41"]).await;
    hub_deltas.read(&mut deltas, &["kiosk-delta-41"]).await;
    lyon_alerts.read(&mut at_lyon, &["lyon-41"]).await;

    // Nothing is missing, and nothing of the hub's or of another site's has come to a site.
    let all = |name: &str| (1..=41).map(|number| format!("{name}-{number}")).collect::<BTreeSet<String>>();
    let own: BTreeSet<String> = ["hub-1".to_owned(), "kiosk-1".to_owned()].into();
    assert_eq!(hub_alerts.texts(), &all("lyon") | &own);
    assert_eq!(hub_deltas.texts(), all("kiosk-delta"));
    assert_eq!(lyon_alerts.texts(), all("lyon"));
}
