//! One table of all kinds, whatever way they go: what comes of an alert when something happens to the far
//! end. `faults.rs` has every status and more faults of those that speak HTTP.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::faults::{Class, Delivered, Permanent, Retry, Unknown, class};
use super::requests::HTTP_KINDS;
use super::*;
use crate::testing::certificate;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// All is well.
    None,
    /// Nobody is there; of a program: it is not.
    Nobody,
    /// The connection is closed without an answer; a program is killed.
    Closes,
    /// The connection is reset, of HTTP in the middle of an answer.
    Resets,
    /// Its certificate has expired.
    Expired,
    /// It says that it is busy.
    Busy,
    /// It refuses.
    Refuses,
    /// It does not answer; a program does not end.
    Hangs,
    /// It sends a byte now and then, and comes to no end.
    Drips,
    /// It is gone when it has been given all.
    Forgets,
}

use Fault::{Busy, Closes, Drips, Expired, Forgets, Hangs, Nobody, Refuses, Resets};

/// Most kinds that speak HTTP: the status says everything.
const HTTP: &[(Fault, Class)] = &[
    (Fault::None, Delivered),
    (Nobody, Retry),
    (Closes, Unknown),
    (Resets, Delivered),
    (Expired, Retry),
    (Busy, Retry),
    (Refuses, Permanent),
    (Hangs, Unknown),
];

/// Those whose far end says in the body how it went.
const BODY: &[(Fault, Class)] = &[
    (Fault::None, Delivered),
    (Nobody, Retry),
    (Closes, Unknown),
    (Resets, Retry),
    (Expired, Retry),
    (Busy, Retry),
    (Refuses, Permanent),
    (Hangs, Unknown),
];

const TABLE: &[(&str, &[(Fault, Class)])] = &[
    ("discord", HTTP),
    ("elasticsearch", BODY),
    (
        "email",
        &[
            (Fault::None, Delivered),
            (Nobody, Retry),
            (Closes, Retry),
            (Resets, Retry),
            (Expired, Retry),
            (Busy, Retry),
            (Refuses, Permanent),
            (Hangs, Retry),
            (Drips, Retry),
            (Forgets, Retry),
        ],
    ),
    ("fail2ban", &[(Fault::None, Delivered), (Nobody, Retry), (Hangs, Retry)]),
    ("mattermost", HTTP),
    ("msteams", HTTP),
    ("msteams-workflow", HTTP),
    ("pagerduty", HTTP),
    (
        "shell",
        &[
            (Fault::None, Delivered),
            (Nobody, Permanent),
            (Closes, Retry),
            (Busy, Retry),
            (Refuses, Permanent),
            (Hangs, Retry),
        ],
    ),
    ("slack", HTTP),
    ("slack-api", BODY),
    // It never answers: only that nobody takes what is sent is seen, and that TLS is not agreed on. What was
    // sent counts as delivered; `syslog/tests/ending.rs` has what becomes of it when a connection ends.
    (
        "syslog",
        &[(Fault::None, Delivered), (Nobody, Retry), (Closes, Delivered), (Expired, Retry), (Hangs, Retry)],
    ),
    ("telegram", HTTP),
    ("thehive", HTTP),
    ("webhook", HTTP),
    ("wechat", BODY),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_through_what_happens_to_its_far_end() {
    let mut kinds = BTreeSet::new();
    for (name, faults) in TABLE {
        let row = HTTP_KINDS.iter().find(|row| row.4 == *name);
        let kind = row.map_or(*name, |row| row.0);
        kinds.insert(kind);
        for (fault, expected) in *faults {
            let result = match (row, kind) {
                (Some(row), _) => http(row, *fault).await,
                (None, "email") => email(*fault).await,
                (None, "syslog") => syslog(*fault).await,
                (None, "shell") => shell(*fault).await,
                (None, "fail2ban") => fail2ban(*fault).await,
                (None, other) => panic!("nothing happens to {other}"),
            };
            // Without the program nothing gets better by trying.
            let missing = kind == "fail2ban" && format!("{result:?}").contains("not installed");
            let expected = if missing { Permanent } else { *expected };
            assert_eq!(class(&result.clone().map(drop)), expected, "{name} {fault:?}: {result:?}");
            // What the far end said is kept, but of a ban that nobody needed.
            let answer = result.as_ref().is_ok_and(|told| told.as_ref().is_some_and(|told| !told.is_empty()));
            assert_eq!(answer, expected == Delivered && kind != "fail2ban", "{name} {fault:?}: {result:?}");
            assert!(!format!("{result:?}").contains("hunter2"), "{name} {fault:?}: {result:?}");
        }
    }
    assert!(HTTP_KINDS.iter().all(|row| TABLE.iter().any(|(name, _)| *name == row.4)));
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), configurable_kinds());
}

async fn tell(endpoint: &Arc<dyn Endpoint>, alert: &Alert) -> Told {
    endpoint.deliver_told(&[delivery(alert)]).await.remove(0)
}

