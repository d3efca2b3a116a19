//! Flows that other flows announced: a file transfer's data, a call's sound.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use shared::model::Timestamp;
use shared::model::flow::Announced;

use crate::decode::Packet;
use crate::l7::ProtocolId;

/// Announcements remembered at most; the oldest goes first.
const MAX_EXPECTED: usize = 4096;
/// How long a flow may take to begin.
const PATIENCE_S: i64 = 120;

type End = (IpAddr, u16, u8);

/// What is expected, by the end that the flow will go to.
#[derive(Debug, Default)]
pub(super) struct Expected {
    by_end: HashMap<End, (ProtocolId, Timestamp), foldhash::fast::RandomState>,
    order: VecDeque<End>,
}

impl Expected {
    /// Remembers an announcement made at `now`.
    pub(super) fn add(&mut self, announced: &Announced, now: Timestamp) {
        let Some(protocol) = ProtocolId::by_name(announced.protocol) else { return };
        let end = (announced.ip, announced.port, announced.l4.0);
        if self.by_end.insert(end, (protocol, now)).is_none() {
            self.order.push_back(end);
        }
        if self.order.len() > MAX_EXPECTED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_end.remove(&oldest);
        }
    }

    /// The protocol of a flow that begins with `packet`, when it was announced.
    pub(super) fn find(&self, packet: &Packet<'_>, now: Timestamp) -> Option<ProtocolId> {
        if self.by_end.is_empty() {
            return None;
        }
        let ends = [(packet.dst, packet.dst_port), (packet.src, packet.src_port)];
        let known = ends.iter().find_map(|(ip, port)| self.by_end.get(&(*ip, *port, packet.l4.0)));
        known.filter(|(_, at)| now < at.plus_secs(PATIENCE_S)).map(|(protocol, _)| *protocol)
    }
}

#[cfg(test)]
mod tests {
    use shared::model::L4;

    use super::*;

    fn announced(port: u16) -> Announced {
        Announced { ip: [192, 0, 2, 1].into(), port, l4: L4::TCP, protocol: "FTP_DATA" }
    }

    fn found(expected: &Expected, port: u16, second: i64) -> Option<&'static str> {
        let now = Timestamp::from_secs(second);
        let mut packet = Packet::new(now, 60, [192, 0, 2, 9].into(), [192, 0, 2, 1].into(), L4::TCP);
        packet.dst_port = port;
        expected.find(&packet, now).map(ProtocolId::name)
    }

    #[test]
    fn an_announced_flow_is_known_for_a_while() {
        let mut expected = Expected::default();
        assert_eq!(found(&expected, 5000, 10), None);
        expected.add(&announced(5000), Timestamp::from_secs(10));
        assert_eq!(found(&expected, 5000, 129), Some("FTP_DATA"));
        assert_eq!(found(&expected, 5000, 130), None);
        assert_eq!(found(&expected, 5001, 11), None);
    }

    #[test]
    fn the_oldest_announcement_gives_way() {
        let mut expected = Expected::default();
        for port in 0..=MAX_EXPECTED as u16 {
            expected.add(&announced(port), Timestamp::from_secs(10));
        }
        assert_eq!((found(&expected, 0, 11), found(&expected, 1, 11)), (None, Some("FTP_DATA")));
        assert_eq!((expected.order.len(), expected.by_end.len()), (MAX_EXPECTED, MAX_EXPECTED));
    }
}
