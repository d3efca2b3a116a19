//! IMAP4 (RFC 9051).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, is_command, lines, starts};
use super::tls::secured;
use super::{Carrier, Dissector, L7Context, Probe, Want, any_byte};

pub(super) static IMAP: Dissector = Dissector {
    name: "IMAP",
    category: AppCategory::Mail,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: any_byte,
    ports: &[(L4::TCP, 143)],
    probe,
    dissect,
};

/// Between STARTTLS and its answer (RFC 9051 §6.2.1).
static STARTING: Dissector =
    secured::stage("IMAP", AppCategory::Mail, Breed::Unsafe, |bytes, cx, info, status| {
        let agreed = command(bytes).is_some_and(|answer| is_command(answer, b"OK"));
        secured::await_tls(bytes, cx, info, status, agreed, [&IMAP, &secured::IMAPS])
    });

const COMMANDS: &[&[u8]] =
    &[b"CAPABILITY", b"LOGIN", b"AUTHENTICATE", b"STARTTLS", b"ID", b"SELECT", b"NOOP", b"LOGOUT"];

/// The command of a client's line, behind its tag.
fn command(line: &[u8]) -> Option<&[u8]> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let tag = line.get(..blank)?;
    let is_tag = (1..=16).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric);
    line.get(blank + 1..).filter(|_| is_tag)
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    let Some((line, _)) = first_line(bytes) else {
        return Probe::No;
    };
    if starts(line, b"* OK") || starts(line, b"* PREAUTH") {
        return if contains(line, b"IMAP") { Probe::Certain } else { Probe::Maybe };
    }
    match command(line) {
        Some(rest) if COMMANDS.iter().any(|word| is_command(rest, word)) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    for rest in lines(bytes).filter_map(command) {
        if !cx.from_client {
            if is_command(rest, b"NO") || is_command(rest, b"BAD") {
                *status |= FlowStatus::ErrorCode.bit();
            }
        } else if is_command(rest, b"STARTTLS") {
            return Want::Become(&STARTING);
        } else if [&b"LOGIN "[..], b"AUTHENTICATE PLAIN", b"AUTHENTICATE LOGIN"]
            .iter()
            .any(|w| starts(rest, w))
        {
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
        let mut run = Run::new(tcp(50_000, 1143));
        assert_eq!(run.server(b"* OK [CAPABILITY IMAP4rev1] ready\r\n"), Verdict::Decided("IMAP"));
        run.client(b"a1 LOGIN joe hunter2\r\n");
        run.server(b"a1 NO failed\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn encryption_has_its_own_name_once_the_server_agrees() {
        let mut run = Run::new(tcp(50_000, 143));
        run.server(b"* OK IMAP4rev1\r\n");
        run.client(b"a1 STARTTLS\r\n");
        assert_eq!(run.server(b"a1 BAD no\r\n"), Verdict::Reading);
        run.client(b"a2 STARTTLS\r\n");
        assert_eq!(run.server(b"a2 OK begin\r\n"), Verdict::Decided("IMAPS"));
    }
}
