//! Who is there, and who has gone, by words and by silence.

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn beat(role: &str, node: &str, run: u64) -> Heartbeat {
    Heartbeat {
        node: node.to_owned(),
        site: "s".to_owned(),
        role: role.to_owned(),
        run,
        ..Heartbeat::default()
    }
}

fn collector(run: u64) -> Heartbeat {
    beat("collector", "c", run)
}

/// A roll whose turns are all settled, as run and state, with a star where it is told.
struct Called(Roll);

impl Called {
    fn new() -> Self {
        Self(Roll::new("a".to_owned(), at(10)))
    }

    fn settle(&mut self, turns: Vec<Turn>, now: u64) -> String {
        let mut seen = Vec::new();
        for turn in turns {
            let told = if turn.told { "*" } else { "" };
            seen.push(format!("{}{}{told}", turn.after.run, turn.after.state.name()));
            self.0.settled(&turn, at(now));
        }
        seen.join(" ")
    }

    fn hears(&mut self, beat: &Heartbeat, now: u64) -> String {
        let turns = self.0.heard(beat, at(now));
        self.settle(turns, now)
    }

    /// A second with the aggregator's own word in it.
    fn second(&mut self, now: u64) -> String {
        self.hears(&beat("aggregator", "a", 1), now);
        let turns = self.0.tick(at(now));
        self.settle(turns, now)
    }
}

#[test]
fn one_that_falls_silent_is_lost_once_and_may_come_back() {
    let mut roll = Called::new();
    assert_eq!(roll.second(0), "");
    assert_eq!(roll.hears(&collector(7), 0), "7STARTED", "it told that itself");
    let told: Vec<String> = (1..20).map(|now| roll.second(now)).filter(|told| !told.is_empty()).collect();
    assert_eq!(told, ["7LOST*"]);
    assert_eq!(roll.hears(&collector(7), 20), "7STARTED*", "the same run is heard again");
    assert_eq!((roll.hears(&collector(7), 21).as_str(), roll.second(25).as_str()), ("", ""));
    assert_eq!(roll.hears(&Heartbeat { leaves: true, ..collector(7) }, 26), "7STOPPED");
    assert_eq!(roll.hears(&collector(7), 26), "", "a word that was overtaken");
    assert_eq!(roll.second(60), "", "who said goodbye is not lost");
}

#[test]
fn a_new_run_ends_the_one_before_it() {
    let mut roll = Called::new();
    roll.second(0);
    roll.hears(&collector(7), 0);
    assert_eq!(roll.hears(&collector(8), 2), "7LOST* 8STARTED", "nobody heard how 7 ended");
    let well = Heartbeat { before: "STOPPED".to_owned(), ..collector(9) };
    assert_eq!(roll.hears(&well, 4), "9STARTED", "9 knows that 8 ended well");
    assert_eq!(roll.hears(&collector(8), 5), "", "two of one name are not told by turns");
    for now in 5..16 {
        roll.second(now);
    }
    assert_eq!(roll.hears(&collector(3), 17), "3STARTED", "a clock was set back");
}

#[test]
fn who_hears_nobody_tells_nothing() {
    let mut roll = Called::new();
    let stored = |run| Presence {
        role: "collector".to_owned(),
        node: "c".to_owned(),
        run,
        state: PresenceState::Started,
    };
    roll.0.load(vec![stored(7)]);
    assert_eq!(roll.0.tick(at(100)), [], "it has not heard itself yet");
    assert_eq!((roll.second(100), roll.second(104), roll.second(108)).2, "", "it has just begun to listen");
    assert_eq!(roll.0.tick(at(120)), [], "it hears itself no longer");
    assert_eq!(roll.second(121), "", "it begins to listen again");
    let told: Vec<String> = (122..140).map(|now| roll.second(now)).filter(|told| !told.is_empty()).collect();
    assert_eq!(told, ["7LOST*"]);
    roll.0.load(vec![stored(8)]);
    assert_eq!(roll.hears(&collector(8), 141), "", "another aggregator has told that it is back");
    assert_eq!(roll.hears(&beat("cook", "c", 1), 141), "", "no role of ours");
}

#[test]
fn one_that_the_store_has_forgotten_is_new_again() {
    let mut roll = Called::new();
    roll.second(0);
    roll.hears(&collector(7), 0);
    roll.0.load(Vec::new());
    assert_eq!(roll.second(30), "", "nobody is known");
    let turns = roll.0.heard(&collector(7), at(31));
    assert_eq!(turns.iter().map(|turn| turn.before.clone()).collect::<Vec<_>>(), [None]);
    assert_eq!(roll.settle(turns, 31), "7STARTED");
}
