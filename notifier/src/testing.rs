//! What several tests need: sample alerts, a recording HTTP server, waiting for a condition.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::model::alert::{ALERT_SCHEMA_VERSION, AlertFlow};
use shared::model::{Alert, AlertAction, Category, Entity, Party, Severity, Timestamp};
use shared::store::{Delivery, EventKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An alert of an interface with this id.
pub fn alert(id: &str) -> Alert {
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id: id.to_owned(),
        action: AlertAction::Engage,
        alert_type: "threshold_cross".to_owned(),
        entity: Entity::Interface,
        entity_value: "iface_0".to_owned(),
        severity: Severity::Error,
        category: Category::Network,
        score: 100,
        tstamp: Timestamp::from_secs(1_536_247_320),
        engaged_at: None,
        site: "main".to_owned(),
        node: "n1".to_owned(),
        ifid: 0,
        interface: "eno1".to_owned(),
        script: "interface_bytes".to_owned(),
        granularity: None,
        alert_key: Some("min_bytes".to_owned()),
        message: "Minute traffic crossed by interface eno1 [1.08 MB > 2 Bytes]".to_owned(),
        value: None,
        threshold: None,
        client: None,
        server: None,
        flow: None,
        traceparent: None,
        mitre: Vec::new(),
        flapping: false,
    }
}

/// An alert of a flow with this id.
pub fn flow_alert(id: &str) -> Alert {
    let party = |ip: &str| Party {
        ip: ip.parse().unwrap(),
        port: 138,
        vlan: 0,
        mac: None,
        local: false,
        pool: String::new(),
        geo: None,
        is_attacker: false,
        is_victim: false,
    };
    Alert {
        action: AlertAction::Store,
        alert_type: "remote_to_remote_flow".to_owned(),
        entity: Entity::Flow,
        entity_value: "192.168.1.100:138 192.168.1.255:138".to_owned(),
        severity: Severity::Warning,
        script: "remote_to_remote".to_owned(),
        alert_key: None,
        message: "Remote client and remote server".to_owned(),
        client: Some(party("192.168.1.100")),
        server: Some(party("192.168.1.255")),
        flow: Some(AlertFlow {
            l4: "UDP".to_owned(),
            l7: "NetBIOS".to_owned(),
            name: String::new(),
            cli2srv_bytes: 1,
            srv2cli_bytes: 2,
            cli2srv_packets: 3,
            srv2cli_packets: 4,
            first_seen: Timestamp::from_secs(1_536_247_000),
            status: Vec::new(),
            community_id: String::new(),
            score: 50,
            predominant: true,
        }),
        ..alert(id)
    }
}

/// A delivery of an alert, first try.
pub fn delivery(alert: &Alert) -> Delivery {
    Delivery {
        event_id: alert.transition_id(),
        recipient: "r".to_owned(),
        kind: EventKind::Alert,
        payload: serde_json::to_string(alert).unwrap(),
        traceparent: None,
        attempts: 0,
        deadline: Timestamp::MAX,
        accepted_at: Timestamp::ZERO,
    }
}

/// The process's TLS provider, which the binary installs otherwise.
pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Waits until `found` gives something; fails after 20 s.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = found().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// How the test server treats one request.
#[derive(Clone, Debug)]
pub enum Script {
    /// Answers with this status and these header lines.
    Answer(u16, &'static str),
    /// Never answers.
    Silence,
    /// Reads the request, sends half an answer and closes.
    HalfAnswer,
    /// Reads the request and closes.
    Close,
}

/// One request that the test server got.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and headers, as sent.
    pub head: String,
    /// Body.
    pub body: String,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header, by lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.eq_ignore_ascii_case(name)).then(|| value.trim())
        })
    }
}

/// Decides how to answer request number `n` (from 0).
type Answers = dyn Fn(usize, &Request) -> Script + Send + Sync;

/// A recording HTTP server on loopback.
pub struct Server {
    /// Its port.
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers as `answers` says.
    pub async fn start(answers: impl Fn(usize, &Request) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answers, record): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&answers), Arc::clone(&record)));
            }
        });
        Self { port, requests }
    }

    /// Answers 200 to everything.
    pub async fn ok() -> Self {
        Self::start(|_, _| Script::Answer(200, "")).await
    }

    /// Where it listens.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it got so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for at least `count` requests.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests"), || async {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
        .await
    }
}

async fn serve(mut socket: TcpStream, answers: Arc<Answers>, record: Arc<Mutex<Vec<Request>>>) {
    while let Some(request) = read_request(&mut socket).await {
        let number = {
            let mut record = record.lock().unwrap();
            record.push(request.clone());
            record.len() - 1
        };
        match answers(number, &request) {
            Script::Answer(status, headers) => {
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Script::Silence => std::future::pending::<()>().await,
            Script::HalfAnswer => {
                let _ = socket.write_all(b"HTTP/1.1 20").await;
                return;
            }
            Script::Close => return,
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut request = Request { head, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |l| l.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(request)
}