/// A port at which nobody listens.
async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn http(row: &(&str, &str, &str, &'static str, &str), fault: Fault) -> Told {
    let answer = row.3;
    let played = move |_: usize, _: &Request| match fault {
        Closes => Script::Close,
        Resets => Script::CutBody(200),
        Busy => Script::Answer(503, ""),
        Refuses => Script::Answer(400, ""),
        Hangs => Script::Silence,
        _ => Script::json(200, answer),
    };
    let expired = matches!(fault, Expired).then(|| certificate(2001, 2002));
    let server = Server::start_tls(played, expired.map(|shown| shown.config)).await;
    let url = match fault {
        Expired => format!("https://localhost:{}", server.port),
        Nobody => format!("http://127.0.0.1:{}", nobody().await),
        _ => server.url(""),
    };
    tell(&build(row.0, &row.1.replace("URL", &url), row.2), &alert("a")).await
}

/// A far end that greets so, or breaks the connection; gives its port.
async fn greets(words: Option<&'static str>, resets: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            if resets {
                socket.set_zero_linger().unwrap();
            }
            let Some(words) = words else { continue };
            let _ = socket.write_all(words.as_bytes()).await;
            // Until the other side has read it and goes.
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest).await;
        }
    });
    port
}

async fn expired() -> (u16, String) {
    let shown = certificate(2001, 2002);
    let server = Server::start_tls(|_, _| Script::Close, Some(shown.config)).await;
    // The file may go: it is read with the parameters, which are refused here all the same.
    let ca = std::fs::read_to_string(&shown.ca_file).unwrap();
    (server.port, ca)
}

async fn email(fault: Fault) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let mut more = "host = '127.0.0.1'\nsecurity = 'none'".to_owned();
    let port = match fault {
        Fault::None => mail_server(true).await,
        Forgets => mail_server(false).await,
        Drips => drips().await,
        Closes => greets(None, false).await,
        Resets => greets(None, true).await,
        Busy => greets(Some("421 4.3.2 too busy\r\n"), false).await,
        Refuses => greets(Some("554 5.7.1 go away\r\n"), false).await,
        Expired => {
            let (port, ca) = expired().await;
            std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
            more = format!("host = 'localhost'\ntls = {{ ca_file = '{}/ca.pem' }}", dir.path().display());
            port
        }
        Nobody => nobody().await,
        Hangs => greets(Some(""), false).await,
    };
    let params = format!("port = {port}\nsender = 'fh@example.com'\n{more}");
    tell(&build("email", &params, "to = ['ops@example.com']"), &alert("a")).await
}

/// A far end that sends a byte now and then; gives its port.
async fn drips() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        while socket.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    port
}

/// Takes every mail, and says so or is gone.
async fn mail_server(says_so: bool) -> u16 {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        let (mut words, mut line) = ("220 mail.test", String::new());
        loop {
            if !words.is_empty() && socket.write_all(format!("{words}\r\n").as_bytes()).await.is_err() {
                return;
            }
            line.clear();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            // Lines of the mail itself are not answered.
            words = match (words, line.trim_end()) {
                ("354 go on" | "", ".") if !says_so => return,
                ("354 go on" | "", ".") => "250 queued",
                ("354 go on" | "", _) => "",
                (_, "DATA") => "354 go on",
                _ => "250 OK",
            };
        }
    });
    port
}

async fn syslog(fault: Fault) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = match fault {
        Nobody => format!("host = '127.0.0.1'\nprotocol = 'tcp'\nport = {}", nobody().await),
        Expired => {
            let (port, ca) = expired().await;
            std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
            let ca = format!("tls = {{ ca_file = '{}/ca.pem' }}", dir.path().display());
            format!("host = 'localhost'\nprotocol = 'tls'\nport = {port}\n{ca}")
        }
        Closes => {
            let port = greets(None, false).await;
            format!("host = '127.0.0.1'\nprotocol = 'tcp'\nport = {port}")
        }
        Hangs => format!("host = 'localhost'\nprotocol = 'tls'\nport = {}", greets(Some(""), false).await),
        _ => {
            let port = listener.local_addr().unwrap().port();
            format!("host = '127.0.0.1'\nprotocol = 'tcp'\nport = {port}")
        }
    };
    tell(&build("syslog", &params, ""), &alert("a")).await
}

async fn shell(fault: Fault) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let does = match fault {
        Closes => "kill -9 $$",
        Busy => "exit 75",
        Refuses => "exit 1",
        Hangs => "sleep 100",
        _ => "exit 0",
    };
    if !matches!(fault, Nobody) {
        let path = dir.path().join("x.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let deps = EndpointDeps { shell_dir: Some(dir.path().to_owned()), ..deps() };
    let params = table("script = 'x.sh'\ntimeout_s = 1");
    let endpoint = super::kind("shell").unwrap().build(&params, &table(""), &deps).unwrap();
    tell(&endpoint, &alert("a")).await
}

async fn fail2ban(fault: Fault) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("f2b.sock");
    // Whoever connects waits for an answer.
    let _silent = matches!(fault, Hangs).then(|| std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let endpoint = build("fail2ban", &format!("socket = '{}'", socket.display()), "jail = 'flowhook'");
    let mut told = flow_alert("a");
    // Else nobody attacks: nothing is to be done.
    if !matches!(fault, Fault::None) {
        let client = told.client.as_mut().unwrap();
        (client.ip, client.is_attacker) = ("203.0.113.9".parse().unwrap(), true);
    }
    tell(&endpoint, &told).await
}
