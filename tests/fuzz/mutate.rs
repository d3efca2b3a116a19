//! Changes of inputs, the same ones for the same seed.

/// A stream of changes.
pub struct Mutations(u64);

impl Mutations {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`; 0 when that is 0. Xorshift (Marsaglia 2003).
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    /// `input` with bits flipped, cut, with extreme bytes, or with a part of `other`.
    pub fn change(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut changed = input.to_vec();
        match self.below(4) {
            0 => self.flip(&mut changed),
            1 => changed.truncate(self.below(input.len())),
            2 => {
                let at = self.below(input.len());
                let length = 1 + self.below(4);
                let byte = [0, 0x7f, 0x80, 0xff][self.below(4)];
                changed.iter_mut().skip(at).take(length).for_each(|old| *old = byte);
            }
            _ => {
                changed.truncate(self.below(input.len()));
                changed.extend_from_slice(&other[self.below(other.len())..]);
            }
        }
        changed
    }

    /// Flips one to eight bits.
    pub fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << self.below(8);
            }
        }
    }
}
