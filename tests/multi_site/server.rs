//! A nats-server that runs an example configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use shared::bus::nats::{NatsBus, NatsConfig, SiteServer};
use shared::secret::Secret;

use crate::support::{free_port, has_program, wait_for};

/// Of every user.
pub const PASSWORD: &str = "hunter2";

/// Where the configurations take passwords from.
const PASSWORDS: [&str; 6] = [
    "COLLECTOR_PASSWORD",
    "AGGREGATOR_PASSWORD",
    "NOTIFIER_PASSWORD",
    "READER_PASSWORD",
    "ADMIN_PASSWORD",
    "SITE_PASSWORD",
];

/// The server that Debian has, and a current one, which `./dev test` downloads; those that there are.
pub fn programs() -> Vec<OsString> {
    let current = concat!(env!("CARGO_MANIFEST_DIR"), "/target/nats-current/embedded_nats/bin/nats-server");
    let mut programs = Vec::new();
    if has_program("nats-server") {
        programs.push("nats-server".into());
    }
    if Path::new(current).is_file() {
        programs.push(current.into());
    } else {
        assert!(std::env::var_os("CI").is_none(), "no current nats-server, and in CI nothing is skipped");
        eprintln!("SKIPPED in part: no current nats-server; ./dev test downloads it");
    }
    programs
}

/// The servers of a hub and of its sites, with their folder.
pub struct Servers {
    program: OsString,
    leaves: u16,
    dir: tempfile::TempDir,
}

impl Servers {
    /// None of them started.
    pub fn new(program: OsString) -> Self {
        Self { program, leaves: free_port(), dir: tempfile::tempdir().unwrap() }
    }

    /// Starts the hub's.
    pub fn hub(&self) -> Server {
        self.server("hub.conf", "hub", vec![("FLOWHOOK_LEAF_LISTEN", format!("127.0.0.1:{}", self.leaves))])
    }

    /// Starts a site's.
    pub fn site(&self, name: &'static str) -> Server {
        let more = vec![("FLOWHOOK_SITE", name.to_owned()), ("FLOWHOOK_HUB_URL", self.hub_url())];
        self.server("site.conf", name, more)
    }

    /// That of a site with collectors only, with its link to the hub by way of another port.
    pub fn kiosk_over(&self, name: &'static str, port: u16) -> Server {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nats");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let whole = read("site.conf");
        // What such a site lets pass, as it is told there.
        let second = whole.lines().find(|line| line.contains("\"sc.v1.>\"")).unwrap();
        let passing = whole.replace(second, "]").replace("\"$O.>\",", "\"$O.>\"");
        std::fs::write(self.dir.path().join("server.conf"), read("server.conf")).unwrap();
        let config = self.dir.path().join("kiosk.conf");
        std::fs::write(&config, passing).unwrap();
        let hub = format!("nats-leaf://site:{PASSWORD}@127.0.0.1:{port}");
        let more = vec![("FLOWHOOK_SITE", name.to_owned()), ("FLOWHOOK_HUB_URL", hub)];
        self.server(&config.display().to_string(), name, more)
    }

    /// The port at which the hub takes sites.
    pub fn leaves(&self) -> u16 {
        self.leaves
    }

    /// Where a server keeps its streams.
    pub fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the hub takes sites.
    pub fn hub_url(&self) -> String {
        format!("nats-leaf://site:{PASSWORD}@127.0.0.1:{}", self.leaves)
    }

    fn server(&self, config: &str, name: &str, more: Vec<(&'static str, String)>) -> Server {
        Server::new(&self.program, config, &self.dir.path().join(name), more)
    }
}

/// A nats-server that runs an example configuration.
pub struct Server {
    program: OsString,
    child: Option<Child>,
    config: String,
    /// Where clients connect.
    pub port: u16,
    environment: Vec<(&'static str, String)>,
}

impl Server {
    fn new(
        program: &OsString,
        config: &str,
        folder: &Path,
        mut environment: Vec<(&'static str, String)>,
    ) -> Self {
        let port = free_port();
        environment.push(("FLOWHOOK_NATS_LISTEN", format!("127.0.0.1:{port}")));
        environment.push(("FLOWHOOK_NATS_STORE", folder.display().to_string()));
        for name in PASSWORDS {
            environment.push((name, PASSWORD.to_owned()));
        }
        let mut server =
            Self { program: program.clone(), child: None, config: config.to_owned(), port, environment };
        server.start();
        server
    }

    /// Starts it, again if it was killed.
    pub fn start(&mut self) {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nats").join(&self.config);
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(config).envs(self.environment.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap());
        wait_for("the server", 20, || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A connection of a role.
    pub async fn bus(&self, user: &str, sites: Vec<SiteServer>) -> Arc<NatsBus> {
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
