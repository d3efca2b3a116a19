//! Every protocol by number, and which dissectors a payload's first byte can belong to.

use std::collections::HashMap;
use std::sync::LazyLock;

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, DISSECTORS, Dissector, ports};

/// Words of a [`Set`]; enough for every dissector, which a test checks.
const WORDS: usize = 4;

/// A set of dissectors by their place in [`DISSECTORS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; WORDS]);

impl Set {
    pub(super) fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub(super) fn common(&self, other: &Self) -> Self {
        let mut common = *self;
        for (word, more) in common.0.iter_mut().zip(other.0) {
            *word &= more;
        }
        common
    }

    /// Places in ascending order.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, word)| {
            let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            rest.take_while(|word| *word != 0).map(move |word| at * 64 + word.trailing_zeros() as usize)
        })
    }
}

/// Dissectors by carrier (TCP, UDP) and first byte.
static CANDIDATES: LazyLock<[[Set; 256]; 2]> = LazyLock::new(|| {
    let mut table = [[Set::default(); 256]; 2];
    for (place, dissector) in DISSECTORS.iter().enumerate() {
        let carried = [dissector.carrier != Carrier::Udp, dissector.carrier != Carrier::Tcp];
        for (row, _) in table.iter_mut().zip(carried).filter(|(_, carried)| *carried) {
            for (byte, set) in (0..=u8::MAX).zip(row).filter(|(byte, _)| (dissector.first)(*byte)) {
                let _ = byte;
                set.insert(place);
            }
        }
    }
    table
});

/// The dissectors whose payloads may begin with `byte` on `l4`.
pub(super) fn candidates(l4: L4, byte: u8) -> Set {
    let row = match l4 {
        L4::TCP => &CANDIDATES[0],
        L4::UDP => &CANDIDATES[1],
        _ => return Set::default(),
    };
    row[usize::from(byte)]
}

/// A layer-7 protocol by number, valid within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolId(u16);

struct Named {
    name: &'static str,
    category: AppCategory,
    breed: Breed,
}

struct Names {
    all: Vec<Named>,
    by_name: HashMap<&'static str, ProtocolId>,
}

/// Unknown, the dissectors, then what only a port or a layer-4 number tells.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let unknown = Named { name: "Unknown", category: AppCategory::Unspecified, breed: Breed::Unrated };
    let dissectors = DISSECTORS.iter().map(|d| Named { name: d.name, category: d.category, breed: d.breed });
    let mut names =
        Names { all: std::iter::once(unknown).chain(dissectors).collect(), by_name: HashMap::new() };
    for (number, named) in names.all.iter().enumerate() {
        names.by_name.entry(named.name).or_insert(ProtocolId(number as u16));
    }
    for (name, category, breed) in ports::names() {
        let next = ProtocolId(names.all.len() as u16);
        names.by_name.entry(name).or_insert_with(|| {
            names.all.push(Named { name, category, breed });
            next
        });
    }
    names
});

impl ProtocolId {
    /// No protocol known.
    pub const UNKNOWN: Self = Self(0);

    /// The protocol of the dissector at `place` in [`DISSECTORS`].
    pub(super) fn of_dissector(place: usize) -> Self {
        Self(place as u16 + 1)
    }

    /// Its dissector; `None` when only a port or a layer-4 number tells it.
    pub fn dissector(self) -> Option<&'static Dissector> {
        DISSECTORS.get(usize::from(self.0).checked_sub(1)?).copied()
    }

    /// The protocol with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.by_name.get(name).copied()
    }

    /// Every protocol with a name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.all.len() as u16).map(Self)
    }

    /// Its number, below the count of [`all`](Self::all).
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its name as ntopng spells it; `Unknown` for [`UNKNOWN`](Self::UNKNOWN).
    pub fn name(self) -> &'static str {
        self.named().name
    }

    /// What it is for.
    pub fn category(self) -> AppCategory {
        self.named().category
    }

    /// How far it is to be trusted.
    pub fn breed(self) -> Breed {
        self.named().breed
    }

    fn named(self) -> &'static Named {
        NAMES.all.get(usize::from(self.0)).unwrap_or(&NAMES.all[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_every_dissector() {
        assert!(DISSECTORS.len() <= WORDS * 64);
        let mut set = Set::default();
        assert!(set.is_empty());
        for place in [0, 63, 64, 200] {
            set.insert(place);
        }
        assert_eq!(set.places().collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert_eq!(set.common(&Set::default()), Set::default());
    }

    #[test]
    fn protocols_have_numbers_and_names() {
        assert_eq!(ProtocolId::UNKNOWN.name(), "Unknown");
        for id in ProtocolId::all() {
            assert_eq!(ProtocolId::by_name(id.name()).map(ProtocolId::name), Some(id.name()));
        }
        for (place, dissector) in DISSECTORS.iter().enumerate() {
            assert_eq!(ProtocolId::of_dissector(place).name(), dissector.name);
        }
    }

    #[test]
    fn ports_belong_to_the_carrier() {
        for dissector in DISSECTORS {
            for (l4, port) in dissector.ports {
                let fits = match dissector.carrier {
                    Carrier::Tcp => *l4 == L4::TCP,
                    Carrier::Udp => *l4 == L4::UDP,
                    Carrier::Either => matches!(*l4, L4::TCP | L4::UDP),
                };
                assert!(fits, "{} port {port}", dissector.name);
            }
        }
    }
}
