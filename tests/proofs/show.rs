//! Traffic that several proofs are made of.

use shared::model::flow::{TCP_ACK, TCP_RST, TCP_SYN};

use crate::support::traffic::Wire;

/// A browser of our days.
pub const AGENT: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n";
/// An ordinary answer.
pub const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\n\r\n<html></html>";

/// An HTTP exchange on port 80.
pub fn exchange(wire: &mut Wire, target: &str, headers: &str, answer: &[u8]) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: www.example.org\r\n{headers}\r\n");
    wire.tcp(80, &[(true, request.as_bytes()), (false, answer)], false);
}

/// One whose target and headers are given.
pub fn request<'a>(target: &'a str, headers: &'a str) -> impl FnOnce(&mut Wire) + 'a {
    move |wire| exchange(wire, target, &format!("{AGENT}{headers}"), PAGE)
}

/// One whose answer is given.
pub fn reply<'a>(answer: &'a [u8]) -> impl FnOnce(&mut Wire) + 'a {
    move |wire| exchange(wire, "/file", AGENT, answer)
}

/// What nobody has anything against.
pub fn page(wire: &mut Wire) {
    exchange(wire, "/index.html?page=2&lang=en", AGENT, PAGE);
}

/// An answer of a web server.
pub fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat()
}

/// The smallest head of a program for Windows that names itself one.
pub fn program() -> Vec<u8> {
    let mut program = vec![0; 0x44];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..].copy_from_slice(b"PE\0\0");
    program
}

/// A DNS message about `name` (RFC 1035 §4.1): a question with flags 0x0100, an answer with 0x8180.
pub fn dns(name: &str, flags: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// A question and the answer that there is nothing of that name's.
pub fn resolve(wire: &mut Wire, name: &str) {
    wire.udp(53, &[(true, &dns(name, 0x0100)), (false, &dns(name, 0x8180))]);
}

/// The same as what a proof shows.
pub fn asks(name: &str) -> impl FnOnce(&mut Wire) + '_ {
    move |wire| resolve(wire, name)
}

/// A question to an NTP server (RFC 5905 §7.3) and its answer.
pub fn clock(wire: &mut Wire, server: [u8; 4], port: u16) {
    let message = |mode: u8| [&[mode, 0, 6, 0xec][..], &[0; 44]].concat();
    wire.datagram(true, server, port, 123, &message(0x23));
    wire.datagram(false, server, port, 123, &message(0x24));
}

/// A mail is handed to the usual server.
pub fn mail(wire: &mut Wire) {
    let said =
        [(false, &b"220 mail.example.org ESMTP\r\n"[..]), (true, b"EHLO x\r\n"), (false, b"250 OK\r\n")];
    wire.tcp(25, &said, false);
}

/// A login by FTP, in the clear.
pub fn ftp(wire: &mut Wire) {
    let said: [(bool, &[u8]); 4] =
        [(false, b"220 ftp\r\n"), (true, b"USER a\r\n"), (false, b"331 go on\r\n"), (true, b"PASS b\r\n")];
    wire.tcp(21, &said, false);
}

/// The banners of an SSH session.
pub fn ssh(client: &'static [u8], server: &'static [u8]) -> impl FnOnce(&mut Wire) {
    move |wire| wire.tcp(22, &[(false, server), (true, client)], false)
}

/// An SSH of our days.
pub const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n";

/// A ping with its answer.
pub fn ping(wire: &mut Wire) {
    let echo = |kind: u8| [&[kind, 0, 0, 0, 0, 1, 0, 1][..], &(0..56).collect::<Vec<u8>>()].concat();
    wire.ip(1, true, wire.server, &echo(8));
    wire.ip(1, false, wire.server, &echo(0));
}

/// The same bytes every time, and no pattern in them.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Bytes from the client to the server, and an answer of one byte.
pub fn upload(bytes: usize) -> impl FnOnce(&mut Wire) {
    move |wire| wire.tcp(8123, &[(true, &vec![b'x'; bytes]), (false, b"k")], false)
}

/// The other way round, over HTTP.
pub fn download(bytes: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let body = vec![b'x'; bytes];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        exchange(wire, "/file", AGENT, &[head.as_bytes(), &body].concat());
    }
}

/// Ports and addresses that differ, `n` of them.
pub fn each(n: u16, mut show: impl FnMut([u8; 4], u16)) {
    for number in 0..n {
        let [high, low] = number.to_be_bytes();
        show([203, 0, 114 + high, low], 1024 + number);
    }
}

/// Connection requests to `n` hosts that nobody answers.
pub fn unanswered(n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| each(n, |server, port| wire.flags(TCP_SYN, true, server, port, 445))
}

/// The same to one host.
pub fn unanswered_by_one(n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| each(n, |_, port| wire.flags(TCP_SYN, true, [203, 0, 113, 5], port, port))
}

/// Connection requests to one local host, from outside.
pub fn unanswered_by_ours(n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| {
        wire.client.0 = [203, 0, 113, 9];
        each(n, |_, port| wire.flags(TCP_SYN, true, [192, 168, 1, 20], port, port));
    }
}

/// Connection requests to `n` hosts that refuse.
pub fn refused(n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| {
        each(n, |server, port| {
            wire.flags(TCP_SYN, true, server, port, 445);
            wire.flags(TCP_RST | TCP_ACK, false, server, port, 445);
        });
    }
}

/// From hexadecimal text.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// What `show` shows, from a remote client to a local server.
pub fn from_outside(show: impl FnOnce(&mut Wire)) -> impl FnOnce(&mut Wire) {
    |wire| {
        (wire.client.0, wire.server) = (wire.server, wire.client.0);
        show(wire);
    }
}

/// What `show` shows, between two local hosts.
pub fn inside(show: impl FnOnce(&mut Wire)) -> impl FnOnce(&mut Wire) {
    |wire| {
        wire.server = [192, 168, 1, 20];
        show(wire);
    }
}

/// What is learnt from, then what comes two minutes later.
pub fn then(first: impl FnOnce(&mut Wire), later: impl FnOnce(&mut Wire)) -> impl FnOnce(&mut Wire) {
    move |wire| {
        first(wire);
        wire.wait(120);
        wire.client.1 += 1;
        later(wire);
    }
}
