//! The endpoint against sockets on this machine.

use std::time::Duration;

use shared::clock::ManualClock;
use shared::model::{Alert, AlertAction, Entity, Severity, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram};

use super::connection::Connection;
use super::*;
use crate::target::Targets;
use crate::testing::{alert, certificate, delivery, eventually, flow_alert, golden};

mod ending;

fn syslog(transport: Transport, max: usize) -> Syslog {
    let header = Header { facility: 14, host: "n1".to_owned(), pid: 1, zone: TimeZone::UTC, with_ids: false };
    let clock = ManualClock::new(Timestamp::from_secs(1_536_247_325));
    Syslog { header, format: Format::Text, max, transport, clock, batch: 64 }
}

fn far(port: u16) -> Far {
    Far { host: "127.0.0.1".to_owned(), port, targets: Targets::any(), tls: None }
}

fn batch() -> Vec<Delivery> {
    let hostile = Alert { message: "a\r\n<0>forged".to_owned(), ..flow_alert("b") };
    vec![delivery(&alert("a")), delivery(&hostile)]
}

fn check_lines(lines: &[String]) {
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("<115>Sep  6 15:22:05 n1 flowhook[1]: ["), "{}", lines[0]);
    assert!(lines[1].contains("a\\r\\n<0>forged"), "{}", lines[1]);
}

/// The alerts of the seed's example lines: a device, a threshold that is crossed, a flow, a process.
fn seeds() -> Vec<Alert> {
    let device = Alert {
        action: AlertAction::Store,
        severity: Severity::Info,
        alert_type: "device_connection".to_owned(),
        entity: Entity::Mac,
        entity_value: "58:40:4E:CE:28:29".to_owned(),
        alert_key: None,
        message: "The device Apple_CE:28:29 has connected to the network.".to_owned(),
        ..alert("d")
    };
    let process = Alert {
        alert_type: "process_notification".to_owned(),
        entity: Entity::Host,
        entity_value: "ntopng".to_owned(),
        ifid: 1,
        message: "[]][Process] Stopped [options: --interface \"eno1\" ]".to_owned(),
        ..device.clone()
    };
    let released = Alert { action: AlertAction::Release, ..alert("a") };
    vec![device, alert("a"), released, flow_alert("f"), process]
}

/// The seed's own lines, less the header; ours have a time in the first brackets, and addresses in place of
/// names.
#[test]
fn the_seeds_lines_are_written_as_the_seed_has_them() {
    let header =
        Header { facility: 14, host: "devel".to_owned(), pid: 1, zone: TimeZone::UTC, with_ids: false };
    let written = |format, alert: &Alert| {
        let line = header.alert(format, alert, "", Timestamp::ZERO, STREAM_BYTES);
        match format {
            Format::Checkmk => line.split_once(" flowhook 1 - ").unwrap().1.to_owned(),
            _ => line.split_once(" flowhook[1]: ").unwrap().1.to_owned(),
        }
    };
    let [device, engaged, _, flow, _] = &seeds()[..] else { panic!() };
    for (alert, line) in [
        (
            device,
            "[][Info][Device Connection][Device][58:40:4E:CE:28:29] The device Apple_CE:28:29 has connected to \
             the network.",
        ),
        (
            engaged,
            "[][Error][Threshold Cross][Interface][iface_0][Engaged] Minute traffic crossed by interface eno1 \
             [1.08 MB > 2 Bytes]",
        ),
        (
            flow,
            "[][Warning][Remote to Remote Flow][Flow] Remote client and remote server \
             [Flow: 192.168.1.100:138 192.168.1.255:138] [L4 Protocol: UDP]",
        ),
    ] {
        let time = alert.tstamp.rfc3339_millis();
        assert_eq!(written(Format::Text, alert).replacen(&time, "", 1), line);
    }
    let process = Alert {
        action: AlertAction::Store,
        severity: Severity::Info,
        alert_type: "process_notification".to_owned(),
        entity: Entity::Host,
        entity_value: "ntopng".to_owned(),
        ifid: 1,
        alert_key: None,
        tstamp: Timestamp::from_secs(1_536_245_738),
        message:
            "[]][Process] Stopped ntopng v.3.7.180906 (CentOS Linux release 7.5.1804 (Core) ) [pid: 4783]\
                  [options: --interface \"eno1\" --interface \"lo\" --dump-flows \"[hidden]\" --https-port \
                  \"4433\" --dont-change-user ]"
                .to_owned(),
        ..alert("p")
    };
    let threshold = Alert {
        message: "[][Threshold Cross][Engaged] Minute traffic crossed by interface eno1 [891.58 KB > 1 Byte]"
            .to_owned(),
        ..alert("t")
    };
    for (alert, line) in [
        (
            &process,
            r#"{"entity_value":"ntopng","ifid":1,"action":"store","tstamp":1536245738,"type":"process_notification","entity_type":"host","message":"[]][Process] Stopped ntopng v.3.7.180906 (CentOS Linux release 7.5.1804 (Core) ) [pid: 4783][options: --interface \"eno1\" --interface \"lo\" --dump-flows \"[hidden]\" --https-port \"4433\" --dont-change-user ]","severity":"info"}"#,
        ),
        (
            &threshold,
            r#"{"message":"[][Threshold Cross][Engaged] Minute traffic crossed by interface eno1 [891.58 KB > 1 Byte]","entity_value":"iface_0","ifid":0,"alert_key":"min_bytes","tstamp":1536247320,"type":"threshold_cross","action":"engage","severity":"error","entity_type":"interface"}"#,
        ),
    ] {
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&written(Format::Json, alert)), read(line));
    }
    let message = "Binary file/data transfer (attempt)".to_owned();
    let mut transfer = Alert {
        interface: "enp0s3".to_owned(),
        alert_type: "binary_data_transfer".to_owned(),
        category: shared::model::Category::System,
        message,
        ..flow_alert("b")
    };
    let (client, server) = (transfer.client.as_mut().unwrap(), transfer.server.as_mut().unwrap());
    (client.ip, client.port) = ("192.0.2.10".parse().unwrap(), 43972);
    (server.ip, server.port) = ("198.51.100.80".parse().unwrap(), 80);
    let line = written(Format::Checkmk, &transfer);
    let named = line.replace("192.0.2.10", "vbox").replace("198.51.100.80:80", "it.archive.ubuntu.com:80");
    assert_eq!(
        named.replace("(Binary Data Transfer)", "(Binary file/data transfer (attempt))"),
        "[Checkmk@18662 sl=\"4\" comment=\" (Interface: enp0s3) (Severity: Warning) (Flow) \
         (Binary file/data transfer (attempt)) (vbox:43972 -> it.archive.ubuntu.com:80) \
         Binary file/data transfer (attempt)\" severity=\"Warning\"] Binary file/data transfer (attempt)"
    );
}

