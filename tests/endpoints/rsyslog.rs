//! Every format of the syslog endpoint against a real rsyslog, over TLS with both framings.

use std::process::{Command, Stdio};

use notifier::endpoint::DeliveryError;

use super::{alert, deliver, endpoint};
use crate::support::certificates::Certificates;
use crate::support::program::{Running, text};
use crate::support::{free_port, has_program, wait_for};

/// A module of rsyslog's that Debian keeps in a package of its own.
const GTLS: &str = "lmnsd_gtls.so";

fn has_gtls() -> bool {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten().any(|dir| {
        let path = dir.path().join("rsyslog").join(GTLS);
        path.is_file()
    });
    let found = found || std::path::Path::new("/usr/lib/rsyslog").join(GTLS).is_file();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "rsyslog-gnutls is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: rsyslog-gnutls is not installed; ./dev test installs it");
    }
    found
}

#[test]
fn every_format_reaches_a_real_rsyslog_over_tls() {
    if !has_program("rsyslogd") || !has_gtls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = text(dir.path());
    let certificates = Certificates::new(dir.path());
    let port = free_port();
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="16k"
  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{server}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")
template(name="line" type="string" string="%syslogfacility% %syslogseverity% %app-name%|%structured-data%|%msg%\n")
ruleset(name="all") {{ action(type="omfile" file="{folder}/received" template="line") }}
"#,
        ca = text(&certificates.ca),
        server = text(&certificates.server),
        key = text(&certificates.server_key),
    );
    std::fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f", &format!("{folder}/rsyslog.conf"), "-i", &format!("{folder}/pid")]);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    let _rsyslog = Running::start(command, &dir.path().join("rsyslog.log"));
    wait_for("rsyslog", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let ca = text(&certificates.ca);
    let params = |format: &str, framing: &str, client: &str| {
        format!(
            "host = 'localhost'\nport = {port}\nprotocol = 'tls'\nformat = '{format}'\n{framing}\n\
             tls = {{ ca_file = '{ca}'{client} }}"
        )
    };
    let client = format!(", client_cert_file = '{}'", text(&certificates.client));
    let hostile = "x] y=\"z\" \\ é\r\n<0>forged";
    let formats = ["text", "text_rfc5424", "json", "json_full", "ecs", "checkmk"];
    for framing in ["framing = 'newline'", "framing = 'octet_counted'", ""] {
        for format in formats {
            let syslog = endpoint("syslog", &params(format, framing, &client), "");
            assert_eq!(deliver(&syslog, &[alert("a", "store", hostile)]), [Ok(())], "{format} {framing}");
        }
    }
    let received = || std::fs::read_to_string(dir.path().join("received")).unwrap_or_default();
    let lines = wait_for("every line", 20, || {
        let lines: Vec<String> = received().lines().map(str::to_owned).collect();
        (lines.len() >= 18).then_some(lines)
    });
    assert_eq!(lines.len(), 18, "each alert is one line: {lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("14 3 flowhook|")), "{lines:#?}");
    let with = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert_eq!(with("|-| [2018-09-06T15:22:00.000Z][Error][SYN Scan][Flow] x]"), 3, "{lines:#?}");
    assert_eq!(with("|-|[2018-09-06T15:22:00.000Z][Error][SYN Scan][Flow] x]"), 3, "{lines:#?}");
    assert_eq!(with("|[Checkmk@18662 sl=\"1\" comment=\" (Interface: eno1) (Severity: Error) (Flow)"), 3);
    for line in lines.iter().filter(|line| line.contains("|-| {")) {
        let json: serde_json::Value = serde_json::from_str(
            line.split_once("| {").map_or("", |(head, _)| &line[head.len() + 1..]).trim(),
        )
        .unwrap();
        assert_eq!(json["message"], hostile);
    }
    assert_eq!(with("|-| {"), 9, "{lines:#?}");

    // A server that is not ours is told nothing.
    let stranger = format!("host = 'localhost'\nport = {port}\nprotocol = 'tls'");
    let error =
        deliver(&endpoint("syslog", &stranger, ""), &[alert("b", "store", "m")]).remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Retry { reason, .. } if reason.contains("certificate")),
        "{error}"
    );
}
