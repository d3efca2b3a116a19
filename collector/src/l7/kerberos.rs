//! Kerberos 5 (RFC 4120) over UDP and TCP, and its password change (RFC 3244).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::ber::{element, tagged};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32, judge};

const AP_REQUEST: u8 = 14;
const AP_REPLY: u8 = 15;
const ERROR: u8 = 30;
/// "Authenticate first": how nearly every login begins.
const PREAUTHENTICATION_REQUIRED: u8 = 25;

pub(super) static KERBEROS: Dissector = Dissector {
    name: "Kerberos",
    category: AppCategory::Authentication,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte < 0x10 || matches!(byte, 0x60..=0x7e),
    ports: &[(L4::TCP, 88), (L4::UDP, 88), (L4::TCP, 464), (L4::UDP, 464)],
    probe: |bytes, cx| if message(bytes, cx).is_some() { Probe::Certain } else { Probe::No },
    dissect,
};

/// Number and contents of the message.
fn message<'a>(bytes: &'a [u8], cx: &L7Context) -> Option<(u8, &'a [u8])> {
    if cx.l4 == L4::UDP {
        return plain(bytes).or_else(|| password_change(bytes));
    }
    let length = usize::try_from(be32(bytes, 0)?).ok()?;
    // Several messages in one segment are rare; a message in several is not.
    let inner = bytes.get(4..).filter(|inner| inner.len() <= length)?;
    plain(inner).or_else(|| password_change(inner))
}

/// The version and the kind stand inside again, behind the tag (RFC 4120 §5.4, §5.5, §5.9).
fn plain(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let outer = element(bytes)?;
    let kind = outer.tag & 0x1f;
    if outer.tag & 0xe0 != 0x60 || !matches!(kind, 10..=15 | 20..=22 | ERROR) {
        return None;
    }
    let sequence = element(outer.body).filter(|sequence| sequence.tag == 0x30)?;
    // Requests to the key server count their fields from one, all others from zero.
    let from = if matches!(kind, 10 | 12) { 0xa1 } else { 0xa0 };
    let head = [from, 3, 2, 1, 5, from + 1, 3, 2, 1, kind];
    let body = sequence.body.strip_prefix(&head)?;
    Some((kind, body))
}

fn password_change(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let version = be16(bytes, 2)?;
    if usize::from(be16(bytes, 0)?) < bytes.len() || !matches!(version, 1 | 0xff80) {
        return None;
    }
    plain(bytes.get(6..)?).filter(|(kind, _)| matches!(*kind, AP_REQUEST | AP_REPLY | ERROR))
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let message = message(bytes, cx);
    // Over TCP a payload may be the middle of one.
    judge(cx.l4 != L4::UDP || message.is_some(), status);
    if let Some((ERROR, body)) = message
        && error_code(body).is_some_and(|code| code != PREAUTHENTICATION_REQUIRED)
    {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

/// The field `[6] error-code`.
fn error_code(mut fields: &[u8]) -> Option<u8> {
    while let Some(field) = element(fields) {
        if field.tag == 0xa6 {
            return tagged(field.body, 0x02)?.0.last().copied();
        }
        fields = field.rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Encoded by impacket.
    const AS_REQUEST: &str = "6a573055a103020105a20302010aa4493047a00703050040000000a1123010a003020101a1093007\
        1b0561646d696ea2061b0446342e58a511180f32303236303130313030303030305aa70602041234\
        5678a8053003020112";
    const KRB_ERROR: &str = "7e4c304aa003020105a10302011ea411180f32303236303130313030303030305aa503020100a603\
        020106a9061b0446342e58aa193017a003020102a110300e1b066b72627467741b0446342e58";

    #[test]
    fn requests_over_both_carriers() {
        let request = hex(AS_REQUEST);
        assert_eq!(Run::new(udp(50_000, 8888)).client(&request), Verdict::Decided("Kerberos"));
        let framed = [&(request.len() as u32).to_be_bytes(), &request[..]].concat();
        assert_eq!(Run::new(tcp(50_000, 88)).client(&framed), Verdict::Decided("Kerberos"));
        assert_eq!(Run::new(tcp(50_000, 88)).client(&request), Verdict::Undecided);
    }

    #[test]
    fn errors_are_noted_but_for_the_usual_one() {
        let mut error = hex(KRB_ERROR);
        let mut run = Run::new(udp(50_000, 88));
        assert_eq!(run.server(&error), Verdict::Decided("Kerberos"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        let at = error.windows(5).position(|field| field == [0xa6, 3, 2, 1, 6]).unwrap();
        error[at + 4] = PREAUTHENTICATION_REQUIRED;
        let mut run = Run::new(udp(50_000, 88));
        run.server(&error);
        assert_eq!(run.status, 0);
    }

    #[test]
    fn tag_and_kind_must_agree() {
        let mut request = hex(AS_REQUEST);
        request[0] = 0x6c;
        assert_eq!(Run::new(udp(50_000, 88)).client(&request), Verdict::Undecided);
    }
}
