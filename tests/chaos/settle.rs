//! Lets a cluster come to its end, and looks whether everything is as it has to be.

use std::sync::atomic::Ordering;

use serde_json::Value;
use shared::clock::Stopwatch;

use super::Fault::*;
use super::left::{Account, Left, gather};
use super::site::Role;
use super::world::{Done, STORM, World};
use super::{check, load};
use crate::support::http::ask;
use crate::support::wait_for;
use crate::takeover::INTERFACES;

/// Seconds within which everything is as it has to be once nothing breaks any more.
const CALM_S: u64 = 90;

impl World {
    /// Lets everything come to its end, and looks whether it is as it has to be.
    pub fn settle(mut self) {
        self.exporter.stop();
        self.exporting.take().unwrap().join().unwrap();
        self.stop.store(true, Ordering::SeqCst);
        let seconds = self.runtime.block_on(&mut self.producing).unwrap();
        let stormed = if self.storms.is_empty() { 0 } else { STORM };
        for storm in std::mem::take(&mut self.storms) {
            self.runtime.block_on(storm).unwrap();
        }
        wait_for("all aggregators", 40, || {
            self.roles().for_each(Role::look_after);
            let up =
                |role: &Role| ask("GET", &format!("{}/health", role.url())).is_some_and(|(s, _)| s == 200);
            self.aggregators.iter().all(up).then_some(())
        });

        // Everything that was sent is in the stream, one after the other.
        let messages = u64::try_from(seconds).unwrap() * u64::from(INTERFACES);
        self.upto.store(messages, Ordering::SeqCst);
        self.runtime.block_on(&mut self.reading).unwrap();

        let account = Account {
            seconds,
            flows: self.exporter.sent.load(Ordering::SeqCst),
            unheard: self.lost[0],
            unended: self.lost[1],
            stormed: (0..stormed).map(|number| load::stormy(number).transition_id()).collect(),
            kills: self.kills(),
            waits: self.waits(),
            fenced: self.fenced(),
            stayed: self.stayed(),
        };
        let mut looked = (Left::default(), vec!["nothing was looked at".to_owned()]);
        let clock = Stopwatch::start();
        while !looked.1.is_empty() && clock.elapsed().as_secs() < CALM_S {
            std::thread::park_timeout(std::time::Duration::from_secs(1));
            self.roles().for_each(Role::look);
            if !self.aggregators.iter().all(|role| is_whole(&role.url())) {
                continue;
            }
            let peaks = self.roles().map(|role| (role.name.to_owned(), role.peak_kib)).collect();
            let apis = [0, 1].map(|place| self.aggregators[place].url());
            let left = self.runtime.block_on(gather(&self.postgres, &apis, &self.recorder));
            let left = Left { account: account.clone(), peaks_kib: peaks, ..left };
            let faults = check::faults(&left);
            looked = (left, faults);
        }
        let (left, faults) = looked;
        let first = self.done.iter().map(|done| done.from).fold(f64::INFINITY, f64::min);
        for Done { fault, victim, from, to } in &self.done {
            eprintln!("{fault:?} of {victim}: from {:.1} s to {:.1} s", from - first, to - first);
        }
        left.tell();
        let log = |role: &Role| role.log().matches("is another's: fence").count();
        let refused: usize = self.aggregators.iter().map(log).sum();
        eprintln!("writes refused: {refused}");
        if !faults.is_empty() {
            let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-left.json");
            std::fs::write(&file, serde_json::to_vec(&left).unwrap()).unwrap();
            let some: Vec<&String> = faults.iter().take(20).collect();
            panic!("{} faults; what is left is in {}: {some:#?}", faults.len(), file.display());
        }
    }

    /// Aggregators that were killed: who, when, and for how long servers were away in the time after.
    fn kills(&self) -> Vec<(String, f64, f64)> {
        let away = |from: f64, other: &Done| match other.fault {
            KillNats | KillPostgres => (from + 15.0).min(other.to) - from.max(other.from),
            _ => 0.0,
        };
        let kills = self.done.iter().filter(|done| done.fault == KillAggregator);
        let kill = |done: &Done| {
            // Nobody can take over what both servers are away for, nor while they come back.
            let all = self.done.iter().map(|other| away(done.from, other));
            let away: f64 = all.filter(|seconds| *seconds > 0.0).map(|seconds| seconds + 5.0).sum();
            (self.aggregators[done.victim].name.to_owned(), done.from, away)
        };
        kills.map(kill).collect()
    }

    /// After how many seconds an aggregator without a way to the bus had ended the last of what it held.
    fn fenced(&self) -> Vec<(String, f64)> {
        let cuts = self.done.iter().filter(|done| matches!(done.fault, CutBus | CutBusOneWay));
        let last = |done: &Done| {
            let said = self.aggregators[done.victim].said("lease lost: the shard is ended").into_iter();
            let after = said.filter(|at| (done.from..done.to + 1.0).contains(at)).map(|at| at - done.from);
            after.reduce(f64::max).map(|seconds| (format!("{:?}", done.fault), seconds))
        };
        cuts.filter_map(last).collect()
    }

    /// Aggregators that stayed while the other left, and from when until when, with both servers there.
    fn stayed(&self) -> Vec<(String, f64, f64)> {
        let away = |done: &Done| {
            let servers = |other: &&Done| matches!(other.fault, KillNats | KillPostgres);
            self.done.iter().filter(servers).any(|other| other.from < done.to && other.to + 10.0 > done.from)
        };
        let leaves = self.done.iter().filter(|done| done.fault == LeaveAggregator && !away(done));
        leaves.map(|done| (self.aggregators[1 - done.victim].name.to_owned(), done.from, done.to)).collect()
    }

    /// For how long appends waited for a server of the bus, longer than its fault makes impossible.
    fn waits(&self) -> Vec<(String, f64)> {
        let stalls = self.stalls.lock().unwrap();
        let mut waits = Vec::new();
        for done in &self.done {
            let overlapping = stalls.iter().filter(|(from, to)| *to > done.from && *from < done.to);
            let longest = |begin: f64| overlapping.map(|(from, to)| to - from.max(begin)).fold(0.0, f64::max);
            let seconds = match done.fault {
                KillLeader | PauseLeader | CutFirst => longest(done.from),
                KillNats | KillTwo | KillAll => longest(done.to),
                _ => continue,
            };
            waits.push((format!("{:?}", done.fault), seconds));
        }
        waits
    }
}

/// An aggregator hears from all partitions.
fn is_whole(api: &str) -> bool {
    let whole = |(status, body): (u16, String)| {
        let body = serde_json::from_str::<Value>(&body).unwrap_or_default();
        status == 200 && body["missing"].as_array().is_none_or(Vec::is_empty)
    };
    ask("GET", &format!("{api}/interfaces")).is_some_and(whole)
}
