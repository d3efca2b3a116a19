//! What recognition must not fall below, over the sample of captures beside the repository.

use super::score::{MOST_USED, Score, Tally, UNKNOWN};

/// Flows of the most used protocols that have the classifier's name, in tenths of a percent. The eight
/// that lack it are known better here.
const MOST_USED_AGREE: u64 = 973;
/// The same of all flows.
const ALL_AGREE: u64 = 969;
/// Flows under a name that the classifier has nowhere in their capture: `docs/performance.md` names them.
const FALSE_FLOWS: u64 = 7;

/// The floors that do not hold, each with what was found.
pub fn broken(score: &Score) -> Vec<String> {
    let (mut all, mut most_used) = (Tally::default(), Tally::default());
    for (name, tally) in score.names.iter().filter(|(name, _)| *name != UNKNOWN) {
        all.add(tally);
        if MOST_USED.contains(&name.as_str()) {
            most_used.add(tally);
        }
    }
    let mut broken = Vec::new();
    for (what, tally, floor) in [("the most used", &most_used, MOST_USED_AGREE), ("all", &all, ALL_AGREE)] {
        let (agreed, expected) = (tally.agreed.flows, tally.expected.flows);
        if agreed * 1000 < expected * floor {
            broken.push(format!("{agreed} of {expected} flows of {what} agree, {floor} of 1000 must"));
        }
    }
    if all.false_flows() > FALSE_FLOWS {
        broken.push(format!("{} false flows, {FALSE_FLOWS} at most", all.false_flows()));
    }
    for (capture, reason) in &score.failed {
        broken.push(format!("{capture} failed: {reason}"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::expected::Counts;
    use super::*;

    fn score(theirs: &[(&str, u64)], ours: &[(&str, u64)]) -> Score {
        let side = |rows: &[(&str, u64)]| -> BTreeMap<String, Counts> {
            let counts = |flows| Counts { flows, packets: flows, bytes: flows, guessed: 0 };
            rows.iter().map(|(name, flows)| ((*name).to_owned(), counts(*flows))).collect()
        };
        let mut score = Score::default();
        score.compare("a.pcap", &side(theirs), &side(ours));
        score
    }

    #[test]
    fn each_floor_is_held() {
        assert_eq!(broken(&score(&[("DNS", 1000)], &[("DNS", 975), ("Unknown", 25)])), Vec::<String>::new());
        assert_eq!(broken(&score(&[("DNS", 1000)], &[("DNS", 960), ("Unknown", 40)])).len(), 2);
        let rare = [("DNS", 1000), ("Munin", 100)];
        assert_eq!(broken(&score(&rare, &[("DNS", 1000), ("Unknown", 100)])).len(), 1);
        let invented = [("DNS", 1000), ("Munin", FALSE_FLOWS + 1)];
        assert_eq!(broken(&score(&[("DNS", 1000)], &invented)).len(), 1);
        let mut failed = score(&[("DNS", 1)], &[("DNS", 1)]);
        failed.failed.push(("b.pcap".to_owned(), "a panic".to_owned()));
        assert_eq!(broken(&failed), ["b.pcap failed: a panic"]);
    }
}
