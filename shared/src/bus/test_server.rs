//! A real `nats-server` for tests, started and stopped with its owner.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test support: a test fails by panicking"
)]

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take to start.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server with JetStream on 127.0.0.1, with its own folder; killed and removed on drop.
#[derive(Debug)]
pub struct NatsServer {
    /// Where it listens: `nats://127.0.0.1:<port>`.
    pub url: String,
    port: u16,
    folder: PathBuf,
    program: OsString,
    child: Child,
}

impl NatsServer {
    /// Starts a server and waits until it accepts connections.
    ///
    /// The program is `$FLOWHOOK_NATS_SERVER`, or `nats-server` on the path. Where there is none,
    /// the answer is `None` and the standard error says loudly that `test` was skipped.
    ///
    /// # Panics
    /// When the server does not start, and in CI (`CI` is set) also when there is none.
    pub async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "").await
    }

    /// The same with more of a configuration, such as `tls` or `authorization`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(test: &str, config: &str) -> Option<Self> {
        let program = std::env::var_os("FLOWHOOK_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        Self::launch(test, program, config).await
    }

    /// A current server, which `./dev test` downloads into `target/nats-current`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_current(test: &str) -> Option<Self> {
        let target =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/nats-current/embedded_nats/bin/nats-server");
        Self::launch(test, target.into(), "").await
    }

    async fn launch(test: &str, program: OsString, config: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("flowhook-nats-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        std::fs::write(folder.join("server.conf"), complete(config)).expect("a file can be written");
        // Another process may take the free port before the server does; then another is tried.
        for _ in 0..5 {
            let port = free_port();
            let child = match spawn(&program, port, &folder) {
                Ok(child) => child,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    assert!(
                        std::env::var_os("CI").is_none(),
                        "{test}: no {}, and CI is set",
                        program.display()
                    );
                    eprintln!("SKIPPED {test}: there is no {}", program.display());
                    return None;
                }
                Err(error) => panic!("{test}: nats-server does not start: {error}"),
            };
            let url = format!("nats://127.0.0.1:{port}");
            let mut server = Self { url, port, folder: folder.clone(), program: program.clone(), child };
            if server.ready().await {
                return Some(server);
            }
            server.folder = PathBuf::new();
        }
        panic!("{test}: nats-server does not start; see {}", folder.join("log").display());
    }

    /// Its process, while it runs.
    pub fn pid(&mut self) -> Option<u32> {
        matches!(self.child.try_wait(), Ok(None)).then(|| self.child.id())
    }

    /// Kills the server as a crash would (SIGKILL); its folder stays.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it is to be started with the next time.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn reconfigure(&self, config: &str) {
        std::fs::write(self.folder.join("server.conf"), complete(config)).expect("a file can be written");
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port and folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.program, self.port, &self.folder).expect("nats-server started before");
        assert!(self.ready().await, "nats-server does not start again");
    }

    /// Waits until the server accepts connections; false when it ends instead.
    async fn ready(&mut self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let accepts = async {
            while TcpStream::connect(address).await.is_err() {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // A server that lost the port to another process has ended.
            matches!(self.child.try_wait(), Ok(None))
        };
        timeout(DEADLINE, accepts).await.unwrap_or(false)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if !self.folder.as_os_str().is_empty() {
            // Left behind at worst: it is in the temporary folder.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// The configuration with a limit of storage, which is else three quarters of what the disk has free:
/// streams reserve theirs, however little is put into them.
fn complete(config: &str) -> String {
    match config.contains("max_file_store") {
        true => config.to_owned(),
        false => format!("jetstream {{ max_file_store: 1TB }}\n{config}"),
    }
}

fn spawn(program: &OsStr, port: u16, folder: &Path) -> std::io::Result<Child> {
    Command::new(program)
        .arg("-c")
        .arg(folder.join("server.conf"))
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string()])
        .arg("-sd")
        .arg(folder)
        .arg("-l")
        .arg(folder.join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
