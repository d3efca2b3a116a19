//! What goes into the cluster while things break: summaries, alerts, and datagrams of an exporter. Each
//! thread goes on until it is told to stop, repeats what was not accepted, and says what it has sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shared::bus::{SharedBus, Stream};
use shared::clock::{Clock, SystemClock};
use shared::model::{Alert, HostCounters, HostKey, NetworkCounters, Position};
use shared::wire::delta::{Delta, HostDelta, NetworkDelta};
use shared::wire::subject::Subjects;

use super::site::NAME;
use crate::takeover::INTERFACES;

/// Between two seconds of event time: the producers' clocks run ten times too fast.
const TICK: Duration = Duration::from_millis(100);

/// Flows in a datagram.
const FLOWS: u32 = 30;

/// The exporter's flows come from this address and those after it.
pub const NET: &str = "11.0.0.0";

/// Packets by the name of an interface, a host or a network.
pub type Elements = BTreeMap<String, u64>;

/// What every element counts in a second of summaries.
pub fn elements() -> Elements {
    let mut all = Elements::new();
    for ifid in 0..INTERFACES {
        let (_, delta) = second_of(&Subjects::new(NAME), ifid, 0);
        all.insert(format!("eth{ifid}"), delta.interface.counters.packets);
        for host in &delta.hosts {
            all.insert(host.key.to_string(), host.counters.packets_sent + host.counters.packets_rcvd);
        }
        for network in &delta.networks {
            all.insert(network.network.to_string(), network.counters.packets_inner);
        }
    }
    all
}

/// A second of an interface on which a host sends to another of its network: where it goes, and what.
fn second_of(subjects: &Subjects, ifid: u32, second: i64) -> (String, Delta) {
    let (subject, payload) = crate::takeover::second_of(subjects, ifid, second);
    let mut delta = Delta::decode(&payload).unwrap();
    let packets = u64::from(ifid) + 3;
    let host = |last: u8, packets_sent, packets_rcvd| HostDelta {
        key: HostKey::new(IpAddr::from([10, 0, ifid as u8, last]), 0),
        mac: None,
        local: true,
        last_seen: delta.from,
        counters: HostCounters { packets_sent, packets_rcvd, ..HostCounters::default() },
    };
    delta.hosts = vec![host(1, packets, 0), host(2, 0, packets)];
    let network = format!("10.0.{ifid}.0/24").parse().unwrap();
    let counters = NetworkCounters { packets_inner: packets, ..NetworkCounters::default() };
    delta.networks = vec![NetworkDelta { network, counters }];
    (subject, delta)
}

/// When the bus took nothing for longer than a second: from when until when, in seconds since the epoch.
pub type Stalls = Arc<Mutex<Vec<(f64, f64)>>>;

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemClock.now().ns() as f64 / 1e9
}

