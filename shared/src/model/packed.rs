//! Counters in few bytes: what an element had counted at each run is kept for every element, and most
//! counters of most elements are 0.

/// Counter values: a bit for each that is not 0, then those values, all as LEB128.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// At most 64 values.
    pub fn new(values: &[u64]) -> Self {
        debug_assert!(values.len() <= 64);
        if values.iter().all(|value| *value == 0) {
            return Self::default();
        }
        let mut bytes = Vec::with_capacity(32);
        let set = values.iter().enumerate().filter(|(_, value)| **value != 0);
        push(&mut bytes, set.fold(0, |bits, (place, _)| bits | 1 << place));
        values.iter().filter(|value| **value != 0).for_each(|value| push(&mut bytes, *value));
        Self(bytes.into_boxed_slice())
    }

    /// Those that [`Packed::bytes`] gave; whatever else is there makes some values.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// To be kept somewhere; empty when all values are 0.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// True when all values are 0.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both, value by value, saturating.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sums = [0_u64; 64];
        for (place, value) in self.values().chain(other.values()) {
            sums[place] = sums[place].saturating_add(value);
        }
        Self::new(&sums)
    }

    /// The values that are not 0, by place.
    pub fn values(&self) -> impl Iterator<Item = (usize, u64)> {
        let mut bytes = self.0.iter();
        let mut bits = pull(&mut bytes);
        std::iter::from_fn(move || {
            let place = bits.trailing_zeros() as usize;
            (place < 64).then(|| {
                bits &= bits - 1;
                (place, pull(&mut bytes))
            })
        })
    }
}

fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// The next number; 0 when there is none.
fn pull(bytes: &mut std::slice::Iter<'_, u8>) -> u64 {
    let (mut value, mut shift) = (0, 0);
    for byte in bytes {
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_values_come_back(values in proptest::collection::vec(
            proptest::prop_oneof![proptest::strategy::Just(0), 0..300u64, proptest::num::u64::ANY], 0..=64,
        )) {
            let mut back = vec![0; values.len()];
            for (place, value) in Packed::new(&values).values() {
                back[place] = value;
            }
            assert_eq!(back, values);
            let packed = Packed::new(&values);
            assert_eq!(Packed::from_bytes(packed.bytes()), packed.clone());
            let twice: Vec<u64> = values.iter().map(|value| value.saturating_mul(2)).collect();
            assert_eq!(packed.plus(&packed), Packed::new(&twice));
        }
    }

    #[test]
    fn what_counted_nothing_takes_nothing() {
        assert_eq!(Packed::new(&[0; 28]).0.len(), 0);
        assert_eq!(Packed::new(&[0, 0, 5]).0.len(), 2);
    }
}
