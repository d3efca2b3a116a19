//! Dissectors beside well-kept parsers of the same protocols, over recorded messages and thousands of
//! changes of each: what both take, both read the same out of, and ours takes nearly all that the other
//! takes. Ours is stricter where a protocol has to be told from any other (versions, classes, models that
//! do not exist).
//!
//! Ours read messages that are cut, in pieces and from the middle of a connection, and copy nothing,
//! which is why they are our own; what they say is held to what those parsers say.

use super::tests::{Run, tcp, udp};
use super::*;

/// Changes of each recorded message.
const CHANGES: usize = 3_000;

/// First messages in the fuzzer's corpus that these dissectors decided on; of the client's side only.
fn recorded(names: &[&str]) -> Vec<Vec<u8>> {
    let text = include_str!("../../../tests/fuzz/corpus/dissectors.txt");
    let mut messages = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, digits) = line.rsplit_once(' ').unwrap();
        if !names.contains(&name) {
            continue;
        }
        let input = super::tests::hex(digits);
        // Transport, two ports, then messages: a direction, a length, the bytes.
        let mut rest = &input[5..];
        while let [server, high, low, more @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
            if *server == 0 {
                messages.push(more[..length].to_vec());
            }
            rest = &more[length..];
        }
    }
    assert!(!messages.is_empty(), "nothing of {names:?} was recorded");
    messages
}

/// Calls `check` with each message and its changes: bits flipped, bytes set, pieces cut out or doubled.
fn changed(messages: &[Vec<u8>], mut check: impl FnMut(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // Xorshift (Marsaglia 2003).
    let mut random = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % end.max(1)
    };
    for message in messages {
        check(message);
        for _ in 0..CHANGES {
            let mut bytes = message.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(5) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = random(256) as u8,
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, bytes[at]),
                }
            }
            check(&bytes);
        }
    }
}

/// What the other parser took, and what ours made of it.
#[derive(Default)]
struct Taken {
    all: usize,
    /// Ours did not take it.
    refused: usize,
}

impl Taken {
    /// Counts a message; whether ours took it.
    fn count(&mut self, ours: bool) -> bool {
        self.all += 1;
        self.refused += usize::from(!ours);
        ours
    }

    /// Too few would prove nothing.
    fn check(&self, percent: usize) {
        assert!(self.all >= 1_000, "the other parser took {} messages only", self.all);
        let Self { all, refused } = self;
        assert!(refused * 100 <= percent * all, "{refused} of {all} messages were not taken");
    }
}

fn is_known(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Decided(_) | Verdict::Done)
}

#[test]
fn client_hellos_of_tls() {
    use tls_parser::{TlsExtension, TlsMessage, TlsMessageHandshake};
    let mut taken = Taken::default();
    changed(&recorded(&["TLS"]), |bytes| {
        let Ok((_, plain)) = tls_parser::parse_tls_plaintext(bytes) else { return };
        let Some(TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))) = plain.msg.first() else {
            return;
        };
        let Ok((left, extensions)) =
            tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap_or_default())
        else {
            return;
        };
        if !left.is_empty() || plain.msg.len() != 1 {
            return;
        }
        let mut run = Run::new(tcp(50_000, 443));
        let known = taken.count(is_known(run.client(bytes)));
        let Some(tls) = run.info.tls.filter(|_| known) else { return };
        let name = extensions.iter().find_map(|extension| match extension {
            TlsExtension::SNI(names) => names.iter().find(|(kind, name)| kind.0 == 0 && !name.is_empty()),
            _ => None,
        });
        let name = name.map(|(_, name)| super::text::wire_name(name)).unwrap_or_default();
        assert_eq!(tls.sni, name, "{bytes:02x?}");
        let mut protocols = extensions.iter().filter_map(|extension| match extension {
            TlsExtension::ALPN(names) => names.first(),
            _ => None,
        });
        // Of an extension that is there twice, ours takes the latter.
        let first = protocols.next_back().map(|first| super::text::wire_text(first, 256));
        assert_eq!(tls.alpn, first.unwrap_or_default(), "{bytes:02x?}");
    });
    taken.check(5);
}

#[test]
fn requests_of_http() {
    let mut taken = Taken::default();
    let requests = [
        &b"GET /index.html?a=b HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"[..],
        b"POST /api/v1 HTTP/1.1\r\nhost:10.0.0.1:8080\r\nUSER-AGENT:  Mozilla/5.0 (X11)  \r\nContent-Length: 2\r\n\r\n{}",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
    ];
    changed(&requests.map(<[u8]>::to_vec), |bytes| {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(_)) = request.parse(bytes) else { return };
        let (method, path) = (request.method.unwrap(), request.path.unwrap());
        // Any word is a method to that parser; ours wants one that servers know.
        if super::http::method(bytes).is_none() {
            return;
        }
        let mut run = Run::new(tcp(50_000, 80));
        let known = taken.count(is_known(run.client(bytes)));
        let text = String::from_utf8_lossy(bytes);
        let Some(http) = run.info.http.filter(|_| known) else { return };
        assert_eq!((&*http.method, &*http.url), (method, path), "{text:?}");
        let field = |name: &str| {
            let mut all = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            all.next().map(|header| super::text::wire_text(header.value, 256))
        };
        if let Some(agent) = field("user-agent") {
            assert_eq!(http.user_agent, agent, "{text:?}");
        }
    });
    taken.check(5);
}

#[test]
fn questions_of_dns() {
    let mut taken = Taken::default();
    changed(&recorded(&["DNS"]), |bytes| {
        let Ok(packet) = simple_dns::Packet::parse(bytes) else { return };
        let Some(question) = packet.questions.first() else { return };
        // Ours wants classes that exist (RFC 6895 §3.2), and no error in a question.
        let exists = packet.questions.iter().all(|q| matches!(u16::from(q.qclass), 1 | 3 | 4 | 254 | 255));
        if !exists || (bytes[2] & 0x80 == 0 && bytes[3] & 0x0f != 0) {
            return;
        }
        let mut run = Run::new(udp(50_000, 53));
        let known = taken.count(is_known(run.client(bytes)));
        let Some(dns) = run.info.dns.filter(|_| known) else { return };
        let name = question.qname.to_string().to_ascii_lowercase();
        // A dot within a label: the other one writes it as in a zone file.
        if name.contains('\\') {
            return;
        }
        assert_eq!((&*dns.query, dns.query_type), (&*name, u16::from(question.qtype)), "{bytes:02x?}");
    });
    taken.check(5);
}

#[test]
fn messages_of_snmp() {
    use snmp_parser::asn1_rs::FromBer;
    let mut taken = Taken::default();
    changed(&recorded(&["SNMP"]), |bytes| {
        let Ok((left, _)) = snmp_parser::SnmpGenericMessage::from_ber(bytes) else { return };
        if !left.is_empty() {
            return;
        }
        let mut run = Run::new(udp(50_000, 161));
        taken.count(run.client(bytes) == Verdict::Decided("SNMP"));
    });
    // That parser overlooks tags and lengths that contradict each other, and takes any security model.
    taken.check(15);
}
