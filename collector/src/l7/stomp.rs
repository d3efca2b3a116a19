//! STOMP 1.0 to 1.2 (stomp.github.io, "STOMP Protocol Specification").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, starts};
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static STOMP: Dissector = Dissector {
    name: "STOMP",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_uppercase(),
    ports: &[(L4::TCP, 61_613)],
    probe,
    dissect,
};

const COMMANDS: [&[u8]; 11] = [
    b"SEND",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"ACK",
    b"NACK",
    b"BEGIN",
    b"COMMIT",
    b"ABORT",
    b"DISCONNECT",
    b"MESSAGE",
    b"RECEIPT",
];

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((command, rest)) = first_line(bytes) else {
        return Probe::No;
    };
    let opens = matches!(command, b"CONNECT" | b"STOMP" | b"CONNECTED");
    let head = rest.get(..256).unwrap_or(rest);
    let headers =
        [&b"accept-version:"[..], b"login:", b"host:", b"heart-beat:", b"version:", b"session:", b"server:"];
    if opens && headers.iter().any(|name| starts(head, name)) {
        return Probe::Certain;
    }
    // Other frames end with a zero, or their head names what all of them have.
    let named = [
        &b"destination:"[..],
        b"receipt-id:",
        b"receipt:",
        b"message-id:",
        b"subscription:",
        b"id:",
        b"transaction:",
    ];
    let known =
        (COMMANDS.contains(&command) || command == b"ERROR") && named.iter().any(|name| starts(head, name));
    match (known, bytes.contains(&0)) {
        (true, true) => Probe::Certain,
        (true, false) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client && contains(bytes, b"\npasscode:") {
        *status |= FlowStatus::ClearTextCredentials.bit();
    } else if !cx.from_client && bytes.starts_with(b"ERROR\n") {
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
    fn a_connection_with_a_password() {
        let mut run = Run::new(tcp(50_000, 1613));
        assert_eq!(
            run.client(b"CONNECT\naccept-version:1.2\nhost:a\nlogin:u\npasscode:p\n\n\0"),
            Verdict::Decided("STOMP")
        );
        run.server(b"ERROR\nmessage:refused\n\n\0");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
        assert_eq!(
            Run::new(tcp(50_000, 1613)).client(b"SEND\ndestination:/queue/a\n\nhello\0"),
            Verdict::Decided("STOMP")
        );
        for bytes in [&b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n"[..], b"CONNECT\nfoo:1\n", b"SEND\n\n\0"] {
            assert_ne!(Run::new(tcp(50_000, 61_613)).client(bytes), Verdict::Decided("STOMP"));
        }
    }
}
