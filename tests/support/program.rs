//! The program under test, as a user starts it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A command line of the program, in a folder of its own.
pub fn flowhook(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowhook"));
    command.args(args).env_remove("FLOWHOOK_CONFIG").stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(args: &[&str]) -> Output {
    flowhook(args).output().unwrap()
}

/// Runs, expects success, and reads its JSON.
pub fn run_json(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs, expects the exit code, and gives standard error.
pub fn run_fails(args: &[&str], code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    stderr
}

/// Text of a path.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a configuration file, removed when dropped.
pub struct Setup {
    /// The folder.
    pub dir: tempfile::TempDir,
}

impl Setup {
    /// A folder with `config.toml`. `{dir}` in the text becomes the folder's path.
    pub fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config.replace("{dir}", text(dir.path()));
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { dir }
    }

    /// Path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Path of the configuration as text.
    pub fn config(&self) -> String {
        text(&self.path("config.toml")).to_owned()
    }
}

/// What the programs of a test that fails have said.
impl Drop for Setup {
    fn drop(&mut self) {
        let said = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        if std::thread::panicking() && !said.is_empty() {
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of {}\n{}", self.path("log").display(), last.join("\n"));
        }
    }
}

/// A program that is killed when the test ends.
pub struct Running(pub Child);

impl Running {
    /// Starts it; standard error goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Asks it to stop as an operator would (SIGTERM), and waits for its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.ask_to_stop();
        self.0.wait().unwrap().code()
    }

    /// Asks it to stop, and does not wait.
    pub fn ask_to_stop(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Kills it (SIGKILL) and waits.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
