//! The endpoint against a mail server that answers as a test wants.

use std::sync::Mutex;

use shared::clock::ManualClock;
use shared::model::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{alert, certificate, delivery, flow_alert, tls};

/// What a server got: commands, and mails line by line.
type Seen = Arc<Mutex<Vec<String>>>;

/// A mail server on loopback. `answer` gives its words for a command; `None` the usual ones, and
/// an empty text ends the connection.
async fn server(answer: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, answer): (Seen, _) = (Seen::default(), Arc::new(answer));
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut socket = BufReader::new(socket);
                let mut command = "greeting".to_owned();
                let mut in_mail = false;
                loop {
                    let usual = match command.split([' ', ':']).next().unwrap() {
                        "greeting" => "220 mail.test",
                        "EHLO" => "250-mail.test\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000",
                        "AUTH" => "235 2.7.0 welcome",
                        "DATA" => "354 go on",
                        "." => "250 2.0.0 queued as 7F00",
                        "QUIT" => "221 bye",
                        _ => "250 OK",
                    };
                    if !in_mail {
                        let words = answer(&command).unwrap_or(usual);
                        if words.is_empty()
                            || socket.write_all(format!("{words}\r\n").as_bytes()).await.is_err()
                        {
                            return;
                        }
                        in_mail = words.starts_with("354");
                    }
                    let mut line = String::new();
                    if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    command = line.trim_end().to_owned();
                    in_mail &= command != ".";
                    record.lock().unwrap().push(command.clone());
                }
            });
        }
    });
    (port, seen)
}

fn email(port: u16, more: &str, recipient: &str) -> Arc<dyn Endpoint> {
    tls();
    let params = format!(
        "host = '127.0.0.1'\nport = {port}\nsecurity = 'none'\nsender = 'Flowhook <fh@example.com>'\n{more}"
    );
    let clock: SharedClock = ManualClock::new(Timestamp::from_secs(1_536_247_325));
    let deps = EndpointDeps {
        http: crate::http::HttpClient::new(
            std::time::Duration::from_secs(1),
            crate::target::Targets::any(),
            Arc::clone(&clock),
        )
        .unwrap(),
        bus: shared::bus::memory::MemoryBus::new(Default::default()),
        subjects: Default::default(),
        clock,
        node: "n1".to_owned(),
        batch: 64,
        ledger: Arc::new(shared::store::sqlite::SqliteStore::in_memory().unwrap()),
        shell_dir: None,
        settings: tokio::sync::watch::channel(Arc::default()).1,
    };
    EmailKind::build(toml::from_str(&params).unwrap(), toml::from_str(recipient).unwrap(), &deps).unwrap()
}

const TO: &str = "to = ['a@x.org', 'b@x.org']\ncc = ['c@x.org']";

fn of(seen: &Seen, start: &str) -> Vec<String> {
    seen.lock().unwrap().iter().filter(|line| line.starts_with(start)).cloned().collect()
}

#[tokio::test]
async fn one_mail_tells_of_all_alerts_to_all_addresses() {
    let (port, seen) = server(|_| None).await;
    let endpoint = email(port, "", TO);
    assert_eq!(endpoint.manners().batch, 100);
    let broken = Delivery { payload: "{".to_owned(), ..delivery(&alert("x")) };
    let batch = [delivery(&alert("a")), broken, delivery(&flow_alert("b"))];
    let results = endpoint.deliver(&batch).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(DeliveryError::Permanent { .. })));
    assert_eq!(of(&seen, "RCPT"), ["RCPT TO:<a@x.org>", "RCPT TO:<b@x.org>", "RCPT TO:<c@x.org>"]);
    assert_eq!(of(&seen, "DATA").len(), 1);
    assert_eq!(of(&seen, "Cc:"), ["Cc: c@x.org"]);
    assert_eq!(of(&seen, "Date:"), ["Date: Thu, 06 Sep 2018 15:22:05 +0000"]);
    assert_eq!(of(&seen, "[2018-09-06T15:22:00.000Z]").len(), 2);
    let subject = of(&seen, "Subject:").concat();
    assert!(subject.contains("[error] Threshold Cross: iface_0 and 1 more - flowhook"), "{subject}");
    let ids = || of(&seen, "Message-ID:");
    endpoint.deliver(&batch).await;
    endpoint.deliver(&batch[..1]).await;
    assert_eq!(ids()[0], ids()[1], "the same in every try");
    assert_ne!(ids()[0], ids()[2]);
    assert!(ids()[0].ends_with("@example.com>"), "{:?}", ids());
}

#[tokio::test]
async fn mails_about_one_alert_hang_together() {
    let (port, seen) = server(|_| None).await;
    let endpoint = email(port, "", TO);
    let release = Alert { action: shared::model::AlertAction::Release, ..alert("a") };
    for told in [alert("a"), release, alert("b")] {
        assert_eq!(endpoint.deliver(&[delivery(&told)]).await, [Ok(())]);
    }
    let threads = of(&seen, "References:");
    assert!(threads[0] == threads[1] && threads[1] != threads[2], "{threads:?}");
    assert_eq!(of(&seen, "Message-ID:").iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn answers_decide_address_by_address() {
    let refuse_b = |command: &str| command.contains("b@x.org").then_some("550 5.1.1 no such user");
    let (port, seen) = server(refuse_b).await;
    assert_eq!(email(port, "", TO).deliver(&[delivery(&alert("a"))]).await, [Ok(())]);
    assert_eq!(of(&seen, "DATA").len(), 1, "the others get it");

    let (port, seen) = server(|c| c.starts_with("RCPT").then_some("550 5.1.1 no such user")).await;
    let error = email(port, "", TO).deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Permanent { reason } if reason.contains("no such user")),
        "{error}"
    );
    assert!(of(&seen, "DATA").is_empty());

    let (port, seen) = server(|c| c.contains("b@x.org").then_some("450 4.2.0 greylisted")).await;
    let endpoint = email(port, "", TO);
    let error = endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Retry { reason, .. } if reason.contains("greylisted")),
        "{error}"
    );
    assert!(of(&seen, "DATA").is_empty(), "nobody has it yet");
    let patient = Delivery { attempts: PATIENT_TRIES, ..delivery(&alert("a")) };
    assert_eq!(endpoint.deliver(&[patient]).await, [Ok(())]);
    assert_eq!(of(&seen, "DATA").len(), 1, "after many tries the others get it");
}

