//! IRC (RFC 1459, RFC 2812) with the capabilities of IRCv3.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{first_line, is_command, lines, starts};
use super::tls::TLS;
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static IRC: Dissector = Dissector {
    name: "IRC",
    category: AppCategory::Chat,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: |byte| byte == b':' || byte.is_ascii_alphabetic(),
    ports: &[(L4::TCP, 6667)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((line, rest)) = first_line(bytes) else {
        return Probe::No;
    };
    if let Some(told) = line.strip_prefix(b":") {
        return if from_server(told).is_some() { Probe::Certain } else { Probe::No };
    }
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count();
    let certain = is_command(line, b"CAP LS")
        || is_command(line, b"CAP REQ")
        || starts(line, b"NOTICE AUTH :")
        || starts(line, b"NOTICE * :")
        || (is_command(line, b"PRIVMSG") && words >= 3)
        || (is_command(line, b"JOIN") && line.get(5).is_some_and(|mark| matches!(mark, b'#' | b'&')))
        || (is_command(line, b"NICK") && lines(rest).next().is_some_and(is_user))
        || is_user(line) && starts(rest, b"NICK ");
    if certain {
        return Probe::Certain;
    }
    let plausible = (is_command(line, b"NICK") && matches!(words, 2 | 3))
        || is_user(line)
        || starts(line, b"ERROR :")
        || starts(line, b"PING :");
    if plausible { Probe::Maybe } else { Probe::No }
}

/// `USER name mode unused :real name`; FTP's has one argument only.
fn is_user(line: &[u8]) -> bool {
    is_command(line, b"USER") && line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count() >= 5
}

/// The numeric reply behind the sender's name, zero for a command.
fn from_server(told: &[u8]) -> Option<u16> {
    let at = told.iter().position(|byte| *byte == b' ').filter(|at| *at > 0)?;
    let rest = told.get(at + 1..)?;
    let commands =
        [&b"NOTICE"[..], b"PRIVMSG", b"JOIN", b"MODE", b"CAP", b"QUIT", b"NICK", b"PART", b"TOPIC"];
    if commands.iter().any(|command| is_command(rest, command)) {
        return Some(0);
    }
    let &[a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = rest else {
        return None;
    };
    Some([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    for line in lines(bytes).take(32) {
        if cx.from_client {
            if is_command(line, b"PASS")
                || (is_command(line, b"AUTHENTICATE") && !is_command(line, b"AUTHENTICATE PLAIN"))
                || starts(line, b"PRIVMSG NickServ :IDENTIFY")
            {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
        } else {
            match line.strip_prefix(b":").and_then(from_server) {
                // "STARTTLS successful" (IRCv3).
                Some(670) => return Want::Become(&TLS),
                Some(400..=599) => *status |= FlowStatus::ErrorCode.bit(),
                _ => {}
            }
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
    fn a_registration() {
        let mut run = Run::new(tcp(50_000, 16_667));
        assert_eq!(run.client(b"NICK joe\r\nUSER joe 0 * :Joe\r\n"), Verdict::Decided("IRC"));
        run.server(b":irc.example.org 433 * joe :Nickname is already in use\r\n");
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        run.client(b"PASS secret\r\n");
        assert_eq!(run.status, FlowStatus::ErrorCode.bit() | FlowStatus::ClearTextCredentials.bit());
    }

    #[test]
    fn servers_speak_first_or_answer() {
        for line in [
            &b":irc.example.org NOTICE * :*** Looking up your hostname\r\n"[..],
            b"NOTICE AUTH :*** x\r\n",
            b":a.b 001 joe :Welcome\r\n",
        ] {
            assert_eq!(Run::new(tcp(50_000, 16_667)).server(line), Verdict::Decided("IRC"));
        }
        for line in [&b"USER joe\r\n"[..], b": 001 x\r\n", b":a b c\r\n", b"NICK"] {
            assert_ne!(Run::new(tcp(50_000, 16_667)).client(line), Verdict::Decided("IRC"));
        }
    }

    #[test]
    fn encryption_begins_with_670() {
        let mut run = Run::new(tcp(50_000, 6667));
        run.client(b"CAP LS 302\r\n");
        run.client(b"STARTTLS\r\n");
        assert_eq!(run.server(b":a.b 670 * :STARTTLS successful\r\n"), Verdict::Decided("TLS"));
    }
}
