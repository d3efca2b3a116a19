//! Looks through what is left, and says everything that is not as it has to be.

use std::collections::{BTreeMap, BTreeSet};

use super::left::{Account, Left, Told, Write};
use super::load::{Elements, elements};
use crate::takeover::INTERFACES;

/// Seconds after which what a killed aggregator held is another's, and how much longer it may take where the
/// machine has much else to do.
const TAKEOVER_S: f64 = 15.0;
const BUSY_S: f64 = 5.0;

/// Seconds that appends may take longer than what their fault makes impossible.
const WAIT_S: f64 = 30.0;

/// Seconds after which who is cut off from the bus holds nothing, and what a busy machine adds.
const FENCE_S: f64 = 7.0 + 1.0;

/// The most memory that a process may have had, of a program built for tests, in KiB.
const PEAK_KIB: u64 = 400 << 10;

/// Everything that is wrong.
pub fn faults(left: &Left) -> Vec<String> {
    let checks = [
        counters, minutes, history, engaged, flows, arrivals, order, ledger, fences, takeovers, waits,
        fenced, stayed, memory,
    ];
    checks.iter().flat_map(|check| check(left)).collect()
}

fn unless(right: bool, fault: impl FnOnce() -> String) -> Option<String> {
    (!right).then(fault)
}

/// The minutes that have ended.
fn runs(account: &Account) -> u64 {
    u64::try_from(account.seconds / 60).unwrap()
}

/// Each element counted what the generator has sent, no more and no less, whoever is asked.
fn counters(left: &Left) -> Vec<String> {
    let seconds = u64::try_from(left.account.seconds).unwrap();
    let expected: Elements =
        elements().into_iter().map(|(name, packets)| (name, packets * seconds)).collect();
    let mut faults = Vec::new();
    for answer in &left.counters {
        let names: BTreeSet<&String> = expected.keys().chain(answer.keys()).collect();
        let differs = names.into_iter().filter(|name| expected.get(*name) != answer.get(*name));
        faults.extend(differs.map(|name| {
            format!("{name} counted {:?}, sent were {:?}", answer.get(name), expected.get(name))
        }));
    }
    faults
}

/// Each minute of a series holds what was counted in it, and no batch is missing.
fn minutes(left: &Left) -> Vec<String> {
    let a_second = elements();
    let of = |ifid: u32| {
        let name = format!("eth{ifid}");
        let minutes = left.minutes.get(&name).map(Vec::as_slice).unwrap_or_default();
        let packets = (a_second[&name] * 60) as f64;
        let few = unless(minutes.len() as u64 >= runs(&left.account), || {
            format!("{name} has {} minutes of {}", minutes.len(), runs(&left.account))
        });
        // The last one may not have ended.
        let ended = minutes.iter().take(runs(&left.account) as usize).enumerate();
        let wrong = ended.filter(move |(_, m)| m.packets != packets || m.batches != [60.0, 60.0, 0.0]);
        let wrong: Vec<String> = wrong.map(|(at, m)| format!("{name} in minute {at}: {m:?}")).collect();
        few.into_iter().chain(wrong)
    };
    (0..INTERFACES).flat_map(of).collect()
}

/// What the scripts have to tell: interface, text or what happened, and which script.
pub fn expected(account: &Account) -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for ifid in 0..INTERFACES {
        let name = format!("eth{ifid}");
        let minute = elements()[&name] * 60;
        for run in 0..runs(account) {
            let text = format!("run {run}: {minute} of {}", minute * (run + 1));
            all.insert(("told".to_owned(), name.clone(), text));
            // Up in even minutes, down in odd ones.
            let turn = if run % 2 == 0 { "engage" } else { "release" };
            all.insert(("tide".to_owned(), name.clone(), format!("tide {}/{turn}", run / 2 * 2)));
        }
    }
    all
}

/// The same of a transition.
fn said(told: &Told) -> (String, String, String) {
    let text = match told.script == "tide" {
        true => format!("{}/{}", told.message, told.transition.rsplit('/').next().unwrap_or_default()),
        false => told.message.clone(),
    };
    (told.script.clone(), told.interface.clone(), text)
}

