//! Templates, compiled to the few fields that matter, and the table of an exporter's templates.

use std::collections::HashMap;

use super::IngestError;
use super::draft::Draft;
use super::field::Field;

/// Length that says that each record has its own (RFC 7011 §7).
const VARIABLE: u16 = 65535;

/// Fields a template may have; the largest seen in practice are below 100.
const MAX_FIELDS: usize = 512;

/// One step of reading a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// Where the field begins; without meaning when an earlier field varies in length.
    offset: u16,
    /// Its length, or [`VARIABLE`].
    length: u16,
    field: Field,
}

/// One field as a template announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// What it means.
    pub field: Field,
    /// Bytes, 65535 when each record says.
    pub length: u16,
}

/// A template: how to read a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    steps: Box<[Step]>,
    /// Bytes of a record; the least when they vary.
    record: usize,
    variable: bool,
    options: bool,
    flow: bool,
}

impl Template {
    /// Compiles what an exporter announced. `options` says that its records describe the exporter
    /// instead of flows.
    ///
    /// # Errors
    /// [`IngestError::Template`] when there are no fields, too many, or none that has a length.
    pub fn compile(fields: &[FieldSpec], options: bool) -> Result<Self, IngestError> {
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            return Err(IngestError::Template);
        }
        let variable = fields.iter().any(|f| f.length == VARIABLE);
        let mut steps = Vec::with_capacity(fields.len());
        let mut record = 0usize;
        for spec in fields {
            let offset = u16::try_from(record).map_err(|_| IngestError::Template)?;
            // With varying lengths, skipped fields must be walked over too.
            if spec.field != Field::Skip || variable {
                steps.push(Step { offset, length: spec.length, field: spec.field });
            }
            record += if spec.length == VARIABLE { 1 } else { usize::from(spec.length) };
        }
        if record == 0 || record > usize::from(u16::MAX) {
            return Err(IngestError::Template);
        }
        let flow = steps.iter().any(|step| step.field.is_address());
        Ok(Self { steps: steps.into(), record, variable, options, flow })
    }

    /// True when its records describe the exporter.
    pub fn is_options(&self) -> bool {
        self.options
    }

    /// True when its records have an address, without which they are no flows.
    pub fn is_flow(&self) -> bool {
        self.flow && !self.options
    }

    /// True when records differ in length.
    pub fn varies(&self) -> bool {
        self.variable
    }

    /// Bytes of the shortest record.
    pub fn shortest(&self) -> usize {
        self.record
    }

    /// Reads the record that `bytes` begin with, and returns what follows it. `None` when fewer
    /// bytes are left than a record has: padding.
    ///
    /// # Errors
    /// [`IngestError::Record`] when a field of varying length ends outside.
    #[inline]
    pub fn read<'a>(&self, bytes: &'a [u8], draft: &mut Draft<'a>) -> Result<Option<&'a [u8]>, IngestError> {
        let Some((record, rest)) = bytes.split_at_checked(self.record) else { return Ok(None) };
        if self.variable {
            return self.walk(bytes, draft).map(Some);
        }
        for step in &self.steps {
            let start = usize::from(step.offset);
            if let Some(raw) = record.get(start..start + usize::from(step.length)) {
                draft.set(step.field, raw);
            }
        }
        Ok(Some(rest))
    }

    fn walk<'a>(&self, bytes: &'a [u8], draft: &mut Draft<'a>) -> Result<&'a [u8], IngestError> {
        let mut rest = bytes;
        for step in &self.steps {
            let mut length = usize::from(step.length);
            if step.length == VARIABLE {
                (length, rest) = varying_length(rest).ok_or(IngestError::Record)?;
            }
            let (raw, after) = rest.split_at_checked(length).ok_or(IngestError::Record)?;
            draft.set(step.field, raw);
            rest = after;
        }
        Ok(rest)
    }
}

/// The length that stands before a field of varying length: one byte, or 255 and two bytes.
fn varying_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [255, high, low, rest @ ..] => Some((u16::from_be_bytes([*high, *low]).into(), rest)),
        [255, ..] => None,
        [length, rest @ ..] => Some((usize::from(*length), rest)),
        [] => None,
    }
}

/// Whose templates: they are numbered anew in each observation domain (IPFIX) or source (v9), and
/// an exporter may speak both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainKey {
    /// Version of the export format: 5, 9, 10; 105 for sFlow v5.
    pub version: u8,
    /// Number of the domain.
    pub id: u32,
    /// sFlow: distinguishes agents behind one sender, else 0.
    pub agent: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    template: Template,
    used: u64,
}

/// What became of a template that an exporter announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// It was known, and is the same.
    Known,
    /// It is new or differs from what it was; so many others had to go.
    Fresh {
        /// Templates thrown out to make room.
        evicted: u64,
    },
}

/// All templates of an exporter, bounded in number and steps; the longest unused goes first.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    map: HashMap<(DomainKey, u16), Stored>,
    steps: usize,
    clock: u64,
}

