//! Tabular Data Stream of Microsoft SQL Server and Sybase (MS-TDS; FreeTDS' description of TDS 4.2 and 5).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, le16, le32, name_only};

const HEADER: usize = 8;
const BATCH: u8 = 1;
const RESPONSE: u8 = 4;
const LOGIN7: u8 = 0x10;
const PRELOGIN: u8 = 0x12;

pub(super) static TDS: Dissector = Dissector {
    name: "MsSQL-TDS",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 1..=4 | 6 | 7 | 14..=18),
    ports: &[(L4::TCP, 1433)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let [kind, status, _, _, _, _, _, window, body @ ..] = bytes else { return Probe::No };
    let Some(length) = be16(bytes, 2).map(usize::from) else { return Probe::No };
    // Only the last packet of a message may be shorter than the negotiated size, 4096 at first.
    let fits = length == bytes.len() || (length < bytes.len() && *status & 1 == 0);
    if !fits || *status > 0x1f || *window != 0 {
        return Probe::No;
    }
    match *kind {
        PRELOGIN | RESPONSE if options(body) => Probe::Certain,
        LOGIN7 if le32(body, 0).is_some_and(|inner| inner as usize == body.len()) => Probe::Certain,
        // TLS inside the negotiation.
        PRELOGIN if matches!(body, [20..=23, 3, ..]) => Probe::Certain,
        BATCH | 3 | RESPONSE | 6 | 7 | 14 | 15 | 17 if *status & 1 == 1 => Probe::Maybe,
        // The login of TDS 4.2 and 5: fields of 30 bytes, each with its length behind.
        2 if body.len() > 200 && body.get(30).is_some_and(|length| *length <= 30) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// The list of a negotiation: VERSION first, of six bytes, its data right behind the list.
fn options(body: &[u8]) -> bool {
    let Some(end) = be16(body, 1).and_then(|start| usize::from(start).checked_sub(1)) else { return false };
    let list = end.is_multiple_of(5) && body.get(end) == Some(&0xff);
    list && body.first() == Some(&0) && be16(body, 3) == Some(6)
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let password = le16(bytes, HEADER + 46).is_some_and(|length| length > 0);
    match bytes.first() {
        // The password is scrambled with a constant.
        Some(&LOGIN7) if password => *status |= FlowStatus::ClearTextCredentials.bit(),
        Some(&LOGIN7 | &BATCH) => {}
        _ => return Want::Next,
    }
    name_only(bytes, cx, info, status)
}

// Bytes of MS-TDS §4.1 to §4.3, examples of the specification.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    const ASK: &str = "1201002f 00000100 00001a0006 0100200001 0200210001 0300220004 0400260001 ff
                       090000000000 01 00 b80d0000 01";
    const ANSWER: &str = "0401002b 00000100 00001a0006 0100200001 0200210001 0300220000 0400220001 ff
                          0900077b0000 00 00 00";
    const LOGIN: &str = "10010090 00000100 88000000 02000972 00100000 00000007 00010000 00000000 e0030000
        00000000 09040000 5e000800 6e000200 72000000 72000700 80000000 80000000 80000400 88000000 88000000
        00508be2b78f 88000000 88000000 88000000 00000000 73006b006f00730074006f0076003100 73006100
        4f00530051004c002d00330032004f00440042004300";

    #[test]
    fn negotiation_and_login() {
        let mut run = Run::new(tcp(50_000, 2433));
        assert_eq!(run.client(&hex(ASK)), Verdict::Decided("MsSQL-TDS"));
        assert_eq!(Run::new(tcp(50_000, 2433)).server(&hex(ANSWER)), Verdict::Decided("MsSQL-TDS"));
        let mut login = hex(LOGIN);
        assert_eq!(Run::new(tcp(50_000, 2433)).client(&login), Verdict::Decided("MsSQL-TDS"));
        assert_eq!((run.client(&login), run.status), (Verdict::Done, 0));
        login[HEADER + 46] = 2;
        let mut run = Run::new(tcp(50_000, 2433));
        run.client(&login);
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
    }

    #[test]
    fn a_wrong_length_is_no_tds() {
        let ask = hex(ASK);
        assert_eq!(Run::new(tcp(50_000, 1433)).client(&ask[..ask.len() - 1]), Verdict::Undecided);
        let batch = hex("01010016 00000100 73006500 6c006500 63007400 3100");
        assert_eq!(Run::new(tcp(50_000, 1433)).client(&batch), Verdict::Decided("MsSQL-TDS"));
        assert_eq!(Run::new(tcp(50_000, 2433)).client(&batch), Verdict::Undecided);
    }
}
