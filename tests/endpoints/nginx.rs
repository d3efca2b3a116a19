//! The webhook against an nginx that wants a client's certificate.

use std::process::{Command, Stdio};

use notifier::endpoint::DeliveryError;

use super::{alert, deliver, endpoint};
use crate::support::certificates::Certificates;
use crate::support::program::{Running, text};
use crate::support::{free_port, has_program, wait_for};

#[test]
fn a_webhook_shows_its_certificate_to_a_real_nginx() {
    if !has_program("nginx") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = text(dir.path());
    let certificates = Certificates::new(dir.path());
    let port = free_port();
    let config = format!(
        r#"
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format seen '$ssl_client_s_dn|$request|$http_x_tenant|$http_webhook_signature|$content_length|$status';
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server};
        ssl_certificate_key {key};
        ssl_client_certificate {ca};
        ssl_verify_client on;
        access_log {folder}/seen.log seen;
        location /in {{ return 202; }}
        location /gone {{ return 410; }}
        location /slow {{ add_header Retry-After 9 always; return 503; }}
    }}
}}
"#,
        server = text(&certificates.server),
        key = text(&certificates.server_key),
        ca = text(&certificates.ca),
    );
    std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-p", folder, "-c", &format!("{folder}/nginx.conf"), "-e", &format!("{folder}/error.log")]);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    let mut nginx = Running::start(command, &dir.path().join("nginx.log"));
    wait_for("nginx", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let webhook = |path: &str, tls: &str| {
        let params = format!(
            "url = 'https://localhost:{port}{path}'\nheaders = {{ X-Tenant = 'berlin' }}\n\
             signing_secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\ntls = {tls}"
        );
        endpoint("webhook", &params, "")
    };
    let ca = text(&certificates.ca);
    let shown = format!("{{ ca_file = '{ca}', client_cert_file = '{}' }}", text(&certificates.client));
    assert_eq!(deliver(&webhook("/in", &shown), &[alert("a", "engage", "m")]), [Ok(())]);
    let told = super::wait(webhook("/in", &shown).test()).unwrap();
    assert!(told.ends_with("answered 202"), "{told}");
    let results = deliver(&webhook("/gone", &shown), &[alert("a", "engage", "m")]);
    assert_eq!(results, [Err(DeliveryError::refused("answered 410"))]);
    let results = deliver(&webhook("/slow", &shown), &[alert("a", "engage", "m")]);
    let Err(DeliveryError::Retry { after: Some(after), .. }) = &results[0] else { panic!("{results:?}") };
    assert_eq!(after.as_secs(), 9);

    // Without a certificate nginx answers 400, with an authority that is not ours nothing is said.
    let results = deliver(&webhook("/in", &format!("{{ ca_file = '{ca}' }}")), &[alert("a", "engage", "m")]);
    assert_eq!(results, [Err(DeliveryError::permanent("answered 400"))]);
    let results = deliver(&webhook("/in", "{}"), &[alert("a", "engage", "m")]);
    let Err(DeliveryError::Retry { reason, .. }) = &results[0] else { panic!("{results:?}") };
    assert!(reason.contains("certificate"), "{reason}");

    nginx.terminate();
    let seen = std::fs::read_to_string(dir.path().join("seen.log")).unwrap();
    let first: Vec<&str> = seen.lines().next().unwrap().split('|').collect();
    assert_eq!(first[..3], ["CN=flowhook", "POST /in HTTP/1.1", "berlin"], "{seen}");
    assert!(first[3].starts_with("v1,") && first[5] == "202", "{seen}");
    assert!(first[4].parse::<u32>().unwrap() > 500, "the body was sent: {seen}");
}
