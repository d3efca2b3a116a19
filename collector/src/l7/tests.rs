use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

/// Feeds payloads to one flow and keeps what is learnt.
pub(super) struct Run {
    state: L7State,
    cx: L7Context,
    pub(super) info: L7Info,
    pub(super) status: StatusBits,
    seed: Seed,
}

/// What was fed, in the form of the fuzz target `dissectors`; recorded when the flow was decided.
#[derive(Default)]
struct Seed {
    name: &'static str,
    input: Vec<u8>,
}

impl Drop for Seed {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            crate::seeds::record("dissectors", self.name, &self.input);
        }
    }
}

impl Run {
    pub(super) fn new(cx: L7Context) -> Self {
        let mut input = vec![(cx.l4 == L4::UDP).into()];
        input.extend(cx.client_port.to_be_bytes());
        input.extend(cx.server_port.to_be_bytes());
        let seed = Seed { name: "", input };
        Self { state: L7State::new(), cx, info: L7Info::default(), status: 0, seed }
    }

    pub(super) fn client(&mut self, payload: &[u8]) -> Verdict {
        self.feed(payload, true)
    }

    pub(super) fn server(&mut self, payload: &[u8]) -> Verdict {
        self.feed(payload, false)
    }

    fn feed(&mut self, payload: &[u8], from_client: bool) -> Verdict {
        self.cx.from_client = from_client;
        self.cx.packets_seen += 1;
        self.seed.input.push((!from_client).into());
        self.seed.input.extend((payload.len() as u16).to_be_bytes());
        self.seed.input.extend_from_slice(payload);
        let verdict = self.state.on_payload(payload, &self.cx, &mut self.info, &mut self.status);
        if let Some(protocol) = self.state.protocol() {
            self.seed.name = protocol.name();
        }
        verdict
    }
}

/// Bytes that `text` has in hexadecimal behind `label`, a message a line; its first line says where they
/// are from.
pub(super) fn recorded(text: &str, label: &str) -> Vec<Vec<u8>> {
    assert!(text.starts_with("# "), "the first line says where the bytes are from");
    let lines = text.lines().filter_map(|line| line.strip_prefix(label)?.strip_prefix(' '));
    let found: Vec<_> = lines.map(hex).collect();
    assert!(!found.is_empty(), "{label} was not recorded");
    found
}

fn context(l4: L4, client_port: u16, server_port: u16) -> L7Context {
    L7Context {
        l4,
        client: Ipv4Addr::new(192, 0, 2, 1).into(),
        server: Ipv4Addr::new(198, 51, 100, 1).into(),
        client_port,
        server_port,
        from_client: true,
        packets_seen: 0,
        at_s: 1_767_225_600,
        before: Head::default(),
    }
}

pub(super) fn tcp(client_port: u16, server_port: u16) -> L7Context {
    context(L4::TCP, client_port, server_port)
}

pub(super) fn udp(client_port: u16, server_port: u16) -> L7Context {
    context(L4::UDP, client_port, server_port)
}

/// Bytes from hex digits; blanks do not matter.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn a_decision_is_told_once() {
    let mut run = Run::new(tcp(50_000, 80));
    let get = b"GET / HTTP/1.1\r\n\r\n";
    assert_eq!(run.client(get), Verdict::Decided("HTTP"));
    assert_eq!(run.client(get), Verdict::Reading);
}

#[test]
fn reading_ends_after_so_many_payloads() {
    let mut run = Run::new(tcp(50_000, 22));
    run.server(b"SSH-2.0-a\r\n");
    let verdicts: Vec<_> = (1..MAX_PAYLOADS).map(|_| run.server(b"binary")).collect();
    assert!(verdicts[..verdicts.len() - 1].iter().all(|verdict| *verdict == Verdict::Reading));
    assert_eq!(verdicts.last(), Some(&Verdict::Done));
    assert_eq!(run.client(b"SSH-2.0-b\r\n"), Verdict::Done);
    assert_eq!(&*run.info.ssh.unwrap().client, "");
}

#[test]
fn what_is_kept_for_later_is_bounded() {
    let mut run = Run::new(tcp(50_000, 80));
    run.client(b"GET /");
    for _ in 0..1000 {
        run.client(&[b'x'; 100]);
        assert!(run.state.stash.iter().map(Vec::len).sum::<usize>() <= 2 * super::state::MAX_STASH);
    }
}

#[test]
fn a_message_that_never_ends_ends_the_reading() {
    let mut run = Run::new(tcp(50_000, 80));
    run.client(b"GET / HTTP/1.1\r\n");
    let rounds = (1..100).find(|_| run.client(b"A: b\r\n") == Verdict::Done);
    assert_eq!(rounds, Some(MAX_PAYLOADS as i32 - 1));
    assert!(run.state.stash.iter().all(Vec::is_empty));
}