#[tokio::test]
async fn what_goes_wrong_is_tried_again_or_not_and_told() {
    let login = "username = 'u'\npassword = 'hunter2'\nallow_clear_text_login = true";
    for (at, words, more, retry, told) in [
        ("greeting", "421 4.3.2 too busy", "", true, "too busy"),
        ("greeting", "554 5.7.1 go away", "", false, "go away"),
        ("greeting", "", "", true, "127.0.0.1"),
        ("EHLO", "hello?", "", true, "127.0.0.1"),
        ("AUTH", "535 5.7.8 wrong password", login, false, "login"),
        ("AUTH", "454 4.7.0 later", login, true, "login"),
        ("EHLO", "250 mail.test", login, false, "login"),
        ("MAIL", "552 5.3.4 too big", "", false, "too big"),
        ("MAIL", "452 4.3.1 disk full", "", true, "disk full"),
        ("DATA", "451 4.3.0 later", "", true, "later"),
        (".", "554 5.6.0 looks like spam", "", false, "spam"),
        (".", "451 4.7.1 greylisted", "", true, "greylisted"),
        (".", "", "", true, "127.0.0.1"),
        ("EHLO", "250 mail.test", "security = 'starttls'", false, "STARTTLS"),
    ] {
        let (port, _) = server(move |command| command.starts_with(at).then_some(words)).await;
        let more = more.to_owned();
        let endpoint = if more.contains("security") {
            let params = format!("host = '127.0.0.1'\nport = {port}\nsender = 'fh@example.com'\n{more}");
            let clock: SharedClock = ManualClock::new(Timestamp::ZERO);
            tls();
            let params: EmailParams = toml::from_str(&params).unwrap();
            let server = Server::new(params.host, params.port, params.security, &params.tls).unwrap();
            let recipient = toml::from_str(TO).unwrap();
            let sender = params.sender.0;
            Arc::new(Email { server, sender, recipient, batch: 1, node: "n".to_owned(), clock })
                as Arc<dyn Endpoint>
        } else {
            email(port, &more, TO)
        };
        let error = endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err();
        assert_eq!(matches!(error, DeliveryError::Retry { .. }), retry, "{at} {words}: {error}");
        let text = error.to_string();
        assert!(text.contains(told) && !text.contains("hunter2"), "{at} {words}: {text}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_accepted() {
    let expired = certificate(2001, 2002);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(expired.config));
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        // It does not come to a greeting.
        let _ = acceptor.accept(socket).await;
    });
    let tls: TlsParams = toml::from_str(&format!("ca_file = '{}'", expired.ca_file.display())).unwrap();
    let server = Server::new("localhost".to_owned(), Some(port), Security::Tls, &tls).unwrap();
    let (sender, recipient) = ("fh@example.com".parse().unwrap(), toml::from_str(TO).unwrap());
    let clock: SharedClock = ManualClock::new(Timestamp::ZERO);
    let endpoint = Email { server, sender, recipient, batch: 1, node: "n".to_owned(), clock };
    let error = endpoint.deliver(&[delivery(&alert("a"))]).await.remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Retry { reason, .. } if reason.contains("certificate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_test_tells_what_the_server_said() {
    let (port, seen) = server(|_| None).await;
    let told = email(port, "", TO).test().await.unwrap();
    assert_eq!(told, "127.0.0.1 answered 250 2.0.0 queued as 7F00");
    assert!(of(&seen, "Subject:")[0].contains("Test message of flowhook"));
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_way() {
    let (port, seen) = server(|_| None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().port();
    let asked = Seen::default();
    let record = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = BufReader::new(&mut socket);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                head.read_line(&mut line).await.unwrap();
                record.lock().unwrap().push(line.trim_end().to_owned());
            }
            let first = record.lock().unwrap().len() <= 4;
            let words = if first { "HTTP/1.1 200 OK\r\n\r\n" } else { "HTTP/1.1 403 no\r\n\r\n" };
            socket.write_all(words.as_bytes()).await.unwrap();
            let mut target = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut socket, &mut target).await });
        }
    });
    let endpoint = email(port, &format!("proxy = 'http://us%40er:hunter2:w@127.0.0.1:{proxy}'"), TO);
    assert_eq!(endpoint.deliver(&[delivery(&alert("a"))]).await, [Ok(())]);
    let head = asked.lock().unwrap().clone();
    assert_eq!(head[0], format!("CONNECT 127.0.0.1:{port} HTTP/1.1"));
    assert_eq!(head[2], "Proxy-Authorization: Basic dXNAZXI6aHVudGVyMjp3", "us@er:hunter2:w");
    assert_eq!(of(&seen, "DATA").len(), 1);
    let error = endpoint.test().await.unwrap_err().to_string();
    assert!(error.contains("proxy") && error.contains("403"), "{error}");
}

#[test]
fn addresses_are_read_and_odd_ones_named() {
    for bad in ["", "x", "@x.org", "a@b@c", "a@x.org\r\nBcc: b@x.org", "ä@x.org"] {
        assert!(Address::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
    assert!(Address::try_from("Night Shift <a@x.org>".to_owned()).is_ok());
}
