//! Application data in columns: one sparse column a field, named as in JSON (`tls.sni`).
//!
//! A field of a later version is a column whose name is not known here: it is skipped.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Dictionary, Texts, malformed};
use crate::model::FlowRecord;
use crate::model::flow::L7Info;
use crate::wire::{WireError, proto};

/// A field of text; empty when absent.
struct TextField {
    name: &'static str,
    get: fn(&L7Info) -> Cow<'_, str>,
    set: fn(&mut L7Info, &Arc<str>),
}

/// A number; 0 when absent.
struct NumberField {
    name: &'static str,
    get: fn(&L7Info) -> u64,
    set: fn(&mut L7Info, u64),
}

macro_rules! text {
    ($part:ident . $field:ident) => {
        TextField {
            name: concat!(stringify!($part), ".", stringify!($field)),
            get: |info| info.$part.as_ref().map_or("", |part| &*part.$field).into(),
            set: |info, text| info.$part.get_or_insert_default().$field = Arc::clone(text),
        }
    };
    (certificate . $field:ident of tls) => {
        TextField {
            name: concat!("tls.certificate.", stringify!($field)),
            get: |info| {
                let certificate = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                certificate.map_or("", |certificate| &*certificate.$field).into()
            },
            set: |info, text| certificate(info).$field = Arc::clone(text),
        }
    };
}

macro_rules! number {
    ($part:ident . $field:ident) => {
        NumberField {
            name: concat!(stringify!($part), ".", stringify!($field)),
            get: |info| info.$part.as_ref().map_or(0, |part| part.$field.into()),
            set: |info, value| {
                info.$part.get_or_insert_default().$field = value.try_into().unwrap_or_default();
            },
        }
    };
    (certificate . $field:ident of tls) => {
        NumberField {
            name: concat!("tls.certificate.", stringify!($field)),
            get: |info| {
                let certificate = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                certificate.map_or(0, |certificate| certificate.$field as u64)
            },
            set: |info, value| certificate(info).$field = value as i64,
        }
    };
}

fn certificate(info: &mut L7Info) -> &mut crate::model::l7_info::TlsCertificate {
    info.tls.get_or_insert_default().certificate.get_or_insert_default()
}

/// Separates the names of a certificate; no name has one.
const BETWEEN: char = '\n';

const TEXTS: &[TextField] = &[
    text!(http.method),
    text!(http.host),
    text!(http.url),
    text!(http.user_agent),
    text!(http.content_type),
    text!(http.server),
    text!(dns.query),
    text!(tls.sni),
    text!(tls.alpn),
    text!(tls.alpns),
    text!(tls.alpn_chosen),
    text!(tls.ja3),
    text!(tls.ja3s),
    text!(tls.ja4),
    text!(tls.user_agent),
    text!(certificate.subject of tls),
    text!(certificate.issuer of tls),
    text!(certificate.fingerprint of tls),
    TextField {
        name: "tls.certificate.names",
        get: |info| {
            let certificate = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
            certificate.map_or(Cow::Borrowed(""), |certificate| match certificate.names.as_slice() {
                [one] => Cow::Borrowed(&**one),
                names => names.join(&*BETWEEN.to_string()).into(),
            })
        },
        set: |info, text| certificate(info).names = text.split(BETWEEN).map(Arc::from).collect(),
    },
    text!(ssh.client),
    text!(ssh.server),
    text!(ssh.hassh),
    text!(ssh.hassh_server),
];

const NUMBERS: &[NumberField] = &[
    number!(http.status),
    number!(dns.query_type),
    number!(dns.reply_code),
    number!(dns.queries),
    number!(dns.replies),
    number!(dns.errors),
    number!(tls.version),
    number!(tls.cipher),
    number!(certificate.not_before of tls),
    number!(certificate.not_after of tls),
    NumberField {
        name: "tls.certificate.self_signed",
        get: |info| {
            let certificate = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
            certificate.is_some_and(|certificate| certificate.self_signed).into()
        },
        set: |info, value| certificate(info).self_signed = value != 0,
    },
];

/// Names of all columns.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|field| field.name).chain(NUMBERS.iter().map(|field| field.name))
}

/// The columns of all fields that some flow has.
pub(super) fn to_wire(
    flows: &[FlowRecord],
    texts: &mut Dictionary,
) -> (Vec<proto::TextColumn>, Vec<proto::NumberColumn>) {
    let with_info: Vec<(u32, &L7Info)> = (0..)
        .zip(flows)
        .map(|(row, flow)| (row, &flow.info))
        .filter(|(_, info)| **info != L7Info::default())
        .collect();
    let text_column = |field: &TextField| {
        let mut column = proto::TextColumn { name: field.name.to_owned(), ..Default::default() };
        for (row, info) in &with_info {
            let text = (field.get)(info);
            if !text.is_empty() {
                column.rows.push(*row);
                column.texts.push(texts.index(&text));
            }
        }
        column
    };
    let text_columns = TEXTS.iter().map(text_column).filter(|column| !column.rows.is_empty()).collect();
    let number_column = |field: &NumberField| {
        let values = with_info.iter().map(|(row, info)| (*row, (field.get)(info)));
        let (rows, values) = values.filter(|(_, value)| *value != 0).unzip();
        proto::NumberColumn { name: field.name.to_owned(), rows, values }
    };
    let number_columns = NUMBERS.iter().map(number_column).filter(|column| !column.rows.is_empty());
    (text_columns, number_columns.collect())
}

/// Puts the columns back into the flows.
pub(super) fn from_wire(
    text_columns: &[proto::TextColumn],
    number_columns: &[proto::NumberColumn],
    texts: &Texts,
    flows: &mut [FlowRecord],
) -> Result<(), WireError> {
    for column in text_columns {
        same_length(&column.name, column.rows.len(), column.texts.len())?;
        let Some(field) = TEXTS.iter().find(|field| field.name == column.name) else { continue };
        for (row, text) in column.rows.iter().zip(&column.texts) {
            (field.set)(info(flows, &column.name, *row)?, &texts.text(*text)?);
        }
    }
    for column in number_columns {
        same_length(&column.name, column.rows.len(), column.values.len())?;
        let Some(field) = NUMBERS.iter().find(|field| field.name == column.name) else { continue };
        for (row, value) in column.rows.iter().zip(&column.values) {
            (field.set)(info(flows, &column.name, *row)?, *value);
        }
    }
    Ok(())
}

fn same_length(name: &str, rows: usize, values: usize) -> Result<(), WireError> {
    if rows == values {
        return Ok(());
    }
    Err(malformed(&format!("column '{name}' has {values} values for {rows} rows")))
}

fn info<'a>(flows: &'a mut [FlowRecord], name: &str, row: u32) -> Result<&'a mut L7Info, WireError> {
    let rows = flows.len();
    let flow = flows.get_mut(row as usize);
    flow.map(|flow| &mut flow.info)
        .ok_or_else(|| malformed(&format!("column '{name}' has row {row} of {rows}")))
}
