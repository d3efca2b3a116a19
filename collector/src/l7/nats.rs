//! NATS (its client protocol).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, starts};
use super::tls::TLS;
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static NATS: Dissector = Dissector {
    name: "NATS",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_alphabetic() || matches!(byte, b'+' | b'-'),
    ports: &[(L4::TCP, 4222)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let keys = [&b"\"server_id\""[..], b"\"server_name\"", b"\"verbose\"", b"\"pedantic\"", b"\"lang\""];
    if starts(bytes, b"INFO {") || starts(bytes, b"CONNECT {") {
        return if keys.iter().any(|key| contains(bytes, key)) { Probe::Certain } else { Probe::No };
    }
    let Some((line, _)) = first_line(bytes) else {
        return Probe::No;
    };
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count();
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let counted = !last.is_empty() && last.iter().all(u8::is_ascii_digit);
    let plausible = matches!(line, b"PING" | b"PONG" | b"+OK")
        || starts(line, b"-ERR '")
        || (counted
            && (starts(line, b"SUB ") || starts(line, b"PUB ") || starts(line, b"UNSUB "))
            && matches!(words, 2..=4))
        || (counted
            && (starts(line, b"MSG ") || starts(line, b"HPUB ") || starts(line, b"HMSG "))
            && matches!(words, 4..=6));
    if plausible { Probe::Maybe } else { Probe::No }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client {
        if starts(bytes, b"CONNECT {")
            && [&b"\"pass\":\""[..], b"\"auth_token\":\""].iter().any(|key| contains(bytes, key))
        {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
    } else if starts(bytes, b"INFO {") && contains(bytes, b"\"tls_required\":true") {
        return Want::Become(&TLS);
    } else if starts(bytes, b"-ERR") {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn the_server_speaks_first() {
        let mut run = Run::new(tcp(50_000, 14_222));
        assert_eq!(
            run.server(b"INFO {\"server_id\":\"NA\",\"version\":\"2.9.10\"} \r\n"),
            Verdict::Decided("NATS")
        );
        run.client(b"CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"b\"}\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        let mut run = Run::new(tcp(50_000, 14_222));
        assert_eq!(
            run.server(b"INFO {\"server_id\":\"NA\",\"tls_required\":true} \r\n"),
            Verdict::Decided("TLS")
        );
    }

    #[test]
    fn in_mid_stream_both_sides_count() {
        let mut run = Run::new(tcp(50_000, 14_222));
        assert_eq!(run.client(b"PUB a.b 2\r\nhi\r\n"), Verdict::Undecided);
        assert_eq!(run.server(b"MSG a.b 1 2\r\nhi\r\n"), Verdict::Decided("NATS"));
        assert_eq!(Run::new(tcp(50_000, 4222)).client(b"PUB a.b x\r\n"), Verdict::Undecided);
    }
}