/// Appends until the bus has it, as a collector does.
async fn append(bus: &SharedBus, subject: &str, id: &str, payload: Bytes) {
    loop {
        let stored = async { bus.append(subject, id, payload.clone()).await?.stored().await };
        if matches!(tokio::time::timeout(Duration::from_secs(5), stored).await, Ok(Ok(_))) {
            return;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Summaries of every interface, second by second; one in ten comes again later, under another message id.
/// Gives the number of seconds.
pub async fn summaries(bus: SharedBus, stop: Arc<AtomicBool>, stalls: Stalls) -> i64 {
    let subjects = Subjects::new(NAME);
    let mut second = 0;
    while !stop.load(Ordering::SeqCst) {
        let begun = now();
        for ifid in 0..INTERFACES {
            let (subject, payload) = second_of(&subjects, ifid, second);
            append(&bus, &subject, &format!("{ifid}/{second}"), payload.encode()).await;
            if second >= 30 && (second + i64::from(ifid)) % 10 == 0 {
                let (subject, payload) = second_of(&subjects, ifid, second - 30);
                append(&bus, &subject, &format!("again/{ifid}/{second}"), payload.encode()).await;
            }
        }
        second += 1;
        let ended = now();
        if ended - begun > 1.0 {
            stalls.lock().unwrap().push((begun, ended));
        }
        tokio::time::sleep(TICK).await;
    }
    second
}

/// Reads all summaries in the order of the stream, each after the one before, until it is told how many there
/// are at least and has read them.
pub async fn ordered(bus: SharedBus, upto: Arc<AtomicU64>) {
    let filter = Subjects::new(NAME).all("dl");
    let mut replay = bus.replay(Stream::Delta, "ordered", &filter, Position::default()).await.unwrap();
    let mut last = 0;
    while !(1..=last).contains(&upto.load(Ordering::SeqCst)) {
        let Ok(next) = tokio::time::timeout(Duration::from_secs(1), replay.messages.next()).await else {
            continue;
        };
        let queued = next.expect("the stream goes on");
        assert_eq!(queued.sequence, last + 1, "a message of the stream was left out or came twice");
        last = queued.sequence;
        queued.ack();
    }
}

/// A storm of so many alerts of as many hosts.
pub async fn storm(bus: SharedBus, alerts: usize) {
    let subjects = Subjects::new(NAME);
    for number in 0..alerts {
        let alert = stormy(number);
        let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        append(&bus, &subject, &alert.transition_id(), serde_json::to_vec(&alert).unwrap().into()).await;
    }
}

/// The alert of a storm with this number.
pub fn stormy(number: usize) -> Alert {
    Alert { entity_value: format!("host{number}"), ..crate::cluster::alert(number) }
}

/// An exporter (NetFlow version 5) that sends to a port.
#[derive(Default)]
pub struct Exporter {
    /// Flows sent so far; each is of one packet.
    pub sent: AtomicU64,
    /// Datagrams a tick.
    pub rate: AtomicU32,
    /// When so many had been sent, in seconds since the epoch, at each tick.
    history: Mutex<Vec<(f64, u64)>>,
    stop: AtomicBool,
}

impl Exporter {
    /// Begins; ends with [`Exporter::stop`].
    pub fn start(port: u16) -> (Arc<Self>, std::thread::JoinHandle<()>) {
        let exporter = Arc::new(Self { rate: AtomicU32::new(2), ..Self::default() });
        let shared = Arc::clone(&exporter);
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !shared.stop.load(Ordering::SeqCst) {
                for _ in 0..shared.rate.load(Ordering::SeqCst) {
                    let first = shared.sent.load(Ordering::SeqCst) as u32;
                    // Nobody may be there to take it.
                    let _ = socket.send_to(&datagram(first), ("127.0.0.1", port));
                    shared.sent.fetch_add(FLOWS.into(), Ordering::SeqCst);
                }
                shared.history.lock().unwrap().push((now(), shared.sent.load(Ordering::SeqCst)));
                std::thread::park_timeout(TICK);
            }
        });
        (exporter, thread)
    }

    /// How many flows had been sent so many seconds ago.
    pub fn sent_before(&self, seconds: f64) -> u64 {
        let history = self.history.lock().unwrap();
        history.iter().rev().find(|(at, _)| *at < now() - seconds).map_or(0, |(_, sent)| *sent)
    }

    /// Ends it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Flows that end now, one packet each, from addresses that never come again.
fn datagram(first: u32) -> Vec<u8> {
    let now = u32::try_from(SystemClock.now().secs()).unwrap();
    let mut datagram = vec![0, 5, 0, FLOWS as u8];
    for number in [60_000, now, 0, first, 0] {
        datagram.extend(u32::to_be_bytes(number));
    }
    for flow in first..first + FLOWS {
        datagram.extend((0x0b00_0000 + flow).to_be_bytes());
        datagram.extend([203, 0, 113, 5, 0, 0, 0, 0, 0, 1, 0, 2]);
        for number in [1_u32, 100, 59_000, 60_000] {
            datagram.extend(number.to_be_bytes());
        }
        datagram.extend([0xc3, 0x50, 0, 53, 0, 0, 17]);
        datagram.extend([0; 9]);
    }
    datagram
}
