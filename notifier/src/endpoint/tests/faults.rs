//! Every kind that speaks HTTP against every status code and every fault: delivered, again, or never.

use std::sync::atomic::Ordering;

use shared::clock::Stopwatch;

use super::requests::{HTTP_KINDS, built};
use super::*;
use crate::testing::certificate;

/// What comes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Delivered,
    Retry,
    Unknown,
    Refused,
    Permanent,
}

pub use Class::{Delivered, Permanent, Refused, Retry, Unknown};

pub fn class(result: &Result<(), DeliveryError>) -> Class {
    match result {
        Ok(()) => Delivered,
        Err(DeliveryError::Retry { .. } | DeliveryError::NoRoom { .. }) => Retry,
        Err(DeliveryError::Unknown { .. }) => Unknown,
        Err(DeliveryError::Refused { .. }) => Refused,
        Err(DeliveryError::Permanent { .. }) => Permanent,
    }
}

/// The answer's body decides, not its status alone.
pub fn reads_the_body(row: &str) -> bool {
    matches!(row, "elasticsearch" | "slack-api" | "wechat")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_knows_what_every_status_means() {
    for row in &HTTP_KINDS {
        let body = row.3;
        // Statuses below 200 announce another one and are no answer.
        let statuses: Vec<u16> = (200..600).collect();
        let answers = statuses.clone();
        let server = Server::start(move |n, _| Script::json(answers[n], body)).await;
        let endpoint = built(row, &server);
        for status in statuses {
            let result = endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0);
            let expected = match status {
                // These two have no body.
                204 | 205 if reads_the_body(row.4) => Retry,
                200..=299 => Delivered,
                408 | 425 | 429 | 500..=599 => Retry,
                401 | 403 | 404 | 410 => Refused,
                _ => Permanent,
            };
            // 205 comes with a body although it must not have one, and is read all the same.
            if status == 205 {
                assert_ne!(class(&result), Permanent, "{} {status}", row.4);
                continue;
            }
            assert_eq!(class(&result), expected, "{} {status}: {result:?}", row.4);
            if status == 429 {
                let Err(DeliveryError::Retry { after, .. }) = result else { panic!() };
                assert!(after.is_some(), "{}: a far end that is busy is alive", row.4);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_through_every_fault() {
    let slow = |script| (script, Delivered, Retry);
    let faults = [
        (Script::Silence, Unknown, Unknown),
        (Script::HalfAnswer, Unknown, Unknown),
        (Script::Close, Unknown, Unknown),
        slow(Script::SlowDrip(200)),
        slow(Script::CutBody(200)),
        slow(Script::Endless(200)),
        (Script::SlowDrip(503), Retry, Retry),
        (Script::CutBody(400), Permanent, Permanent),
        (Script::Endless(500), Retry, Retry),
        (Script::Answer(302, "location: /elsewhere\r\n"), Permanent, Permanent),
        (Script::Answer(307, "location: http://169.254.169.254/\r\n"), Permanent, Permanent),
        slow(Script::Answer(200, "")),
        slow(Script::json(200, "null")),
        slow(Script::json(200, "[]")),
        slow(Script::json(200, "{")),
        slow(Script::json(200, &"[".repeat(10_000))),
        slow(Script::Reply(200, String::new(), vec![0xff; 100])),
        slow(Script::GzipBomb(200)),
        (Script::GzipBomb(500), Retry, Retry),
    ];
    for row in &HTTP_KINDS {
        for (script, by_status, by_body) in faults.clone() {
            let played = script.clone();
            let server = Server::start(move |_, _| played.clone()).await;
            let watch = Stopwatch::start();
            let result = built(row, &server).deliver(&[delivery(&alert("a"))]).await.remove(0);
            let said_something = matches!(&script, Script::Reply(200, ..));
            let expected = match row.4 {
                // A connector tells failures by 200 and a sentence.
                "msteams" if said_something => Permanent,
                _ if reads_the_body(row.4) => by_body,
                _ => by_status,
            };
            assert_eq!(class(&result), expected, "{} {script:?}: {result:?}", row.4);
            assert!(!format!("{result:?}").contains("hunter2"), "{}: a secret is in {result:?}", row.4);
            assert!(watch.elapsed() < Duration::from_secs(5), "{} {script:?}: {:?}", row.4, watch.elapsed());
            assert_eq!(server.requests().len(), 1, "{} {script:?}: nothing is followed or repeated", row.4);
            let taken = server.taken.load(Ordering::Relaxed);
            assert!(taken < 64 << 20, "{} {script:?}: {taken} bytes were taken", row.4);
        }
    }
}

/// What is kept of an answer is looked through where endpoints are built (`testing/watched.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn a_far_end_that_repeats_what_it_was_sent_gives_no_secret_away() {
    for row in &HTTP_KINDS {
        for status in [200, 400, 403, 429, 500] {
            let repeated = move |_: usize, request: &Request| {
                let body = format!("{{\"message\":{:?}}}", format!("{} {}", request.head, request.body));
                Script::Reply(
                    status,
                    format!("x-sent: {}\r\n", request.head.replace("\r\n", " ")),
                    body.into(),
                )
            };
            let server = Server::start(repeated).await;
            let endpoint = built(row, &server);
            assert_eq!(endpoint.deliver_told(&[delivery(&alert("a"))]).await.len(), 1);
            let _ = endpoint.test().await;
            let sent = server.requests();
            let sent = |word: &str| sent.iter().any(|r| r.head.contains(word) || r.body.contains(word));
            assert!(sent("hunter2") || sent("Basic "), "{}: its secret was in use", row.4);
        }
    }
}

#[tokio::test]
async fn every_kind_waits_as_long_as_it_is_asked_to() {
    for row in &HTTP_KINDS {
        // The clock of these tests stands at the epoch.
        for (header, seconds) in [("7", 7), ("Thu, 01 Jan 1970 00:02:00 GMT", 120), ("999999", 3600)] {
            for status in [429, 503] {
                let headers = format!("retry-after: {header}\r\n");
                let server =
                    Server::start(move |_, _| Script::Reply(status, headers.clone(), Vec::new())).await;
                let result = built(row, &server).deliver(&[delivery(&alert("a"))]).await.remove(0);
                let Err(DeliveryError::Retry { after, .. }) = result else { panic!("{}: {result:?}", row.4) };
                assert_eq!(after, Some(Duration::from_secs(seconds)), "{} {status} {header}", row.4);
            }
        }
    }
}

/// Of every kind, whether it trusts the machine's authorities or those of its own.
#[tokio::test]
async fn a_certificate_that_has_expired_is_not_accepted() {
    for row in &HTTP_KINDS {
        let answer = row.3;
        let kind = super::kind(row.0).unwrap();
        for (until, trusted) in [(2002, false), (2002, true), (2100, true)] {
            let shown = certificate(2001, until);
            let server = Server::start_tls(move |_, _| Script::json(200, answer), Some(shown.config)).await;
            let mut params = table(&row.1.replace("URL", &format!("https://localhost:{}", server.port)));
            if trusted {
                let tls = table(&format!("ca_file = '{}'", shown.ca_file.display()));
                params.insert("tls".to_owned(), tls.into());
            }
            let endpoint = kind.build(&params, &table(row.2), &deps()).unwrap();
            let result = endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0);
            if until == 2100 {
                assert_eq!(result, Ok(()), "{}: one that is valid is", row.4);
                continue;
            }
            let Err(DeliveryError::Retry { after: None, reason }) = result else {
                panic!("{}: {result:?}", row.4)
            };
            assert!(reason.contains("certificate") && !reason.contains("hunter2"), "{}: {reason}", row.4);
            assert!(server.requests().is_empty(), "{}", row.4);
        }
    }
}

#[tokio::test]
async fn no_kind_reaches_a_private_address_that_the_operator_does_not_allow() {
    let server = Server::ok().await;
    let clock: SharedClock = ManualClock::new(Timestamp::ZERO);
    let strict = HttpClient::new(Duration::from_secs(5), crate::target::Targets::default(), clock).unwrap();
    let deps = EndpointDeps { http: strict, ..deps() };
    for row in &HTTP_KINDS {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let params = row.1.replace("URL", &format!("http://{host}:{}", server.port));
            let endpoint = super::kind(row.0).unwrap().build(&table(&params), &table(row.2), &deps).unwrap();
            for error in [
                endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err(),
                endpoint.test().await.unwrap_err(),
            ] {
                let DeliveryError::Permanent { reason } = error else { panic!("{}: {error:?}", row.4) };
                assert!(reason.contains("allow_private_targets"), "{}: {reason}", row.4);
            }
        }
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn nobody_listening_is_tried_again_by_every_kind() {
    for row in &HTTP_KINDS {
        let mut server = Server::ok().await;
        server.port = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        for error in [
            built(row, &server).deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err(),
            built(row, &server).test().await.unwrap_err(),
        ] {
            let DeliveryError::Retry { after: None, reason } = error else { panic!("{error:?}") };
            assert!(reason.contains("refused") && !reason.contains("hunter2"), "{reason}");
        }
    }
}

/// Not only HTTP: mail, its proxy and syslog go where the operator lets them, and a socket by its path is
/// this machine too.
#[tokio::test]
async fn no_kind_reaches_what_the_operator_has_not_allowed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let strict = |allowed: &[&str]| {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        let targets = crate::target::Targets::new(false, &allowed).unwrap();
        let clock = ManualClock::new(Timestamp::ZERO);
        let http = HttpClient::new(Duration::from_secs(5), targets, clock).unwrap();
        EndpointDeps { http, ..deps() }
    };
    let build = |kind: &str, params: &str, allowed: &[&str]| {
        let recipient = if kind == "email" { "to = ['a@example.com']" } else { "" };
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        crate::endpoint::kind(kind).unwrap().build(&table(params), &table(recipient), &strict(allowed))
    };
    let mail = format!("host = 'localhost'\nport = {port}\nsecurity = 'none'\nsender = 'a@example.com'");
    for (kind, params) in [
        ("syslog", format!("host = 'localhost'\nport = {port}\nprotocol = 'udp'")),
        ("syslog", format!("host = '127.0.0.1'\nport = {port}\nprotocol = 'tcp'")),
        ("syslog", format!("host = '::ffff:127.0.0.1'\nport = {port}\nprotocol = 'tls'")),
        ("email", mail.clone()),
        ("email", format!("{mail}\nproxy = 'http://127.0.0.1:{port}'")),
    ] {
        let endpoint = build(kind, &params, &["10.0.0.0/8"]).unwrap();
        let sample = crate::testing::delivery(&crate::testing::alert("a"));
        let error = endpoint.deliver(&[sample]).await.remove(0).unwrap_err();
        assert!(matches!(error, DeliveryError::Permanent { .. }), "{params}: {error}");
        assert!(error.to_string().contains("is loopback; notifier.allow_targets"), "{params}: {error}");
    }
    let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(connected.is_err(), "nobody connected");
    let path = "path = '/run/something.sock'";
    assert!(build("syslog", path, &[]).unwrap_err().contains("loopback"));
    assert!(build("syslog", path, &["127.0.0.0/8"]).is_ok());
    let endpoint = build(
        "syslog",
        &format!("host = 'localhost'\nport = {port}\nprotocol = 'tcp'"),
        &["127.0.0.1", "::1"],
    );
    assert!(endpoint.unwrap().test().await.is_ok(), "the operator allows it");
}
