//! IPFIX (RFC 7011): a header of 16 bytes and sets; 2 holds templates, 3 option templates, 256 and
//! above data.

use shared::model::Timestamp;

use super::exporter::ExportClock;
use super::field::Field;
use super::records::Records;
use super::registry::Session;
use super::template::{DomainKey, FieldSpec, Template};
use super::{CollectedFlow, IngestError, be16, be32, records};

const HEADER: usize = 16;

/// A record number this far from the expected one is a restart.
const WINDOW: u32 = 1 << 20;

const TEMPLATE_SET: u16 = 2;
const OPTION_TEMPLATE_SET: u16 = 3;

/// Reads one datagram, which holds one message.
///
/// # Errors
/// What is wrong with it; sets before the damage were read.
pub fn decode(
    bytes: &[u8],
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<ExportClock, IngestError> {
    let length = be16(bytes, 2).ok_or(IngestError::Header)?;
    let message = bytes.get(..usize::from(length)).ok_or(IngestError::Length)?;
    let (header, sets) = message.split_at_checked(HEADER).ok_or(IngestError::Header)?;
    let number = |at| be32(header, at).unwrap_or(0);
    let key = DomainKey { version: 10, id: number(12), agent: 0 };
    let clock = session.clock(Timestamp::from_secs(number(4).into()), None);
    let domain = session.domain(key);
    let read = read_sets(sets, key, &clock, session, out);
    if domain {
        // Of a message that was not read to its end nobody knows how many records it has.
        session.exporter.record_sequence(key, number(8), read.unwrap_or(None), WINDOW);
    }
    read.map(|_| clock)
}

/// Reads all sets; how many data records they hold, when that is known.
fn read_sets(
    mut rest: &[u8],
    key: DomainKey,
    clock: &ExportClock,
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<Option<Records>, IngestError> {
    let mut units = Some(Records::default());
    while let (Some(id), Some(length)) = (be16(rest, 0), be16(rest, 2)) {
        let (set, after) = rest.split_at_checked(length.into()).ok_or(IngestError::Set)?;
        let set = set.get(4..).ok_or(IngestError::Set)?;
        rest = after;
        match id {
            TEMPLATE_SET | OPTION_TEMPLATE_SET => templates(set, id, key, session, out)?,
            256.. => {
                let records = records::read_set(session, key, id, set, clock, out)?;
                units = units.zip(records).map(|(sum, records)| Records {
                    flows: sum.flows.saturating_add(records.flows),
                    options: sum.options.saturating_add(records.options),
                });
            }
            _ => {}
        }
    }
    Ok(units)
}

fn templates(
    mut set: &[u8],
    set_id: u16,
    key: DomainKey,
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<(), IngestError> {
    let options = set_id == OPTION_TEMPLATE_SET;
    while let (Some(id), Some(count)) = (be16(set, 0), be16(set, 2)) {
        if count == 0 && (id >= 256 || id == set_id) {
            withdraw(id, options, key, session);
            set = set.get(4..).unwrap_or_default();
            continue;
        }
        // What is left are zeros that fill the set up.
        if id < 256 {
            return Ok(());
        }
        let scopes = if options { be16(set, 4).ok_or(IngestError::Template)? } else { 0 };
        if scopes > count || options && scopes == 0 {
            return Err(IngestError::Template);
        }
        let mut body = set.get(if options { 6 } else { 4 }..).unwrap_or_default();
        let mut fields = Vec::new();
        for _ in 0..count {
            let (field, after) = spec(body).ok_or(IngestError::Template)?;
            fields.push(field);
            body = after;
        }
        set = body;
        records::learn(session, key, id, Template::compile(&fields, options)?, out)?;
    }
    Ok(())
}

/// One field specifier (RFC 7011 §3.2) and what follows.
fn spec(raw: &[u8]) -> Option<(FieldSpec, &[u8])> {
    let (element, length) = (be16(raw, 0)?, be16(raw, 2)?);
    if element & 0x8000 == 0 {
        return Some((FieldSpec { field: Field::of(0, element), length }, raw.get(4..)?));
    }
    let field = Field::of(be32(raw, 4)?, element & 0x7fff);
    Some((FieldSpec { field, length }, raw.get(8..)?))
}

/// Withdraws one template, or with the number of the set all of its kind (RFC 7011 §8.1).
fn withdraw(id: u16, options: bool, key: DomainKey, session: &mut Session<'_>) {
    let templates = &mut session.exporter.templates;
    let gone = match id {
        TEMPLATE_SET | OPTION_TEMPLATE_SET => templates.remove_all(key, |t| t.is_options() == options),
        _ => u64::from(templates.remove(key, id)),
    };
    session.exporter.stats.templates_withdrawn += gone;
}
