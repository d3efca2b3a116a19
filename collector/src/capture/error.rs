//! Why a capture cannot begin or go on.

use std::path::PathBuf;

/// Why a source cannot be opened or goes on no more.
#[derive(thiserror::Error, Debug)]
pub enum CaptureError {
    /// No such file.
    #[error("no such capture file: {}", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// A folder was named instead of a file.
    #[error("{} is a folder, not a capture file", path.display())]
    IsDirectory {
        /// The folder.
        path: PathBuf,
    },
    /// The system refuses to read the file.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file holds no byte.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Standard input was named twice.
    #[error("standard input can be read only once")]
    StandardInputTwice,
    /// The times of the files overlap so much that too many would have to be open at once.
    #[error("more than {limit} capture files overlap in time; merge some of them first")]
    TooManyFiles {
        /// Files that may be open at once.
        limit: usize,
    },
    /// The file does not start like pcap or pcapng.
    #[error("{} is not a pcap or pcapng capture: {cause}", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        cause: String,
    },
    /// The file ends inside a header or packet, or inside what is compressed; everything before was
    /// delivered.
    #[error("{} is cut short: {cause} at byte {offset}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Offset at which the cut record or block begins, counted in what is decompressed; of a
        /// compressed stream that is itself cut, the size of the file.
        offset: u64,
        /// What is cut.
        cause: String,
    },
    /// A record makes no sense; everything before was delivered.
    #[error("{} is damaged: {cause} at byte {offset}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Offset at which the bad record or block begins, counted in what is decompressed; of a bad
        /// compressed stream, how far it was read.
        offset: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// No such interface.
    #[error("no such interface: {name}")]
    NoSuchInterface {
        /// Interface name.
        name: String,
    },
    /// The interface was there and is no more.
    #[error("interface {name} was removed")]
    Removed {
        /// Interface name.
        name: String,
    },
    /// The interface has another name now.
    #[error("interface {name} was renamed to {now}")]
    Renamed {
        /// Interface name when the capture began.
        name: String,
        /// Its present name.
        now: String,
    },
    /// The process may not capture.
    #[error("not permitted to capture on {name}: run as root or give the program CAP_NET_RAW ({cause})")]
    NotPermitted {
        /// Interface name.
        name: String,
        /// What libpcap says.
        cause: String,
    },
    /// Capturing failed for another reason.
    #[error("cannot capture on {name}: {cause}")]
    Live {
        /// Interface name.
        name: String,
        /// What libpcap says.
        cause: String,
    },
    /// Time went back: what is counted from now on would fall into intervals that are closed.
    #[error("the clock of interface {name} went back by {seconds} s")]
    ClockSetBack {
        /// Interface name.
        name: String,
        /// By how much.
        seconds: i64,
    },
    /// The capture filter does not compile.
    #[error("invalid capture filter '{filter}': {cause}")]
    Filter {
        /// The filter expression (pcap-filter(7)).
        filter: String,
        /// What libpcap says.
        cause: String,
    },
}

impl CaptureError {
    /// The kind of error, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "capture_truncated",
            Self::Malformed { .. } => "capture_malformed",
            Self::NoSuchInterface { .. }
            | Self::Removed { .. }
            | Self::Renamed { .. }
            | Self::NotPermitted { .. }
            | Self::Live { .. } => "capture_interface",
            Self::ClockSetBack { .. } => "clock_stepped",
            Self::Filter { .. } => "capture_filter",
            _ => "capture_file",
        }
    }
}
