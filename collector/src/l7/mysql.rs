//! MySQL and MariaDB (MySQL Internals Manual, "Client/Server Protocol").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, has, le24, printable, walk, zeros};
use super::{Carrier, Dissector, L7Context, Probe, Want, le16, le32, tls};

const HEADER: usize = 4;
/// Capabilities: the 4.1 protocol, and encryption from here on.
const PROTOCOL_41: u32 = 0x0200;
const SSL: u32 = 0x0800;
const QUERY: u8 = 3;

pub(super) static MYSQL: Dissector = Dissector {
    name: "MySQL",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 3306)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if walk(bytes, |bytes| Some(HEADER + usize::try_from(le24(bytes, 0)?).ok()?)) != Fit::Whole {
        return Probe::No;
    }
    let (number, body) = (bytes.get(3), bytes.get(HEADER..).unwrap_or_default());
    let sure = match number {
        Some(0) if greeting(body) || refusal(body) => true,
        Some(1) if login(body) => true,
        Some(0) if body.first() == Some(&QUERY) => return Probe::Maybe,
        // The answer to a command: OK, an error, or how many columns follow.
        Some(1) if le24(bytes, 0) == Some(1) || refusal(body) => return Probe::Maybe,
        _ => false,
    };
    if sure { Probe::Certain } else { Probe::No }
}

/// Protocol number, version, thread, eight bytes of salt, a zero.
fn greeting(body: &[u8]) -> bool {
    let [9 | 10, rest @ ..] = body else { return false };
    let Some(end) = rest.iter().take(100).position(|byte| *byte == 0) else { return false };
    let version = rest.get(..end).unwrap_or_default();
    printable(version) && version.first().is_some_and(u8::is_ascii_digit) && rest.get(end + 13) == Some(&0)
}

/// An error packet with a number of the server's.
fn refusal(body: &[u8]) -> bool {
    body.first() == Some(&0xff)
        && le16(body, 1).is_some_and(|code| (1000..5000).contains(&code))
        && body.get(3..7).is_some_and(printable)
}

/// Capabilities, packet size, character set, 19 zeros that nothing uses.
fn login(body: &[u8]) -> bool {
    le32(body, 0).is_some_and(|caps| caps & PROTOCOL_41 != 0) && zeros(body, 9..28)
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let (number, body) = (bytes.get(3), bytes.get(HEADER..).unwrap_or_default());
    match (cx.from_client, number) {
        (true, Some(1)) if login(body) => {
            if body.len() == 32 && le32(body, 0).is_some_and(|caps| caps & SSL != 0) {
                return Want::Become(&tls::TLS);
            }
            if has(body, b"mysql_clear_password") {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
            Want::Next
        }
        (false, Some(0)) if greeting(body) => Want::Next,
        (false, _) => {
            if refusal(body) {
                *status |= FlowStatus::ErrorCode.bit();
            }
            Want::Nothing
        }
        _ => Want::Next,
    }
}

// Bytes recorded between the clients and servers of MariaDB 10.11.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    fn greeting() -> Vec<u8> {
        hex("640000000a352e352e352d31302e31312e31392d4d6172696144422d302b6465623132753100
             030000007036583c6154616b00fef72d0200ff81150000000000001d000000752d7b472f54395e515b536e00
             6d7973716c5f6e61746976655f70617373776f726400")
    }

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        [&[body.len() as u8, 0, 0, number], body].concat()
    }

    const CAPABILITIES: [u8; 9] = [0x84, 0xa2, 0xbf, 0, 0, 0, 0, 1, 0x21];

    #[test]
    fn the_server_greets() {
        let mut run = Run::new(tcp(50_000, 13_306));
        assert_eq!(run.server(&greeting()), Verdict::Decided("MySQL"));
        assert_eq!(
            run.client(&packet(1, &[&CAPABILITIES[..], &[0; 23], b"root\0\0"].concat())),
            Verdict::Reading
        );
        assert_eq!(run.server(&packet(2, b"\xff\x15\x04#28000Access denied")), Verdict::Done);
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn a_short_login_asks_for_encryption() {
        let mut run = Run::new(tcp(50_000, 13_306));
        run.server(&greeting());
        let mut caps = CAPABILITIES;
        caps[1] |= 0x08;
        assert_eq!(run.client(&packet(1, &[&caps[..], &[0; 23]].concat())), Verdict::Decided("TLS"));
    }

    #[test]
    fn near_misses_and_refusals() {
        let mut cut = greeting();
        cut.pop();
        assert_eq!(Run::new(tcp(50_000, 13_306)).server(&cut), Verdict::Undecided);
        let refusal = packet(0, b"\xff\x6a\x04Host 'x' is not allowed");
        assert_eq!(Run::new(tcp(50_000, 13_306)).server(&refusal), Verdict::Decided("MySQL"));
        assert_eq!(Run::new(tcp(50_000, 13_306)).client(&packet(0, b"\x03select 1")), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 3306)).client(&packet(0, b"\x03select 1")),
            Verdict::Decided("MySQL")
        );
    }
}
