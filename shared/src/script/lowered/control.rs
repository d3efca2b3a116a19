//! Where a program goes next: loops, `switch`, and changes of what they go over.

use super::run::Running;
use super::value::{self, Value};
use super::{Change, Changing, Each, GiveUp, Loop, Over, Switch};

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Break,
    Continue,
    Return,
}

impl<'a> Running<'a, '_> {
    pub(super) fn change(&mut self, change: &'a Change) -> Result<(), GiveUp> {
        let value = self.value(&change.value)?;
        let path: Vec<Value<'a>> =
            change.path.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?;
        let mut part = self.locals.get_mut(change.place).ok_or(GiveUp)?;
        for place in path {
            part = part.at_mut(place)?;
        }
        match (change.how, part) {
            (Changing::Put, part) => *part = value,
            (Changing::Compute(operation), part) => {
                *part = value::arithmetic(operation, std::mem::replace(part, Value::Unit), &value)?;
            }
            (Changing::Push, Value::List(items)) => items.push(value),
            (Changing::Push, _) => return Err(GiveUp),
        }
        self.check_size(self.locals.get(change.place).ok_or(GiveUp)?)
    }

    pub(super) fn repeat(&mut self, inner: &'a Loop) -> Result<Goes, GiveUp> {
        match &inner.over {
            Over::While(condition) => {
                while self.holds(condition)? {
                    match self.round(inner)? {
                        Goes::Break => break,
                        Goes::Return => return Ok(Goes::Return),
                        Goes::On | Goes::Continue => {}
                    }
                }
            }
            Over::DoWhile(condition, wanted) => loop {
                match self.round(inner)? {
                    Goes::Break => break,
                    Goes::Return => return Ok(Goes::Return),
                    // The interpreter does not look at the condition either.
                    Goes::Continue => continue,
                    Goes::On => {}
                }
                if self.holds(condition)? != *wanted {
                    break;
                }
            },
            Over::Range(each, from, to, inclusive) => {
                let (Value::Int(from), Value::Int(to)) = (self.value(from)?, self.value(to)?) else {
                    return Err(GiveUp);
                };
                let to = if *inclusive { to } else { to.checked_sub(1).ok_or(GiveUp)? };
                return self.each(inner, *each, (from..=to).map(Value::Int));
            }
            Over::Items(each, items) => {
                let Value::List(items) = self.value(items)? else { return Err(GiveUp) };
                return self.each(inner, *each, items.into_iter());
            }
        }
        Ok(Goes::On)
    }

    fn each(
        &mut self,
        inner: &'a Loop,
        each: Each,
        items: impl Iterator<Item = Value<'a>>,
    ) -> Result<Goes, GiveUp> {
        for (number, item) in items.enumerate() {
            if let Some(counter) = each.counter {
                self.set(counter, Value::Int(i64::try_from(number).map_err(|_| GiveUp)?))?;
            }
            self.set(each.item, item)?;
            match self.round(inner)? {
                Goes::Break => break,
                Goes::Return => return Ok(Goes::Return),
                Goes::On | Goes::Continue => {}
            }
        }
        Ok(Goes::On)
    }

    fn round(&mut self, inner: &'a Loop) -> Result<Goes, GiveUp> {
        self.charge(inner.cost as usize)?;
        self.check_bytes()?;
        self.block(&inner.body)
    }

    pub(super) fn switch(&mut self, switch: &'a Switch) -> Result<Goes, GiveUp> {
        let value = self.value(&switch.on)?;
        let of_value =
            switch.cases.get(&(switch.hash)(value.scalar()?)).map(Vec::as_slice).unwrap_or_default();
        let in_range = |(from, to, _): &&(i64, i64, usize)| match value {
            Value::Int(value) => (*from..=*to).contains(&value),
            _ => false,
        };
        let ranges = switch.ranges.iter().filter(in_range).map(|(.., way)| way);
        for way in of_value.iter().chain(ranges) {
            let (condition, block) = switch.ways.get(*way).ok_or(GiveUp)?;
            if self.holds(condition)? {
                return self.block(block);
            }
        }
        match switch.otherwise.and_then(|way| switch.ways.get(way)) {
            Some((_, block)) => self.block(block),
            None => Ok(Goes::On),
        }
    }
}
