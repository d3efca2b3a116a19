//! Datagrams of NetFlow, IPFIX and sFlow.

use std::net::Ipv4Addr;

use collector::decode::{Decoder, DecoderConfig};
use collector::ingest::{Exporters, Limits};
use shared::model::Timestamp;

use super::Pieces;

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
