//! Sites with NATS servers of their own and a hub that takes their streams over, on real servers with the
//! example configurations: everything comes once, also what came while the hub was away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::bus::nats::{NatsBus, NatsConfig, SiteServer};
use shared::bus::{Bus, Consumer, Stream};
use shared::secret::Secret;
use shared::wire::subject::Subjects;

use crate::support::{free_port, has_program, wait_for};

const PASSWORD: &str = "p4ss";

/// Where the configurations take passwords from.
const PASSWORDS: [&str; 6] = [
    "COLLECTOR_PASSWORD",
    "AGGREGATOR_PASSWORD",
    "NOTIFIER_PASSWORD",
    "READER_PASSWORD",
    "ADMIN_PASSWORD",
    "SITE_PASSWORD",
];

/// A nats-server that runs an example configuration.
struct Server {
    child: Option<Child>,
    config: &'static str,
    port: u16,
    environment: Vec<(&'static str, String)>,
}

impl Server {
    fn new(config: &'static str, folder: &Path, mut environment: Vec<(&'static str, String)>) -> Self {
        let port = free_port();
        environment.push(("FLOWHOOK_NATS_LISTEN", format!("127.0.0.1:{port}")));
        environment.push(("FLOWHOOK_NATS_STORE", folder.display().to_string()));
        for name in PASSWORDS {
            environment.push((name, PASSWORD.to_owned()));
        }
        let mut server = Self { child: None, config, port, environment };
        server.start();
        server
    }

    fn start(&mut self) {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nats").join(self.config);
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(config).envs(self.environment.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap());
        wait_for("the server", 20, || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    async fn bus(&self, user: &str, sites: Vec<SiteServer>) -> Arc<NatsBus> {
        let config = NatsConfig {
            servers: vec![format!("nats://127.0.0.1:{}", self.port)],
            user: Some(user.to_owned()),
            password: Some(Secret::new(PASSWORD)),
            inbox_prefix: format!("_INBOX.{user}"),
            create_streams: Some(user == "aggregator"),
            sites,
            ..NatsConfig::default()
        };
        NatsBus::connect(config).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn folder(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

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
    if !has_program("nats-server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let leaves = free_port();
    let listen = vec![("FLOWHOOK_LEAF_LISTEN", format!("127.0.0.1:{leaves}"))];
    let mut hub_server = Server::new("hub.conf", &folder(&dir, "hub"), listen);
    let site_server = |name: &'static str| {
        let url = format!("nats-leaf://site:{PASSWORD}@127.0.0.1:{leaves}");
        let more = vec![("FLOWHOOK_SITE", name.to_owned()), ("FLOWHOOK_HUB_URL", url)];
        Server::new("site.conf", &folder(&dir, name), more)
    };
    let (lyon_server, kiosk_server) = (site_server("lyon"), site_server("kiosk"));
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
