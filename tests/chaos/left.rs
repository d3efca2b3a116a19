//! What is left when everything is over: of the generator its own account, of the cluster what it answers,
//! what its store holds and what came to its receivers. Written to a file, it can be looked through again
//! (`CHAOS_LEFT=FILE`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::store::postgres::test_server::PostgresServer;

use super::load::{Elements, NET};
use super::site::NAME;
use crate::support::http::{Recorder, get_json};
use crate::takeover::INTERFACES;

/// Which request of the receiver is answered with an error.
pub fn is_refused(number: usize) -> bool {
    number % 11 == 5
}

/// Everything that the checks read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// What the generator says to have done.
    pub account: Account,
    /// Packets of each interface, host and network, as each aggregator answers.
    pub counters: Vec<Elements>,
    /// Of each interface the minutes of its series.
    pub minutes: BTreeMap<String, Vec<Minute>>,
    /// Transitions in the history.
    pub history: Vec<Told>,
    /// Alerts that are engaged.
    pub engaged: Vec<Told>,
    /// Numbers of the exporter's flows that are stored.
    pub flows: Vec<u32>,
    /// Packets and drops of the interface that the exporter sends to.
    pub exported: (u64, u64),
    /// What came to the receiver, in order.
    pub arrived: Vec<Arrived>,
    /// Event, recipient and state of each delivery in the ledger.
    pub ledger: Vec<(String, String, String)>,
    /// Writes of partitions, in order.
    pub writes: Vec<Write>,
    /// The most memory that each process had, in KiB.
    pub peaks_kib: BTreeMap<String, u64>,
}

impl Left {
    /// Says in short what there is.
    pub fn tell(&self) {
        let Account { seconds, flows, unheard, unended, kills, waits, .. } = &self.account;
        let taken = self.arrived.iter().filter(|arrived| arrived.taken).count();
        eprintln!("summaries: {seconds} s of each interface, {} elements counted", self.counters[0].len());
        eprintln!(
            "flows: {flows} sent, {} counted, {} dropped, {} stored, at most {unheard} unheard, {unended} not stored",
            self.exported.0,
            self.exported.1,
            self.flows.len()
        );
        eprintln!(
            "alerts: {} in the history, {taken} of {} arrivals taken, {} deliveries",
            self.history.len(),
            self.arrived.len(),
            self.ledger.len()
        );
        eprintln!("writes: {}, kills: {kills:?}, appends waited: {waits:.1?}", self.writes.len());
        eprintln!("fenced after: {:.1?}, stayed: {:?}", self.account.fenced, self.account.stayed);
        eprintln!("memory in KiB: {:?}", self.peaks_kib);
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Seconds of summaries of each interface.
    pub seconds: i64,
    /// Flows that the exporter has sent.
    pub flows: u64,
    /// Of these so many may be gone with a killed collector, or came while there was none.
    pub unheard: u64,
    /// Of these so many may not be stored, because a killed collector had not seen their end.
    pub unended: u64,
    /// Transitions of the storm.
    pub stormed: Vec<String>,
    /// Aggregators that were killed: who, when, and for how long servers were away in the time after.
    pub kills: Vec<(String, f64, f64)>,
    /// For how many seconds appends waited longer than a fault of the bus makes impossible.
    pub waits: Vec<(String, f64)>,
    /// After how many seconds one that was cut off from the bus had ended what it held.
    pub fenced: Vec<(String, f64)>,
    /// Who stayed while the other left, from when until when.
    pub stayed: Vec<(String, f64, f64)>,
}

/// A minute of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// Packets.
    pub packets: f64,
    /// Batches: expected, received, missing.
    pub batches: [f64; 3],
}

/// A transition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told {
    /// Of which alert, and what happened.
    pub transition: String,
    /// By which script.
    pub script: String,
    /// About which interface.
    pub interface: String,
    /// Its text.
    pub message: String,
}

/// An alert in a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrived {
    /// Of which alert, and what happened.
    pub transition: String,
    /// Under which key.
    pub key: String,
    /// The request was answered with success.
    pub taken: bool,
}

/// A write of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// Rows as JSON.
async fn rows<T: serde::de::DeserializeOwned>(postgres: &PostgresServer, row: &str, from: &str) -> Vec<T> {
    let sql = format!("SELECT coalesce(json_agg(json_build_array({row})), '[]') FROM {from}");
    serde_json::from_str(&postgres.sql(NAME, &sql).await.unwrap()).unwrap()
}

