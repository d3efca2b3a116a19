//! Times of the week, as operators write them.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Hours on some days of the week. A span that ends before it begins goes on into the next day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weekly {
    /// Days on which it begins; every day when empty.
    pub days: Vec<Day>,
    /// When it begins, `22:00`; at midnight when absent.
    pub from: Option<Time>,
    /// When it ends; at midnight when absent.
    pub to: Option<Time>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    fn of(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

impl Weekly {
    /// True at a time, as clocks in `zone` show it.
    pub fn holds(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let Ok(instant) = jiff::Timestamp::from_second(now.secs()) else { return false };
        let local = instant.to_zoned(zone.clone()).datetime();
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&Day::of(day));
        let (today, time) = (local.date().weekday(), local.time());
        let from = self.from.unwrap_or(Time::midnight());
        match self.to {
            None => on(today) && time >= from,
            Some(to) if from < to => on(today) && time >= from && time < to,
            Some(to) => (on(today) && time >= from) || (on(today.previous()) && time < to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_secs(text.parse::<jiff::Timestamp>().unwrap().as_second())
    }

    #[test]
    fn a_night_goes_on_into_the_next_day() {
        let nights: Weekly =
            serde_json::from_str(r#"{"days": ["friday"], "from": "22:00", "to": "06:00"}"#).unwrap();
        // 2026-11-20 is a Friday.
        for (time, holds) in [
            ("2026-11-20T21:59:59Z", false),
            ("2026-11-20T22:00:00Z", true),
            ("2026-11-21T05:59:59Z", true),
            ("2026-11-21T06:00:00Z", false),
            ("2026-11-21T22:00:00Z", false),
            ("2026-11-20T03:00:00Z", false),
        ] {
            assert_eq!(nights.holds(at(time), &TimeZone::UTC), holds, "{time}");
        }
    }

    #[test]
    fn clocks_of_the_zone_count_also_when_they_are_changed() {
        let morning: Weekly = serde_json::from_str(r#"{"from": "08:00", "to": "09:00"}"#).unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert!(morning.holds(at("2026-10-24T06:30:00Z"), &berlin), "summer time");
        assert!(morning.holds(at("2026-10-26T07:30:00Z"), &berlin), "winter time");
        assert!(!morning.holds(at("2026-10-26T06:30:00Z"), &berlin));
        assert!(Weekly::default().holds(at("2026-10-26T06:30:00Z"), &berlin), "all day, every day");
    }
}
