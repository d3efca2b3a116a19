//! Data sets: records by a template, as flows or as what they say about the exporter. NetFlow v9 and
//! IPFIX alike.

use shared::model::Timestamp;

use super::collected::Counters;
use super::draft::Draft;
use super::exporter::{Domain, ExportClock};
use super::names::Names;
use super::registry::{MAX_RECORD_AGE_NS, Session, accept};
use super::stats::ExportStats;
use super::template::{DomainKey, Learnt, Template};
use super::{CollectedFlow, IngestError};

/// Learns a template, and reads what waited for it.
///
/// # Errors
/// What is wrong with the data that waited.
pub fn learn(
    session: &mut Session<'_>,
    key: DomainKey,
    id: u16,
    template: Template,
    out: &mut Vec<CollectedFlow>,
) -> Result<(), IngestError> {
    let limits = session.limits;
    let templates = &mut session.exporter.templates;
    let Learnt::Fresh { evicted } =
        templates.learn(key, id, template, limits.templates, limits.template_fields)
    else {
        return Ok(());
    };
    session.exporter.stats.templates += 1;
    session.exporter.stats.templates_evicted += evicted;
    for waiting in session.pending.take(session.from, key, id) {
        session.exporter.stats.unknown_template_recovered += 1;
        read_set(session, key, id, &waiting.bytes, &waiting.clock, out)?;
    }
    Ok(())
}

/// Records of a set, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Flows, and records of no interest.
    pub flows: u32,
    /// Option records.
    pub options: u32,
}

/// Reads a data set; `None` when its template is not known and it was put aside, else how many
/// records it has.
///
/// # Errors
/// [`IngestError::Record`]; the records before the damage are in `out`.
pub fn read_set(
    session: &mut Session<'_>,
    key: DomainKey,
    id: u16,
    set: &[u8],
    clock: &ExportClock,
    out: &mut Vec<CollectedFlow>,
) -> Result<Option<Records>, IngestError> {
    let exporter = &mut *session.exporter;
    let Some(template) = exporter.templates.get(key, id) else {
        exporter.stats.unknown_template += 1;
        session.pending.put(session.from, key, id, *clock, session.received, set);
        return Ok(None);
    };
    // A domain beyond the limit has no memory of its own.
    let mut nobody = Domain::default();
    let domain = exporter.domains.get_mut(&key).unwrap_or(&mut nobody);
    let mut reader = Reader {
        clock,
        domain,
        names: &mut exporter.names,
        stats: &mut exporter.stats,
        blank: CollectedFlow::of(session.from, key.id),
    };
    reader.read(template, set, out).map(Some)
}

struct Reader<'r> {
    clock: &'r ExportClock,
    domain: &'r mut Domain,
    names: &'r mut Names,
    stats: &'r mut ExportStats,
    blank: CollectedFlow,
}

impl Reader<'_> {
    fn read(
        &mut self,
        template: &Template,
        set: &[u8],
        out: &mut Vec<CollectedFlow>,
    ) -> Result<Records, IngestError> {
        let mut records = Records::default();
        if !template.is_flow() && !template.is_options() {
            // Nothing of ours, but its records count for IPFIX's sequence number.
            records.flows = if template.varies() { 0 } else { (set.len() / template.shortest()) as u32 };
            return Ok(records);
        }
        let mut rest = set;
        loop {
            let mut draft = Draft::new(self.blank.clone());
            let Some(after) = template.read(rest, &mut draft)? else { return Ok(records) };
            rest = after;
            if template.is_options() {
                records.options += 1;
                self.option(&draft);
            } else {
                records.flows += 1;
                self.flow(draft, out);
            }
        }
    }

    fn flow(&mut self, mut draft: Draft<'_>, out: &mut Vec<CollectedFlow>) {
        let (first, last) = self.times(&draft);
        let rate = self.domain.rate_of(&draft);
        if draft.application_id.is_some() || !draft.application_name.is_empty() {
            draft.flow.application = self.names.application(draft.application_id, draft.application_name);
        }
        let mut flow = draft.flow;
        if flow.forward == Counters::default() {
            flow.forward = draft.other;
        }
        flow.first = first;
        flow.last = last;
        flow.scale(rate);
        accept(flow, self.clock, MAX_RECORD_AGE_NS, self.stats, out);
    }

    /// First and last packet, by whatever the record has: absolute times, uptimes, times before the
    /// export, a duration; the time of the export when it has none.
    fn times(&self, draft: &Draft<'_>) -> (Timestamp, Timestamp) {
        let clock = self.clock;
        let boot_ms = draft.boot_ms.or(self.domain.boot_ms);
        let at_uptime = |uptime: Option<u32>| {
            let uptime = uptime?;
            clock
                .at_uptime(uptime)
                .or_else(|| Some(boot_ms?.saturating_add(uptime.into()).saturating_mul(1_000_000)))
        };
        let export = clock.export.ns();
        let before = |delta: Option<i64>| delta.map(|ns| export.saturating_sub(ns));
        let first = draft.absolute.0.or_else(|| at_uptime(draft.uptime.0)).or(before(draft.before_export.0));
        let last = draft.absolute.1.or_else(|| at_uptime(draft.uptime.1)).or(before(draft.before_export.1));
        let duration = draft.duration_ns.unwrap_or(0);
        let (first, last) = match (first, last) {
            (Some(first), Some(last)) => (first, last),
            (Some(first), None) => (first, first.saturating_add(duration)),
            (None, Some(last)) => (last.saturating_sub(duration), last),
            (None, None) => (export.saturating_sub(duration), export),
        };
        let shifted = |ns: i64| Timestamp::from_ns(ns.saturating_add(clock.shift_ns));
        (shifted(first), shifted(last))
    }

    /// What an option record says: how packets are sampled, when the exporter began, what
    /// interfaces and applications are called.
    fn option(&mut self, draft: &Draft<'_>) {
        self.stats.option_records += 1;
        self.domain.learn_sampling(draft);
        if let Some(boot) = draft.boot_ms {
            self.domain.boot_ms = Some(boot);
        }
        if let Some(id) = draft.application_id
            && !draft.application_name.is_empty()
        {
            self.names.set_application(id, draft.application_name);
        }
        let name = match draft.interface_name {
            [] => draft.interface_text,
            name => name,
        };
        let index = if draft.flow.input != 0 { draft.flow.input } else { draft.flow.output };
        if index != 0 && !name.is_empty() {
            self.names.set_interface(index, name);
        }
    }
}
