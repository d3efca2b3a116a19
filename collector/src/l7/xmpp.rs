//! XMPP (RFC 6120), the protocol of Jabber.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::contains;
use super::tls::TLS;
use super::{Carrier, Dissector, L7Context, Probe, Want};

/// Namespaces stand near the beginning.
const NEAR: usize = 512;

pub(super) static XMPP: Dissector = Dissector {
    name: "Jabber",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'<',
    ports: &[(L4::TCP, 5222), (L4::TCP, 5269)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let head = bytes.get(..NEAR).unwrap_or(bytes);
    let stream =
        [&b"<stream:"[..], b"</stream:stream>", b"<flash:stream"].iter().any(|start| head.starts_with(start));
    let declared = head.starts_with(b"<?xml") && contains(head, b"<stream:stream");
    let stanza = [&b"<iq "[..], b"<message ", b"<presence", b"<starttls ", b"<proceed ", b"<auth "]
        .iter()
        .any(|start| head.starts_with(start));
    let named = [&b"jabber:"[..], b"urn:ietf:params:xml:ns:xmpp-", b"urn:xmpp:", b"http://jabber.org/"]
        .iter()
        .any(|name| contains(head, name));
    match (stream || declared || (stanza && named), stanza) {
        (true, _) => Probe::Certain,
        (_, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client {
        let plain = bytes.starts_with(b"<auth") && contains(bytes, b"PLAIN");
        let old = contains(bytes, b"jabber:iq:auth") && contains(bytes, b"<password>");
        if plain || old {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
    } else if bytes.starts_with(b"<proceed") && contains(bytes, b"xmpp-tls") {
        return Want::Become(&TLS);
    } else if bytes.starts_with(b"<failure") || contains(bytes, b"<stream:error") {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    const OPEN: &[u8] =
        b"<?xml version='1.0'?><stream:stream to='example.com' xmlns='jabber:client' version='1.0'>";

    #[test]
    fn a_stream_turns_into_tls() {
        let mut run = Run::new(tcp(50_000, 15_222));
        assert_eq!(run.client(OPEN), Verdict::Decided("Jabber"));
        run.client(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        assert_eq!(
            run.server(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            Verdict::Decided("TLS")
        );
    }

    #[test]
    fn a_plain_password_is_noted() {
        let mut run = Run::new(tcp(50_000, 5222));
        run.client(OPEN);
        run.client(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        assert_eq!(Run::new(tcp(50_000, 15_222)).client(b"<?xml version='1.0'?><html>"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 15_222)).client(b"<message from='a'>"), Verdict::Undecided);
    }
}
