//! Packets with export datagrams become collected flows instead of being counted themselves.

use std::sync::Arc;

use shared::model::Timestamp;

use super::{Item, Pipeline, TraceSource};
use crate::capture::Batch;
use crate::ingest::feed::Fed;

/// An exporter that was not heard of for so many seconds is silent: exporters send what is live each
/// minute, or sooner.
const EXPORTER_PATIENCE_S: i64 = 120;

impl Pipeline {
    /// Takes a batch of packets that carry export datagrams. The interface counts the packets and
    /// bytes that the records report; the datagrams themselves are in the exporters' counters.
    pub(super) fn datagrams(&mut self, batch: &Batch, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        let mut flows = std::mem::take(&mut self.collected);
        for (desc, frame) in batch.iter() {
            let Some(feed) = &mut self.parts.feed else { break };
            flows.clear();
            let at = match feed.packet(desc, frame, &mut flows) {
                Fed::Datagram(at) => at,
                Fed::Damaged(error) => {
                    self.summary.counters().decode_errors += 1;
                    self.report.error(error.name(), 1);
                    desc.ts
                }
                Fed::Other => {
                    self.report.error("export_other_packet", 1);
                    desc.ts
                }
                Fed::NotAllowed => {
                    self.report.error("export_not_allowed", 1);
                    desc.ts
                }
            };
            self.advance(at, trace, out);
            for flow in flows.drain(..) {
                let packets = flow.forward.packets.saturating_add(flow.reverse.packets);
                let bytes = flow.forward.bytes.saturating_add(flow.reverse.bytes);
                let counters = self.summary.counters();
                counters.packets = counters.packets.saturating_add(packets);
                counters.bytes = counters.bytes.saturating_add(bytes);
                self.report.packets = self.report.packets.saturating_add(packets);
                self.report.bytes = self.report.bytes.saturating_add(bytes);
                self.parts.table.on_collected(&flow, at, &mut self.events);
                if !self.events.is_empty() {
                    self.handle_events(at, trace, out);
                }
            }
        }
        self.collected = flows;
    }

    /// Puts the exporters' counters into the report: with each summary, not with each batch, because
    /// there may be a thousand exporters.
    pub(super) fn report_exporters(&mut self, now: Timestamp) {
        let Some(feed) = &self.parts.feed else { return };
        let interval = u64::from(self.parts.summary_interval_s);
        self.summary.interface.counters.exporter_silent_seconds +=
            feed.silent(now, EXPORTER_PATIENCE_S) * interval;
        self.summary.interface.collected = true;
        let counts = feed.stats().into_iter().map(|(exporter, stats)| (exporter.to_string(), stats.counts()));
        self.report.exporters = Arc::new(counts.collect());
    }
}
