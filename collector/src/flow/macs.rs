//! Hardware addresses by number: an interface sees few of them, and flows are many.

use std::collections::HashMap;

use shared::model::pool::Mac;

/// The table. Once it is full, further addresses are not remembered.
#[derive(Debug, Default)]
pub(super) struct Macs {
    all: Vec<Mac>,
    numbers: HashMap<Mac, u16, foldhash::fast::RandomState>,
}

impl Macs {
    /// The number of an address, from 1; 0 when the table is full.
    pub(super) fn number(&mut self, mac: Mac) -> u16 {
        if let Some(number) = self.numbers.get(&mac) {
            return *number;
        }
        let Ok(number) = u16::try_from(self.all.len() + 1) else { return 0 };
        self.all.push(mac);
        self.numbers.insert(mac, number);
        number
    }

    /// The address with this number.
    pub(super) fn get(&self, number: u16) -> Option<Mac> {
        self.all.get(usize::from(number).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_and_a_full_table_gives_none() {
        let mut macs = Macs::default();
        let mac = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            [2, 0, a, b, c, d]
        };
        for n in 0..70_000 {
            let number = macs.number(mac(n));
            assert_eq!(macs.get(number), (n < 65_535).then(|| mac(n)));
            assert_eq!(macs.number(mac(n)), number);
        }
        assert_eq!(macs.get(0), None);
    }
}
