//! Counters of many rows as one column for each counter.

use super::proto::Column;
use super::{HostCounters, InterfaceCounters, NetworkCounters, WireError};

/// A table of counters, seen by id.
pub(super) trait Counters {
    /// How many counters the table has.
    const COUNT: usize;

    /// Calls `each` with every id and value.
    fn each(&self, each: impl FnMut(usize, u64));

    /// The counter with this id; `None` for an id of a later version.
    fn slot(&mut self, id: usize) -> Option<&mut u64>;
}

macro_rules! counters {
    ($($table:ident),+) => {$(
        impl Counters for $table {
            const COUNT: usize = Self::NAMES.len();

            fn each(&self, mut each: impl FnMut(usize, u64)) {
                for (id, value) in self.values().into_iter().enumerate() {
                    each(id, value);
                }
            }

            fn slot(&mut self, id: usize) -> Option<&mut u64> {
                Self::slot(self, id)
            }
        }
    )+};
}

counters!(HostCounters, NetworkCounters, InterfaceCounters);

/// One column for each counter that is not 0 in all rows.
pub(super) fn write<'a, C: Counters + 'a>(rows: impl ExactSizeIterator<Item = &'a C>) -> Vec<Column> {
    let count = rows.len();
    let mut columns: Vec<Vec<u64>> = vec![Vec::new(); C::COUNT];
    for (row, counters) in rows.enumerate() {
        counters.each(|id, value| {
            if value == 0 && columns[id].is_empty() {
                return;
            }
            // A column begins with the first row that needs it; the rows before it are 0.
            if columns[id].is_empty() {
                columns[id] = Vec::with_capacity(count);
                columns[id].resize(row, 0);
            }
            columns[id].push(value);
        });
    }
    let numbered = columns.into_iter().enumerate().filter(|(_, values)| !values.is_empty());
    numbered.map(|(id, values)| Column { counter: id as u32, values }).collect()
}

/// Fills `rows` from the columns; counters of later versions are skipped.
pub(super) fn read<C: Counters>(
    columns: &[Column],
    rows: &mut [C],
    what: &'static str,
) -> Result<(), WireError> {
    for column in columns {
        let id = column.counter as usize;
        if id >= C::COUNT {
            continue;
        }
        if column.values.len() != rows.len() {
            let (len, rows) = (column.values.len(), rows.len());
            return Err(WireError::malformed(what, format!("counter {id} has {len} values for {rows} rows")));
        }
        for (row, value) in rows.iter_mut().zip(&column.values) {
            if let Some(slot) = row.slot(id) {
                *slot = *value;
            }
        }
    }
    Ok(())
}
