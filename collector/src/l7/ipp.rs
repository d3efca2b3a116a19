//! Internet printing (RFC 8010) over HTTP, and CUPS telling of its printers over UDP.

use shared::model::{AppCategory, Breed, L4};

use super::http::HTTP;
use super::text::{contains, starts};
use super::{Carrier, Dissector, L7Context, Probe};

pub(super) static IPP: Dissector = Dissector {
    name: "IPP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == b'P' || byte.is_ascii_hexdigit(),
    ports: &[(L4::TCP, 631), (L4::UDP, 631)],
    probe,
    dissect: |bytes, cx, info, status| {
        if cx.l4 == L4::TCP { (HTTP.dissect)(bytes, cx, info, status) } else { super::Want::Nothing }
    },
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = if cx.l4 == L4::TCP {
        starts(bytes, b"POST /") && contains(bytes, b"Content-Type: application/ipp")
    } else {
        announces(bytes)
    };
    if known { Probe::Certain } else { Probe::No }
}

/// Kind in hexadecimal digits, state, and the printer.
fn announces(bytes: &[u8]) -> bool {
    let mut words = bytes.splitn(3, |byte| *byte == b' ');
    let (Some(kind), Some(state), Some(printer)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let digits = kind.len() <= 8 && kind.iter().all(u8::is_ascii_hexdigit);
    digits && matches!(state, [b'3'..=b'5']) && (starts(printer, b"ipp://") || starts(printer, b"ipps://"))
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp, udp};

    #[test]
    fn printing_over_http_is_told_by_its_content() {
        let post =
            b"POST /printers/a HTTP/1.1\r\nContent-Type: application/ipp\r\nHost: a:631\r\n\r\n\x02\x00";
        assert_eq!(Run::new(tcp(50_000, 631)).client(post), Verdict::Decided("IPP"));
        assert_eq!(
            Run::new(tcp(50_000, 631)).client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Verdict::Decided("HTTP")
        );
    }

    #[test]
    fn printers_are_announced() {
        let told = b"1809004 3 ipp://10.0.0.1:631/printers/laser \"room 1\"";
        assert_eq!(Run::new(udp(631, 631)).client(told), Verdict::Decided("IPP"));
        assert_eq!(Run::new(udp(631, 631)).client(b"18x 3 ipp://10.0.0.1"), Verdict::Undecided);
        assert_eq!(Run::new(udp(631, 631)).client(b"18 3 http://10.0.0.1"), Verdict::Undecided);
    }
}