/// Transitions of a table.
async fn told(postgres: &PostgresServer, action: &str, table: &str) -> Vec<Told> {
    let row = format!(
        "id || '/' || {action}, coalesce(json::json ->> 'script', ''), \
         coalesce(json::json ->> 'interface', ''), json::json ->> 'message'"
    );
    let from = format!("flowhook.{table} WHERE json::json ->> 'action' <> 'update'");
    let rows: Vec<(String, String, String, String)> = rows(postgres, &row, &from).await;
    let told = rows.into_iter().map(|(transition, script, interface, message)| Told {
        transition,
        script,
        interface,
        message,
    });
    told.collect()
}

/// Reads the store and asks the aggregators; the account and what memory was used are the caller's.
pub async fn gather(postgres: &PostgresServer, apis: &[String; 2], recorder: &Recorder) -> Left {
    let numbers = format!("(client_ip - '{NET}'::inet)");
    let from = format!("flowhook.flow_record WHERE client_ip <<= '{NET}/8'");
    let flows: Vec<(u32,)> = rows(postgres, &numbers, &from).await;
    let from = "(SELECT * FROM flowhook.fence_log ORDER BY n) AS log";
    let writes: Vec<(i64, i64, String, f64)> =
        rows(postgres, "part, fence, who, extract(epoch FROM at)", from).await;
    let answers = apis.each_ref().map(|api| counters(api));
    let exported = answers[0].1;
    Left {
        counters: answers.into_iter().map(|(counters, _)| counters).collect(),
        exported,
        minutes: (0..INTERFACES).map(|ifid| minutes(&apis[0], ifid)).collect(),
        history: told(postgres, "action", "alert").await,
        engaged: told(postgres, "'engage'", "engaged").await,
        flows: flows.into_iter().map(|(number,)| number).collect(),
        arrived: arrived(recorder),
        ledger: rows(postgres, "event_id, recipient, state", "flowhook.delivery").await,
        writes: writes.into_iter().map(|(part, fence, who, at)| Write { part, fence, who, at }).collect(),
        ..Left::default()
    }
}

/// Packets of every element, and packets and drops of the exporter's interface.
fn counters(api: &str) -> (Elements, (u64, u64)) {
    let mut all = Elements::new();
    let rows = |path: &str| get_json(&format!("{api}/{path}"))["items"].as_array().unwrap().clone();
    let stat = |row: &Value, name: &str| row["stats"][name].as_u64().unwrap_or(0);
    let mut exported = (0, 0);
    for row in rows("interfaces") {
        let packets = stat(&row, "packets");
        match row["site"] == "s" {
            true => drop(all.insert(format!("eth{}", row["ifid"]), packets)),
            false => exported = (packets, stat(&row, "drops")),
        }
    }
    // Networks of the configuration are there without having counted anything.
    for row in rows("networks").iter().filter(|row| row["site"] == "s" && stat(row, "packets_inner") > 0) {
        all.insert(row["network"].as_str().unwrap().to_owned(), stat(row, "packets_inner"));
    }
    for row in rows("hosts?limit=1000&search=10.0.0.0/16").iter().filter(|row| row["site"] == "s") {
        let packets = stat(row, "packets_sent") + stat(row, "packets_rcvd");
        all.insert(row["host"].as_str().unwrap().to_owned(), packets);
    }
    (all, exported)
}

/// The minutes of an interface that have ended.
fn minutes(api: &str, ifid: u32) -> (String, Vec<Minute>) {
    let names = ["packets", "batches.expected", "batches.received", "batches.missing"];
    let url = format!(
        "{api}/series?entity=interface&value=eth{ifid}&period=min&site=s&counters={}",
        names.join(",")
    );
    let answer = get_json(&url);
    let points = answer["items"][0]["points"].as_array().cloned().unwrap_or_default();
    let minute = |point: &Value| {
        let [packets, expected, received, missing] =
            names.map(|name| point["values"][name].as_f64().unwrap_or(-1.0));
        Minute { packets, batches: [expected, received, missing] }
    };
    (format!("eth{ifid}"), points.iter().map(minute).collect())
}

fn arrived(recorder: &Recorder) -> Vec<Arrived> {
    let mut all = Vec::new();
    for (number, request) in recorder.requests().iter().enumerate() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
            all.push(Arrived {
                transition: format!("{}/{}", text("id"), text("action")),
                key: text("idempotency_key"),
                taken: !is_refused(number),
            });
        }
    }
    all
}
