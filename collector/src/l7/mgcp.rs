//! MGCP (RFC 3435).

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line};
use super::{Carrier, Dissector, L7Context, Probe, Want, sdp};

const VERBS: [&[u8]; 9] =
    [b"EPCF ", b"CRCX ", b"MDCX ", b"DLCX ", b"RQNT ", b"NTFY ", b"AUEP ", b"AUCX ", b"RSIP "];

pub(super) static MGCP: Dissector = Dissector {
    name: "MGCP",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(),
    ports: &[(L4::UDP, 2427), (L4::UDP, 2727)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let line = first_line(bytes).map_or(bytes, |(line, _)| line);
    if VERBS.iter().any(|verb| line.starts_with(verb)) {
        return if contains(line, b" MGCP ") { Probe::Certain } else { Probe::No };
    }
    // A code, the transaction, perhaps words.
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let digits = |word: Option<&[u8]>, most: usize| {
        word.is_some_and(|word| (1..=most).contains(&word.len()) && word.iter().all(u8::is_ascii_digit))
    };
    let (code, transaction) = (words.next(), words.next());
    if code.is_some_and(|code| code.len() == 3) && digits(code, 3) && digits(transaction, 9) {
        Probe::Maybe
    } else {
        Probe::No
    }
}

fn dissect(bytes: &[u8], _: &L7Context, info: &mut L7Info, _: &mut StatusBits) -> Want {
    if let Some(found) = sdp::announced(bytes) {
        info.announced = Some(found.into());
    }
    Want::Always
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    // After RFC 3435 appendix F.
    const CREATE: &[u8] =
        b"CRCX 1204 aaln/1@rgw-2567.whatever.net MGCP 1.0\nC: A3C47F21456789F0\nM: sendrecv\n";

    #[test]
    fn commands_and_answers() {
        let mut run = Run::new(udp(50_000, 12_427));
        assert_eq!(run.client(CREATE), Verdict::Decided("MGCP"));
        run.server(b"200 1204 OK\nI: FDE234C8\n\nv=0\nc=IN IP4 128.96.41.1\nm=audio 3456 RTP/AVP 0\n");
        assert_eq!(run.info.announced.map(|found| found.port), Some(3456));
        assert_eq!(Run::new(udp(50_000, 2427)).server(b"200 1204 OK\n"), Verdict::Decided("MGCP"));
        for line in [&b"CRCX 1204 x\n"[..], b"2000 1 OK\n", b"200 OK\n"] {
            assert_eq!(Run::new(udp(50_000, 2427)).client(line), Verdict::Undecided);
        }
    }
}
