//! Which windows event time closes, and in which order. Pure.

use jiff::tz::TimeZone;
use shared::model::time::NS_PER_S;
use shared::model::{Granularity, Timestamp};

use crate::snapshot;

/// Silent windows told in a row at most; a longer silence is jumped over.
const MAX_SILENT: usize = 2 * 1440;

/// One closed window: its end and its period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closed {
    /// End of the window.
    pub at: Timestamp,
    /// Its period.
    pub granularity: Granularity,
    /// Begin of the window; of the first one, the time of its first data.
    pub from: Timestamp,
}

/// An open window.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Timestamp,
    end: Timestamp,
    /// Something was seen in it.
    data: bool,
}

/// The open windows of one interface.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    /// Ends of the open windows, by period; `None` before the first data.
    open: Option<[Window; Granularity::PERIODS.len()]>,
    /// Windows jumped over because the silence was too long.
    pub jumped: u64,
}

impl Schedule {
    /// No window is open. Days end at midnight of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, open: None, jumped: 0 }
    }

    /// Data of event time `at` has come: windows open that are not.
    pub fn data(&mut self, at: Timestamp) {
        let zone = &self.zone;
        let window = |g: Granularity| Window { from: at, end: g.next_boundary(at, zone), data: true };
        for window in self.open.get_or_insert_with(|| Granularity::PERIODS.map(window)) {
            window.data = true;
        }
    }

    /// Windows that end at or before `watermark`, in order of their ends, shorter periods first.
    pub fn close_until(&mut self, watermark: Timestamp) -> Vec<Closed> {
        let mut closed = Vec::new();
        let Some(open) = &mut self.open else { return closed };
        for (window, granularity) in open.iter_mut().zip(Granularity::PERIODS) {
            let mut told = 0;
            while window.end <= watermark {
                let step = granularity.seconds();
                if told == MAX_SILENT {
                    // At once: a time that is far off costs no more than one that is near.
                    let end = granularity.next_boundary(watermark, &self.zone);
                    let missed = end.since(window.end) / (step * NS_PER_S);
                    self.jumped = self.jumped.saturating_add(missed.unsigned_abs());
                    *window = Window { from: end.plus_secs(-step), end, data: false };
                    break;
                }
                closed.push(Closed { at: window.end, granularity, from: window.from });
                told += 1;
                let end = granularity.next_boundary(window.end, &self.zone);
                *window = Window { from: window.end, end, data: false };
            }
        }
        closed.sort();
        closed
    }

    /// The open windows, to be kept somewhere.
    pub fn save(&self) -> Vec<snapshot::Window> {
        let saved = |w: &Window| snapshot::Window { from: w.from.ns(), end: w.end.ns(), data: w.data };
        self.open.iter().flatten().map(saved).collect()
    }

    /// Opens the windows that [`Schedule::save`] gave.
    ///
    /// # Errors
    /// They are not one a period.
    pub fn restore(&mut self, saved: &[snapshot::Window], jumped: u64) -> Result<(), String> {
        let time = Timestamp::from_ns;
        let window = |w: &snapshot::Window| Window { from: time(w.from), end: time(w.end), data: w.data };
        let windows: Vec<Window> = saved.iter().map(window).collect();
        self.jumped = jumped;
        self.open = match windows.len() {
            0 => None,
            count => Some(windows.try_into().map_err(|_| format!("{count} open windows"))?),
        };
        Ok(())
    }

    /// The minute that is under way.
    pub fn minute(&self) -> Option<Closed> {
        let [minute, ..] = self.open?;
        Some(Closed { at: minute.end, granularity: Granularity::Min, from: minute.from })
    }

    /// Nothing more will come: every open window that holds data closes, once.
    pub fn close_all(&mut self) -> Vec<Closed> {
        let Some(open) = self.open.take() else { return Vec::new() };
        let held = open.into_iter().zip(Granularity::PERIODS).filter(|(window, _)| window.data);
        let mut closed: Vec<_> =
            held.map(|(w, granularity)| Closed { at: w.end, granularity, from: w.from }).collect();
        closed.sort();
        closed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn count(closed: &[Closed]) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for window in closed {
            *counts.entry(window.granularity.name()).or_default() += 1;
        }
        counts
    }

    /// A capture of seconds `from..to`, second by second.
    fn replay(zone: TimeZone, from: Timestamp, to: Timestamp) -> Vec<Closed> {
        let mut schedule = Schedule::new(zone);
        let mut closed = Vec::new();
        for second in from.secs()..to.secs() {
            schedule.data(Timestamp::from_secs(second));
            closed.extend(schedule.close_until(Timestamp::from_secs(second + 1)));
        }
        closed.extend(schedule.close_all());
        closed
    }

    #[test]
    fn a_day_has_1440_minutes_288_fives_24_hours_and_one_day() {
        let day = replay(TimeZone::UTC, at("2026-01-05T00:00:00Z"), at("2026-01-05T23:59:50Z"));
        assert_eq!(count(&day), BTreeMap::from([("min", 1440), ("5mins", 288), ("hour", 24), ("day", 1)]));
        assert!(day.is_sorted());
    }

    #[test]
    fn the_day_of_a_daylight_saving_change_ends_at_local_midnight() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let day = replay(zone, at("2026-03-28T23:00:00Z"), at("2026-03-29T21:59:59Z"));
        assert_eq!(count(&day), BTreeMap::from([("min", 1380), ("5mins", 276), ("hour", 23), ("day", 1)]));
        assert_eq!(day.last().unwrap().at, at("2026-03-29T22:00:00Z"));
    }

    #[test]
    fn a_boundary_closes_its_periods_shortest_first() {
        let mut schedule = Schedule::new(TimeZone::UTC);
        schedule.data(at("2026-01-05T09:59:30Z"));
        let closed = schedule.close_until(at("2026-01-05T10:00:00Z"));
        let names: Vec<_> = closed.iter().map(|c| c.granularity.name()).collect();
        assert_eq!(names, ["min", "5mins", "hour"]);
    }

    #[test]
    fn silent_minutes_are_told_and_an_endless_silence_is_jumped_over() {
        let mut schedule = Schedule::new(TimeZone::UTC);
        schedule.data(at("2026-01-05T10:00:30Z"));
        let closed = schedule.close_until(at("2026-01-05T10:10:00Z"));
        assert_eq!(count(&closed)["min"], 10);
        let closed = schedule.close_until(at("2036-01-05T10:10:00Z"));
        assert_eq!(count(&closed)["min"], MAX_SILENT);
        assert!(schedule.jumped > 1_000_000);
    }

    #[test]
    fn a_window_begins_where_the_one_before_ended() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut schedule = Schedule::new(zone);
        schedule.data(at("2026-10-24T12:00:00Z"));
        let closed = schedule.close_until(at("2026-10-25T23:00:00Z"));
        let days: Vec<_> = closed.iter().filter(|c| c.granularity == Granularity::Day).collect();
        assert_eq!((days[0].from, days[0].at), (at("2026-10-24T12:00:00Z"), at("2026-10-24T22:00:00Z")));
        assert_eq!((days[1].from, days[1].at), (days[0].at, at("2026-10-25T23:00:00Z")), "25 hours");
    }

    proptest::proptest! {
        #[test]
        fn any_times_end_and_windows_close_once_in_order(
            times in proptest::collection::vec((proptest::num::i64::ANY, proptest::num::i64::ANY), 1..4),
        ) {
            let mut schedule = Schedule::new(TimeZone::UTC);
            for (data, watermark) in times {
                schedule.data(Timestamp::from_ns(data));
                let watermark = Timestamp::from_ns(watermark);
                let closed = schedule.close_until(watermark);
                assert!(closed.is_sorted() && closed.len() <= MAX_SILENT * Granularity::PERIODS.len());
                assert!(closed.iter().all(|c| c.at <= watermark && c.from <= c.at));
            }
        }
    }

    #[test]
    fn nothing_closes_before_the_first_data() {
        let mut schedule = Schedule::new(TimeZone::UTC);
        assert!(schedule.close_until(at("2026-01-05T10:00:00Z")).is_empty());
        assert!(schedule.close_all().is_empty());
    }
}