/// Each alert is in the history once, and none that nothing has raised.
fn history(left: &Left) -> Vec<String> {
    let ours = left.history.iter().filter(|told| ["told", "tide"].contains(&told.script.as_str()));
    let mut counts = BTreeMap::<_, usize>::new();
    ours.for_each(|told| *counts.entry(said(told)).or_default() += 1);
    let wanted = expected(&left.account);
    let lost = wanted.iter().filter(|told| !counts.contains_key(*told));
    let lost = lost.map(|told| format!("not in the history: {told:?}"));
    let extra = counts.iter().filter(|(told, count)| **count != 1 || !wanted.contains(*told));
    lost.chain(extra.map(|(told, count)| format!("{count} times in the history: {told:?}"))).collect()
}

/// Engaged is what the last minute has left engaged.
fn engaged(left: &Left) -> Vec<String> {
    let is: BTreeSet<&str> =
        left.engaged.iter().filter(|t| t.script == "tide").map(|t| t.interface.as_str()).collect();
    let names: Vec<String> = (0..INTERFACES).map(|ifid| format!("eth{ifid}")).collect();
    let up = runs(&left.account) % 2 == 1;
    let wrong = names.iter().filter(|name| is.contains(name.as_str()) != up);
    wrong.map(|name| format!("{name}: engaged is {}", !up)).collect()
}

