//! What goes out when an interval ends: summaries, and flows that have ended.

use shared::model::alert::derive_id;
use shared::model::pool::Mac;
use shared::model::{Alert, LocalNetworks, Timestamp};
use shared::wire::delta::{Delta, InterfaceDelta, Producer};

use super::{Item, Pipeline, PipelineParts};
use crate::flow::table::Settle;
use crate::flow::{Flow, Growth};
use crate::flow_alert;
use crate::summary::{HostPart, Summary};

impl Pipeline {
    fn producer(&self, sequence: u64) -> Producer {
        let place = &self.parts.place;
        Producer {
            site: place.site.clone(),
            node: place.node.clone(),
            ifid: place.ifid,
            interface: place.interface.clone(),
            epoch: self.parts.epoch,
            sequence,
        }
    }

    /// Closes the open summary at `to`.
    pub(super) fn flush(&mut self, to: Timestamp, end_of_stream: bool, out: &mut Vec<Item>) {
        let PipelineParts { table, networks, .. } = &mut self.parts;
        table.settle(&mut Counting { summary: &mut self.summary, networks });
        let refused = self.parts.table.detection_refused();
        self.report.error("detection_refused", refused - self.refused_told);
        self.refused_told = refused;
        let evicted = self.parts.table.evicted();
        self.summary.counters().flows_evicted += evicted - self.evicted_told;
        self.evicted_told = evicted;
        let counts = self.parts.hooks.take_counts();
        self.summary.interface.hooks = counts.calls;
        for script in counts.quarantined {
            self.report.error(&format!("script.{script}.quarantined"), 1);
            let alert = flow_alert::interface_alert(
                &self.parts.place,
                "script_quarantined",
                shared::model::Severity::Error,
                format!("Script {script} failed too often and is left alone for a while"),
                to,
            );
            // Of several in one moment each is told.
            let id = derive_id(&[&alert.id, &script]);
            let alert = Alert { id, script, ..alert };
            self.count_alert(&alert.alert_type, alert.action, alert.severity);
            out.push(Item::Alert(Box::new(alert)));
        }
        self.summary.interface.live_flows = self.parts.table.len() as u64;
        self.report_exporters(to);
        self.push_deltas(to, end_of_stream, out);
        self.flush_flows(out);
    }

    /// One delta, or several where there are many hosts: a message has a largest size. All but the
    /// last hold hosts alone and leave the watermark where it was.
    fn push_deltas(&mut self, to: Timestamp, end_of_stream: bool, out: &mut Vec<Item>) {
        let from = self.open_from.unwrap_or(to);
        let (interface, mut hosts, networks) =
            self.summary.take_parts(&self.parts.networks, self.parts.table.names());
        if !self.parts.summaries {
            return;
        }
        let last_part = hosts.pop().unwrap_or_default();
        for HostPart { hosts, contacts, categories, facts } in hosts {
            let part = Delta {
                producer: self.next_producer(),
                from,
                to,
                watermark: from,
                end_of_stream: false,
                interface: InterfaceDelta { live_flows: interface.live_flows, ..InterfaceDelta::default() },
                hosts,
                contacts,
                categories,
                facts,
                networks: Vec::new(),
                traceparent: None,
            };
            out.push(Item::Delta(Box::new(part)));
        }
        let producer = self.next_producer();
        let watermark = to;
        let last = Delta {
            producer,
            from,
            to,
            watermark,
            end_of_stream,
            interface,
            hosts: last_part.hosts,
            contacts: last_part.contacts,
            categories: last_part.categories,
            facts: last_part.facts,
            networks,
            traceparent: None,
        };
        out.push(Item::Delta(Box::new(last)));
    }

    fn next_producer(&mut self) -> Producer {
        self.delta_sequence += 1;
        self.producer(self.delta_sequence)
    }

    pub(super) fn flush_flows(&mut self, out: &mut Vec<Item>) {
        if self.ended.is_empty() {
            return;
        }
        self.flow_sequence += 1;
        let producer = self.producer(self.flow_sequence);
        out.push(Item::Flows(self.ended.finish(producer)));
    }
}

/// Counts flows into a summary.
pub(super) struct Counting<'a> {
    pub(super) summary: &'a mut Summary,
    pub(super) networks: &'a LocalNetworks,
}

impl Settle for Counting<'_> {
    fn soon(&self, flow: &Flow) {
        self.summary.bring_places_near(flow);
    }

    fn next(&self, flow: &Flow) {
        self.summary.bring_counters_near(flow);
    }

    fn settled(&mut self, flow: &Flow, macs: [Option<Mac>; 2], growth: &Growth) {
        self.summary.flow(flow, macs, growth, self.networks, false);
    }
}
