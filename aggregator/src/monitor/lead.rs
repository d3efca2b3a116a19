//! Which aggregator of a site probes: the one whose name comes first among those that are heard. Pure.
//!
//! While the bus is cut in two, both sides may probe: hosts are then asked twice, which harms less than
//! not at all.

use std::collections::BTreeMap;

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

/// Seconds between two words of one aggregator.
const SPEAKS_EVERY_S: i64 = 3;

/// Seconds after which one that is not heard any more is gone.
const SILENT_S: i64 = 10;

/// Seconds for which a new one listens first.
const LISTENS_S: i64 = 7;

/// What one aggregator knows of the others.
#[derive(Clone, Debug)]
pub struct Lead {
    node: String,
    alone: bool,
    since: Timestamp,
    spoke: Option<Timestamp>,
    heard: BTreeMap<String, Timestamp>,
}

impl Lead {
    /// An aggregator that begins at `now`; `alone` when there can be no other.
    pub fn new(node: String, alone: bool, now: Timestamp) -> Self {
        Self { node, alone, since: now, spoke: None, heard: BTreeMap::new() }
    }

    /// Another one, or this one, was heard.
    pub fn heard(&mut self, node: &str, now: Timestamp) {
        self.heard.retain(|_, at| now.since(*at) <= SILENT_S * NS_PER_S);
        if node < self.node.as_str() {
            self.heard.insert(node.to_owned(), now);
        }
    }

    /// True when it is time to let the others hear of this one.
    pub fn speaks(&mut self, now: Timestamp) -> bool {
        let due = self.spoke.is_none_or(|at| now.since(at) >= SPEAKS_EVERY_S * NS_PER_S);
        if due && !self.alone {
            self.spoke = Some(now);
        }
        due && !self.alone
    }

    /// True when this one is to probe.
    pub fn leads(&self, now: Timestamp) -> bool {
        let listened = now.since(self.since) >= LISTENS_S * NS_PER_S;
        let earlier = self.heard.values().any(|at| now.since(*at) <= SILENT_S * NS_PER_S);
        self.alone || (listened && !earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + seconds)
    }

    #[test]
    fn of_several_the_first_by_name_probes_and_the_next_takes_over_when_it_is_silent() {
        let mut nodes = ["a", "b", "c"].map(|node| Lead::new(node.to_owned(), false, at(0)));
        let mut leading = Vec::new();
        for second in 0..60 {
            let alive: Vec<&str> = if second < 30 { vec!["a", "b", "c"] } else { vec!["b", "c"] };
            for speaker in &alive {
                let place = ["a", "b", "c"].iter().position(|node| node == speaker).unwrap();
                if nodes[place].speaks(at(second)) {
                    nodes.iter_mut().for_each(|node| node.heard(speaker, at(second)));
                }
            }
            let named = nodes.iter().zip(["a", "b", "c"]);
            let leads = |(node, name): (&Lead, &'static str)| {
                (alive.contains(&name) && node.leads(at(second))).then_some(name)
            };
            let now: Vec<&'static str> = named.filter_map(leads).collect();
            assert!(now.len() <= 1, "{second}: {now:?}");
            if let Some(node) = now.first().filter(|node| leading.last() != Some(*node)) {
                leading.push(*node);
            }
        }
        assert_eq!(leading, ["a", "b"]);
    }

    #[test]
    fn who_is_alone_does_not_wait_and_does_not_speak() {
        let mut lead = Lead::new("a".to_owned(), true, at(0));
        assert!(lead.leads(at(0)) && !lead.speaks(at(0)));
    }
}
