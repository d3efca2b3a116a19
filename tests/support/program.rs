//! The program under test, as a user starts it. Whatever it says is looked through for secrets.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use shared::secret::mark::assert_absent;

/// A command line of the program, in a folder of its own.
pub fn flowhook(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowhook"));
    command.args(args).env_remove("FLOWHOOK_CONFIG").stdin(Stdio::null());
    command
}

/// How tests run programs to the end: no secret is in what they say.
pub trait Said {
    /// Runs it.
    fn said(&mut self) -> std::io::Result<Output>;

    /// Runs it with `input` piped into it.
    fn said_to(&mut self, input: &[u8]) -> Output;
}

impl Said for Command {
    fn said(&mut self) -> std::io::Result<Output> {
        let output = self.output()?;
        look_through(self, &output);
        Ok(output)
    }

    fn said_to(&mut self, input: &[u8]) -> Output {
        let piped = Stdio::piped;
        let mut child = self.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        // The program may end before it has read everything.
        let _ = writer.join().unwrap();
        look_through(self, &output);
        output
    }
}

fn look_through(command: &Command, output: &Output) {
    let name = command.get_program().display();
    assert_absent(&format!("standard output of {name}"), &output.stdout);
    assert_absent(&format!("standard error of {name}"), &output.stderr);
}

/// Runs to the end.
pub fn run(args: &[&str]) -> Output {
    flowhook(args).said().unwrap()
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

impl Drop for Setup {
    /// What the programs of a test that fails have said is shown; what those of another one have kept is
    /// looked through.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            look_through_folder(&self.path("state"));
        }
        let said = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        if std::thread::panicking() && !said.is_empty() {
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of {}\n{}", self.path("log").display(), last.join("\n"));
        }
    }
}

/// Fails when a secret is in a file of a folder that may not be there.
fn look_through_folder(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match std::fs::read(&path) {
            Ok(bytes) => assert_absent(&path.display().to_string(), &bytes),
            Err(_) => look_through_folder(&path),
        }
    }
}

/// A program that is killed when the test ends, and what it writes to.
pub struct Running(pub Child, [Written; 2]);

impl Running {
    /// Starts it; standard error goes to `log`.
    pub fn start(command: Command, log: &Path) -> Self {
        Self::begun(command, Written::to(tempfile::tempfile().unwrap(), "standard output"), log)
    }

    /// The same, with standard output in a file of its own.
    pub fn writing(command: Command, out: &Path, log: &Path) -> Self {
        Self::begun(command, Written::appended(out), log)
    }

    fn begun(mut command: Command, out: Written, log: &Path) -> Self {
        let log = Written::appended(log);
        command.stdout(out.file.try_clone().unwrap()).stderr(log.file.try_clone().unwrap());
        Self(command.spawn().unwrap(), [out, log])
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
        if !std::thread::panicking() {
            self.1.iter_mut().for_each(Written::look_through);
        }
    }
}

/// A file that a program writes to, held open: its folder may be gone first.
struct Written {
    file: File,
    name: String,
    /// What was there before.
    begin: u64,
}

impl Written {
    fn to(file: File, name: &str) -> Self {
        let begin = file.metadata().unwrap().len();
        Self { file, name: name.to_owned(), begin }
    }

    fn appended(path: &Path) -> Self {
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(path).unwrap();
        Self::to(file, text(path))
    }

    fn look_through(&mut self) {
        let mut said = Vec::new();
        self.file.seek(SeekFrom::Start(self.begin)).unwrap();
        self.file.read_to_end(&mut said).unwrap();
        assert_absent(&self.name, &said);
    }
}
