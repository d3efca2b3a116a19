//! What tests share: the program, a recording HTTP receiver, configuration files, waiting.

pub mod certificates;
pub mod disk;
pub mod http;
pub mod mmdb;
pub mod program;
pub mod proxy;
pub mod traffic;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The folder of shared captures beside the repository, or `None`, said loudly. In CI a folder
/// `../shared` without them is an error: only where it is not there at all can nothing be read.
pub fn shared_captures() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let captures = beside.join("captures");
    if captures.join("expected.tsv").is_file() {
        return Some(captures);
    }
    let ci = std::env::var_os("CI").is_some();
    assert!(!(ci && beside.is_dir()), "{} is there, and not its captures", beside.display());
    // Not by a macro whose output the test runner keeps to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED in part: the folder {} is not there", captures.display());
    None
}

/// True when `program` can be started. Where it is missing, CI fails and others are told.
pub fn has_program(program: &str) -> bool {
    let found = std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| PathBuf::from(dir).join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: {program} is not installed; ./dev test installs it");
    }
    found
}

/// Polls until `condition` gives a value; fails after `seconds`.
#[expect(clippy::disallowed_methods, reason = "waits for other processes in real time")]
pub fn wait_for<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {seconds} s");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that nobody uses now, and that nobody is given who asks for any: a program that is
/// started anew has to find it free again. The one after it is given to nobody.
pub fn free_port() -> u16 {
    /// Below those that Linux gives out by itself (`net.ipv4.ip_local_port_range`).
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Another run of the tests beside this one begins elsewhere.
    let begin = std::process::id().wrapping_mul(422);
    let many = u32::from(PORTS.end - PORTS.start);
    let next = || {
        let place = begin.wrapping_add(TAKEN.fetch_add(2, Ordering::Relaxed)) % many;
        PORTS.start + u16::try_from(place).unwrap()
    };
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).take(many as usize).find(is_free).unwrap()
}
