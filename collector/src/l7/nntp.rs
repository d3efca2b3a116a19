//! Network news (RFC 3977, RFC 4642, RFC 4643).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, is_command, lines, reply_code, starts};
use super::tls::TLS;
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static NNTP: Dissector = Dissector {
    name: "Usenet",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_alphanumeric(),
    ports: &[(L4::TCP, 119)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let line = first_line(bytes).map_or(bytes, |(line, _)| line);
    if let Some(code) = reply_code(line) {
        let says_so =
            [&b"NNTP"[..], b"InterNetNews", b"NNRP", b"posting"].iter().any(|word| contains(line, word));
        return match (code, says_so) {
            (200 | 201, true) => Probe::Certain,
            (200 | 201 | 211 | 480, false) => Probe::Maybe,
            _ => Probe::No,
        };
    }
    let own = [
        &b"MODE READER"[..],
        b"AUTHINFO USER",
        b"AUTHINFO PASS",
        b"AUTHINFO SASL",
        b"XOVER",
        b"LIST OVERVIEW.FMT",
        b"LIST NEWSGROUPS",
    ];
    if own.iter().any(|command| is_command(line, command)) {
        return Probe::Certain;
    }
    let shared = [&b"GROUP"[..], b"ARTICLE", b"HEAD", b"BODY", b"NEWNEWS", b"IHAVE", b"CAPABILITIES"];
    if shared.iter().any(|command| is_command(line, command))
        && first_line(bytes).is_some()
        && !contains(line, b"HTTP/")
    {
        Probe::Maybe
    } else {
        Probe::No
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    for line in lines(bytes).take(32) {
        if cx.from_client {
            if starts(line, b"AUTHINFO PASS ") || starts(line, b"AUTHINFO SASL PLAIN") {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
        } else {
            match reply_code(line) {
                // "Continue with TLS" (RFC 4642 §2.2.1).
                Some(382) => return Want::Become(&TLS),
                Some(400..) => *status |= FlowStatus::ErrorCode.bit(),
                _ => {}
            }
        }
        // Articles are not replies.
        if !cx.from_client {
            break;
        }
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn greeting_or_own_commands() {
        let mut run = Run::new(tcp(50_000, 1119));
        assert_eq!(run.server(b"200 news.example.com NNRP Service Ready\r\n"), Verdict::Decided("Usenet"));
        run.client(b"AUTHINFO PASS secret\r\n");
        run.server(b"481 Authentication failed\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
        let mut run = Run::new(tcp(50_000, 1119));
        assert_eq!(run.server(b"200 hello\r\n"), Verdict::Undecided);
        assert_eq!(run.client(b"GROUP misc.test\r\n"), Verdict::Decided("Usenet"));
        assert_eq!(Run::new(tcp(50_000, 119)).client(b"HEAD / HTTP/1.1\r\n"), Verdict::Decided("HTTP"));
    }

    #[test]
    fn encryption_begins_with_382() {
        let mut run = Run::new(tcp(50_000, 119));
        run.server(b"200 NNTP\r\n");
        run.client(b"STARTTLS\r\n");
        assert_eq!(run.server(b"382 Continue with TLS negotiation\r\n"), Verdict::Decided("TLS"));
    }
}
