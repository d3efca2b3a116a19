//! Why something is not told, in the few classes that are counted.

/// How reasons begin, or go on after "deadline passed", of what was given up and may have arrived. Tables
/// hold it: it does not change.
pub(crate) const MAY_HAVE_ARRIVED: &str = "may have arrived";

/// Why a recipient was not told of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// It had not arrived by its deadline.
    Deadline,
    /// The far end, or this program, refused it for good.
    Refused,
    /// It may have arrived, and people would have been told twice.
    Unknown,
    /// The recipient was disabled or removed.
    Gone,
    /// A silence was in force.
    Silenced,
    /// Another alert muted it.
    Muted,
    /// Somebody had acknowledged it before.
    Acknowledged,
    /// It was over before.
    Released,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Deadline,
        Self::Refused,
        Self::Unknown,
        Self::Gone,
        Self::Silenced,
        Self::Muted,
        Self::Acknowledged,
        Self::Released,
    ];

    /// As it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Gone => "gone",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
            Self::Acknowledged => "acknowledged",
            Self::Released => "released",
        }
    }

    /// How reasons of this class begin, by which [`Self::of`] knows them.
    pub const fn begins(self) -> &'static str {
        match self {
            Self::Deadline => "deadline passed",
            Self::Refused => "refused",
            Self::Unknown => "may have arrived, and a repetition would be told twice",
            Self::Gone => "the recipient is",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
            Self::Acknowledged => "it is acknowledged",
            Self::Released => "it is released",
        }
    }

    /// The reason of what had not arrived by its deadline, with that of its last try. Of one that `may` have
    /// arrived it says so: whoever is sent the dead letter again is told that it may be a duplicate.
    pub fn late(reason: &str, may: bool) -> String {
        let late = Self::Deadline.begins();
        match may {
            true => format!("{late}: {MAY_HAVE_ARRIVED}: {reason}"),
            false => format!("{late}: {reason}"),
        }
    }

    /// The class of a reason; what is of no other is refused.
    pub fn of(reason: &str) -> Self {
        Self::ALL.into_iter().find(|class| reason.starts_with(class.begins())).unwrap_or(Self::Refused)
    }
}
