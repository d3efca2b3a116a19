//! The processes that things are done to: two aggregators, two notifiers and a collector, each with ways of
//! its own to the servers.

use std::process::Command;

use shared::model::Timestamp;

use crate::support::free_port;
use crate::support::http::Recorder;
use crate::support::program::{Running, Setup, flowhook};
use crate::support::proxy::Proxy;

/// Prefix of the subjects, and name of the database.
pub const NAME: &str = "chaos";

/// Raises alerts whose text tells of everything that a fault could spoil.
const SCRIPT: &str = r#"#{
    kind: "interface",
    hooks: #{ min: |p| {
        if p.entity_info.site != "s" { return; }
        let n = recall("n"); if n == () { n = 0 }
        remember("n", n + 1);
        store_alert(#{ message: `run ${n}: ${p.delta.packets} of ${p.stats.packets}`, value: p.delta.packets });
    } }
}"#;

/// Engages an alert of each interface in every other minute, which ends in the next.
const TIDE: &str = r#"#{
    kind: "interface",
    hooks: #{ min: |p| {
        if p.entity_info.site != "s" { return; }
        let n = recall("n"); if n == () { n = 0 }
        remember("n", n + 1);
        if n % 2 == 0 { trigger_alert(#{ message: `tide ${n}` }); }
    } }
}"#;

/// Where the servers are.
pub struct Servers {
    /// Where nats-server listens; those on 127.0.0.1 are reached over ways that can be cut.
    pub nats: Vec<String>,
    /// Copies of what streams keep.
    pub replicas: usize,
    /// Ports of PostgreSQL.
    pub postgres: Vec<u16>,
    /// URL of the database without host and port, such as `user:password@`.
    pub login: String,
}

/// Ways to servers of one kind.
pub struct Ways(Vec<Proxy>);

impl Ways {
    /// How a server is reached: on this machine over a way that can be cut.
    fn to(&mut self, place: &str) -> String {
        let Some(port) = place.strip_prefix("127.0.0.1:") else { return place.to_owned() };
        let way = Proxy::to(port.parse().unwrap());
        let place = format!("127.0.0.1:{}", way.port);
        self.0.push(way);
        place
    }

    /// Cuts all of them, or only what comes back.
    pub fn cut(&self, one_way: bool) {
        self.0.iter().for_each(|way| way.cut(one_way));
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.0.iter().for_each(Proxy::heal);
    }
}

/// One process.
pub struct Role {
    /// Name of the node.
    pub name: &'static str,
    /// Port of its API, where it has one.
    pub api: u16,
    /// Its ways to nats-server.
    pub bus: Ways,
    /// Its ways to PostgreSQL.
    pub store: Ways,
    /// The most memory that it ever had, in KiB.
    pub peak_kib: u64,
    role: &'static str,
    database: String,
    setup: Setup,
    running: Option<Running>,
    /// It was asked to stop.
    leaving: Option<Running>,
}

