//! How grave an alert is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Severity of an alert, ordered from harmless to grave.
///
/// Numbers and names are ntopng's, so that users' filters carry over; 7 is left out there too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Developers' detail.
    Debug = 1,
    /// Nothing to do.
    Info = 2,
    /// Worth a look.
    Notice = 3,
    /// May become a problem.
    Warning = 4,
    /// A problem.
    Error = 5,
    /// A grave problem.
    Critical = 6,
    /// Act now.
    Emergency = 8,
}

impl Severity {
    /// All severities, from harmless to grave.
    pub const ALL: [Self; 7] =
        [Self::Debug, Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical, Self::Emergency];

    /// The lower-case name used in configuration, JSON and subjects.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }

    /// The name with a capital, as seed 002 writes it in text formats.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Debug => "Debug",
            Self::Info => "Info",
            Self::Notice => "Notice",
            Self::Warning => "Warning",
            Self::Error => "Error",
            Self::Critical => "Critical",
            Self::Emergency => "Emergency",
        }
    }

    /// Reads a lower-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The number in ntopng's scale.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The severity with this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.id() == id)
    }

    /// The syslog severity (RFC 5424 §6.2.1): 7 debug … 0 emergency.
    pub const fn syslog(self) -> u8 {
        match self {
            Self::Debug => 7,
            Self::Info => 6,
            Self::Notice => 5,
            Self::Warning => 4,
            Self::Error => 3,
            Self::Critical => 2,
            Self::Emergency => 0,
        }
    }

    /// The severity that a score is read as (bands of `0, 10, 50, 100, 200, 250`).
    pub const fn from_score(score: u32) -> Self {
        match score {
            0..10 => Self::Info,
            10..50 => Self::Notice,
            50..100 => Self::Warning,
            100..200 => Self::Error,
            200..250 => Self::Critical,
            _ => Self::Emergency,
        }
    }

    /// The score an alert of this severity adds when its script gives none.
    pub const fn score(self) -> u32 {
        match self {
            Self::Debug => 0,
            Self::Info => 1,
            Self::Notice => 10,
            Self::Warning => 50,
            Self::Error => 100,
            Self::Critical => 200,
            Self::Emergency => 250,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_reads_back_as_the_severity_that_gave_it() {
        for severity in Severity::ALL.into_iter().skip(1) {
            assert_eq!(Severity::from_score(severity.score()), severity);
        }
    }

    #[test]
    fn scores_are_read_by_bands() {
        use Severity::{Critical, Emergency, Error, Info, Notice, Warning};
        let bands = [
            (Info, 0, 9),
            (Notice, 10, 49),
            (Warning, 50, 99),
            (Error, 100, 199),
            (Critical, 200, 249),
            (Emergency, 250, u32::MAX),
        ];
        for (severity, first, last) in bands {
            for score in [first, first + 1, last] {
                assert_eq!(Severity::from_score(score), severity, "{score}");
            }
        }
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.name()), Some(severity));
            assert_eq!(Severity::from_id(severity.id()), Some(severity));
        }
        assert_eq!(Severity::from_id(7), None);
    }
}
