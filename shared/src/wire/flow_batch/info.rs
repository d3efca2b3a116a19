//! Application data in columns: one sparse column a field, named as in JSON (`tls.sni`).
//!
//! A field of a later version is a column whose name is not known here: it is skipped.

use std::borrow::Cow;
use std::sync::Arc;

use super::column::{self, Numbers};
use super::dictionary::{Dictionary, Texts};
use super::malformed;
use crate::model::FlowRecord;
use crate::model::flow::{L7Info, Text};
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
            set: |info, text| info.$part.get_or_insert_default().$field = Arc::clone(text).into(),
        }
    };
    (certificate . $field:ident of tls) => {
        TextField {
            name: concat!("tls.certificate.", stringify!($field)),
            get: |info| {
                let certificate = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                certificate.map_or("", |certificate| &*certificate.$field).into()
            },
            set: |info, text| certificate(info).$field = Arc::clone(text).into(),
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
    Arc::make_mut(info.tls.get_or_insert_default().certificate.get_or_insert_default())
}

/// Separates the names of a certificate; no name has one.
const BETWEEN: char = '\n';

/// A part of the application data: its fields are looked at only where it is there.
struct Part {
    is_there: fn(&L7Info) -> bool,
    texts: &'static [TextField],
    numbers: &'static [NumberField],
}

const PARTS: &[Part] = &[HTTP, DNS, TLS, CERTIFICATE, SSH];

const HTTP: Part = Part {
    is_there: |info| info.http.is_some(),
    texts: &[
        text!(http.method),
        text!(http.host),
        text!(http.url),
        text!(http.user_agent),
        text!(http.content_type),
        text!(http.server),
    ],
    numbers: &[number!(http.status)],
};

const DNS: Part = Part {
    is_there: |info| info.dns.is_some(),
    texts: &[text!(dns.query)],
    numbers: &[
        number!(dns.query_type),
        number!(dns.reply_code),
        number!(dns.queries),
        number!(dns.replies),
        number!(dns.errors),
    ],
};

const TLS: Part = Part {
    is_there: |info| info.tls.is_some(),
    texts: &[
        text!(tls.sni),
        text!(tls.alpn),
        text!(tls.alpns),
        text!(tls.alpn_chosen),
        text!(tls.ja3),
        text!(tls.ja3s),
        text!(tls.ja4),
        text!(tls.user_agent),
    ],
    numbers: &[number!(tls.version), number!(tls.cipher)],
};

const CERTIFICATE: Part = Part {
    is_there: |info| info.tls.as_ref().is_some_and(|tls| tls.certificate.is_some()),
    texts: &[
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
            set: |info, text| certificate(info).names = text.split(BETWEEN).map(Text::from).collect(),
        },
    ],
    numbers: &[
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
    ],
};

const SSH: Part = Part {
    is_there: |info| info.ssh.is_some(),
    texts: &[text!(ssh.client), text!(ssh.server), text!(ssh.hassh), text!(ssh.hassh_server)],
    numbers: &[],
};

fn texts() -> impl Iterator<Item = &'static TextField> {
    PARTS.iter().flat_map(|part| part.texts)
}

fn numbers() -> impl Iterator<Item = &'static NumberField> {
    PARTS.iter().flat_map(|part| part.numbers)
}

/// Names of all columns.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    texts().map(|field| field.name).chain(numbers().map(|field| field.name))
}

/// One column being written: rows that have the field, and its values there.
#[derive(Debug, Default)]
struct Column {
    rows: Numbers,
    values: Numbers,
}

impl Column {
    fn push(&mut self, row: u32, value: u64) {
        self.rows.push(row);
        self.values.push(value);
    }

    /// Appends `TextColumn` or `NumberColumn`, which have their fields alike, and begins anew.
    fn finish(&mut self, to: &mut Vec<u8>, field: column::Field, name: &str) {
        if self.rows.is_empty() {
            return;
        }
        let mut message = Vec::new();
        column::bytes(&mut message, 1, name.as_bytes());
        self.rows.finish_whole(&mut message, 2);
        self.values.finish_whole(&mut message, 3);
        column::bytes(to, field, &message);
    }
}

/// The columns of all fields that some flow has, being written.
#[derive(Debug)]
pub(super) struct InfoColumns {
    texts: Vec<Column>,
    numbers: Vec<Column>,
}

impl Default for InfoColumns {
    fn default() -> Self {
        Self {
            texts: texts().map(|_| Column::default()).collect(),
            numbers: numbers().map(|_| Column::default()).collect(),
        }
    }
}

impl InfoColumns {
    /// Appends what is known of the flow in `row`.
    pub(super) fn push(&mut self, row: u32, info: &L7Info, texts: &mut Dictionary) {
        let (mut text_columns, mut number_columns) = (self.texts.as_mut_slice(), self.numbers.as_mut_slice());
        for part in PARTS {
            let (mine, rest) = text_columns.split_at_mut(part.texts.len());
            let (my_numbers, more) = number_columns.split_at_mut(part.numbers.len());
            (text_columns, number_columns) = (rest, more);
            if !(part.is_there)(info) {
                continue;
            }
            for (field, column) in part.texts.iter().zip(mine) {
                let text = (field.get)(info);
                if !text.is_empty() {
                    column.push(row, texts.index(&text).into());
                }
            }
            for (field, column) in part.numbers.iter().zip(my_numbers) {
                let value = (field.get)(info);
                if value != 0 {
                    column.push(row, value);
                }
            }
        }
    }

    /// Appends the columns as the fields `texts` and `numbers`, and begins anew.
    pub(super) fn finish(
        &mut self,
        to: &mut Vec<u8>,
        texts_field: column::Field,
        numbers_field: column::Field,
    ) {
        for (field, column) in texts().zip(&mut self.texts) {
            column.finish(to, texts_field, field.name);
        }
        for (field, column) in numbers().zip(&mut self.numbers) {
            column.finish(to, numbers_field, field.name);
        }
    }
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
        let Some(field) = self::texts().find(|field| field.name == column.name) else { continue };
        for (row, text) in column.rows.iter().zip(&column.texts) {
            (field.set)(info(flows, &column.name, *row)?, &texts.text(*text)?);
        }
    }
    for column in number_columns {
        same_length(&column.name, column.rows.len(), column.values.len())?;
        let Some(field) = numbers().find(|field| field.name == column.name) else { continue };
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
