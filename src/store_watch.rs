//! Tells when the store's server fails and when it works again, and what is wrong with the bus: an alert
//! each, straight to the bus, because what goes through the store cannot say that the store fails.

use shared::bus::Trouble;
use shared::model::{Severity, Timestamp};
use shared::store::StoreHealth;
use shared::teller::Teller;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

/// Tells every trouble of the bus, until it is closed.
pub async fn bus(teller: Teller, mut troubles: broadcast::Receiver<Trouble>) {
    loop {
        let Trouble { kind, message } = match troubles.recv().await {
            Ok(trouble) => trouble,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let severity = if kind == "stream_has_room" { Severity::Notice } else { Severity::Critical };
        let alert = teller.alert(kind, "bus", severity, message, teller.clock.now());
        teller.tell(alert).await;
    }
}

/// Tells every change of the store, until it is closed.
pub async fn store(teller: Teller, mut health: watch::Receiver<StoreHealth>) {
    let mut failed_at: Option<Timestamp> = None;
    while health.changed().await.is_ok() {
        let state = health.borrow_and_update().clone();
        let now = teller.clock.now();
        let alert = match (state, failed_at) {
            (StoreHealth::Failing(cause), None) => {
                failed_at = Some(now);
                let message = format!("The store fails: {cause}; nothing is lost while the bus keeps it");
                teller.alert("store_failed", "store", Severity::Critical, message, now)
            }
            (StoreHealth::Working, Some(since)) => {
                failed_at = None;
                let seconds = now.since(since) / 1_000_000_000;
                let message = format!("The store works again after {seconds} s");
                teller.alert("store_recovered", "store", Severity::Notice, message, now)
            }
            _ => continue,
        };
        teller.tell(alert).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use shared::bus::memory::{MemoryBus, MemoryConfig};
    use shared::bus::nats::{NatsBus, NatsConfig, StreamLimits};
    use shared::bus::test_server::NatsServer;
    use shared::bus::{SharedBus, Stream};
    use shared::clock::{ManualClock, SharedClock};
    use shared::model::Alert;
    use shared::wire::subject::Subjects;

    use super::*;

    #[tokio::test]
    async fn each_outage_is_told_at_its_begin_and_at_its_end() {
        let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
        let subjects = Subjects::default();
        let mut told = bus.consume(Stream::Alert, "test", &subjects.all("al")).await.unwrap();
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let (site, node) = ("s".to_owned(), "n".to_owned());
        let known: SharedClock = Arc::clone(&clock) as SharedClock;
        let teller = Teller { bus: Arc::clone(&bus), subjects, clock: known, site, node };
        let (sender, health) = watch::channel(StoreHealth::Working);
        let running = tokio::spawn(store(teller, health));
        let mut next = async || {
            let queued = told.next().await.unwrap();
            let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
            queued.ack();
            (alert.alert_type, alert.message)
        };
        sender.send_replace(StoreHealth::Failing("no route".to_owned()));
        let (kind, message) = next().await;
        assert_eq!(kind, "store_failed");
        assert!(message.contains("no route"), "{message}");
        clock.advance(Duration::from_secs(40));
        sender.send_replace(StoreHealth::Working);
        let (kind, message) = next().await;
        assert_eq!((kind.as_str(), message.contains("after 40 s")), ("store_recovered", true), "{message}");
        drop(sender);
        running.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stream_that_is_deleted_or_shrunk_or_full_is_an_alert() {
        let Some(server) = NatsServer::start("a_stream_that_is_deleted_is_an_alert").await else { return };
        let post = StreamLimits { max_bytes: Some(100_000), ..StreamLimits::default() };
        let (servers, prefix) = (vec![server.url.clone()], "lost".to_owned());
        let config = NatsConfig { servers, prefix, post, ..NatsConfig::default() };
        let bus: SharedBus = NatsBus::connect(config).await.unwrap();
        let subjects = Subjects::new("lost");
        let mut told = bus.consume(Stream::Alert, "test", &subjects.all("al")).await.unwrap();
        let clock: SharedClock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let (site, node) = ("s".to_owned(), "n".to_owned());
        let teller = Teller { bus: Arc::clone(&bus), subjects: subjects.clone(), clock, site, node };
        tokio::spawn(super::bus(teller, bus.troubles().unwrap()));
        // As an operator would, by the server's own interface.
        let operator = async |verb: &str, stream: &str, body: String| {
            let subject = format!("$JS.API.STREAM.{verb}.LOST_{stream}");
            let answer = bus.request(&subject, body.into(), Duration::from_secs(10)).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&answer).unwrap()
        };
        let mut next = async || {
            let queued = tokio::time::timeout(Duration::from_secs(60), told.next()).await.unwrap().unwrap();
            let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
            queued.ack();
            (alert.alert_type, alert.message)
        };
        assert_eq!(operator("DELETE", "FLOW", String::new()).await["success"], true);
        let (kind, message) = next().await;
        assert_eq!((kind.as_str(), message.contains("LOST_FLOW")), ("stream_lost", true), "{message}");

        let mut limits = operator("INFO", "DELTA", String::new()).await["config"].take();
        limits["max_bytes"] = serde_json::json!(50_000);
        let answer = operator("UPDATE", "DELTA", limits.to_string()).await;
        assert!(answer["error"].is_null(), "{answer}");
        let (kind, message) = next().await;
        assert_eq!((kind.as_str(), message.contains("50000")), ("stream_changed", true), "{message}");

        for number in 0..9 {
            let (subject, id) = (subjects.post("s"), format!("p{number}"));
            let receipt = bus.append(&subject, &id, vec![b'x'; 10_000].into()).await.unwrap();
            receipt.stored().await.unwrap();
        }
        let (kind, message) = next().await;
        assert_eq!((kind.as_str(), message.contains("LOST_POST")), ("stream_full", true), "{message}");
        bus.close().await;
    }
}
