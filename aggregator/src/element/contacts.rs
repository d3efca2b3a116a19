//! How many different others a host got in touch with, by kind.

use cardinality_estimator::CardinalityEstimator;
use shared::model::ContactKind;

/// Exact up to 128, then within about 2 %; 8 bytes and what it points to, 4 KiB at most.
type Distinct = CardinalityEstimator<u64>;

/// Different contacts within the running hour.
#[derive(Clone, Debug, Default)]
pub struct Contacts {
    by_kind: [Distinct; ContactKind::ALL.len()],
}

impl Contacts {
    /// Notes one contact by the hash of the other.
    pub fn note(&mut self, kind: ContactKind, hash: u64) {
        self.by_kind[kind as usize].insert(&hash);
    }

    /// To be kept somewhere, by kind.
    pub fn save(&self) -> Vec<String> {
        // An estimator is numbers, which JSON takes all.
        self.by_kind.iter().map(|distinct| serde_json::to_string(distinct).unwrap_or_default()).collect()
    }

    /// What [`Contacts::save`] gave.
    ///
    /// # Errors
    /// Says what is no estimator.
    pub fn restore(saved: &[String]) -> Result<Self, String> {
        let mut contacts = Self::default();
        for (distinct, text) in contacts.by_kind.iter_mut().zip(saved) {
            *distinct = serde_json::from_str(text).map_err(|e| format!("contacts: {e}"))?;
        }
        Ok(contacts)
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ContactKind::ALL
            .into_iter()
            .map(|kind| (kind.counter(), self.by_kind[kind as usize].estimate() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_counts_once_and_many_are_estimated_well() {
        let mut contacts = Contacts::default();
        for _ in 0..3 {
            (0..100).for_each(|n| contacts.note(ContactKind::DnsServer, n));
        }
        (0..100_000).for_each(|n: u64| contacts.note(ContactKind::Peer, n));
        let counts: std::collections::BTreeMap<_, _> = contacts.counts().collect();
        assert_eq!((counts["dns_servers"], counts["ntp_servers"]), (100, 0));
        assert!((95_000..105_000).contains(&counts["peers"]), "{}", counts["peers"]);
    }
}
