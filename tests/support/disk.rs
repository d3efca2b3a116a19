//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own at a folder, taken away at the end.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Makes one of so many bytes (`8m`); `None`, said loudly, where none may be made.
    pub fn at(folder: &Path, bytes: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={bytes}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "no file system may be mounted, and in CI nothing is skipped"
        );
        eprintln!("SKIPPED: a small file system can be mounted by root alone");
        None
    }

    /// Leaves no room; gives the file whose removal makes some.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left behind would be a mount in a folder that is removed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