#[test]
fn encrypted_noise_is_nobodys() {
    let noise: Vec<u8> = (0..200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut run = Run::new(tcp(50_000, 40_000));
    assert!((0..MAX_PAYLOADS).all(|_| run.client(&noise) == Verdict::Undecided));
    assert_eq!((run.info, run.status), (L7Info::default(), 0));
}

/// Starts that lead the dissectors past their first checks.
const STARTS: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: a",
    b"HTTP/1.1 200 OK\r\n",
    b"SSH-2.0-",
    b"220 ftp ready\r\n",
    b"+OK POP3\r\n",
    b"* OK IMAP4\r\n",
    b"EHLO x\r\nAUTH ",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
    b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
    b"\x48\xee\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www",
    b"\x00\x30\x48\xee\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\x03www",
    b"\xff\xfd\x18\xff\xfa",
    b"\x01\x10\x08\x74\x00\x08",
    b"\x23\x00",
    b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19",
    b"\x30\x1c\x02\x01\x01\x60\x17\x02\x01\x03\x04",
    b"\x6a\x57\x30\x55\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a",
    b"<13>1 2026-",
    b"\x05\x00\x0b\x03\x10\x00\x00\x00",
    b"\x04\x00\x20\x00\x10\x00\x00\x00",
    b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00",
    b"\x38\x0d\xe7\xff\x67\x58\x71\x3d\x1c",
    b"\x00\x00\x00\x2f\xffSMB",
    b"\x00\x01boot.img\0octet\0",
    b"\x10\x13\x00\x04MQTT\x04",
    b"INVITE sip:a@b SIP/2.0\r\n\r\nc=IN IP4 1.2.3.4\r\nm=audio ",
    b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;client_port=",
    b"227 Entering Passive Mode (",
    b"\x41\x01\x12\x34\xab\xbb",
    b"\x80\x01\x00\x01\x00\x00",
    b"\x80\xc8\x00\x06",
    b"\x00\x09\x00\x01",
    b"\x00\x00\x00\x05\x00\x00\x00\x01",
    b"\x20\x01\x00\x0c",
    b"\x32\x01\x00\x04",
    b"\x00\x01\x04\x04",
    b"AMQP",
    b"INFO {\"server_id\":",
    b":a.b 001 joe :",
    b"<stream:stream ",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x13",
    b"\xc8\x02\x00\x14",
    b"\x00\x00\x00\x3f\x00\x03\x00\x00user\x00",
    b"R\x00\x00\x00\x08\x00\x00\x00\x03",
    b"\x4a\x00\x00\x00\x0a5.7.1\x00",
    b"\x12\x01\x00\x2f\x00\x00\x01\x00\x00\x00\x00\x00\x06",
    b"\x10\x01\x00\x90\x00\x00\x01\x00\x88\x00\x00\x00",
    b"\x00\xd4\x00\x00\x01\x00\x00\x00\x01\x3b",
    b"\x3a\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00",
    b"*3\r\n$3\r\nset\r\n$",
    b"\x00\x01\x00\x00\x00\x01\x00\x00get ",
    b"\x04\x00\x00\x00\x0f\x00\x00\x00\x08",
    b"\x00\x01\x00\x00\x00\x06\x01\x03",
    b"\x03\x00\x00\x16\x02\xf0\x80\x72\x01",
    b"\x68\x04\x07\x00\x00\x00",
    b"\x81\x0b\x00\x0c\x01",
    b"\x41\x02\x00\x01\x3c\xee\x07\x01\x00\x00\x00\x00",
    b"\xe3\x10\x00\x00\x00\x01\x10",
    b"\xff\xff\xff\xffT",
    b"\x10\x00\xff\x05\x09local",
    b"ED\x00\x01\x00\x00\x04",
    b"\xef\x10\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x0e\x00\x53\x00\x01\x00",
    b"\xc2\x00\x04\x00\x02\x08",
    b"\xc3\x00\x00\x00\x01\x08\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x44\xd0",
    b"\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q043\x01\0\0\0\0\0\0\0\0\0\0\0\0\xa0\x01\x00\x04CHLO\x02\0\0\0SNI\0",
    b"\0several\x00\x04\xc3\0\0\0",
    b"\x16\x03\x03\x00\x90\x0b\x00\x00\x8c\x00\x00\x89\x00\x00\x86\x30\x81",
    b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\x00\x90\x01\x00\x00\x84\0\0\0\0\0\x00\x00\x84\xfe\xfd",
    b"\x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x01\x01\x00\x18",
    b"\x81\x00\x00\x44\x20",
    b"\x00\x00\x01\x2c\x04\x14",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_payload_makes_a_dissector_panic(
        start in 0..STARTS.len(),
        tail in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
        is_tcp in any::<bool>(),
        port in prop::sample::select(vec![53_u16, 5353, 5355, 137, 80, 443, 22, 25, 21, 110, 143, 123, 67, 546, 161, 389, 88, 445, 139, 135, 3389, 1194, 4500, 69, 2049, 1883, 5683, 2152, 2123, 8805, 1935, 6667, 4342, 520, 646, 5351, 9999]),
    ) {
        let payload = [STARTS[start], &tail].concat();
        let cx = context(if is_tcp { L4::TCP } else { L4::UDP }, 50_000, port);
        let cut = cut.index(payload.len() + 1);
        for dissector in DISSECTORS {
            for bytes in [&payload[..], &payload[..cut]].into_iter().filter(|bytes| !bytes.is_empty()) {
                let _ = (dissector.probe)(bytes, &cx);
                let _ = (dissector.dissect)(bytes, &cx, &mut L7Info::default(), &mut 0);
            }
        }
        let mut run = Run::new(cx);
        run.client(&payload[..cut]);
        run.server(&payload);
        run.client(&payload[cut..]);
    }

    #[test]
    fn strings_off_the_wire_stay_short(tail in prop::collection::vec(any::<u8>(), 0..2000)) {
        for head in [&b"GET / HTTP/1.1\r\nHost: "[..], b"SSH-2.0-"] {
            let mut run = Run::new(tcp(50_000, 80));
            run.client(&[head, &tail, b"\r\n\r\n"].concat());
            let host = run.info.http.map(|http| http.host.len());
            prop_assert!(host.unwrap_or(0) <= 256);
            prop_assert!(run.info.ssh.map_or(0, |ssh| ssh.client.len()) <= 256);
        }
    }
}
