//! What must have come of it: what the bus has kept, gone through once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aggregator::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};
use aggregator::partition::Partition;
use shared::model::Alert;
use shared::script::ScriptLimits;
use shared::script::engine::ScriptEngine;
use shared::script::registry::Registry;
use shared::store::Transition;
use shared::store::memory::Remembered;
use shared::store::series::SampleBatch;
use shared::wire::delta::Delta;
use shared::wire::partition;

use crate::aggregators::{config, networks, setup};
use crate::collectors;
use crate::notifiers::arrivals;
use crate::world::{Shared, World};

/// What a collector was handed so long before it is killed may be lost: it may be between the wire and the
/// disk. A message waits for the bus twice, for at most three seconds each time, and so may the one before.
const UNDER_WAY: Duration = Duration::from_secs(12);

fn fresh(number: u32) -> Partition {
    let setup = setup();
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (registry, errors) = Registry::of_setup(&engine, &setup);
    assert!(errors.is_empty(), "{errors:?}");
    Partition::new(number, engine, registry, &setup, config(), networks(), Vec::new())
}

/// Everything that the API shows of a partition.
fn shown(partition: &Partition) -> Vec<String> {
    let all = HostQuery { limit: 1000, ..HostQuery::default() };
    let of = |state| {
        let mut rows = vec![serde_json::to_string(&InterfaceRow::of(state)).unwrap()];
        rows.extend(HostRow::of(state, &all).iter().map(|row| serde_json::to_string(row).unwrap()));
        rows.extend(NetworkRow::of(state).iter().map(|row| serde_json::to_string(row).unwrap()));
        rows
    };
    partition.interfaces().flat_map(of).collect()
}

#[derive(Default)]
struct Expected {
    told: BTreeMap<String, String>,
    /// Transitions of each alert in order.
    order: Vec<(String, String)>,
    engaged: BTreeMap<String, Alert>,
    posts: BTreeSet<String>,
    series: BTreeMap<String, SampleBatch>,
    remembered: BTreeMap<(String, u32, String, String), Option<String>>,
}

