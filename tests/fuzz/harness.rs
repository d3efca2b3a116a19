//! What each fuzz target does with its bytes. The targets and the test over their corpora share it.

#![allow(dead_code, reason = "each target uses one function")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType, SourceState, file};
use collector::decode::{Decoded, Decoder, DecoderConfig, Tunnels};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::l7::{DISSECTORS, L7Context, L7State};
use collector::pipeline::{Pipeline, PipelineParts};
use shared::model::flow::L7Info;
use shared::model::{FlowEnd, L4, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;

/// Frames of one link type through the decoder: two bytes of link type, one of options, then frames,
/// each behind two bytes of length.
pub fn decode(data: &[u8]) {
    let Some((&[high, low, options], mut rest)) = data.split_first_chunk() else { return };
    let tunnels = if options & 1 == 0 { Tunnels::Inner } else { Tunnels::Outer };
    let mut decoder = Decoder::new(DecoderConfig { tunnels, max_fragments: 16, seed: 1 });
    let mut batch = Batch::default();
    while let Some((&[high_length, low_length], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high_length, low_length]));
        let (frame, tail) = tail.split_at(length.min(tail.len()));
        rest = tail;
        let link = LinkType(u16::from_be_bytes([high, low]));
        batch.push(Timestamp::from_secs(1), link, 0, frame.len() as u32, frame);
        if batch.len() == 16 {
            break;
        }
    }
    for (desc, frame) in batch.iter() {
        if let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) {
            assert!(packet.payload.len() <= packet.payload_len as usize);
            assert!(packet.payload.len() <= frame.len());
        }
    }
}

/// A capture file of any format.
pub fn capture_file(data: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("capture");
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let Ok(mut source) = file::open(&path) else { return };
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

/// Payloads of a flow through detection and through one dissector: one byte says which (with
/// FLOWHOOK_DISSECTOR, the one so named), one its carrier and ports, then payloads, each behind a
/// byte of direction and two of length.
pub fn dissectors(data: &[u8]) {
    let Some((&[which, kind], rest)) = data.split_first_chunk() else { return };
    let named = std::env::var("FLOWHOOK_DISSECTOR").ok();
    let dissector = match &named {
        Some(name) => DISSECTORS.iter().find(|dissector| dissector.name == name),
        None => DISSECTORS.get(usize::from(which) % DISSECTORS.len()),
    };
    let Some(dissector) = dissector else { panic!("no dissector {named:?}") };
    let at_home = kind & 2 != 0;
    let home = dissector.ports.first().copied().unwrap_or((L4::TCP, 9999));
    let mut cx = L7Context {
        l4: match (at_home, kind & 1) {
            (true, _) => home.0,
            (false, 0) => L4::TCP,
            (false, _) => L4::UDP,
        },
        client: Ipv4Addr::new(192, 0, 2, 1).into(),
        server: Ipv4Addr::new(198, 51, 100, 1).into(),
        client_port: 50_000,
        server_port: if at_home { home.1 } else { 9999 },
        from_client: true,
        packets_seen: 0,
        at_s: 1_767_225_600,
        before: Default::default(),
    };
    let (mut state, mut info, mut status) = (L7State::new(), L7Info::default(), 0);
    let (mut alone, mut bits) = (L7Info::default(), 0);
    let mut rest = rest;
    while let Some((&[direction, high, low], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (payload, tail) = tail.split_at(length.min(tail.len()));
        rest = tail;
        cx.from_client = direction & 1 == 0;
        cx.packets_seen += 1;
        if payload.first().is_some_and(|first| (dissector.first)(*first)) {
            let _ = (dissector.probe)(payload, &cx);
        }
        let _ = (dissector.dissect)(payload, &cx, &mut alone, &mut bits);
        let _ = state.on_payload(payload, &cx, &mut info, &mut status);
        assert!(info.text_len() < 64 * 1024 && alone.text_len() < 64 * 1024);
    }
}

/// Messages of the bus.
pub fn wire(data: &[u8]) {
    use shared::wire::delta::Delta;
    use shared::wire::flow_batch::FlowBatch;
    use shared::wire::flow_file::FlowFileReader;
    if let Ok(batch) = FlowBatch::decode(data) {
        let again = FlowBatch::decode(&batch.encode());
        assert!(again.is_ok_and(|again| again.flows.len() == batch.flows.len()));
    }
    if let Ok(delta) = Delta::decode(data) {
        assert!(Delta::decode(&delta.encode()).is_ok());
    }
    if let Ok(mut reader) = FlowFileReader::new(data) {
        while let Ok(Some(_)) = reader.next_batch() {}
    }
}

/// Frames with times through the whole core: eight bytes of time step and length before each.
pub fn pipeline(data: &[u8]) {
    let config = CollectorConfig { max_flows: 8, ..CollectorConfig::default() };
    let (hooks, _, _) = HookRunner::load(ScriptSetup::default(), 120, Timestamp::ZERO);
    let mut pipeline = Pipeline::new(PipelineParts {
        place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
        epoch: 0,
        networks: Arc::new(LocalNetworks::default()),
        decoder: Decoder::new(DecoderConfig::default()),
        feed: None,
        table: FlowTable::new(config.table(120, 1)),
        hooks,
        summary_interval_s: 1,
    });
    let (mut batch, mut out, mut rest) = (Batch::default(), Vec::new(), data);
    let (mut at, mut packets) = (Timestamp::from_secs(1_700_000_000), 0);
    while let Some((&[a, b, c, d, high, low], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (frame, tail) = tail.split_at(length.min(tail.len()));
        rest = tail;
        // Up to some seconds forwards, or backwards.
        at = at.plus_ns(i64::from(i32::from_be_bytes([a, b, c, d])) * 4);
        batch.push(at, LinkType::ETHERNET, 0, frame.len() as u32, frame);
        packets += 1;
    }
    pipeline.packets(&batch, &mut || None, &mut out);
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut out, &mut |_| {});
    assert_eq!((pipeline.report().packets, pipeline.live()), (packets, 0));
}
