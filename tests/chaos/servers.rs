//! Three nats-servers that keep copies of each other's streams, each in a network namespace of its own, so
//! that one can be cut off as a machine is whose cable is pulled: whatever is sent to it is gone.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::http::ask;
use crate::support::{has_program, wait_for};

/// Ports of every server: for clients, for the other servers, for questions.
const PORTS: [u16; 3] = [4222, 6222, 8222];

/// The three of them, with the bridge that joins them to this machine.
pub struct Three {
    program: OsString,
    dir: tempfile::TempDir,
    bridge: String,
    net: u32,
    children: [Option<Child>; 3],
}

fn ip(args: &str) -> bool {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    output.is_ok_and(|output| output.status.success())
}

impl Three {
    /// Starts them; `None`, said loudly, where no namespaces can be made or no current server is there.
    pub fn start() -> Option<Self> {
        let program =
            crate::multi_site::programs().into_iter().find(|program| Path::new(program).is_absolute())?;
        if !has_program("ip") {
            return None;
        }
        let number = std::process::id();
        let bridge = format!("fhc{}", number % 100_000);
        let children = [None, None, None];
        let mut three =
            Self { program, dir: tempfile::tempdir().unwrap(), bridge, net: number % 250, children };
        three.remove();
        if !three.wire() {
            assert!(std::env::var_os("CI").is_none(), "no namespace, and in CI nothing is skipped");
            eprintln!("SKIPPED: network namespaces cannot be made here; run as root");
            return None;
        }
        (0..3).for_each(|place| three.run(place));
        three.healthy();
        Some(three)
    }

    fn wire(&self) -> bool {
        let Self { bridge, net, .. } = self;
        let joined = ip(&format!("link add {bridge} type bridge"))
            && ip(&format!("addr add 198.18.{net}.1/24 dev {bridge}"))
            && ip(&format!("link set {bridge} up"));
        joined
            && (0..3).all(|place| {
                let (name, address) = (self.name(place), self.address(place));
                ip(&format!("netns add {name}"))
                    && ip(&format!("link add {name} type veth peer name eth0 netns {name}"))
                    && ip(&format!("link set {name} master {bridge} up"))
                    && ip(&format!("-n {name} link set lo up"))
                    && ip(&format!("-n {name} addr add {address}/24 dev eth0"))
                    && ip(&format!("-n {name} link set eth0 up"))
            })
    }

    fn remove(&self) {
        for place in 0..3 {
            ip(&format!("link del {}", self.name(place)));
            ip(&format!("netns del {}", self.name(place)));
        }
        ip(&format!("link del {}", self.bridge));
    }

    /// Of the namespace, and of this machine's end of its cable.
    fn name(&self, place: usize) -> String {
        format!("{}-{place}", self.bridge)
    }

    fn address(&self, place: usize) -> String {
        format!("198.18.{}.{}", self.net, 11 + place)
    }

    /// Where clients find them.
    pub fn places(&self) -> Vec<String> {
        (0..3).map(|place| format!("{}:{}", self.address(place), PORTS[0])).collect()
    }

    /// Starts one, again if it was killed.
    pub fn run(&mut self, place: usize) {
        let [clients, routes, http] = PORTS;
        let (address, folder) = (self.address(place), self.dir.path().join(place.to_string()));
        let others: Vec<String> =
            (0..3).map(|other| format!("\"nats://{}:{routes}\"", self.address(other))).collect();
        let config = format!(
            "server_name: s{place}\nlisten: \"{address}:{clients}\"\nhttp: \"{address}:{http}\"\n\
             jetstream {{ store_dir: \"{folder}\", max_file_store: 1TB, sync_interval: always }}\n\
             cluster {{ name: chaos, listen: \"{address}:{routes}\", routes: [{}] }}\n",
            others.join(", "),
            folder = folder.display(),
        );
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("conf"), config).unwrap();
        let mut command = Command::new("ip");
        // `ip netns exec` becomes the program, so that signals reach it.
        command
            .args(["netns", "exec", &self.name(place)])
            .arg(&self.program)
            .arg("-c")
            .arg(folder.join("conf"));
        command.arg("-l").arg(folder.join("log"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children[place] = Some(child.unwrap());
    }

    /// Kills one (SIGKILL).
    pub fn kill(&mut self, place: usize) {
        if let Some(mut child) = self.children[place].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops one where it stands (SIGSTOP), or lets it go on (SIGCONT).
    pub fn pause(&self, place: usize, paused: bool) {
        let Some(child) = &self.children[place] else { return };
        let signal = if paused { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// Pulls one's cable, or plugs it in again.
    pub fn cut(&self, place: usize, cut: bool) {
        let to = if cut { "down" } else { "up" };
        assert!(ip(&format!("link set {} {to}", self.name(place))));
    }

    /// The server that leads a stream, as one of them knows it.
    pub fn leader(&self, stream: &str) -> usize {
        let of = |place: usize| {
            let url = format!("http://{}:{}/jsz?streams=true", self.address(place), PORTS[2]);
            let (_, body) = ask("GET", &url)?;
            let body: Value = serde_json::from_str(&body).ok()?;
            let streams = body["account_details"][0]["stream_detail"].as_array()?;
            let found = streams.iter().find(|found| found["name"] == stream)?;
            found["cluster"]["leader"].as_str()?.strip_prefix('s')?.parse().ok()
        };
        wait_for("a leader", 60, || (0..3).find_map(of))
    }

    /// Waits until all run and have everything that the others have.
    pub fn healthy(&self) {
        let is = |place: usize| {
            let url = format!("http://{}:{}/healthz", self.address(place), PORTS[2]);
            ask("GET", &url).is_some_and(|(status, _)| status == 200)
        };
        wait_for("all servers", 60, || (0..3).all(is).then_some(()));
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        (0..3).for_each(|place| self.kill(place));
        if std::thread::panicking() {
            for place in 0..3 {
                let log = self.dir.path().join(format!("{place}/log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(8).collect();
                eprintln!("--- nats-server {place} said last:\n{}", last.join("\n"));
            }
        }
        self.remove();
    }
}