#[test]
fn every_line_of_the_seed_is_in_every_format_as_recorded() {
    let header =
        Header { facility: 14, host: "devel".to_owned(), pid: 4783, zone: TimeZone::UTC, with_ids: false };
    let now = Timestamp::from_secs(1_536_247_325);
    let formats =
        [Format::Text, Format::TextRfc5424, Format::Json, Format::JsonFull, Format::Ecs, Format::Checkmk];
    let lines = formats.iter().flat_map(|format| {
        seeds()
            .into_iter()
            .map(|alert| header.alert(*format, &alert, &alert.transition_id(), now, STREAM_BYTES) + "\n")
    });
    golden("syslog.txt", lines.collect::<String>().as_bytes());
}

/// What a test sends shows that the receiver reads what alerts look like.
#[tokio::test]
async fn a_test_is_a_line_of_the_format_that_was_chosen() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    for (format, begin, inside) in [
        (Format::Text, "<118>Sep  6 15:22:05 n1 flowhook[1]: [2018-", "] Test message"),
        (Format::TextRfc5424, "<118>1 2018-", " - - [2018-09-06T15:22:05.000Z][Info][Test]"),
        (Format::Json, "<118>Sep ", "{\"entity_type\":\"system\""),
        (Format::JsonFull, "<118>Sep ", "{\"schema_version\":1,\"id\":\"flowhook-test\""),
        (Format::Ecs, "<118>Sep ", "\"ecs\":{\"version\":\"1.6.0\"}"),
        (Format::Checkmk, "<118>1 2018-", " - [Checkmk@18662 sl=\""),
    ] {
        let transport = Transport::udp("127.0.0.1".to_owned(), port, &Targets::any());
        let endpoint = Syslog { format, ..syslog(transport, UDP_BYTES) };
        endpoint.test().await.unwrap();
        let mut bytes = [0; 4096];
        let size = server.recv(&mut bytes).await.unwrap();
        let line = String::from_utf8(bytes[..size].to_vec()).unwrap();
        assert!(line.starts_with(begin) && line.contains(inside), "{format:?}: {line}");
        assert!(line.contains(TEST_TEXT), "{format:?}: {line}");
        if let Some((_, json)) = line.split_once("]: {") {
            let json = serde_json::from_str::<serde_json::Value>(&format!("{{{json}")).unwrap();
            assert_eq!(json["message"], TEST_TEXT);
        }
    }
}

#[tokio::test]
async fn each_alert_is_one_datagram() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = syslog(
        Transport::udp("127.0.0.1".to_owned(), server.local_addr().unwrap().port(), &Targets::any()),
        UDP_BYTES,
    );
    assert_eq!(endpoint.deliver(&batch()).await, [Ok(()), Ok(())]);
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut bytes = [0; 4096];
        let size = server.recv(&mut bytes).await.unwrap();
        lines.push(String::from_utf8(bytes[..size].to_vec()).unwrap());
    }
    check_lines(&lines);
    assert!(endpoint.test().await.unwrap().contains("udp 127.0.0.1"));
}

