//! Which processes say that they are there, how far off their clocks are, and which of them share a name.
//! Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use shared::model::Timestamp;
use shared::model::time::NS_PER_S;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;

/// Words of one node whose times are compared: the one that was fastest under way tells most.
const COMPARED: usize = 16;

/// A clock that is off by more than this makes the node's data doubtful.
const MOST_OFF_NS: i64 = 2 * NS_PER_S;

/// Seconds within which two processes that speak by turns share a name.
const BY_TURNS_S: i64 = 10;

/// Seconds after which one that is not heard any more is forgotten.
const FORGOTTEN_S: i64 = 3600;

/// Words of one run that have to be heard before its clock is judged: one alone may have been under way for
/// long.
const JUDGED_BY: usize = 3;

/// Something that everybody should know about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another process has its name.
    SameName,
    /// Its clock is ahead by so many milliseconds; negative when it is behind.
    ClockOff(i64),
    /// It divides interfaces into so many partitions, which is another number than here.
    OtherPartitions(u32),
}

/// A process as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NodeRow {
    /// Name of the node.
    pub node: String,
    /// Its site.
    pub site: String,
    /// `collector`, `aggregator` or `notifier`.
    pub role: String,
    /// When it was heard last.
    #[schema(value_type = String)]
    pub heard: Timestamp,
    /// Milliseconds by which its clock is ahead of this aggregator's, as far as its words tell; negative
    /// when it is behind.
    pub clock_offset_ms: i64,
    /// The clock is off by more than 2 s: times of what it tells are doubtful.
    pub clock_off: bool,
    /// Another process has the same name, and the two are taken for one.
    pub same_name: bool,
}

#[derive(Clone, Debug)]
struct Known {
    site: String,
    run: u64,
    heard: Timestamp,
    /// The run before this one, and when it was heard last.
    before: Option<(u64, Timestamp)>,
    /// When two runs were last heard by turns.
    rival: Option<Timestamp>,
    /// Its clock less ours, with the way between, of the last words.
    offsets: VecDeque<i64>,
    /// The hour in which it was told last that its clock is off, and that its partitions are others.
    told: [i64; 2],
}

/// Processes by role and name.
#[derive(Clone, Debug, Default)]
pub struct Nodes(BTreeMap<(String, String), Known>);

impl Nodes {
    /// A word was heard at `now`: what of that everybody should know, each at most once an hour.
    pub fn heard(&mut self, beat: &Heartbeat, now: Timestamp) -> Vec<Notice> {
        self.0.retain(|_, known| now.since(known.heard) < FORGOTTEN_S * NS_PER_S);
        let key = (beat.role.clone(), beat.node.clone());
        let known = self.0.entry(key).or_insert_with(|| Known {
            site: beat.site.clone(),
            run: beat.run,
            heard: now,
            before: None,
            rival: None,
            offsets: VecDeque::new(),
            told: [i64::MIN; 2],
        });
        let recent = |at: Timestamp| now.since(at) <= BY_TURNS_S * NS_PER_S;
        let mut notices = Vec::new();
        if beat.run != known.run {
            let by_turns = known.before.is_some_and(|(run, at)| run == beat.run && recent(at));
            known.before = Some((known.run, known.heard));
            known.run = beat.run;
            known.offsets.clear();
            if by_turns {
                if known.rival.is_none_or(|at| !recent(at)) {
                    notices.push(Notice::SameName);
                }
                known.rival = Some(now);
            }
        }
        (known.heard, known.site) = (now, beat.site.clone());
        if known.offsets.len() == COMPARED {
            known.offsets.pop_front();
        }
        known.offsets.push_back(beat.sent.since(now));
        let hour = now.secs().div_euclid(3600);
        let mut once = |of: usize| std::mem::replace(&mut known.told[of], hour) != hour;
        let judged = known.offsets.len() >= JUDGED_BY;
        let offset = known.offsets.iter().copied().max().unwrap_or(0);
        if judged && offset.abs() > MOST_OFF_NS && once(0) {
            notices.push(Notice::ClockOff(offset / 1_000_000));
        }
        if ![0, PARTITIONS].contains(&beat.partitions) && once(1) {
            notices.push(Notice::OtherPartitions(beat.partitions));
        }
        notices
    }

