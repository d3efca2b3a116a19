//! A real PostgreSQL server for tests, started and stopped with its owner.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test support: a test fails by panicking"
)]

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::PostgresConfig;
use crate::secret::Secret;

/// How long a server may take to start, also after a crash.
const DEADLINE: Duration = Duration::from_secs(60);

/// The only user, and the password.
const USER: &str = "flowhook";
const PASSWORD: &str = crate::secret::mark::MARK;

/// A server on 127.0.0.1 with a folder of its own; killed and removed on drop.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    folder: PathBuf,
    bin: PathBuf,
    /// Who runs it: it refuses to be root's.
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    child: Option<Child>,
}

impl PostgresServer {
    /// Starts a server with an empty cluster and waits until it answers.
    ///
    /// The programs `initdb` and `postgres` are those in the folder `$FLOWHOOK_POSTGRES_BIN`, on the path,
    /// or where Debian has them. Where there are none, the answer is `None` and the standard error says
    /// loudly that `test` was skipped.
    ///
    /// # Panics
    /// When the server does not start, and in CI (`CI` is set) also when there is none.
    pub async fn start(test: &str) -> Option<Self> {
        let server = Self::prepare(test)?;
        Some(server.started(test).await)
    }

    /// A server that takes no connection without TLS; it shows this certificate.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with_tls(test: &str, certificate: &str, key: &str) -> Option<Self> {
        let mut server = Self::prepare(test)?;
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            server.write(name, text);
        }
        let file = |name: &str| server.folder.join(name).display().to_string();
        server.settings = vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.pem")),
            format!("ssl_key_file={}", file("server.key")),
        ];
        server.write("data/pg_hba.conf", "hostssl all all all scram-sha-256\n");
        Some(server.started(test).await)
    }

    /// A server that follows this one (streaming replication), on a port of its own. From now on this one
    /// answers a commit when the other has applied it, too.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn standby(&self, test: &str) -> Self {
        let standby = Self::placed(self.bin.clone());
        let copied = standby
            .command("pg_basebackup")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-c", "fast", "-R", "-D"])
            .arg(standby.folder.join("data"))
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("pg_basebackup can be started");
        assert!(copied.status.success(), "{test}: {}", String::from_utf8_lossy(&copied.stderr));
        let standby = standby.started(test).await;
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        let following = async {
            while self.sql("postgres", follows).await.as_deref() != Some("1") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, following).await.expect("a standby follows");
        for setting in ["synchronous_commit = 'remote_apply'", "synchronous_standby_names = '*'"] {
            self.sql("postgres", &format!("ALTER SYSTEM SET {setting}")).await;
        }
        self.sql("postgres", "SELECT pg_reload_conf()").await;
        standby
    }

    /// Makes a standby the one to write to.
    ///
    /// # Panics
    /// When it does not become that.
    pub async fn promote(&self) {
        let promoted = self.sql("postgres", "SELECT pg_promote()").await;
        assert_eq!(promoted.as_deref(), Some("t"), "{}", self.log());
    }

    /// Stops it at once, in the middle of everything, as `pg_ctl stop -m immediate` does.
    pub fn stop_immediately(&mut self) {
        if let Some(pid) = self.pid() {
            // Where it has ended meanwhile nothing is left to stop.
            let _ = Command::new("kill").args(["-QUIT", &pid.to_string()]).status();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// One with a folder, and nothing in it.
    fn placed(bin: PathBuf) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("flowhook-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let server = Self { port: 0, folder, bin, user: servant(), settings: Vec::new(), child: None };
        server.own(&server.folder);
        server
    }

    fn prepare(test: &str) -> Option<Self> {
        let Some(bin) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "{test}: no PostgreSQL server, and CI is set");
            eprintln!("SKIPPED {test}: there is no PostgreSQL server (initdb and postgres)");
            return None;
        };
        let server = Self::placed(bin);
        server.write("password", PASSWORD);
        let made = server
            .command("initdb")
            .args(["-N", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "-U", USER, "-D"])
            .arg(server.folder.join("data"))
            .arg("--pwfile")
            .arg(server.folder.join("password"))
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "{test}: initdb: {}", String::from_utf8_lossy(&made.stderr));
        Some(server)
    }

    async fn started(mut self, test: &str) -> Self {
        // Another process may take the free port before the server does; then another is tried.
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
            self.port = listener.local_addr().expect("a listener has an address").port();
            drop(listener);
            self.spawn();
            if timeout(DEADLINE, self.ready()).await.unwrap_or(false) {
                return self;
            }
            self.kill();
        }
        panic!("{test}: postgres does not start: {}", self.log());
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database, with user and password.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// How to reach a database.
    pub fn config(&self, database: &str) -> PostgresConfig {
        PostgresConfig { url: Some(Secret::new(self.url(database))), ..PostgresConfig::default() }
    }

    /// Makes an empty database; how to reach it.
    ///
    /// # Panics
    /// When the server does not.
    pub async fn database(&self, name: &str) -> PostgresConfig {
        self.sql("postgres", &format!("CREATE DATABASE {name}")).await;
        self.config(name)
    }

    /// Runs SQL as the superuser; the first column of the last row, as text.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn sql(&self, database: &str, sql: &str) -> Option<String> {
        let (client, connection) =
            tokio_postgres::connect(&self.url(database), NoTls).await.expect("the server answers");
        let connection = tokio::spawn(connection);
        let rows = client.simple_query(sql).await.expect("the statement is right");
        drop(client);
        let _ = connection.await;
        rows.into_iter().rev().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0)?.to_owned()),
            _ => None,
        })
    }

    /// Its process, while it runs.
    pub fn pid(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Kills the server as a crash would (SIGKILL); its folder stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port and folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        let again = async {
            loop {
                self.spawn();
                if self.ready().await {
                    return;
                }
                // Processes of the killed server may still hold its memory.
                self.kill();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let started = timeout(DEADLINE, again).await;
        assert!(started.is_ok(), "postgres does not start again: {}", self.log());
    }

    /// What the server has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        // No test takes the power away.
        for setting in ["fsync=off", "shared_buffers=32MB", "max_connections=60"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let child = command.stdout(Stdio::null()).stderr(log.expect("a log can be written")).spawn();
        self.child = Some(child.expect("postgres can be started"));
    }

    /// Waits until the server answers; false when it ends instead.
    async fn ready(&mut self) -> bool {
        loop {
            match tokio_postgres::connect(&self.url("postgres"), NoTls).await {
                Ok(_) => return true,
                // It answers and wants TLS.
                Err(error) if error.as_db_error().is_some_and(|e| e.code().code() == "28000") => return true,
                Err(_) => {}
            }
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
        self.own(&path);
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).expect("root may give files away");
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
        // Left behind at worst: it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder with both programs.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("FLOWHOOK_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|dirs| dirs.flatten().map(|dir| dir.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let folders = named.into_iter().chain(std::env::split_paths(&path)).chain(versions.into_iter().rev());
    let found =
        folders.into_iter().find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file())?;
    // A folder of links need not have all programs.
    found.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned)
}

/// Whose the server is when this process is root's.
fn servant() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").map(|own| own.uid()).unwrap_or(1);
    if own != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}
