//! What was counted of one exporter.

use std::collections::BTreeMap;

macro_rules! stats {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counters of one exporter, or of several added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ExportStats {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl ExportStats {
            /// Every counter by name, in the order of the list.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }

            /// Adds other counters.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

stats! {
    /// Datagrams received.
    datagrams,
    /// Their bytes, without IP and UDP headers.
    bytes,
    /// Flow records and flow samples understood.
    records,
    /// Packets that the records count, sampling scaled.
    packets,
    /// Bytes that the records count, sampling scaled.
    flow_bytes,
    /// Option records understood.
    option_records,
    /// sFlow counter samples.
    counter_samples,
    /// Templates and option templates learnt or changed.
    templates,
    /// Templates withdrawn by the exporter.
    templates_withdrawn,
    /// Templates thrown out to make room.
    templates_evicted,
    /// Data sets put aside because their template was not known.
    unknown_template,
    /// Data sets put aside that were read after all.
    unknown_template_recovered,
    /// Data sets thrown away because their template did not come in time or they were too many.
    unknown_template_dropped,
    /// Lost on the way, by sequence numbers: flows (v5), datagrams (v9, sFlow), records (IPFIX).
    lost,
    /// Datagrams that came after a later one.
    out_of_order,
    /// Flow samples that the sFlow agent or the way dropped.
    samples_lost,
    /// Times the exporter began anew.
    restarts,
    /// Datagrams that break their own grammar.
    malformed,
    /// Datagrams whose export time is too far from the time they came at.
    clock_skew,
    /// Records whose times are too far from their datagram's.
    stale_times,
    /// Records that count more than any flow has; they count as much as is believed.
    implausible,
}

impl ExportStats {
    /// The counters that are not 0, by name.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.entries().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
    }
}
