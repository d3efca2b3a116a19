//! Opens what a file name stands for: a file, a named pipe, or standard input.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::capture::CaptureError;

/// Standard input is one for the process: who reads it second would get the middle of a stream.
static STDIN_TAKEN: AtomicBool = AtomicBool::new(false);

/// True for `-`. A file of that name is `./-`.
pub(in crate::capture) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// True when reading uses it up: a pipe or standard input.
pub(in crate::capture) fn can_be_read_only_once(path: &Path) -> bool {
    let is_pipe = |meta: std::fs::Metadata| !meta.is_file() && !meta.is_dir();
    is_stdin(path) || std::fs::metadata(path).is_ok_and(is_pipe)
}

/// The file, and its size in bytes unless it is a pipe.
pub(super) fn open(path: &Path) -> Result<(File, Option<u64>), CaptureError> {
    let unreadable = |cause| CaptureError::Unreadable { path: path.to_owned(), cause };
    let file = if is_stdin(path) {
        if STDIN_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(CaptureError::StandardInputTwice);
        }
        File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?)
    } else {
        File::open(path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => CaptureError::NotFound { path: path.to_owned() },
            _ => unreadable(cause),
        })?
    };
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        return Err(CaptureError::IsDirectory { path: path.to_owned() });
    }
    Ok((file, meta.is_file().then_some(meta.len())))
}