    /// All that are known at `now`, by role and name.
    pub fn rows(&self, now: Timestamp) -> Vec<NodeRow> {
        let row = |((role, node), known): (&(String, String), &Known)| NodeRow {
            node: node.clone(),
            site: known.site.clone(),
            role: role.clone(),
            heard: known.heard,
            clock_offset_ms: known.offset() / 1_000_000,
            clock_off: known.offset().abs() > MOST_OFF_NS,
            same_name: known.rival.is_some_and(|at| now.since(at) <= BY_TURNS_S * NS_PER_S),
        };
        self.0.iter().map(row).collect()
    }

    /// True when the clock of a collector's node is off by too much.
    pub fn is_off(&self, node: &str) -> bool {
        let known = self.0.get(&("collector".to_owned(), node.to_owned()));
        known.is_some_and(|known| known.offset().abs() > MOST_OFF_NS)
    }
}

impl Known {
    /// The way makes every word late: of several the largest is nearest to the truth.
    fn offset(&self) -> i64 {
        self.offsets.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ns(1_700_000_000 * NS_PER_S + ms * 1_000_000)
    }

    fn beat(run: u64, sent: i64) -> Heartbeat {
        Heartbeat {
            node: "n".into(),
            site: "s".into(),
            role: "collector".into(),
            run,
            sent: at(sent),
            ..Heartbeat::default()
        }
    }

    #[test]
    fn an_offset_is_told_from_the_way() {
        let mut nodes = Nodes::default();
        // Three seconds ahead, and 20 to 400 ms under way.
        for (second, way) in [(0, 400), (1, 20), (2, 300)] {
            nodes.heard(&beat(1, second * 1000 + 3000), at(second * 1000 + way));
        }
        let row = &nodes.rows(at(3000))[0];
        assert_eq!((row.clock_offset_ms, row.clock_off, row.same_name), (2980, true, false));
        assert!(nodes.is_off("n") && !nodes.is_off("m"));
        // A new run begins anew: somebody may have set the clock.
        nodes.heard(&beat(2, 4000), at(4010));
        assert_eq!(nodes.rows(at(4010))[0].clock_offset_ms, -10);
        assert!(nodes.rows(at(4000 + FORGOTTEN_S * 1000)).len() == 1);
        nodes.heard(&Heartbeat { node: "m".into(), ..beat(1, 0) }, at(4011 + FORGOTTEN_S * 1000));
        assert_eq!(nodes.rows(at(0)).len(), 1, "who is silent for an hour is forgotten");
    }

    #[test]
    fn a_clock_that_is_off_and_other_partitions_are_told_once_an_hour() {
        let mut nodes = Nodes::default();
        let mut told = |second: i64| {
            let word = Heartbeat { partitions: 128, ..beat(1, second * 1000 - 3000) };
            nodes.heard(&word, at(second * 1000))
        };
        assert_eq!(told(0), [Notice::OtherPartitions(128)], "one word says nothing of the clock");
        assert_eq!([told(1), told(2), told(3)].concat(), [Notice::ClockOff(-3000)]);
        let later = [told(3600), told(3601), told(3602)].concat();
        assert_eq!(later, [Notice::ClockOff(-3000), Notice::OtherPartitions(128)]);
        assert_eq!(nodes.heard(&beat(9, 0), at(0)), [], "a new run is judged anew");
    }

    #[test]
    fn a_restart_is_no_second_node_but_two_that_speak_by_turns_are() {
        let mut nodes = Nodes::default();
        for (second, run) in [(0, 1), (1, 1), (2, 5), (3, 5)] {
            assert_eq!(nodes.heard(&beat(run, second * 1000), at(second * 1000)), [], "{second}");
        }
        let told = [(4, 1), (5, 5), (6, 1)].map(|(s, run)| nodes.heard(&beat(run, s * 1000), at(s * 1000)));
        assert_eq!(told, [vec![Notice::SameName], vec![], vec![]], "told once");
        assert!(nodes.rows(at(6000))[0].same_name);
        assert!(!nodes.rows(at(30_000))[0].same_name, "one of them has gone");
    }
}
