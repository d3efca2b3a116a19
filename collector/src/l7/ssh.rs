//! SSH identification strings (RFC 4253 §4.2) and offers of algorithms (§7.1), of which HASSH is made
//! (Salesforce, BSD-3).

use shared::model::flow::{L7Info, Text};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, first_line, wire_text};
use super::tls::fingerprint::md5;
use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

/// Longest identification string, its end included.
const MAX_LINE: usize = 255;

const KEXINIT: u8 = 20;
/// Where the lists begin: behind length, padding length, type and cookie.
const LISTS: usize = 4 + 1 + 1 + 16;
/// Lengths that an offer may have: its ten lists at least, and what implementations must take.
const MIN_OFFER: usize = 62;
const MAX_OFFER: usize = 35_000;

pub(super) static SSH: Dissector = Dissector {
    name: "SSH",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'S',
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
    let mut rest = bytes;
    if bytes.starts_with(b"SSH-") {
        let line = match first_line(bytes) {
            Some((line, behind)) => {
                rest = behind;
                line
            }
            None if bytes.len() < MAX_LINE => return Want::Longer,
            None => {
                *status |= FlowStatus::MalformedPacket.bit();
                rest = &[];
                bytes
            }
        };
        *status |= banner(line, cx.from_client);
        let ssh = info.ssh.get_or_insert_default();
        let side: &mut Text = if cx.from_client { &mut ssh.client } else { &mut ssh.server };
        if *side.as_bytes() != *line {
            *side = wire_text(line, MAX_TEXT);
        }
    }
    let Some(ssh) = info.ssh.as_mut().filter(|_| !rest.is_empty()) else { return Want::Next };
    match offer(rest) {
        Offer::Cut => return Want::Longer,
        Offer::Other => return Want::Next,
        Offer::Lists(lists) => {
            let side = if cx.from_client { &mut ssh.hassh } else { &mut ssh.hassh_server };
            // Key exchange, then encryption, authentication and compression of the own direction.
            let own = usize::from(!cx.from_client);
            let [encryption, mac, compression] = [2, 4, 6].map(|at| lists[at + own]);
            *side = md5(&[lists[0], b";", encryption, b";", mac, b";", compression]);
            if names(encryption).any(is_obsolete) {
                *status |= obsolete(cx.from_client);
            }
        }
    }
    if ssh.hassh.is_empty() || ssh.hassh_server.is_empty() { Want::Next } else { Want::Nothing }
}

/// The bit of an old program on one side.
fn obsolete(client: bool) -> StatusBits {
    if client { FlowStatus::ObsoleteSshClient.bit() } else { FlowStatus::ObsoleteSsh.bit() }
}

/// The first versions of programs that are not known as old: since 2015 to 2020, when they dropped the
/// algorithms that are broken.
const OLDEST: &[(&[u8], [u32; 2])] = &[
    (b"OpenSSH_", [7, 0]),
    (b"OpenSSH_for_Windows_", [7, 0]),
    (b"dropbear_", [2019, 78]),
    (b"APACHE-SSHD-", [2, 6]),
    (b"paramiko_", [2, 4]),
    (b"FileZilla_", [3, 40]),
    (b"libssh_", [0, 8]),
    (b"libssh-", [0, 8]),
    (b"libssh2_", [1, 9]),
];

/// What an identification string tells.
fn banner(line: &[u8], client: bool) -> StatusBits {
    // 1.99 is a server of version 2 that also speaks version 1 (RFC 4253 §5.1).
    if line.starts_with(b"SSH-1.") && !line.starts_with(b"SSH-1.99-") {
        return obsolete(client);
    }
    let software = line.splitn(3, |byte| *byte == b'-').nth(2).unwrap_or_default();
    let old = OLDEST.iter().any(|(name, oldest)| {
        software.strip_prefix(*name).and_then(version).is_some_and(|version| version < *oldest)
    });
    if old { obsolete(client) } else { 0 }
}

/// The first two numbers of a version.
fn version(text: &[u8]) -> Option<[u32; 2]> {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        digits.parse::<u32>().ok()
    });
    Some([numbers.next()??, numbers.next().flatten().unwrap_or_default()])
}

