//! Exit codes, and how an error gets one.

use collector::capture::CaptureError;

/// Something failed in a way that has no code of its own.
pub const FAILED: u8 = 1;
/// The command line is wrong (given by the argument parser).
pub const USAGE: u8 = 2;
/// The configuration or a script is wrong.
pub const CONFIG: u8 = 3;
/// A capture file is missing, unreadable or no capture file.
pub const INPUT: u8 = 4;
/// A capture file is damaged; everything before the damage was processed.
pub const DAMAGED: u8 = 5;
/// An interface does not exist or may not be captured on.
pub const INTERFACE: u8 = 6;
/// An address to listen on is taken.
pub const PORT_TAKEN: u8 = 7;
/// A part failed again and again and was given up.
pub const GAVE_UP: u8 = 70;

/// An error with the exit code it gives.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with a code.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    /// A failure of the configuration.
    pub fn config(message: impl std::fmt::Display) -> Self {
        Self::new(CONFIG, anyhow::anyhow!("{message}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Self::new(capture_code(&error), error)
    }
}

/// The exit code of a capture that failed.
pub fn capture_code(error: &CaptureError) -> u8 {
    match error {
        CaptureError::Truncated { .. } | CaptureError::Malformed { .. } => DAMAGED,
        CaptureError::NoSuchInterface { .. }
        | CaptureError::NotPermitted { .. }
        | CaptureError::Live { .. } => INTERFACE,
        CaptureError::Filter { .. } => CONFIG,
        _ => INPUT,
    }
}
