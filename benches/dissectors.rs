//! Cost of layer-7 detection: one flow's first payload, from a fresh state to the verdict.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use collector::l7::{L7Context, L7State, Verdict, guess_by_port};
use criterion::{Criterion, criterion_group, criterion_main};
use shared::model::L4;
use shared::model::flow::L7Info;

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A ClientHello of a browser's shape: 517 bytes, server name, ALPN and versions among others.
fn client_hello() -> Vec<u8> {
    let name = b"www.example.com";
    let length = name.len() as u16;
    let server_name = [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name].concat();
    let mut extensions = [
        extension(0x2a2a, &[]),
        extension(0, &server_name),
        extension(23, &[]),
        extension(10, &[0, 6, 0, 29, 0, 23, 0, 24]),
        extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]),
        extension(51, &[0; 43]),
        extension(43, &[4, 3, 4, 3, 3]),
    ]
    .concat();
    let fixed = 2 + 32 + 33 + 34 + 2 + 2;
    let padding = 517 - 9 - fixed - extensions.len() - 4;
    extensions.extend(extension(21, &vec![0; padding]));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend([0, 32]);
    body.extend([0x13, 1].repeat(16));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let message = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

fn dns_query() -> Vec<u8> {
    let mut query = vec![0x48, 0xee, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [&b"www"[..], b"example", b"com"] {
        query.push(label.len() as u8);
        query.extend_from_slice(label);
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

const HTTP_HEAD: &[u8] = b"GET /index.html?session=12345 HTTP/1.1\r\nHost: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\r\n";

/// The first datagram of a client's connection: recorded, with the hello encrypted.
fn quic_initial() -> Vec<u8> {
    let recorded = include_str!("../collector/src/l7/quic/tests/aioquic.txt");
    let digits = recorded.lines().find_map(|line| line.strip_prefix("v1 ")).unwrap();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A server's hello of TLS 1.2 and its certificate, one record each.
fn server_flight() -> Vec<u8> {
    let record = |message: &[u8]| [&[22, 3, 3][..], &(message.len() as u16).to_be_bytes(), message].concat();
    let mut hello = vec![2, 0, 0, 38, 3, 3];
    hello.extend([9; 32]);
    hello.extend([0, 0xc0, 0x2b, 0]);
    let three = |count: usize| (count as u32).to_be_bytes()[1..].to_vec();
    let der = include_bytes!("../collector/src/l7/tls/certificate/site.der");
    let list = [three(der.len()), der.to_vec()].concat();
    let body = [three(list.len()), list].concat();
    let certificate = [vec![11], three(body.len()), body].concat();
    [record(&hello), record(&certificate)].concat()
}

fn context(l4: L4, server_port: u16) -> L7Context {
    let client = Ipv4Addr::new(192, 0, 2, 1).into();
    let server = Ipv4Addr::new(198, 51, 100, 1).into();
    L7Context {
        l4,
        client,
        server,
        client_port: 50_000,
        server_port,
        from_client: true,
        packets_seen: 4,
        at_s: 0,
        before: Default::default(),
    }
}

fn detect(payload: &[u8], cx: &L7Context) -> (Verdict, L7Info) {
    let (mut info, mut status) = (L7Info::default(), 0);
    let verdict = L7State::new().on_payload(payload, cx, &mut info, &mut status);
    (verdict, info)
}

fn dissectors(c: &mut Criterion) {
    let hello = client_hello();
    assert_eq!(hello.len(), 517);
    let query = dns_query();
    // Not the start of anything: every dissector is asked.
    let noise: Vec<u8> = (0..300_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (initial, flight) = (quic_initial(), server_flight());
    let cases: [(&str, &[u8], L7Context, Verdict); 7] = [
        ("tls_client_hello", &hello, context(L4::TCP, 443), Verdict::Decided("TLS")),
        (
            "tls_server_certificate",
            &flight,
            L7Context { from_client: false, ..context(L4::TCP, 443) },
            Verdict::Decided("TLS"),
        ),
        ("quic_initial", &initial, context(L4::UDP, 443), Verdict::Decided("QUIC")),
        ("dns_query", &query, context(L4::UDP, 53), Verdict::Decided("DNS")),
        ("http_request_head", HTTP_HEAD, context(L4::TCP, 80), Verdict::Decided("HTTP")),
        ("unknown_tcp", &noise, context(L4::TCP, 40_000), Verdict::Undecided),
        ("unknown_udp", &noise, context(L4::UDP, 40_000), Verdict::Undecided),
    ];
    let mut group = c.benchmark_group("dissectors");
    for (name, payload, cx, expected) in cases {
        assert_eq!(detect(payload, &cx).0, expected, "{name}");
        group.bench_function(name, |b| b.iter(|| detect(black_box(payload), black_box(&cx))));
    }
    group.bench_function("guess_by_port_known", |b| {
        b.iter(|| guess_by_port(L4::TCP, black_box(50_000), black_box(443)));
    });
    group.bench_function("guess_by_port_unknown", |b| {
        b.iter(|| guess_by_port(L4::TCP, black_box(50_000), black_box(40_000)));
    });
    group.finish();
}

criterion_group!(benches, dissectors);
criterion_main!(benches);
