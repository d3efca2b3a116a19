//! The processes that things are done to: two aggregators, two notifiers and a collector, each with ways of
//! its own to the servers.

use std::process::Command;

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

/// Where the servers are.
pub struct Servers {
    /// Port of nats-server.
    pub nats: u16,
    /// Port of PostgreSQL.
    pub postgres: u16,
    /// URL of the database without host and port, such as `user:password@`.
    pub login: String,
}

/// One process.
pub struct Role {
    /// Name of the node.
    pub name: &'static str,
    /// Port of its API, where it has one.
    pub api: u16,
    /// Its way to nats-server.
    pub bus: Proxy,
    /// Its way to PostgreSQL.
    pub store: Proxy,
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
        let (bus, store) = (Proxy::to(servers.nats), Proxy::to(servers.postgres));
        let api = free_port();
        let setup = Setup::new(&format!(
            "[node]\nname = \"{name}\"\nsite = \"{site}\"\nstate_dir = \"{{dir}}/state\"\n\
             secret_key = \"env:TEST_KEY\"\n\
             [bus]\nkind = \"nats\"\nprefix = \"{NAME}\"\n\
             [bus.nats]\nservers = [\"nats://127.0.0.1:{}\"]\n\
             [store]\nkind = \"{kind}\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n\
             [scripts]\ndir = \"{{dir}}/scripts\"\n\
             [aggregator]\nsnapshot_s = 2\nmax_hosts = 20000\n[aggregator.monitor]\nenabled = false\n\
             [aggregator.api]\nlisten = \"127.0.0.1:{api}\"\n\
             [notifier]\nclaim_lease_s = 20\nallow_targets = [\"127.0.0.1/32\"]\n\
             [notifier.retry]\nbase_ms = 50\ncap_ms = 500\n\
             [[notifier.endpoint]]\nname = \"hook\"\nkind = \"webhook\"\nparams = {{ url = \"{}/in\" }}\n\
             [[notifier.recipient]]\nname = \"all\"\nendpoint = \"hook\"\n{more}",
            bus.port,
            recorder.url(),
            site = if role == "collector" { "far" } else { "s" },
            kind = if role == "collector" { "sqlite" } else { "postgres" },
        ));
        std::fs::create_dir(setup.path("scripts")).unwrap();
        std::fs::write(setup.path("scripts/told.rhai"), SCRIPT).unwrap();
        let database =
            format!("postgresql://{}127.0.0.1:{}/{NAME}?application_name={name}", servers.login, store.port);
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        self.peak_kib = self.peak_kib.max(kib.unwrap_or(0));
    }

    /// Address of its API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1", self.api)
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.path("log")).unwrap_or_default()
    }
}

impl Drop for Role {
    /// Says what the process said last, when a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(15).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("--- {} said last:\n{}", self.name, last.join("\n"));
        }
    }
}
