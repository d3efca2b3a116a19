//! Capture files, frames, and packets through the whole core.

use std::io::Write;
use std::sync::Arc;

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType, SourceState, file};
use collector::decode::{Decoded, Decoder, DecoderConfig, Tunnels};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::ingest::feed::Feed;
use collector::pipeline::{Pipeline, PipelineParts};
use shared::model::{FlowEnd, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;

use super::Pieces;

/// A capture file of any format.
pub fn capture_file(data: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(data).is_err() {
        return;
    }
    let Ok(mut source) = file::open(file.path()) else { return };
    let mut batch = Batch::default();
    loop {
        batch.clear();
        let state = source.next_batch(&mut batch);
        for (desc, bytes) in batch.iter() {
            assert_eq!(desc.captured as usize, bytes.len());
            assert!(desc.length >= desc.captured);
        }
        if !matches!(state, Ok(SourceState::More | SourceState::Idle)) {
            break;
        }
    }
}

/// Frames of one link type through the decoder: two bytes of link type, one of options, then frames,
/// each behind two bytes of length.
pub fn decode(data: &[u8]) {
    let Some((&[high, low, options], frames)) = data.split_first_chunk() else { return };
    let tunnels = if options & 1 == 0 { Tunnels::Inner } else { Tunnels::Outer };
    let mut decoder = Decoder::new(DecoderConfig { tunnels, max_fragments: 16, seed: 1, patient: true });
    let link = LinkType(u16::from_be_bytes([high, low]));
    let mut batch = Batch::default();
    for (_, frame) in Pieces::<2>(frames).take(16) {
        batch.push(Timestamp::from_secs(1), link, 0, frame.len() as u32, frame);
    }
    for (desc, frame) in batch.iter() {
        if let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) {
            assert!(packet.payload.len() <= packet.payload_len as usize);
            assert!(packet.payload.len() <= frame.len());
        }
    }
}

/// A pipeline with a tiny table.
pub fn whole(feed: Option<Feed>) -> Pipeline {
    let config = CollectorConfig { max_flows: 8, ..CollectorConfig::default() };
    let (hooks, _, _) = HookRunner::load(&ScriptSetup::default(), 120, Timestamp::ZERO);
    Pipeline::new(PipelineParts {
        place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
        epoch: 0,
        networks: Arc::new(LocalNetworks::default()),
        decoder: Decoder::new(DecoderConfig::default()),
        feed,
        table: FlowTable::new(config.table(120, 1)),
        hooks,
        summary_interval_s: 1,
        summaries: true,
        alerts: true,
    })
}

/// Frames with times through the whole core: four bytes of time step and two of length before each.
pub fn pipeline(data: &[u8]) {
    let mut pipeline = whole(None);
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let mut at = Timestamp::from_secs(1_700_000_000);
    for ([a, b, c, d, ..], frame) in Pieces::<6>(data) {
        // Up to some seconds forwards, or backwards.
        at = at.plus_ns(i64::from(i32::from_be_bytes([a, b, c, d])) * 4);
        batch.push(at, LinkType::ETHERNET, 0, frame.len() as u32, frame);
    }
    pipeline.packets(&batch, &mut || None, &mut out);
    assert!(pipeline.live() <= 8);
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut out, &mut |_| {});
    assert_eq!((pipeline.report().packets, pipeline.live()), (batch.len() as u64, 0));
}