impl Role {
    /// Starts one; `more` is added to its configuration.
    pub fn start(
        role: &'static str,
        name: &'static str,
        servers: &Servers,
        recorder: &Recorder,
        more: &str,
    ) -> Self {
        let mut bus = Ways(Vec::new());
        let places: Vec<String> = servers.nats.iter().map(|place| bus.to(place)).collect();
        let places: Vec<String> = places.iter().map(|place| format!("\"nats://{place}\"")).collect();
        let store = Ways(servers.postgres.iter().map(|port| Proxy::to(*port)).collect());
        let hosts: Vec<String> = store.0.iter().map(|way| format!("127.0.0.1:{}", way.port)).collect();
        let api = free_port();
        let setup = Setup::new(&format!(
            "[node]\nname = \"{name}\"\nsite = \"{site}\"\nstate_dir = \"{{dir}}/state\"\n\
             secret_key = \"env:TEST_KEY\"\n\
             [bus]\nkind = \"nats\"\nprefix = \"{NAME}\"\n\
             [bus.nats]\nservers = [{}]\nreplicas = {}\n\
             [store]\nkind = \"{kind}\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n\
             [scripts]\ndir = \"{{dir}}/scripts\"\n\
             [aggregator]\nsnapshot_s = 2\nmax_hosts = 20000\nalert_retention_days = 0\n\
             [aggregator.time_series]\nmin_days = 0\n[aggregator.monitor]\nenabled = false\n\
             [aggregator.api]\nlisten = \"127.0.0.1:{api}\"\n\
             [notifier]\nclaim_lease_s = 20\nallow_targets = [\"127.0.0.1/32\"]\n\
             [notifier.retry]\nbase_ms = 50\ncap_ms = 500\n\
             [[notifier.endpoint]]\nname = \"hook\"\nkind = \"webhook\"\nparams = {{ url = \"{}/in\" }}\n\
             [[notifier.recipient]]\nname = \"all\"\nendpoint = \"hook\"\n{more}",
            places.join(", "),
            servers.replicas,
            recorder.url(),
            site = if role == "collector" { "far" } else { "s" },
            kind = if role == "collector" { "sqlite" } else { "postgres" },
        ));
        std::fs::create_dir(setup.path("scripts")).unwrap();
        std::fs::write(setup.path("scripts/told.rhai"), SCRIPT).unwrap();
        std::fs::write(setup.path("scripts/tide.rhai"), TIDE).unwrap();
        let database =
            format!("postgresql://{}{}/{NAME}?application_name={name}", servers.login, hosts.join(","));
        let mut started =
            Self { name, api, bus, store, peak_kib: 0, role, database, setup, running: None, leaving: None };
        started.run();
        started
    }

    /// Starts it again.
    pub fn run(&mut self) {
        let mut command = flowhook(&[self.role, "-c", &self.setup.config()]);
        command.env("TEST_DATABASE", &self.database).env("TEST_KEY", "5a".repeat(32));
        self.running = Some(Running::start(command, &self.setup.path("log")));
    }

    /// Starts it again when it has ended by itself, as whoever looks after services does: one that is started
    /// while a server is away says so and ends.
    pub fn look_after(&mut self) {
        let ended = self.running.as_mut().is_some_and(|running| !matches!(running.0.try_wait(), Ok(None)));
        if ended {
            eprintln!("{} ended by itself and is started again", self.name);
            self.run();
        }
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.look();
        self.running = None;
    }

    /// Asks it to stop.
    pub fn leave(&mut self) {
        self.look();
        self.leaving = self.running.take();
        if let Some(leaving) = &self.leaving {
            leaving.ask_to_stop();
        }
    }

    /// True when it has stopped as it was asked to, in a few seconds; one that waits for a server that is
    /// away is killed, as whoever looks after services does.
    pub fn has_left(&mut self) -> bool {
        let Some(mut running) = self.leaving.take() else { return true };
        for _ in 0..40 {
            if let Ok(Some(status)) = running.0.try_wait() {
                return status.success();
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        eprintln!("{} did not stop in time", self.name);
        false
    }

    /// Stops it where it stands (SIGSTOP), or lets it go on (SIGCONT).
    pub fn pause(&self, paused: bool) {
        let Some(running) = &self.running else { return };
        let signal = if paused { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &running.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Notes how much memory it has had.
    pub fn look(&mut self) {
        let Some(running) = &self.running else { return };
        self.peak_kib = self.peak_kib.max(peak_kib(running.0.id()));
    }

    /// Address of its API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1", self.api)
    }

    /// When it has said something, in seconds since the epoch.
    pub fn said(&self, what: &str) -> Vec<f64> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(what));
        let times = lines.filter_map(|line| line.split_whitespace().next()?.parse::<Timestamp>().ok());
        times.map(|at| at.ns() as f64 / 1e9).collect()
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.path("log")).unwrap_or_default()
    }
}

/// The most memory that a process has had, in KiB; 0 when it is gone.
pub fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

impl Drop for Role {
    /// Says what the process said last, when a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let kept =
                std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}.log", self.name));
            let _ = std::fs::write(kept, &log);
            let last: Vec<&str> = log.lines().rev().take(15).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("--- {} said last:\n{}", self.name, last.join("\n"));
        }
    }
}