impl Expected {
    fn transition(&mut self, transition: Transition) {
        let told = match transition {
            Transition::Engage(engaged) => {
                self.engaged.insert(engaged.alert.id.clone(), engaged.alert.clone());
                engaged.alert
            }
            Transition::Update(engaged) => {
                self.engaged.insert(engaged.alert.id.clone(), engaged.alert);
                return;
            }
            Transition::Worsen(engaged, at) => {
                let told = engaged.update(at);
                self.engaged.insert(engaged.alert.id.clone(), engaged.alert);
                told
            }
            Transition::Release(alert) => {
                self.engaged.remove(&alert.id);
                alert
            }
            Transition::Store(alert) => alert,
        };
        self.order.push((told.id.clone(), told.transition_id()));
        self.told.insert(told.transition_id(), serde_json::to_string(&told).unwrap());
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should {
        return Ok(());
    }
    let clip = |text: String| text.chars().take(1500).collect::<String>();
    Err(format!("{what}:\n  is     {}\n  should {}", clip(format!("{is:?}")), clip(format!("{should:?}"))))
}

/// What each element of an interface must have counted: the traffic of all summaries that have arrived, each
/// once, added up here and by nothing of what is judged.
fn totals(shared: &Shared, ifid: u32) -> BTreeMap<String, u64> {
    let log = &shared.streams.logs["dl"].messages;
    let arrived: BTreeSet<&String> = log.iter().map(|(_, id, _)| id).collect();
    let mut totals = BTreeMap::new();
    for (of, at) in arrived.iter().filter_map(|id| shared.traffic.get(*id)).filter(|(of, _)| *of == ifid) {
        let traffic = collectors::delta(*of, 0, 0, *at);
        *totals.entry("interface".to_owned()).or_default() += traffic.interface.counters.bytes;
        for host in &traffic.hosts {
            *totals.entry(host.key.to_string()).or_default() += host.counters.bytes_sent;
        }
        for network in &traffic.networks {
            *totals.entry(network.network.to_string()).or_default() += network.counters.bytes_egress;
        }
    }
    totals
}

/// The same as a partition has it.
fn counted(partition: &Partition) -> BTreeMap<String, u64> {
    let all = HostQuery { limit: 1000, ..HostQuery::default() };
    let mut counted = BTreeMap::new();
    for state in partition.interfaces() {
        counted.insert("interface".to_owned(), InterfaceRow::of(state).stats["bytes"]);
        for host in HostRow::of(state, &all) {
            counted.insert(host.host.to_string(), host.stats["bytes_sent"]);
        }
        for network in NetworkRow::of(state) {
            counted.insert(network.network.to_string(), network.stats["bytes_egress"]);
        }
    }
    counted
}

/// Compares what has come of a seed with what must have.
pub fn check(world: &World) -> Result<(), String> {
    let shared = world.lock();
    let log = &shared.streams.logs["dl"].messages;
    let mut expected = Expected::default();
    for (site, ifid) in collectors::interfaces() {
        let number = partition::of_interface(site, ifid);
        let mut undisturbed = fresh(number);
        for (_, _, payload) in log.iter().filter(|(subject, ..)| subject.contains(&format!(".{number}."))) {
            let output = undisturbed.apply(&Delta::decode(payload).unwrap());
            output.transitions.into_iter().for_each(|transition| expected.transition(transition));
            expected.posts.extend(output.posts.into_iter().map(|post| post.id));
            expected.series.extend(output.samples.into_iter().map(|batch| (batch.key.clone(), batch)));
            for Remembered { site, ifid, script, key, value, .. } in output.remembered {
                expected.remembered.insert((site, ifid, script, key), value);
            }
        }
        let saved = &shared.tables.partitions[&number];
        let mut kept = fresh(number);
        kept.restore(&saved.snapshot.as_ref().unwrap().state, true)?;
        same("totals", &counted(&kept), &totals(&shared, ifid))?;
        same("live state", &shown(&kept), &shown(&undisturbed))?;
    }
    for (partition, fences) in &shared.tables.fences {
        if !fences.is_sorted() {
            return Err(format!(
                "a write of partition {partition} under an older fence was taken: {fences:?}"
            ));
        }
    }
    let told: BTreeMap<String, String> = shared.streams.logs.get("al").map_or_else(BTreeMap::new, |log| {
        let of_scripts = log.messages.iter().filter(|(subject, ..)| !subject.contains(".interface."));
        of_scripts
            .map(|(_, id, payload)| (id.clone(), String::from_utf8(payload.to_vec()).unwrap()))
            .collect()
    });
    let hosts = |(_, text): &(&String, &String)| !text.contains("\"entity\":\"interface\"");
    let should: BTreeMap<String, String> =
        expected.told.iter().filter(hosts).map(|(id, text)| (id.clone(), text.clone())).collect();
    same("alerts told", &told, &should)?;
    let engaged: BTreeMap<String, Alert> =
        shared.tables.engaged.iter().map(|(id, engaged)| (id.clone(), engaged.alert.clone())).collect();
    same("engaged alerts", &engaged, &expected.engaged)?;
    same("series", &shared.tables.series, &expected.series)?;
    let posts: BTreeSet<String> = shared
        .streams
        .logs
        .get("po")
        .map_or_else(BTreeSet::new, |log| log.messages.iter().map(|(_, id, _)| id.clone()).collect());
    same("posts", &posts, &expected.posts)?;
    let remembered: BTreeMap<_, _> = shared
        .tables
        .remembered
        .iter()
        .map(|((_, site, ifid, script, key), value)| {
            ((site.clone(), *ifid, script.clone(), key.clone()), Some(value.clone()))
        })
        .collect();
    same("what scripts remember", &remembered, &expected.remembered)?;

    // Whatever was handed to a publisher has arrived, but for what a kill took with it.
    let arrived: BTreeSet<&String> =
        shared.streams.logs.values().flat_map(|log| log.messages.iter().map(|(_, id, _)| id)).collect();
    for (run, handed) in &shared.handed {
        let killed = shared.killed.get(run);
        let may_be_lost = |at: &Duration| killed.is_some_and(|killed| *killed <= *at + UNDER_WAY);
        let lost = |(at, id): &&(Duration, String)| !arrived.contains(id) && !may_be_lost(at);
        let lost: Vec<_> = handed.iter().filter(lost).collect();
        if !lost.is_empty() {
            return Err(format!("run {run:?}, killed at {killed:?}, lost {lost:?}"));
        }
    }
    if !shared.counts.iter().all(|(kind, count)| kind == "spool_damaged" || *count == 0) {
        return Err(format!("lost by collectors: {:?}", shared.counts));
    }

    // Every alert reaches the endpoint, and none its release before its engagement.
    let seen = &shared.deliveries.seen;
    let counts = arrivals(seen);
    let alerts = shared.streams.logs["al"].messages.iter();
    let silent: Vec<&String> =
        alerts.map(|(_, id, _)| id).filter(|id| !counts.contains_key(id.as_str())).collect();
    same("alerts that nobody got", &silent, &Vec::new())?;
    for (alert, transition) in
        expected.order.iter().filter(|(_, transition)| transition.ends_with("/release"))
    {
        let first = |id: &str| seen.iter().position(|seen| seen == id);
        let (engaged, released) = (first(&format!("{alert}/engage")), first(transition));
        if engaged.zip(released).is_some_and(|(engaged, released)| released < engaged) {
            return Err(format!("{alert} was released before it was engaged"));
        }
    }
    Ok(())
}

/// Tells two runs apart.
pub fn fingerprint(world: &World) -> String {
    let shared = world.lock();
    let sizes: Vec<_> = shared.streams.logs.iter().map(|(kind, log)| (kind, log.messages.len())).collect();
    let partitions: Vec<_> =
        shared.tables.partitions.iter().map(|(p, saved)| (p, saved.fence, saved.done)).collect();
    let (refused, outbox) = (shared.tables.refused, shared.tables.outbox.len());
    format!("{sizes:?} {partitions:?} {refused} {outbox} {:?}", shared.deliveries.seen)
}
