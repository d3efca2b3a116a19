//! SSH identification strings (RFC 4253 §4.2).

use std::sync::Arc;

use shared::model::flow::{L7Info, SshInfo};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, first_line, wire_text};
use super::{Carrier, Dissector, L7Context, Probe, Want, any_byte};

/// Longest identification string, its end included.
const MAX_LINE: usize = 255;

pub(super) static SSH: Dissector = Dissector {
    name: "SSH",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: any_byte,
    ports: &[(L4::TCP, 22)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match bytes {
        _ if cx.l4 != L4::TCP => Probe::No,
        [b'S', b'S', b'H', b'-', b'1' | b'2', b'.', ..] => Probe::Certain,
        [b'S', b'S', rest @ ..] if rest.len() < 4 && b"H-".starts_with(rest.get(..2).unwrap_or(rest)) => {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    if !bytes.starts_with(b"SSH-") {
        return Want::Next;
    }
    let line = match first_line(bytes) {
        Some((line, _)) => line,
        None if bytes.len() < MAX_LINE => return Want::Longer,
        None => {
            *status |= FlowStatus::MalformedPacket.bit();
            bytes
        }
    };
    // 1.99 is a server of version 2 that also speaks version 1 (RFC 4253 §5.1).
    if line.starts_with(b"SSH-1.") && !line.starts_with(b"SSH-1.99-") {
        *status |= FlowStatus::ObsoleteSsh.bit();
    }
    let ssh = info.ssh.get_or_insert_with(SshInfo::default);
    let side: &mut Arc<str> = if cx.from_client { &mut ssh.client } else { &mut ssh.server };
    *side = wire_text(line, MAX_TEXT);
    if ssh.client.is_empty() || ssh.server.is_empty() { Want::Next } else { Want::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn both_banners_are_kept() {
        let mut run = Run::new(tcp(50_000, 2222));
        assert_eq!(run.server(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), Verdict::Decided("SSH"));
        assert_eq!(run.client(b"SSH-2.0-libssh_0.10\n\0\0\x03"), Verdict::Done);
        let ssh = run.info.ssh.unwrap();
        assert_eq!((&*ssh.client, &*ssh.server), ("SSH-2.0-libssh_0.10", "SSH-2.0-OpenSSH_9.2p1 Debian-2"));
        assert_eq!(run.status, 0);
    }

    #[test]
    fn version_1_is_obsolete_and_its_compatible_successor_is_not() {
        for (banner, bit) in [(&b"SSH-1.5-old\n"[..], FlowStatus::ObsoleteSsh.bit()), (b"SSH-1.99-new\n", 0)]
        {
            let mut run = Run::new(tcp(50_000, 22));
            run.server(banner);
            assert_eq!(run.status, bit);
        }
    }

    #[test]
    fn a_banner_may_come_in_pieces() {
        let mut run = Run::new(tcp(50_000, 2222));
        assert_eq!(run.client(b"SSH"), Verdict::Undecided);
        assert_eq!(run.client(b"-2.0-"), Verdict::Decided("SSH"));
        run.client(b"PuTTY\r\n");
        assert_eq!(&*run.info.ssh.unwrap().client, "SSH-2.0-PuTTY");
    }
}
