//! The e-mail endpoint against a real Exim: STARTTLS, implicit TLS, login, and what it refuses.

use std::path::Path;
use std::process::{Command, Stdio};

use notifier::endpoint::DeliveryError;

use super::{alert, deliver, endpoint};
use crate::support::certificates::Certificates;
use crate::support::program::{Running, text};
use crate::support::{free_port, has_program, wait_for};

/// An Exim that takes mail from user `flowhook`, does not know `nobody`, is not ready for `grey`, and
/// keeps everything in its queue.
fn start(dir: &Path, certificates: &Certificates, starttls: u16, tls: u16) -> Running {
    let folder = text(dir);
    let config = format!(
        r#"
primary_hostname = mail.test
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
pid_file_path = {folder}/spool/pid
local_interfaces = <; [127.0.0.1]:{starttls} ; [127.0.0.1]:{tls}
tls_on_connect_ports = {tls}
tls_advertise_hosts = *
tls_certificate = {folder}/spool/server.pem
tls_privatekey = {folder}/spool/server.key
host_lookup =
rfc1413_hosts =
queue_only = true
acl_smtp_rcpt = check
begin acl
check:
  deny message = no such user
       condition = ${{if eq{{$local_part}}{{nobody}}}}
  defer message = greylisted
        condition = ${{if eq{{$local_part}}{{grey}}}}
  require authenticated = *
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{flowhook}}}}{{eq{{$auth3}}{{hunter2}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"#
    );
    std::fs::write(dir.join("exim.conf"), config).unwrap();
    std::fs::create_dir(dir.join("spool")).unwrap();
    std::fs::copy(&certificates.server, dir.join("spool/server.pem")).unwrap();
    std::fs::copy(&certificates.server_key, dir.join("spool/server.key")).unwrap();
    // Started by root, Exim becomes its own user, who must get at its spool.
    if Command::new("chown")
        .args(["-R", "Debian-exim", &format!("{folder}/spool")])
        .status()
        .unwrap()
        .success()
    {
        assert!(Command::new("chmod").args(["755", folder]).status().unwrap().success());
    }
    let mut command = Command::new("exim4");
    command.args(["-bdf", "-C", &format!("{folder}/exim.conf")]);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    let exim = Running::start(command, &dir.join("exim.log"));
    for port in [starttls, tls] {
        wait_for("exim", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    }
    exim
}

/// Bodies and envelopes in the queue: files `…-D` and `…-H`.
fn queued(dir: &Path, end: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("spool/input")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let ours = paths.iter().filter(|path| text(path).ends_with(end));
    ours.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
}

#[test]
fn mail_reaches_a_real_exim_over_starttls_and_tls() {
    if !has_program("exim4") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(dir.path());
    let (starttls, tls) = (free_port(), free_port());
    let _exim = start(dir.path(), &certificates, starttls, tls);
    let mail = |security: &str, port: u16, password: &str, to: &str| {
        let params = format!(
            "host = 'localhost'\nport = {port}\nsecurity = '{security}'\nsender = 'Flowhook <fh@example.com>'\n\
             username = 'flowhook'\npassword = '{password}'\ntls = {{ ca_file = '{}' }}",
            text(&certificates.ca)
        );
        endpoint(
            "email",
            &params,
            &format!("to = [{to}]\ncc = ['copy@x.org']\nsubject = '${{severity}}: ${{message}}'"),
        )
    };
    let hostile = "naïve\r\nBcc: all@example.com\r\n\r\n<b>";
    let both = [alert("a", "engage", hostile), alert("b", "store", "second")];
    for (security, port) in [("starttls", starttls), ("tls", tls)] {
        let endpoint = mail(security, port, "hunter2", "'ops@x.org', 'nobody@x.org'");
        let before = queued(dir.path(), "-H").len();
        assert_eq!(deliver(&endpoint, &both), [Ok(()), Ok(())], "{security}");
        let told = super::wait(endpoint.test()).unwrap();
        assert!(told.contains("250") && told.contains("OK id="), "{told}");
        assert_eq!(queued(dir.path(), "-H").len(), before + 2, "{security}");
    }
    let heads = queued(dir.path(), "-H");
    let head = heads.iter().find(|head| head.contains("Subject: error: ")).unwrap();
    for expected in
        ["From: Flowhook <fh@example.com>", "To: ops@x.org, nobody@x.org", "Cc: copy@x.org", "-tls_cipher"]
    {
        assert!(head.contains(expected), "{expected} is missing in {head}");
    }
    assert!(head.contains("\nops@x.org\n") && head.contains("\ncopy@x.org\n"), "the envelope: {head}");
    assert!(!head.contains("\nnobody@x.org\n") && !head.contains("Bcc"), "{head}");
    let body = queued(dir.path(), "-D").into_iter().find(|body| body.contains("second")).unwrap();
    // Quoted-printable breaks long lines.
    let body = body.replace("=\n", "");
    assert!(
        body.contains("text/plain") && body.contains("text/html") && body.contains("&lt;b&gt;"),
        "{body}"
    );

    for (endpoint, retry, word) in [
        (mail("tls", tls, "wrong", "'ops@x.org'"), false, "login"),
        (mail("tls", tls, "hunter2", "'grey@x.org', 'ops@x.org'"), true, "greylisted"),
        (mail("tls", starttls, "hunter2", "'ops@x.org'"), true, "TLS"),
    ] {
        let error = deliver(&endpoint, &both).remove(0).unwrap_err();
        assert_eq!(matches!(error, DeliveryError::Retry { .. }), retry, "{error}");
        assert!(error.to_string().contains(word) && !error.to_string().contains("hunter2"), "{error}");
    }
    let alone = format!(
        "host = 'localhost'\nport = {tls}\nsender = 'fh@example.com'\nusername = 'flowhook'\npassword = 'hunter2'\n\
         tls = {{ ca_file = '{}' }}",
        text(&certificates.ca)
    );
    let error = deliver(&endpoint("email", &alone, "to = ['nobody@x.org']"), &both).remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Permanent { reason } if reason.contains("no such user")),
        "{error}"
    );
    let untrusted = alone.lines().filter(|line| !line.contains("ca_file")).collect::<Vec<_>>().join("\n");
    let error = deliver(&endpoint("email", &untrusted, "to = ['ops@x.org']"), &both).remove(0).unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Retry { reason, .. } if reason.contains("certificate")),
        "{error}"
    );
}
