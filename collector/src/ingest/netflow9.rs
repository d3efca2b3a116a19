//! NetFlow version 9 (RFC 3954): a header of 20 bytes and FlowSets; 0 holds templates, 1 option
//! templates, 256 and above data.

use shared::model::Timestamp;

use super::exporter::ExportClock;
use super::field::Field;
use super::registry::Session;
use super::template::{DomainKey, FieldSpec, Template};
use super::{CollectedFlow, IngestError, be16, be32, records};

const HEADER: usize = 20;

/// A datagram number this far from the expected one is a restart.
const WINDOW: u32 = 1 << 16;

/// The scope "Interface" (RFC 3954 §6.1); the others name the exporter's own parts.
const SCOPE_INTERFACE: u16 = 2;

/// Reads one datagram.
///
/// # Errors
/// What is wrong with it; sets before the damage were read.
pub fn decode(
    bytes: &[u8],
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<ExportClock, IngestError> {
    let (header, sets) = bytes.split_at_checked(HEADER).ok_or(IngestError::Header)?;
    let number = |at| be32(header, at).unwrap_or(0);
    let uptime = number(4);
    let export = Timestamp::from_secs(number(8).into());
    let key = DomainKey { version: 9, id: number(16), agent: 0 };
    let clock = session.clock(export, Some(uptime));
    if session.domain(key) {
        session.exporter.uptime(key, uptime);
        session.exporter.sequence(key, number(12), Some(1), WINDOW);
    }
    let mut rest = sets;
    // Some exporters pad the datagram's end by less than a set's header.
    while let (Some(id), Some(length)) = (be16(rest, 0), be16(rest, 2)) {
        let (set, after) = rest.split_at_checked(length.into()).ok_or(IngestError::Set)?;
        let set = set.get(4..).ok_or(IngestError::Set)?;
        rest = after;
        match id {
            0 => templates(set, key, session, out)?,
            1 => option_templates(set, key, session, out)?,
            2..=255 => {}
            _ => {
                records::read_set(session, key, id, set, &clock, out)?;
            }
        }
    }
    Ok(clock)
}

fn templates(
    mut set: &[u8],
    key: DomainKey,
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<(), IngestError> {
    while let (Some(id @ 256..), Some(count)) = (be16(set, 0), be16(set, 2)) {
        let body = set.get(4..).unwrap_or_default();
        let (raw, after) = body.split_at_checked(usize::from(count) * 4).ok_or(IngestError::Template)?;
        set = after;
        let fields: Vec<_> = specs(raw).collect();
        records::learn(session, key, id, Template::compile(&fields, false)?, out)?;
    }
    Ok(())
}

fn option_templates(
    mut set: &[u8],
    key: DomainKey,
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<(), IngestError> {
    while let (Some(id @ 256..), Some(scope), Some(options)) = (be16(set, 0), be16(set, 2), be16(set, 4)) {
        let body = set.get(6..).unwrap_or_default();
        let (scopes, body) = body.split_at_checked(scope.into()).ok_or(IngestError::Template)?;
        let (fields, after) = body.split_at_checked(options.into()).ok_or(IngestError::Template)?;
        set = after;
        let scopes = scopes.chunks_exact(4).map(|raw| FieldSpec {
            field: if be16(raw, 0) == Some(SCOPE_INTERFACE) { Field::Input } else { Field::Skip },
            length: be16(raw, 2).unwrap_or(0),
        });
        let fields: Vec<_> = scopes.chain(specs(fields)).collect();
        records::learn(session, key, id, Template::compile(&fields, true)?, out)?;
    }
    Ok(())
}

/// Type and length of each field.
fn specs(raw: &[u8]) -> impl Iterator<Item = FieldSpec> {
    raw.chunks_exact(4).map(|raw| FieldSpec {
        field: Field::of(0, be16(raw, 0).unwrap_or(0)),
        length: be16(raw, 2).unwrap_or(0),
    })
}
