//! Datagrams of NetFlow, IPFIX and sFlow.

use std::net::Ipv4Addr;

use collector::capture::{Batch, LinkType};
use collector::decode::{Decoder, DecoderConfig};
use collector::ingest::feed::{Feed, FeedConfig};
use collector::ingest::{Exporters, Limits};
use shared::model::{FlowEnd, Timestamp};

use super::{Pieces, packets};

/// Datagrams of up to four exporters: a byte says whose, one how many seconds pass before, two the
/// length.
pub fn datagrams(data: &[u8]) {
    let limits = Limits { pending_bytes: 4096, ..Limits::default() };
    let mut exporters = Exporters::new(limits, Decoder::new(DecoderConfig::default()));
    let (mut flows, mut all, mut sent) = (Vec::new(), 0, 0);
    let mut at = Timestamp::from_secs(1_700_000_000);
    for ([whose, seconds, ..], datagram) in Pieces::<4>(data) {
        at = at.plus_secs(i64::from(seconds));
        let from = Ipv4Addr::new(192, 0, 2, whose & 3);
        let _ = exporters.datagram(from.into(), at, datagram, &mut flows);
        all += flows.len();
        sent += 1;
        // A record has at least a byte, and data that waited comes again once.
        assert!(all <= 2 * data.len(), "{all} flows of {} bytes", data.len());
        flows.clear();
    }
    let total = exporters.total();
    assert_eq!((total.datagrams, total.records), (sent, all as u64));
}

/// The same in their packets through the whole core.
pub fn collected(data: &[u8]) {
    let feed = Feed::new(FeedConfig::default(), DecoderConfig::default());
    let mut pipeline = packets::whole(Some(feed));
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let mut at = Timestamp::from_secs(1_700_000_000);
    for ([whose, seconds, ..], datagram) in Pieces::<4>(data) {
        at = at.plus_secs(i64::from(seconds));
        let length = datagram.len().min(65_507);
        let mut packet = vec![0x45, 0];
        packet.extend((28 + length as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, whose & 3, 192, 0, 2, 9, 9, 9, 8, 7]);
        packet.extend((8 + length as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(&datagram[..length]);
        batch.push(at, LinkType::RAW, 0, packet.len() as u32, &packet);
    }
    pipeline.packets(&batch, &mut || None, &mut out);
    assert!(pipeline.live() <= 8);
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut out, &mut |_| {});
    assert_eq!(pipeline.live(), 0);
}
