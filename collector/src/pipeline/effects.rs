//! Flow events become hook calls, and what scripts ask for is carried out.

use shared::model::metric::Metric;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AlertAction, FlowEnd, FlowRecord, Timestamp};
use shared::script::{Effect, FlowHook, LogLevel};
use shared::wire::proto::HttpPost;

use super::flush::Counting;
use super::{FLOWS_PER_BATCH, Item, Pipeline, TEXT_PER_BATCH, TraceSource, flow_events};
use crate::flow::event::FlowIndex;
use crate::flow::{Flow, FlowEvent, FlowTable};
use crate::flow_alert;
use crate::hooks::Asked;

/// Rounds of `statusChanged` for changes that hooks themselves make.
const STATUS_ROUNDS: usize = 4;

/// Types of alerts that one flow has at most: what is remembered of them is not counted for any script.
const ALERTS_OF_FLOW: usize = 32;

impl Pipeline {
    /// Runs the hooks of what has happened, in order, at event time `now` or when it happened.
    pub(super) fn handle_events(&mut self, now: Timestamp, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        let now = now.max(self.parts.table.now());
        std::mem::swap(&mut self.events, &mut self.handling);
        let mut handling = std::mem::take(&mut self.handling);
        let mut coming = handling.drain(..);
        while let Some(event) = coming.next() {
            let counting = Counting { summary: &mut self.summary, networks: &self.parts.networks };
            FlowTable::bring_ended_near(coming.as_slice(), &counting);
            match event {
                FlowEvent::ProtocolDetected(place) => {
                    self.call_live(FlowHook::ProtocolDetected, place, 0, now, trace, out);
                }
                FlowEvent::StatusChanged { flow, .. } => self.tell_status(flow, now, trace, out),
                FlowEvent::PeriodicUpdate { .. } if self.overloaded => {
                    self.summary.counters().hook_skips += 1;
                    self.report.error("hook_skips", 1);
                }
                FlowEvent::PeriodicUpdate { flow, tick } => {
                    self.call_live(FlowHook::PeriodicUpdate, flow, tick, now, trace, out);
                    self.tell_status(flow, now, trace, out);
                }
                FlowEvent::End { mut flow, reason } => {
                    self.end_flow(&mut flow, reason, now, trace, out);
                    self.parts.table.give_back(flow);
                }
            }
        }
        drop(coming);
        self.handling = handling;
    }

    /// Tells `statusChanged` for as long as bits differ, hooks' own changes included.
    fn tell_status(
        &mut self,
        place: FlowIndex,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        for _ in 0..STATUS_ROUNDS {
            let Some(old) = self.parts.table.status_change(place) else { return };
            self.parts.table.status_told(place);
            let Some(flow) = self.parts.table.get(place) else { return };
            let names = self.parts.table.names();
            let wanted = self.parts.hooks.wants_flow(FlowHook::StatusChanged, flow, names, old, 0, now);
            let sampled = self.is_sampled(flow.id);
            if !wanted && !sampled {
                return;
            }
            let mut record = self.parts.table.record(flow, self.parts.record_context(), None);
            self.summary.locate(&mut record);
            if sampled {
                self.tell_hook(FlowHook::StatusChanged, &record, out);
            }
            if wanted {
                let asked = self.parts.hooks.call(FlowHook::StatusChanged, &record, old, 0, now);
                self.carry_out_live(asked, place, record, now, trace, out);
            }
        }
    }

    fn call_live(
        &mut self,
        hook: FlowHook,
        place: FlowIndex,
        tick: u64,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        let Some(flow) = self.parts.table.get(place) else { return };
        let names = self.parts.table.names();
        let wanted = self.parts.hooks.wants_flow(hook, flow, names, flow.status, tick, now);
        let sampled = self.is_sampled(flow.id);
        if !wanted && !sampled {
            return;
        }
        let mut record = self.parts.table.record(flow, self.parts.record_context(), None);
        self.summary.locate(&mut record);
        if sampled {
            self.tell_hook(hook, &record, out);
        }
        if wanted {
            let asked = self.parts.hooks.call(hook, &record, flow.status, tick, now);
            self.carry_out_live(asked, place, record, now, trace, out);
        }
    }

    fn carry_out_live(
        &mut self,
        asked: Vec<Asked>,
        place: FlowIndex,
        mut record: FlowRecord,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        if asked.is_empty() {
            return;
        }
        let Some(mut flow) = self.parts.table.take(place) else { return };
        self.carry_out(asked, &mut flow, &mut record, now, trace, out);
        self.parts.table.put_back(place, flow);
    }

