//! Event time: points, and the windows that element hooks close.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Nanoseconds in one second.
pub const NS_PER_S: i64 = 1_000_000_000;

/// A point in time, in nanoseconds since 1970-01-01T00:00:00Z.
///
/// Packets carry it, so everything downstream of a capture can be replayed. Serialized as an
/// RFC 3339 string in UTC with nanoseconds as needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch; also "not yet" where a point is not known.
    pub const ZERO: Self = Self(0);
    /// The last point that can be expressed (year 2262).
    pub const MAX: Self = Self(i64::MAX);

    /// A point from nanoseconds since the epoch.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// A point from whole seconds since the epoch; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(NS_PER_S))
    }

    /// Nanoseconds since the epoch.
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(NS_PER_S)
    }

    /// Seconds since the epoch as a float, for reports.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NS_PER_S as f64
    }

    /// This point moved by `ns` nanoseconds; saturates.
    pub const fn plus_ns(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// This point moved by `secs` seconds; saturates.
    pub const fn plus_secs(self, secs: i64) -> Self {
        self.plus_ns(secs.saturating_mul(NS_PER_S))
    }

    /// Nanoseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The UTC date as `YYYY-MM-DD`.
    pub fn date_utc(self) -> String {
        self.to_jiff().strftime("%Y-%m-%d").to_string()
    }

    /// RFC 3339 in UTC with exactly three decimals, as log lines and ECS documents want it.
    pub fn rfc3339_millis(self) -> String {
        self.to_jiff().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// `Mmm dd HH:MM:SS` in the given zone with a blank-padded day (RFC 3164 §4.1.2).
    pub fn bsd(self, zone: &TimeZone) -> String {
        self.to_jiff().to_zoned(zone.clone()).strftime("%b %e %H:%M:%S").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = String;

    /// Reads RFC 3339, or whole or fractional seconds since the epoch.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(secs) = text.parse::<i64>() {
            return Ok(Self::from_secs(secs));
        }
        if let Ok(secs) = text.parse::<f64>()
            && secs.is_finite()
        {
            return Ok(Self((secs * NS_PER_S as f64) as i64));
        }
        parse(text)
    }
}

fn parse(text: &str) -> Result<Timestamp, String> {
    let point: jiff::Timestamp = text.parse().map_err(|e| format!("not a time: {e}"))?;
    i64::try_from(point.as_nanosecond()).map(Timestamp).map_err(|_| "time out of range".to_owned())
}

/// How often an element hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// On demand.
    Aperiodic,
    /// Every minute.
    Min,
    /// Every five minutes.
    #[serde(rename = "5mins")]
    FiveMins,
    /// Every hour.
    Hour,
    /// Every day, at local midnight.
    Day,
}

impl Granularity {
    /// The four periods, shortest first.
    pub const PERIODS: [Self; 4] = [Self::Min, Self::FiveMins, Self::Hour, Self::Day];

    /// The hook name: `min`, `5mins`, `hour`, `day`, `aperiodic`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aperiodic => "aperiodic",
            Self::Min => "min",
            Self::FiveMins => "5mins",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Reads a hook name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Aperiodic, Self::Min, Self::FiveMins, Self::Hour, Self::Day]
            .into_iter()
            .find(|g| g.name() == name)
    }

    /// Length in seconds; a day may really be 23 or 25 hours long.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Aperiodic => 0,
            Self::Min => 60,
            Self::FiveMins => 300,
            Self::Hour => 3600,
            Self::Day => 86400,
        }
    }

    /// The end of the window that holds `at`: the first boundary strictly later than `at`.
    ///
    /// Days end at midnight of `zone`, also over a daylight-saving change.
    pub fn next_boundary(self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Aperiodic => Timestamp::MAX,
            Self::Day => next_midnight(at, zone),
            _ => {
                let step = self.seconds();
                Timestamp::from_secs((at.secs().div_euclid(step) + 1).saturating_mul(step))
            }
        }
    }
}

fn next_midnight(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let local = at.to_jiff().to_zoned(zone.clone());
    let midnight = local.date().tomorrow().ok().and_then(|date| date.to_zoned(zone.clone()).ok());
    match midnight.and_then(|zoned| i64::try_from(zoned.timestamp().as_nanosecond()).ok()) {
        Some(ns) => Timestamp(ns),
        None => Timestamp::from_secs((at.secs().div_euclid(86400) + 1).saturating_mul(86400)),
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn text_round_trips() {
        for text in ["2026-03-29T00:59:59.123456789Z", "1970-01-01T00:00:00Z"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("1606141256").secs(), 1_606_141_256);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn boundaries_are_strictly_later() {
        let zone = TimeZone::UTC;
        let minute = at("2026-01-01T10:07:00Z");
        assert_eq!(Granularity::Min.next_boundary(minute, &zone), at("2026-01-01T10:08:00Z"));
        assert_eq!(Granularity::FiveMins.next_boundary(minute, &zone), at("2026-01-01T10:10:00Z"));
        assert_eq!(Granularity::Hour.next_boundary(minute, &zone), at("2026-01-01T11:00:00Z"));
        assert_eq!(Granularity::Day.next_boundary(minute, &zone), at("2026-01-02T00:00:00Z"));
    }

    #[test]
    fn a_day_ends_at_local_midnight_over_a_daylight_saving_change() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let before_spring = at("2026-03-28T23:30:00Z");
        let end = Granularity::Day.next_boundary(before_spring, &zone);
        assert_eq!(end, at("2026-03-29T22:00:00Z"), "the day of the change has 23 hours");
        let autumn = at("2026-10-24T23:00:00Z");
        assert_eq!(Granularity::Day.next_boundary(autumn, &zone), at("2026-10-25T23:00:00Z"));
    }

    #[test]
    fn log_forms() {
        let t = at("2020-11-03T14:20:56.5Z");
        assert_eq!(t.rfc3339_millis(), "2020-11-03T14:20:56.500Z");
        assert_eq!(t.bsd(&TimeZone::UTC), "Nov  3 14:20:56");
        assert_eq!(t.date_utc(), "2020-11-03");
    }
}