/// Encryption that RFC 8758 and OpenSSH took away: RC4, and block ciphers of 64 bits.
fn is_obsolete(name: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"arcfour", b"3des-", b"blowfish-", b"cast128-", b"des-", b"idea-"];
    starts.iter().any(|start| name.starts_with(start)) || name == b"none"
}

fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
}

/// What may be an offer.
enum Offer<'a> {
    /// The name lists in their order.
    Lists([&'a [u8]; 8]),
    /// The beginning of one.
    Cut,
    Other,
}

/// Reads a binary packet (RFC 4253 §6) with a KEXINIT message.
fn offer(bytes: &[u8]) -> Offer<'_> {
    let Some(length) = be32(bytes, 0).map(|length| length as usize) else { return Offer::Cut };
    if !(MIN_OFFER..=MAX_OFFER).contains(&length) {
        return Offer::Other;
    }
    match bytes.get(5) {
        Some(&KEXINIT) => {}
        Some(_) => return Offer::Other,
        None => return Offer::Cut,
    }
    let Some(mut rest) = bytes.get(LISTS..4 + length) else { return Offer::Cut };
    let mut lists = [&[][..]; 8];
    for list in &mut lists {
        let Some((text, behind)) =
            be32(rest, 0).and_then(|length| rest.get(4..)?.split_at_checked(length as usize))
        else {
            return Offer::Other;
        };
        (*list, rest) = (text, behind);
    }
    Offer::Lists(lists)
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
        assert_eq!(run.client(b"SSH-2.0-libssh_0.10\n"), Verdict::Reading);
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

    /// An offer with lists that stand for themselves.
    fn offer_of(lists: [&str; 8]) -> Vec<u8> {
        let mut body = vec![KEXINIT];
        body.extend([7; 16]);
        for list in lists.iter().chain(&["", ""]) {
            body.extend((list.len() as u32).to_be_bytes());
            body.extend(list.as_bytes());
        }
        body.extend([0; 5]);
        [&(body.len() as u32 + 5).to_be_bytes()[..], &[4], &body, &[0; 4]].concat()
    }

    const LISTS_OF: [&str; 8] = ["k1,k2", "h", "c1,c2", "s1", "mc", "ms", "none", "zlib"];

    #[test]
    fn offers_make_fingerprints_however_they_are_split() {
        let client = [&b"SSH-2.0-x\r\n"[..], &offer_of(LISTS_OF)].concat();
        for cut in 4..client.len() {
            let mut run = Run::new(tcp(50_000, 22));
            run.server(b"SSH-2.0-y\r\n");
            run.client(&client[..cut]);
            run.client(&client[cut..]);
            assert_eq!(run.server(&offer_of(LISTS_OF)), Verdict::Done, "{cut}");
            let ssh = run.info.ssh.unwrap();
            // md5sum of "k1,k2;c1,c2;mc;none" and of "k1,k2;s1;ms;zlib".
            assert_eq!(&*ssh.hassh, "78cf42572116f039980ef53f29148822");
            assert_eq!(&*ssh.hassh_server, "1d947da7e842be114931215084637030");
            assert_eq!(run.status, 0);
        }
    }

    #[test]
    fn old_programs_and_old_ciphers_set_their_bits() {
        let (client, server) = (FlowStatus::ObsoleteSshClient.bit(), FlowStatus::ObsoleteSsh.bit());
        for (line, old) in [
            ("SSH-2.0-OpenSSH_5.3", true),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2", false),
            ("SSH-2.0-dropbear_2018.76", true),
            ("SSH-2.0-dropbear", false),
            ("SSH-2.0-OpenSSH_10.0", false),
            ("SSH-2.0-libssh2_1.8.0", true),
        ] {
            assert_eq!(banner(line.as_bytes(), true), if old { client } else { 0 }, "{line}");
            assert_eq!(banner(line.as_bytes(), false), if old { server } else { 0 }, "{line}");
        }
        let mut run = Run::new(tcp(50_000, 22));
        run.server(b"SSH-2.0-y\r\n");
        let mut lists = LISTS_OF;
        lists[3] = "aes128-ctr,3des-cbc";
        run.server(&offer_of(lists));
        assert_eq!(run.status, server);
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
