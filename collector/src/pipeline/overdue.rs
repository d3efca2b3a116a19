//! Fragments whose datagram's first one never came.

use super::{Item, Pipeline, TraceSource};

impl Pipeline {
    /// Puts them into flows without ports. They were counted for the interface when they came.
    pub(super) fn overdue(&mut self, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        while let Some(packet) = self.parts.decoder.take_overdue() {
            self.parts.table.on_packet(&packet, &mut self.events);
            self.handle_events(packet.ts, trace, out);
        }
    }
}
