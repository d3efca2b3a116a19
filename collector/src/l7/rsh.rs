//! The remote shell of BSD (rshd(8)): port for errors, two user names, command, each behind a zero.

use shared::model::{AppCategory, Breed, L4};

use super::frames::printable;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static RSH: Dissector = Dissector {
    name: "RSH",
    category: AppCategory::RemoteAccess,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0 || byte.is_ascii_digit(),
    ports: &[(L4::TCP, 514)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if !cx.has_port(514) || !cx.from_client {
        return Probe::No;
    }
    let mut fields = bytes.split(|byte| *byte == 0);
    let port = fields.next().is_some_and(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let words: Vec<_> = fields.by_ref().take(3).collect();
    match words.as_slice() {
        _ if !port => Probe::No,
        // The port comes alone at times.
        [] | [[]] if bytes.len() > 1 => Probe::Maybe,
        [local, remote, command, ..] if [local, remote, command].iter().all(|word| printable(word)) => {
            Probe::Certain
        }
        _ => Probe::No,
    }
}

// Strings after the manual page.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_command_comes_with_its_users() {
        let ask = b"1022\0alice\0root\0ls -l\0";
        assert_eq!(Run::new(tcp(1023, 514)).client(ask), Verdict::Decided("RSH"));
        assert_eq!(Run::new(tcp(1023, 514)).client(b"1022\0"), Verdict::Decided("RSH"));
        assert_eq!(Run::new(tcp(1023, 515)).client(ask), Verdict::Undecided);
        assert_eq!(Run::new(tcp(1023, 514)).client(b"10\0\x01\0\x02\0\x03\0"), Verdict::Undecided);
    }
}
