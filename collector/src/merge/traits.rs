//! What several shards tell of one host, put together.

use std::collections::{BTreeMap, BTreeSet};

use shared::model::l7_info::Text;
use shared::model::{AppCategory, CategoryBytes, Contact, ContactKind, FactKind, HostFact, HostKey};
use shared::wire::delta::Delta;

/// Contacts, categories and facts by host.
#[derive(Debug, Default)]
pub(super) struct Traits(BTreeMap<HostKey, OfHost>);

#[derive(Debug, Default)]
struct OfHost {
    contacts: BTreeSet<(ContactKind, u64)>,
    categories: BTreeMap<AppCategory, (u64, u64)>,
    facts: BTreeMap<FactKind, Text>,
}

impl Traits {
    /// Adds what one shard tells.
    pub(super) fn add(&mut self, delta: &Delta) {
        let key = |place: u32| delta.hosts.get(place as usize).map(|host| host.key);
        for Contact { host, kind, hash } in &delta.contacts {
            if let Some(key) = key(*host) {
                self.0.entry(key).or_default().contacts.insert((*kind, *hash));
            }
        }
        for CategoryBytes { host, category, sent, rcvd } in &delta.categories {
            if let Some(key) = key(*host) {
                let sum = self.0.entry(key).or_default().categories.entry(*category).or_default();
                *sum = (sum.0 + sent, sum.1 + rcvd);
            }
        }
        for HostFact { host, kind, text } in &delta.facts {
            if let Some(key) = key(*host) {
                self.0.entry(key).or_default().facts.insert(*kind, text.clone());
            }
        }
    }

    /// Tells what is known of a delta's hosts.
    pub(super) fn tell(&self, delta: &mut Delta) {
        let known = (0..).zip(&delta.hosts).filter_map(|(place, host)| Some((place, self.0.get(&host.key)?)));
        for (host, of) in known {
            let contact = |(kind, hash): &(ContactKind, u64)| Contact { host, kind: *kind, hash: *hash };
            delta.contacts.extend(of.contacts.iter().map(contact));
            let bytes = of.categories.iter();
            let bytes = bytes.map(|(category, (sent, rcvd))| (*category, *sent, *rcvd));
            delta.categories.extend(bytes.map(|(category, sent, rcvd)| CategoryBytes {
                host,
                category,
                sent,
                rcvd,
            }));
            let facts =
                of.facts.iter().map(|(kind, text)| HostFact { host, kind: *kind, text: text.clone() });
            delta.facts.extend(facts);
        }
    }
}
