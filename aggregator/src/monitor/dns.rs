//! A DNS question over UDP (RFC 1035 §4): the address of a name, or the servers of the root.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::UdpSocket;

/// Length of a header.
const HEADER: usize = 12;

/// The last id that was used. An attacker on the way could answer in any case.
static LAST: AtomicU16 = AtomicU16::new(0);

/// Asks `server` for `name`.
///
/// # Errors
/// Why there is no answer, or its code.
pub async fn probe(server: SocketAddr, name: &str) -> Result<(), String> {
    let id = LAST.fetch_add(0x9e37, Ordering::Relaxed);
    let question = question(id, name)?;
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let failed = |error: std::io::Error| format!("cannot ask {server}: {error}");
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(&question).await.map_err(failed)?;
    let mut answer = [0; 4096];
    loop {
        let len = socket.recv(&mut answer).await.map_err(failed)?;
        // Answers to other questions are waited over.
        if let Some(code) = code(&answer[..len], id) {
            return code;
        }
    }
}

/// A question for the address of a name; for the servers of the root when the name is empty.
///
/// # Errors
/// The name is none (RFC 1035 §2.3.4).
fn question(id: u16, name: &str) -> Result<Vec<u8>, String> {
    let name = name.trim_end_matches('.');
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len));
        message.push(len.ok_or_else(|| format!("'{name}' is no name of DNS"))?);
        message.extend(label.as_bytes());
    }
    if message.len() > HEADER + 254 {
        return Err(format!("'{name}' is longer than a name of DNS may be"));
    }
    let kind: u8 = if name.is_empty() { 2 } else { 1 };
    message.extend([0, 0, kind, 0, 1]);
    Ok(message)
}

/// What an answer says; `None` when it is none to this question.
fn code(answer: &[u8], id: u16) -> Option<Result<(), String>> {
    let (given, flags) = (answer.get(..2)?, answer.get(2..4)?);
    if answer.len() < HEADER || given != id.to_be_bytes() || flags[0] & 0x80 == 0 {
        return None;
    }
    // RFC 1035 §4.1.1.
    let names = ["no error", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    Some(match flags[1] & 0x0f {
        0 => Ok(()),
        code => Err(match names.get(usize::from(code)) {
            Some(name) => format!("the answer is {name}"),
            None => format!("the answer has code {code}"),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_as_the_standard_says() {
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01";
        assert_eq!(question(0x1234, "a.example.").unwrap(), expected);
        assert!(question(1, "").unwrap().ends_with(&[0, 0, 0, 2, 0, 1]));
        assert!(question(1, "a..b").is_err());
        assert!(question(1, &"x".repeat(64)).is_err());
        assert!(question(1, &["x".repeat(60).as_str(); 5].join(".")).is_err());
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let answer = |id: u16, flags: [u8; 2]| [&id.to_be_bytes()[..], &flags, &[0; 8]].concat();
        assert_eq!(code(&answer(7, [0x81, 0x80]), 7), Some(Ok(())));
        assert_eq!(code(&answer(7, [0x81, 0x83]), 7), Some(Err("the answer is NXDOMAIN".to_owned())));
        assert_eq!(code(&answer(7, [0x81, 0x8b]), 7), Some(Err("the answer has code 11".to_owned())));
        assert_eq!(code(&answer(8, [0x81, 0x80]), 7), None);
        assert_eq!(code(&answer(7, [0x01, 0x00]), 7), None, "a question");
        assert_eq!(code(&answer(7, [0x81, 0x80])[..11], 7), None);
    }
}
