//! Session descriptions (RFC 8866), which announce the flows of a call.

use std::net::{IpAddr, SocketAddr};

use shared::model::L4;
use shared::model::flow::Announced;

use super::text::lines;

/// The first medium over RTP that the description in `bytes` names, with its address.
pub(super) fn announced(bytes: &[u8]) -> Option<Announced> {
    let mut address: Option<IpAddr> = None;
    let mut port = None;
    for line in lines(bytes) {
        if let Some(connection) = line.strip_prefix(b"c=IN IP") {
            let text = connection.get(2..)?;
            let end = text.iter().position(|byte| matches!(byte, b'/' | b' ')).unwrap_or(text.len());
            address = parse(text.get(..end)?);
            if port.is_some() {
                break;
            }
        } else if let Some(medium) = line.strip_prefix(b"m=") {
            // The connection of the first medium stands before the next one.
            if port.is_some() {
                break;
            }
            port = medium_port(medium);
        }
    }
    let target = SocketAddr::new(address?, port?);
    Some(Announced { ip: target.ip(), port: target.port(), l4: L4::UDP, protocol: "RTP" })
}

/// The port of `audio 49170 RTP/AVP 0`; zero refuses the medium.
fn medium_port(medium: &[u8]) -> Option<u16> {
    let mut words = medium.split(|byte| *byte == b' ').skip(1);
    let (port, profile) = (words.next()?, words.next()?);
    let port = port.split(|byte| *byte == b'/').next()?;
    let rtp = profile.starts_with(b"RTP/") || profile.starts_with(b"UDP/TLS/RTP/");
    parse(port).filter(|port| rtp && *port != 0)
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mediums_own_connection_goes_before_the_sessions() {
        let text = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000/2 RTP/AVP 0\r\nc=IN IP4 192.0.2.7/127\r\nm=video 5000 RTP/AVP 31\r\n";
        let found = announced(text).map(|found| (found.ip.to_string(), found.port));
        assert_eq!(found, Some(("192.0.2.7".to_owned(), 4000)));
        let six = announced(b"c=IN IP6 2001:db8::1\nm=audio 0 RTP/AVP 0\nm=video 5000 RTP/SAVPF 96\n");
        assert_eq!(six.map(|found| (found.ip.is_ipv6(), found.port)), Some((true, 5000)));
        assert_eq!(announced(b"c=IN IP4 192.0.2.9\r\nm=application 9 TCP/MSRP *\r\n"), None);
        assert_eq!(announced(b"m=audio 4000 RTP/AVP 0\r\n"), None);
        assert_eq!(announced(b"c=IN IP\r\nm=\r\n"), None);
    }
}
