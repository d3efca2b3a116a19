//! What the steps of a program cost, and how large what it makes may be.

use super::GiveUp;
use super::run::Running;
use super::value::Value;
use crate::counting;

/// Items of a list or map, those within included; what is larger is the interpreter's.
const MAX_ITEMS: usize = 1000;

/// So many bytes of text, and so many items, cost as much as a part of a program does.
pub(super) const BYTES_A_PART: usize = 32;
const ITEMS_A_PART: usize = 4;

/// Parts that reading an address or a prefix costs.
pub(super) const PARTS_A_PREFIX: usize = 8;

impl<'a> Running<'a, '_> {
    /// Takes what something large costs off what may still be done: a limit on parts alone would say nothing
    /// of time.
    #[inline]
    pub(super) fn charge(&self, parts: usize) -> Result<(), GiveUp> {
        if parts == 0 {
            return Ok(());
        }
        let parts = u32::try_from(parts).map_err(|_| GiveUp)?;
        let left = self.steps.get().checked_sub(parts);
        self.steps.set(left.unwrap_or(0));
        left.map(drop).ok_or(GiveUp)
    }

    /// The same for a value that is gone through from one end to the other.
    #[inline]
    pub(super) fn charge_for(&self, value: &Value<'_>) -> Result<(), GiveUp> {
        match value {
            Value::Text(text) => self.charge(text.len() / BYTES_A_PART),
            Value::List(_) | Value::Map(_) => {
                let (items, bytes) = value.size();
                self.charge(items / ITEMS_A_PART + bytes / BYTES_A_PART)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_size(&self, value: &Value<'a>) -> Result<(), GiveUp> {
        if !matches!(value, Value::List(_) | Value::Map(_)) {
            return Ok(());
        }
        let (items, bytes) = value.size();
        self.charge(items / ITEMS_A_PART + bytes / BYTES_A_PART)?;
        if items > MAX_ITEMS || bytes > self.input.max_string { Err(GiveUp) } else { Ok(()) }
    }

    pub(super) fn check_bytes(&self) -> Result<(), GiveUp> {
        if counting::bytes() - self.bytes > self.input.max_bytes { Err(GiveUp) } else { Ok(()) }
    }

    pub(super) fn small(&self, value: Value<'a>) -> Result<Value<'a>, GiveUp> {
        self.check_size(&value)?;
        Ok(value)
    }

    /// What was made is no larger than the interpreter would let it be.
    pub(super) fn limited(&self, value: Value<'a>) -> Result<Value<'a>, GiveUp> {
        match &value {
            Value::Text(text) if text.len() > self.input.max_string => Err(GiveUp),
            Value::List(_) | Value::Map(_) => self.small(value),
            _ => Ok(value),
        }
    }
}
