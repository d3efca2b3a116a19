//! Looks afterwards at everything that was kept and delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use shared::bus::{SharedBus, Stream};
use shared::model::Alert;
use shared::store::postgres::test_server::PostgresServer;
use shared::wire::subject::Subjects;

use super::site::NAME;
use crate::support::http::Recorder;
use crate::takeover::INTERFACES;

/// Notes every write of a partition: under which fence, by whom, when.
pub const WATCH: &str = "
    CREATE TABLE flowhook.fence_log (
        n bigserial, part bigint, fence bigint, who text, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION flowhook.note_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO flowhook.fence_log (part, fence, who)
            VALUES (NEW.part, NEW.fence, current_setting('application_name'));
        RETURN NEW;
    END $$;
    CREATE TRIGGER note_fence AFTER INSERT OR UPDATE ON flowhook.partition
        FOR EACH ROW EXECUTE FUNCTION flowhook.note_fence();";

/// The messages that the script of each interface has to tell when so many seconds were sent.
pub fn expected(seconds: i64) -> BTreeSet<(String, String)> {
    let runs = u64::try_from(seconds / 60).unwrap();
    let of = |ifid: u32| {
        let minute = (u64::from(ifid) + 10) * 60;
        (0..runs)
            .map(move |run| (format!("eth{ifid}"), format!("run {run}: {minute} of {}", minute * (run + 1))))
    };
    (0..INTERFACES).flat_map(of).collect()
}

/// What the script told on the bus, by transition; each has to be the same as often as it comes.
pub async fn told(bus: &SharedBus, wanted: usize) -> BTreeMap<String, (String, String)> {
    let filter = Subjects::new(NAME).all("al");
    let mut alerts = bus.consume(Stream::Alert, "check", &filter).await.unwrap();
    let mut told = BTreeMap::new();
    while told.len() < wanted {
        let next = tokio::time::timeout(Duration::from_secs(60), alerts.next()).await;
        let queued = next.unwrap_or_else(|_| panic!("{} of {wanted} alerts are told", told.len())).unwrap();
        let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
        queued.ack();
        if alert.script == "told" {
            let text = (alert.interface.clone(), alert.message.clone());
            let before = told.insert(alert.transition_id(), text.clone());
            assert!(before.is_none_or(|before| before == text), "two texts under one id: {alert:?}");
        }
    }
    told
}

/// The keys under which each transition came to the endpoint, once for each time.
pub fn arrived(recorder: &Recorder) -> BTreeMap<String, Vec<String>> {
    let mut keys = BTreeMap::<String, Vec<String>>::new();
    for request in recorder.requests() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let id = format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
            let key = alert["idempotency_key"].as_str().expect("every delivery has its key").to_owned();
            keys.entry(id).or_default().push(key);
        }
    }
    keys
}

/// A write of a partition.
#[derive(Debug)]
pub struct Write {
    /// Which partition.
    pub part: i64,
    /// Under which fence.
    pub fence: i64,
    /// By which process.
    pub who: String,
    /// Seconds since the epoch.
    pub at: f64,
}

/// All writes of partitions, in order.
pub async fn writes(postgres: &PostgresServer) -> Vec<Write> {
    let sql = "SELECT coalesce(json_agg(json_build_array(part, fence, who, extract(epoch FROM at)) ORDER BY n), '[]')
               FROM flowhook.fence_log";
    let rows = postgres.sql(NAME, sql).await.unwrap();
    let rows: Vec<(i64, i64, String, f64)> = serde_json::from_str(&rows).unwrap();
    rows.into_iter().map(|(part, fence, who, at)| Write { part, fence, who, at }).collect()
}

/// No partition was ever written under an older fence than before, nor under one fence by two.
pub fn fences(writes: &[Write]) {
    let mut last = BTreeMap::<i64, (i64, &str)>::new();
    for write in writes {
        let Write { part, fence, who, .. } = write;
        if let Some((before, holder)) = last.insert(*part, (*fence, who)) {
            assert!(*fence >= before, "a write under an older fence than {before} was taken: {write:?}");
            assert!(*fence > before || holder == who, "{holder} and another hold one fence: {write:?}");
        }
    }
}

/// For each partition that `victim` wrote last before it was hurt: after how many seconds it was written under
/// a newer lease, be it by another process or by the victim's next run.
pub fn takeovers(writes: &[Write], victim: &str, hurt: f64) -> Vec<f64> {
    let before: BTreeMap<i64, &Write> =
        writes.iter().filter(|write| write.at < hurt).map(|write| (write.part, write)).collect();
    let held = before.into_values().filter(|write| write.who == victim);
    held.filter_map(|last| {
        let newer = |write: &&Write| write.part == last.part && write.fence > last.fence;
        Some(writes.iter().find(newer)?.at - hurt)
    })
    .collect()
}

/// What is owed to whom, by the notifiers' ledger.
pub fn owed(api: &str) -> Option<u64> {
    let (_, body) = crate::support::http::ask("GET", &format!("{api}/recipients"))?;
    let body: Value = serde_json::from_str(&body).ok()?;
    Some(body["items"].as_array()?.iter().map(|r| r["stats"]["pending"].as_u64().unwrap_or(0)).sum())
}