    /// The last hooks of a flow: what was not told yet, then `flowEnd`.
    fn end_flow(
        &mut self,
        flow: &mut Flow,
        reason: FlowEnd,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        let growth = self.parts.table.settle_ended(flow);
        let mut record = self.parts.table.last_record(flow, self.parts.record_context(), reason);
        self.summary.locate(&mut record);
        if flow.take_detection() {
            let old = record.status;
            self.call_ended(FlowHook::ProtocolDetected, flow, &mut record, old, now, trace, out);
        }
        for _ in 0..STATUS_ROUNDS {
            let Some(old) = flow.take_status_change() else { break };
            self.call_ended(FlowHook::StatusChanged, flow, &mut record, old, now, trace, out);
        }
        let old = record.status;
        self.call_ended(FlowHook::FlowEnd, flow, &mut record, old, now, trace, out);
        let macs = [record.client.mac, record.server.mac];
        self.summary.flow(flow, macs, &growth, &self.parts.networks, true);
        self.report.flows += 1;
        let name = flow.name().number();
        if self.ended_by_name.len() <= name {
            self.ended_by_name.resize(name + 1, 0);
        }
        self.ended_by_name[name] += 1;
        if record.status & FlowStatus::MalformedPacket.bit() != 0 {
            *self.malformed.entry(flow.l7().unwrap_or_default()).or_default() += 1;
        }
        self.ended.push(&record);
        if self.ended.len() >= FLOWS_PER_BATCH || self.ended.text_len() >= TEXT_PER_BATCH {
            self.flush_flows(out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, private")]
    fn call_ended(
        &mut self,
        hook: FlowHook,
        flow: &mut Flow,
        record: &mut FlowRecord,
        old: StatusBits,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        if self.is_sampled(flow.id) {
            self.tell_hook(hook, record, out);
        }
        if self.parts.hooks.wants_flow(hook, flow, self.parts.table.names(), old, 0, now) {
            let asked = self.parts.hooks.call(hook, record, old, 0, now);
            self.carry_out(asked, flow, record, now, trace, out);
        }
    }

    fn carry_out(
        &mut self,
        asked: Vec<Asked>,
        flow: &mut Flow,
        record: &mut FlowRecord,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        for Asked { script, effect } in asked {
            match effect {
                Effect::Trigger(request) | Effect::Store(request) => {
                    let meta = self.parts.hooks.meta(script);
                    let once = flow_alert::once_key(meta, &request);
                    let extra = flow.extra.get_or_insert_default();
                    if extra.alerts.contains(&once) {
                        continue;
                    }
                    if extra.alerts.len() >= ALERTS_OF_FLOW {
                        let key = &meta.key;
                        self.report.error(&format!("script.{key}.too_many_alerts"), 1);
                        continue;
                    }
                    extra.alerts.push(once);
                    let (severity, score) = meta.weight(&request);
                    let kind = flow_alert::type_of(meta, &request).to_owned();
                    // Where nobody reads alerts they are only counted, unless some of them do not count.
                    let mut alert = (self.parts.alerts || self.parts.hooks.has_exclusions())
                        .then(|| flow_alert::build(request, meta, record, &self.parts.place, now, trace()));
                    if alert.as_ref().is_some_and(|alert| self.parts.hooks.excludes(alert)) {
                        continue;
                    }
                    let predominant = flow_alert::weigh(&kind, score, extra);
                    if let Some(alert) = &mut alert {
                        flow_alert::tell_weight(alert, predominant, extra);
                    }
                    record.score = extra.score;
                    record.top_score = extra.top_score.unwrap_or(0);
                    let hosts = [record.client_host(), record.server_host()];
                    self.summary.alert(hosts, score, &self.parts.networks, record.last_seen);
                    self.count_alert(&kind, AlertAction::Store, severity);
                    out.extend(alert.map(|alert| Item::Alert(Box::new(alert))));
                }
                Effect::SetStatus(bit) => flow.status |= 1u64.checked_shl(bit.into()).unwrap_or(0),
                Effect::ClearStatus(bit) => flow.status &= !1u64.checked_shl(bit.into()).unwrap_or(0),
                other => {
                    let key = self.parts.hooks.meta(script).key.clone();
                    self.carry_out_other(key, other, now, trace, out);
                }
            }
            record.status = flow.status;
        }
    }

    pub(super) fn carry_out_without_flow(
        &mut self,
        asked: Vec<Asked>,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        for Asked { script, effect } in asked {
            let key = self.parts.hooks.meta(script).key.clone();
            self.carry_out_other(key, effect, now, trace, out);
        }
    }

    /// What scripts that are no more asked for in their `teardown`, by their keys.
    pub(super) fn carry_out_last_words(
        &mut self,
        asked: Vec<(String, Effect)>,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        for (key, effect) in asked {
            self.carry_out_other(key, effect, now, &mut || None, out);
        }
    }

    /// Effects that do not concern a flow. Alerts and status outside a flow concern nothing, and
    /// there is nothing to release on a flow: those are counted as errors of the script.
    fn carry_out_other(
        &mut self,
        key: String,
        effect: Effect,
        now: Timestamp,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
    ) {
        let place = &self.parts.place;
        match effect {
            Effect::HttpPost { url, body } => {
                self.posts += 1;
                let number = self.posts.to_string();
                let ifid = place.ifid.to_string();
                let at = now.ns().to_string();
                out.push(Item::Post(HttpPost {
                    id: shared::model::alert::derive_id(&[
                        &place.site,
                        &place.node,
                        &ifid,
                        &key,
                        &at,
                        &number,
                    ]),
                    site: place.site.clone(),
                    script: key,
                    url,
                    body,
                    asked_ns: now.ns(),
                    traceparent: trace().unwrap_or_default(),
                }));
            }
            Effect::Publish { subject, payload } => out.push(flow_events::published(subject, payload)),
            Effect::Log(LogLevel::Warn, text) => tracing::warn!(script = %key, "{text}"),
            Effect::Log(LogLevel::Info, text) => tracing::info!(script = %key, "{text}"),
            Effect::Log(LogLevel::Debug, text) => tracing::debug!(script = %key, "{text}"),
            Effect::Note { name, gauge, value } => {
                let noted = self.summary.note(format!("{key}.{name}"), Metric::once(gauge, value));
                if !noted {
                    self.report.error(&format!("script.{key}.too_many_names"), 1);
                }
            }
            _ => self.report.error(&format!("script.{key}.effect_without_flow"), 1),
        }
    }
}
