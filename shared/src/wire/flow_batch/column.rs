//! Protobuf columns that are written row by row, without the values in between.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>. What is written here is read back by
//! the generated types, and the tests compare the two.

/// Number of a field in its message.
pub(super) type Field = u32;

const VARINT: u32 = 0;
const LENGTH: u32 = 2;

/// Appends a variable-length number.
pub(super) fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn key(to: &mut Vec<u8>, field: Field, wire_type: u32) {
    varint(to, u64::from(field << 3 | wire_type));
}

/// Appends a field of bytes, text or a message.
pub(super) fn bytes(to: &mut Vec<u8>, field: Field, value: &[u8]) {
    key(to, field, LENGTH);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

/// Appends a number, unless it is the default.
fn number(to: &mut Vec<u8>, field: Field, value: u64) {
    if value != 0 {
        key(to, field, VARINT);
        varint(to, value);
    }
}

/// A column of numbers (`repeated uint32`, `repeated uint64`).
#[derive(Debug, Default)]
pub(super) struct Numbers {
    packed: Vec<u8>,
    any: bool,
}

impl Numbers {
    pub(super) fn push(&mut self, value: impl Into<u64>) {
        let value = value.into();
        self.any |= value != 0;
        varint(&mut self.packed, value);
    }

    /// Appends the column, unless all of it is 0, and begins anew.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>, field: Field) {
        if std::mem::take(&mut self.any) {
            bytes(to, field, &self.packed);
        }
        self.packed.clear();
    }

    /// Appends the column even if all of it is 0, and begins anew.
    pub(super) fn finish_whole(&mut self, to: &mut Vec<u8>, field: Field) {
        self.any = !self.packed.is_empty();
        self.finish(to, field);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

/// A column of numbers of eight bytes each (`repeated fixed64`, `repeated sfixed64`).
#[derive(Debug, Default)]
pub(super) struct Fixed(Numbers);

impl Fixed {
    pub(super) fn push(&mut self, value: u64) {
        self.0.any |= value != 0;
        self.0.packed.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends the column, unless all of it is 0, and begins anew.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>, field: Field) {
        self.0.finish(to, field);
    }

    /// Appends the column even if all of it is 0, and begins anew.
    pub(super) fn finish_whole(&mut self, to: &mut Vec<u8>, field: Field) {
        self.0.finish_whole(to, field);
    }
}

/// A column of byte strings or messages (`repeated bytes`): every value with its own key.
#[derive(Debug)]
pub(super) struct Blobs {
    field: Field,
    written: Vec<u8>,
    any: bool,
}

impl Blobs {
    pub(super) fn new(field: Field) -> Self {
        Self { field, written: Vec::new(), any: false }
    }

    pub(super) fn push(&mut self, value: &[u8]) {
        self.any |= !value.is_empty();
        bytes(&mut self.written, self.field, value);
    }

    /// Appends a message of numbers, the fields of which count from 1.
    pub(super) fn push_numbers(&mut self, values: &[u64; 11]) {
        key(&mut self.written, self.field, LENGTH);
        let length_at = self.written.len();
        self.written.push(0);
        for (field, value) in (1..).zip(values) {
            number(&mut self.written, field, *value);
        }
        // At most 121: a byte is room enough for it.
        self.written[length_at] = (self.written.len() - length_at - 1) as u8;
        self.any = true;
    }

    /// Appends the column, unless all of it is empty, and begins anew.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>) {
        if std::mem::take(&mut self.any) {
            to.extend_from_slice(&self.written);
        }
        self.written.clear();
    }
}