impl Templates {
    /// How many are known.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True when none is known.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Learns a template, and forgets others when there are then more than `max` or they have more
    /// than `max_steps` fields together.
    pub fn learn(
        &mut self,
        domain: DomainKey,
        id: u16,
        template: Template,
        max: usize,
        max_steps: usize,
    ) -> Learnt {
        self.clock += 1;
        let used = self.clock;
        if let Some(stored) = self.map.get_mut(&(domain, id))
            && stored.template == template
        {
            stored.used = used;
            return Learnt::Known;
        }
        self.remove(domain, id);
        let mut evicted = 0;
        while !self.map.is_empty() && (self.map.len() >= max || self.steps + template.steps.len() > max_steps)
        {
            let oldest = self.map.iter().min_by_key(|(_, s)| s.used).map(|(key, _)| *key);
            let Some((domain, id)) = oldest else { break };
            self.remove(domain, id);
            evicted += 1;
        }
        self.steps += template.steps.len();
        self.map.insert((domain, id), Stored { template, used });
        Learnt::Fresh { evicted }
    }

    /// The template of a number.
    pub fn get(&mut self, domain: DomainKey, id: u16) -> Option<&Template> {
        self.clock += 1;
        let stored = self.map.get_mut(&(domain, id))?;
        stored.used = self.clock;
        Some(&stored.template)
    }

    /// Forgets a template; true when it was known.
    pub fn remove(&mut self, domain: DomainKey, id: u16) -> bool {
        let removed = self.map.remove(&(domain, id));
        self.steps -= removed.as_ref().map_or(0, |s| s.template.steps.len());
        removed.is_some()
    }

    /// Forgets the templates of a domain for which `which` holds; how many those were.
    pub fn remove_all(&mut self, domain: DomainKey, which: impl Fn(&Template) -> bool) -> u64 {
        let before = self.map.len();
        self.map.retain(|(of, _), stored| *of != domain || !which(&stored.template));
        self.steps = self.map.values().map(|s| s.template.steps.len()).sum();
        (before - self.map.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::ingest::CollectedFlow;

    fn spec(element: u16, length: u16) -> FieldSpec {
        FieldSpec { field: Field::of(0, element), length }
    }

    fn read<'a>(template: &Template, bytes: &'a [u8]) -> (CollectedFlow, &'a [u8]) {
        let mut draft = Draft::new(CollectedFlow::of(IpAddr::from([127, 0, 0, 1]), 0));
        let rest = template.read(bytes, &mut draft).unwrap().unwrap();
        (draft.flow, rest)
    }

    #[test]
    fn a_fixed_record_is_read_at_its_offsets_without_the_fields_in_between() {
        let template =
            Template::compile(&[spec(999, 3), spec(8, 4), spec(998, 1), spec(2, 1)], false).unwrap();
        assert_eq!(template.steps.len(), 2);
        let (flow, rest) = read(&template, &[9, 9, 9, 10, 0, 0, 1, 9, 42, 77]);
        assert_eq!((flow.src, flow.forward.packets, rest), (IpAddr::from([10, 0, 0, 1]), 42, &[77][..]));
    }

    #[test]
    fn a_varying_record_is_walked_over() {
        let template = Template::compile(&[spec(999, VARIABLE), spec(8, 4)], false).unwrap();
        let (flow, rest) = read(&template, &[2, 0, 0, 10, 0, 0, 1, 5]);
        assert_eq!((flow.src, rest), (IpAddr::from([10, 0, 0, 1]), &[5][..]));
        let mut long = vec![255, 1, 0];
        long.extend_from_slice(&[0; 256]);
        long.extend_from_slice(&[10, 0, 0, 2]);
        assert_eq!(read(&template, &long).0.src, IpAddr::from([10, 0, 0, 2]));
        let mut draft = Draft::new(CollectedFlow::of(IpAddr::from([127, 0, 0, 1]), 0));
        assert_eq!(template.read(&[9, 1, 2, 3, 4, 5], &mut draft), Err(IngestError::Record));
        assert_eq!(template.read(&[9, 1], &mut draft), Ok(None));
    }

    #[test]
    fn impossible_templates_are_refused() {
        for fields in [vec![], vec![spec(8, 0)], vec![spec(8, 65534); 2], vec![spec(8, 4); MAX_FIELDS + 1]] {
            assert_eq!(Template::compile(&fields, false), Err(IngestError::Template));
        }
    }

    #[test]
    fn the_longest_unused_template_goes_when_there_are_too_many() {
        let domain = DomainKey { version: 9, id: 1, agent: 0 };
        let template = |length| Template::compile(&[spec(8, length)], false).unwrap();
        let mut table = Templates::default();
        for id in 256..260 {
            assert_eq!(table.learn(domain, id, template(4), 4, 100), Learnt::Fresh { evicted: 0 });
        }
        assert_eq!(table.learn(domain, 256, template(4), 4, 100), Learnt::Known);
        assert!(table.get(domain, 257).is_some());
        assert_eq!(table.learn(domain, 300, template(4), 4, 100), Learnt::Fresh { evicted: 1 });
        assert!(table.get(domain, 258).is_none() && table.get(domain, 257).is_some());
        assert_eq!(table.learn(domain, 301, template(4), 9, 2), Learnt::Fresh { evicted: 3 });
        assert_eq!((table.len(), table.steps), (2, 2));
        assert_eq!(table.remove_all(domain, |_| true), 2);
        assert_eq!((table.len(), table.steps), (0, 0));
    }
}
