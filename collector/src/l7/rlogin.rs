//! The remote login of BSD (RFC 1282): a zero, two user names, terminal and speed.

use shared::model::{AppCategory, Breed, L4};

use super::frames::printable;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static RLOGIN: Dissector = Dissector {
    name: "Rlogin",
    category: AppCategory::RemoteAccess,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 513)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let fields: Vec<_> = bytes.split(|byte| *byte == 0).collect();
    let [[], local, remote, terminal, []] = fields.as_slice() else { return Probe::No };
    let speed = terminal.iter().rposition(|byte| *byte == b'/').and_then(|slash| terminal.get(slash + 1..));
    let digits = speed.is_some_and(|speed| !speed.is_empty() && speed.iter().all(u8::is_ascii_digit));
    let words = [local, remote, terminal].iter().all(|word| printable(word));
    if cx.from_client && words && digits { Probe::Certain } else { Probe::No }
}

// The example of RFC 1282.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_login_names_users_and_terminal() {
        let ask = b"\0alice\0root\0vt100/9600\0";
        assert_eq!(Run::new(tcp(1023, 513)).client(ask), Verdict::Decided("Rlogin"));
        assert_eq!(Run::new(tcp(1023, 513)).client(b"\0alice\0root\0vt100\0"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(1023, 513)).client(b"\0"), Verdict::Undecided);
    }
}
