//! SMTP (RFC 5321) with authentication (RFC 4954).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, is_command, lines, reply_code, starts};
use super::tls::secured;
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static SMTP: Dissector = Dissector {
    name: "SMTP",
    category: AppCategory::Mail,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_alphanumeric(),
    ports: &[(L4::TCP, 25), (L4::TCP, 587), (L4::TCP, 2525)],
    probe,
    dissect,
};

/// Between STARTTLS and its answer (RFC 3207).
static STARTING: Dissector =
    secured::stage("SMTP", AppCategory::Mail, Breed::Acceptable, |bytes, cx, info, status| {
        let agreed = reply_code(bytes) == Some(220);
        secured::await_tls(bytes, cx, info, status, agreed, [&SMTP, &secured::SMTPS])
    });

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    if [&b"EHLO "[..], b"HELO ", b"LHLO ", b"MAIL FROM:", b"RCPT TO:"].iter().any(|word| starts(bytes, word))
    {
        return Probe::Certain;
    }
    if reply_code(bytes) != Some(220) {
        return Probe::No;
    }
    let banner = first_line(bytes).map_or(bytes, |(line, _)| line);
    if contains(banner, b"SMTP") { Probe::Certain } else { Probe::Maybe }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    for line in lines(bytes) {
        if !cx.from_client {
            if reply_code(line).is_some_and(|code| code >= 500) {
                *status |= FlowStatus::ErrorCode.bit();
            }
        } else if is_command(line, b"STARTTLS") {
            return Want::Become(&STARTING);
        } else if is_command(line, b"DATA") {
            // What follows is a message.
            return Want::Nothing;
        } else if [&b"AUTH PLAIN"[..], b"AUTH LOGIN"].iter().any(|command| is_command(line, command)) {
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
    fn banner_or_greeting_tells_it() {
        let run = |payload: &[u8]| Run::new(tcp(50_000, 2626)).server(payload);
        assert_eq!(run(b"220 mx.example.org ESMTP Postfix\r\n"), Verdict::Decided("SMTP"));
        assert_eq!(run(b"220 welcome\r\n"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 25)).server(b"220 welcome\r\n"), Verdict::Decided("SMTP"));
        assert_eq!(Run::new(tcp(50_000, 2626)).client(b"EHLO me\r\n"), Verdict::Decided("SMTP"));
    }

    #[test]
    fn a_password_in_the_clear_is_noted_and_encryption_ends_the_reading() {
        let mut run = Run::new(tcp(50_000, 587));
        run.client(b"EHLO me\r\n");
        run.client(b"auth plain AHUAcA==\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        run.server(b"535 no\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
        run.server(b"250 fine\r\n");
        assert_eq!(run.client(b"DATA\r\n"), Verdict::Done);
    }

    #[test]
    fn encryption_has_its_own_name_once_the_server_agrees() {
        let mut run = Run::new(tcp(50_000, 587));
        run.client(b"EHLO me\r\n");
        assert_eq!(run.client(b"STARTTLS\r\n"), Verdict::Reading);
        assert_eq!(run.server(b"454 not now\r\n"), Verdict::Reading);
        run.client(b"starttls\r\n");
        assert_eq!(run.server(b"220 2.0.0 Ready\r\n"), Verdict::Decided("SMTPS"));
        assert_eq!(run.status, 0);
    }

    #[test]
    fn a_hello_tells_that_the_server_agreed() {
        let mut run = Run::new(tcp(50_000, 25));
        run.client(b"EHLO me\r\n");
        run.client(b"STARTTLS\r\n");
        let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        assert_eq!(run.client(&hello), Verdict::Decided("SMTPS"));
        assert_eq!(run.info.tls.unwrap().version, 0x0303);
    }
}