/// Each of the exporter's flows is counted and stored once; missing may be what nobody heard.
fn flows(left: &Left) -> Vec<String> {
    let (packets, drops) = left.exported;
    let Account { flows: sent, unheard, unended, .. } = left.account;
    let stored: BTreeSet<u32> = left.flows.iter().copied().collect();
    let twice = left.flows.len() - stored.len();
    let strange = stored.iter().filter(|number| u64::from(**number) >= sent).count();
    let lost = |count: u64, may: u64| count + drops + may < sent;
    [
        unless(twice == 0, || format!("{twice} flows are stored twice")),
        unless(strange == 0, || format!("{strange} flows are stored that were not sent")),
        unless(packets <= sent, || format!("{packets} flows are counted, {sent} were sent")),
        unless(!lost(packets, unheard), || {
            format!("{packets} flows are counted, {drops} dropped, {sent} were sent")
        }),
        unless(!lost(stored.len() as u64, unended), || {
            format!(
                "{} flows are stored, {drops} dropped, {sent} were sent, {unended} not ended",
                stored.len()
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Each transition came to the receiver and was taken, always under one key, which is of the ledger.
fn arrivals(left: &Left) -> Vec<String> {
    let mut faults = Vec::new();
    let mut keys = BTreeMap::<&str, BTreeSet<&str>>::new();
    let mut taken = BTreeSet::new();
    for arrived in &left.arrived {
        keys.entry(&arrived.transition).or_default().insert(&arrived.key);
        if arrived.taken {
            taken.insert(arrived.transition.as_str());
        }
    }
    let known: BTreeSet<String> =
        left.ledger.iter().map(|(event, recipient, _)| format!("{event}/{recipient}")).collect();
    for (transition, keys) in &keys {
        if keys.len() > 1 {
            faults.push(format!("{transition} came under {keys:?}"));
        }
        let strange = keys.iter().filter(|key| !known.contains(**key));
        faults.extend(strange.map(|key| format!("{transition} came under a key of no delivery: '{key}'")));
    }
    let wanted = left.history.iter().map(|told| &told.transition).chain(&left.account.stormed);
    let lost = wanted.filter(|transition| !taken.contains(transition.as_str()));
    faults.extend(lost.map(|transition| format!("{transition} did not come to the receiver")));
    faults
}

/// No end of an alert is told before its begin.
fn order(left: &Left) -> Vec<String> {
    let mut begun = BTreeSet::new();
    let mut faults = Vec::new();
    for arrived in &left.arrived {
        match arrived.transition.rsplit_once('/') {
            Some((id, "engage")) if arrived.taken => drop(begun.insert(id)),
            Some((id, "release")) if !begun.contains(id) => {
                faults.push(format!("{id} was released before anybody took that it is engaged"));
            }
            _ => {}
        }
    }
    faults
}

/// Nothing is owed to anybody, and nothing was given up.
fn ledger(left: &Left) -> Vec<String> {
    let open = left.ledger.iter().filter(|(.., state)| state != "delivered");
    let open = open.map(|(event, recipient, state)| format!("{event} to {recipient} is {state}"));
    let known: BTreeSet<&str> = left.ledger.iter().map(|(event, ..)| event.as_str()).collect();
    let lost = left.account.stormed.iter().filter(|id| !known.contains(id.as_str()));
    open.chain(lost.map(|id| format!("{id} is not in the ledger"))).collect()
}

/// No partition was ever written under an older fence than before, nor under one fence by two.
fn fences(left: &Left) -> Vec<String> {
    let mut last = BTreeMap::<i64, (i64, &str)>::new();
    let mut faults = Vec::new();
    for write in &left.writes {
        let Write { part, fence, who, .. } = write;
        if let Some((before, holder)) = last.insert(*part, (*fence, who)) {
            if *fence < before {
                faults.push(format!("a write under an older fence than {before} was taken: {write:?}"));
            } else if *fence == before && holder != who {
                faults.push(format!("{holder} and another hold one fence: {write:?}"));
            }
        }
    }
    faults
}

/// What a killed aggregator held was soon another's, or that of its next run.
fn takeovers(left: &Left) -> Vec<String> {
    let mut faults = Vec::new();
    for (victim, at, away) in &left.account.kills {
        let before: BTreeMap<i64, &Write> =
            left.writes.iter().filter(|write| write.at < *at).map(|write| (write.part, write)).collect();
        let held: Vec<&Write> = before.into_values().filter(|write| write.who == *victim).collect();
        if held.is_empty() {
            faults.push(format!("{victim} held nothing when it was killed"));
        }
        for last in held {
            let newer = |write: &&Write| write.part == last.part && write.fence > last.fence;
            let took = left.writes.iter().find(newer).map_or(f64::INFINITY, |write| write.at - at);
            if took > TAKEOVER_S + BUSY_S + away {
                faults.push(format!("partition {} of {victim} was taken over after {took:.1} s", last.part));
            }
        }
    }
    faults
}

/// Who is cut off from the bus ends what it holds before another may have it.
fn fenced(left: &Left) -> Vec<String> {
    let late = left.account.fenced.iter().filter(|(_, seconds)| *seconds > FENCE_S);
    late.map(|(fault, seconds)| format!("{fault}: the last shard was ended after {seconds:.1} s")).collect()
}

/// Who stays while another leaves keeps what it has.
fn stayed(left: &Left) -> Vec<String> {
    let mut faults = Vec::new();
    for (who, from, to) in &left.account.stayed {
        let before: BTreeMap<i64, &Write> =
            left.writes.iter().filter(|write| write.at < *from).map(|write| (write.part, write)).collect();
        let own = before.into_values().filter(|write| write.who == *who);
        let moved = own.filter(|last| {
            let newer = |write: &&Write| write.part == last.part && (*from..*to).contains(&write.at);
            left.writes.iter().filter(newer).any(|write| write.fence != last.fence)
        });
        faults.extend(moved.map(|last| format!("partition {} of {who} moved, who stayed", last.part)));
    }
    faults
}

/// The bus took what was appended in spite of a server that was lost, or soon after enough were back.
fn waits(left: &Left) -> Vec<String> {
    let long = left.account.waits.iter().filter(|(_, seconds)| *seconds > WAIT_S);
    long.map(|(fault, seconds)| format!("{fault}: appends waited {seconds:.1} s")).collect()
}

/// No process had more memory than it may have.
fn memory(left: &Left) -> Vec<String> {
    let too_much = left.peaks_kib.iter().filter(|(_, kib)| !(1..PEAK_KIB).contains(*kib));
    too_much.map(|(name, kib)| format!("{name} had {kib} KiB")).collect()
}
