//! What goes into the cluster while things break: summaries, alerts, and datagrams of an exporter. Each
//! thread goes on until it is told to stop, repeats what was not accepted, and says what it has sent.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shared::bus::SharedBus;
use shared::model::Alert;
use shared::wire::subject::Subjects;

use super::site::NAME;
use crate::takeover::{INTERFACES, second_of};

/// Between two seconds of event time: the producers' clocks run ten times too fast.
const TICK: Duration = Duration::from_millis(100);

/// Flows in a datagram.
const FLOWS: u32 = 30;

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
pub async fn summaries(bus: SharedBus, stop: Arc<AtomicBool>) -> i64 {
    let subjects = Subjects::new(NAME);
    let mut second = 0;
    while !stop.load(Ordering::SeqCst) {
        for ifid in 0..INTERFACES {
            let (subject, payload) = second_of(&subjects, ifid, second);
            append(&bus, &subject, &format!("{ifid}/{second}"), payload).await;
            if second >= 30 && (second + i64::from(ifid)) % 10 == 0 {
                let (subject, payload) = second_of(&subjects, ifid, second - 30);
                append(&bus, &subject, &format!("again/{ifid}/{second}"), payload).await;
            }
        }
        second += 1;
        tokio::time::sleep(TICK).await;
    }
    second
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
                std::thread::park_timeout(TICK);
            }
        });
        (exporter, thread)
    }

    /// Ends it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Flows that end now, one packet each, from addresses that never come again.
fn datagram(first: u32) -> Vec<u8> {
    use shared::clock::{Clock, SystemClock};
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
