//! Redis and its kin: RESP 2 and 3, and commands in plain lines (redis.io, "Redis serialization protocol").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::printable;
use super::text::{contains, first_line, starts};
use super::{Carrier, Dissector, L7Context, Probe, Want};

/// Commands that people and health checks type.
const INLINE: &[&[u8]] = &[b"PING", b"INFO", b"AUTH", b"QUIT", b"MONITOR", b"COMMAND", b"CONFIG GET"];

pub(super) static REDIS: Dissector = Dissector {
    name: "Redis",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| b"+-:$*_#,(!=%~>".contains(&byte) || byte.is_ascii_alphabetic(),
    ports: &[(L4::TCP, 6379), (L4::TCP, 16_379), (L4::TCP, 26_379)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some((line, rest)) = first_line(bytes) else { return Probe::No };
    let Some((&kind, value)) = line.split_first() else { return Probe::No };
    // POP3 and others have such lines, too.
    let at_home = REDIS.ports.iter().any(|(_, port)| cx.has_port(*port));
    match kind {
        b'*' => match command(value, rest) {
            Probe::No if number(value).is_some() => Probe::Maybe,
            found => found,
        },
        // A master asks its replica for nothing, it just sends.
        b'%' | b'~' | b'>' | b'$' | b'=' | b'!' | b':' if number(value).is_some() => Probe::Maybe,
        b'+' if matches!(value, b"PONG" | b"QUEUED" | b"CONTINUE") => Probe::Certain,
        b'-' if [&b"NOAUTH "[..], b"WRONGTYPE ", b"WRONGPASS ", b"NOSCRIPT ", b"MOVED ", b"LOADING "]
            .iter()
            .any(|word| value.starts_with(word)) =>
        {
            Probe::Certain
        }
        b'+' if value == b"OK" => Probe::Maybe,
        b'+' | b'-' if printable(value) && at_home => Probe::Maybe,
        b'_' if value.is_empty() => Probe::Maybe,
        b'#' if matches!(value, b"t" | b"f") => Probe::Maybe,
        _ if INLINE.iter().any(|word| starts(line, word)) && printable(line) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// An array's first element: a string of a length that it has.
fn command(count: &[u8], rest: &[u8]) -> Probe {
    let Some((line, word)) = first_line(rest) else {
        return if number(count).is_some() && rest.is_empty() { Probe::Maybe } else { Probe::No };
    };
    let [b'$', length @ ..] = line else { return Probe::No };
    let (Some(1..), Some(length)) = (number(count), number(length).and_then(|n| usize::try_from(n).ok()))
    else {
        return Probe::No;
    };
    match (word.get(..length), word.get(length..)) {
        (Some(name), Some([b'\r', b'\n', ..])) if printable(name) => Probe::Certain,
        (None, None) if length < 32 && (word.is_empty() || printable(word)) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// A decimal number, -1 at least.
fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.is_empty() && !text.starts_with('+'))?;
    text.parse().ok().filter(|number| *number >= -1)
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let head = bytes.get(..256).unwrap_or(bytes);
    if head.starts_with(b"-") && !cx.from_client {
        *status |= FlowStatus::ErrorCode.bit();
    } else if contains(head, b"\r\nAUTH\r\n") || starts(head, b"AUTH ") {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Next
}

// Bytes recorded between redis-cli, or a socket, and Redis 7.0.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn commands_tell_it_and_answers_need_the_port() {
        let set = b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nb\r\n";
        assert_eq!(Run::new(tcp(50_000, 9999)).client(set), Verdict::Decided("Redis"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"*3\r\n$4\r\nset\r\n$1\r\n"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 9999)).server(b"+OK\r\n"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 6379)).server(b"+OK\r\n"), Verdict::Decided("Redis"));
        assert_eq!(Run::new(tcp(50_000, 6379)).server(b"$577\r\n# Server\r\n"), Verdict::Decided("Redis"));
        let mut run = Run::new(tcp(50_000, 9999));
        assert_eq!(run.client(b"PING\r\nINFO server\r\n"), Verdict::Undecided);
        assert_eq!(run.server(b"+PONG\r\n$577\r\n"), Verdict::Decided("Redis"));
    }

    #[test]
    fn a_password_and_an_error_are_noted() {
        let mut run = Run::new(tcp(50_000, 6379));
        run.client(b"*2\r\n$4\r\nauth\r\n$1\r\nx\r\n");
        run.server(b"-ERR AUTH <password> called without any password configured\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn other_protocols_of_lines_stay_themselves() {
        assert_eq!(Run::new(tcp(50_000, 110)).server(b"+OK POP3 ready\r\n"), Verdict::Decided("POP3"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"*1 fetch\r\n"), Verdict::Undecided);
    }
}