#[tokio::test]
async fn lines_on_tcp_end_with_a_line_feed_or_have_their_length_before_them() {
    for framing in [Framing::Newline, Framing::OctetCounted] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let endpoint = syslog(Transport::tcp(far(port), framing), STREAM_BYTES);
        assert_eq!(endpoint.deliver(&batch()).await, [Ok(()), Ok(())]);
        let (mut socket, _) = server.accept().await.unwrap();
        drop(endpoint);
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        let mut lines = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = match framing {
                Framing::Newline => rest.split_once('\n').unwrap(),
                Framing::OctetCounted => {
                    let (length, after) = rest.split_once(' ').unwrap();
                    after.split_at(length.parse().unwrap())
                }
            };
            lines.push(line.to_owned());
            rest = after;
        }
        check_lines(&lines);
    }
}

#[tokio::test]
async fn lines_arrive_over_tls_unless_the_certificate_has_expired() {
    for (years, good) in [((2001, 2100), true), ((2001, 2002), false)] {
        let shown = certificate(years.0, years.1);
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(shown.config));
        let receiver = tokio::spawn(async move {
            let (socket, _) = server.accept().await.unwrap();
            let mut bytes = Vec::new();
            if let Ok(mut socket) = acceptor.accept(socket).await {
                // The client goes without a farewell, which is an error; what came before counts.
                let _ = socket.read_to_end(&mut bytes).await;
            }
            String::from_utf8(bytes).unwrap()
        });
        let params: TlsParams = toml::from_str(&format!("ca_file = '{}'", shown.ca_file.display())).unwrap();
        let tls = Connector::new(&params).unwrap();
        let far = Far { host: "localhost".to_owned(), tls: Some(tls), ..far(port) };
        let transport = Transport::tcp(far, Framing::Newline);
        let endpoint = syslog(transport, STREAM_BYTES);
        let results = endpoint.deliver(&batch()).await;
        drop(endpoint);
        let text = receiver.await.unwrap();
        if good {
            assert_eq!(results, [Ok(()), Ok(())]);
            check_lines(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        } else {
            let Err(DeliveryError::Retry { reason, .. }) = &results[0] else { panic!("{results:?}") };
            assert!(reason.contains("certificate") && text.is_empty(), "{reason}");
        }
    }
}

/// The next line that a daemon gets, on a connection that it keeps.
async fn line_of(server: &TcpListener) -> (BufReader<TcpStream>, String) {
    let accepted = tokio::time::timeout(Duration::from_secs(5), server.accept()).await.unwrap();
    let mut socket = BufReader::new(accepted.unwrap().0);
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    (socket, line)
}

/// A daemon that ends a connection may not have read what was written last.
#[tokio::test]
async fn what_was_written_just_before_a_connection_ends_is_written_again() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint =
        syslog(Transport::tcp(far(server.local_addr().unwrap().port()), Framing::Newline), STREAM_BYTES);
    assert!(endpoint.deliver(&batch()).await[0].is_ok());
    drop(server.accept().await.unwrap());
    let (mut socket, first) = line_of(&server).await;
    let mut second = String::new();
    socket.read_line(&mut second).await.unwrap();
    check_lines(&[first, second]);
    // The connection is used on.
    let more = Alert { message: "more".to_owned(), ..alert("c") };
    assert_eq!(endpoint.deliver(&[delivery(&more)]).await, [Ok(())]);
    let mut third = String::new();
    socket.read_line(&mut third).await.unwrap();
    assert!(third.contains("more"), "{third}");
}

#[tokio::test]
async fn nobody_listening_is_tried_again() {
    let port = {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        server.local_addr().unwrap().port()
    };
    let tcp = syslog(Transport::tcp(far(port), Framing::Newline), STREAM_BYTES);
    let local = syslog(Transport::local(Some("/nonexistent/log".into())), STREAM_BYTES);
    for endpoint in [tcp, local] {
        for result in endpoint.deliver(&batch()).await {
            let Err(DeliveryError::Retry { after: None, reason }) = result else { panic!("{result:?}") };
            assert!(reason.starts_with("cannot send to"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_daemon_gets_one_message_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let endpoint = syslog(Transport::local(Some(path)), STREAM_BYTES);
    assert_eq!(endpoint.deliver(&batch()).await, [Ok(()), Ok(())]);
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut bytes = [0; 4096];
        let size = server.recv(&mut bytes).await.unwrap();
        lines.push(String::from_utf8(bytes[..size].to_vec()).unwrap());
    }
    check_lines(&lines);
}
