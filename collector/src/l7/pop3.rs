//! POP3 (RFC 1939).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, is_command, lines, starts};
use super::tls::secured;
use super::{Carrier, Dissector, L7Context, Probe, Want, any_byte};

pub(super) static POP3: Dissector = Dissector {
    name: "POP3",
    category: AppCategory::Mail,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: any_byte,
    ports: &[(L4::TCP, 110)],
    probe,
    dissect,
};

/// Between STLS and its answer (RFC 2595 §4).
static STARTING: Dissector =
    secured::stage("POP3", AppCategory::Mail, Breed::Unsafe, |bytes, cx, info, status| {
        let agreed = is_command(bytes, b"+OK");
        secured::await_tls(bytes, cx, info, status, agreed, [&POP3, &secured::POPS])
    });

const COMMANDS: &[&[u8]] = &[b"USER", b"PASS", b"APOP", b"CAPA", b"STLS", b"AUTH", b"UIDL", b"STAT"];

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    let line = first_line(bytes).map_or(bytes, |(line, _)| line);
    if is_command(line, b"+OK") {
        return if contains(line, b"POP3") { Probe::Certain } else { Probe::Maybe };
    }
    if COMMANDS.iter().any(|command| is_command(line, command)) { Probe::Maybe } else { Probe::No }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    for line in lines(bytes) {
        if !cx.from_client {
            if is_command(line, b"-ERR") {
                *status |= FlowStatus::ErrorCode.bit();
            }
        } else if is_command(line, b"STLS") {
            return Want::Become(&STARTING);
        } else if [&b"PASS "[..], b"USER ", b"AUTH PLAIN", b"AUTH LOGIN"].iter().any(|w| starts(line, w)) {
            *status |= FlowStatus::ClearTextCredentials.bit();
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
    fn a_login_in_the_clear() {
        let mut run = Run::new(tcp(50_000, 1110));
        assert_eq!(run.server(b"+OK ready\r\n"), Verdict::Undecided);
        assert_eq!(run.client(b"USER joe\r\n"), Verdict::Decided("POP3"));
        run.server(b"-ERR no\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn encryption_has_its_own_name_once_the_server_agrees() {
        let mut run = Run::new(tcp(50_000, 110));
        assert_eq!(run.server(b"+OK POP3 server\r\n"), Verdict::Decided("POP3"));
        run.client(b"STLS\r\n");
        assert_eq!(run.server(b"+OK Begin TLS\r\n"), Verdict::Decided("POPS"));
        assert_eq!(run.status, 0);
    }
}
