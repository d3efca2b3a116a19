//! The hosts of a delta, and what is told of them by their rows.

use super::columns;
use super::{Delta, HostDelta, WHAT, address_from_wire, address_to_wire, mac_from_wire, mac_to_wire};
use super::{malformed, same_length};
use crate::model::{AppCategory, CategoryBytes, Contact, ContactKind, FactKind, HostFact};
use crate::model::{HostCounters, HostKey, Timestamp};
use crate::wire::{WireError, proto};

pub(super) fn write(delta: &Delta) -> proto::HostDeltas {
    let Delta { hosts, contacts, categories, facts, .. } = delta;
    proto::HostDeltas {
        addresses: hosts.iter().map(|host| address_to_wire(host.key.ip)).collect(),
        vlans: hosts.iter().map(|host| host.key.vlan.into()).collect(),
        macs: hosts.iter().map(|host| mac_to_wire(host.mac.as_ref())).collect(),
        local: hosts.iter().map(|host| host.local).collect(),
        last_seen_ns: hosts.iter().map(|host| host.last_seen.ns()).collect(),
        columns: columns::write(hosts.iter().map(|host| &host.counters)),
        contact_rows: contacts.iter().map(|contact| contact.host).collect(),
        contact_kinds: contacts.iter().map(|contact| contact.kind as u32).collect(),
        contact_hashes: contacts.iter().map(|contact| contact.hash).collect(),
        category_rows: categories.iter().map(|row| row.host).collect(),
        category_numbers: categories.iter().map(|row| row.category as u32).collect(),
        category_sent: categories.iter().map(|row| row.sent).collect(),
        category_rcvd: categories.iter().map(|row| row.rcvd).collect(),
        fact_rows: facts.iter().map(|fact| fact.host).collect(),
        fact_kinds: facts.iter().map(|fact| fact.kind as u32).collect(),
        fact_texts: facts.iter().map(|fact| fact.text.to_string()).collect(),
    }
}

pub(super) fn read(wire: &proto::HostDeltas) -> Result<Vec<HostDelta>, WireError> {
    let rows = wire.addresses.len();
    same_length("vlans", wire.vlans.len(), rows)?;
    same_length("macs", wire.macs.len(), rows)?;
    same_length("local", wire.local.len(), rows)?;
    same_length("last_seen_ns", wire.last_seen_ns.len(), rows)?;
    let mut counters = vec![HostCounters::default(); rows];
    columns::read(&wire.columns, &mut counters, WHAT)?;
    let mut hosts = Vec::with_capacity(rows);
    for (row, counters) in counters.into_iter().enumerate() {
        let ip = address_from_wire(&wire.addresses[row], WHAT)?;
        let vlan = u16::try_from(wire.vlans[row]).map_err(|e| malformed(&e))?;
        hosts.push(HostDelta {
            key: HostKey::new(ip, vlan),
            mac: mac_from_wire(&wire.macs[row], WHAT)?,
            local: wire.local[row],
            last_seen: Timestamp::from_ns(wire.last_seen_ns[row]),
            counters,
        });
    }
    Ok(hosts)
}

/// Contacts of kinds that are known; those of later versions are skipped.
pub(super) fn contacts(wire: &proto::HostDeltas) -> Result<Vec<Contact>, WireError> {
    let rows = wire.contact_rows.len();
    same_length("contact_kinds", wire.contact_kinds.len(), rows)?;
    same_length("contact_hashes", wire.contact_hashes.len(), rows)?;
    known_hosts("contact", &wire.contact_rows, wire)?;
    let kinds = wire.contact_kinds.iter().map(|kind| ContactKind::ALL.get(*kind as usize));
    let all = wire.contact_rows.iter().zip(kinds).zip(&wire.contact_hashes);
    let known =
        all.filter_map(|((host, kind), hash)| Some(Contact { host: *host, kind: *kind?, hash: *hash }));
    Ok(known.collect())
}

/// Bytes by category; those of categories of later versions are skipped.
pub(super) fn categories(wire: &proto::HostDeltas) -> Result<Vec<CategoryBytes>, WireError> {
    let rows = wire.category_rows.len();
    same_length("category_numbers", wire.category_numbers.len(), rows)?;
    same_length("category_sent", wire.category_sent.len(), rows)?;
    same_length("category_rcvd", wire.category_rcvd.len(), rows)?;
    known_hosts("category", &wire.category_rows, wire)?;
    let categories = wire.category_numbers.iter().map(|number| AppCategory::ALL.get(*number as usize));
    let bytes = wire.category_sent.iter().zip(&wire.category_rcvd);
    let all = wire.category_rows.iter().zip(categories).zip(bytes);
    let known = all.filter_map(|((host, category), (sent, rcvd))| {
        Some(CategoryBytes { host: *host, category: *category?, sent: *sent, rcvd: *rcvd })
    });
    Ok(known.collect())
}

/// Facts of kinds that are known; those of later versions are skipped.
pub(super) fn facts(wire: &proto::HostDeltas) -> Result<Vec<HostFact>, WireError> {
    let rows = wire.fact_rows.len();
    same_length("fact_kinds", wire.fact_kinds.len(), rows)?;
    same_length("fact_texts", wire.fact_texts.len(), rows)?;
    known_hosts("fact", &wire.fact_rows, wire)?;
    let kinds = wire.fact_kinds.iter().map(|kind| FactKind::ALL.get(*kind as usize));
    let all = wire.fact_rows.iter().zip(kinds).zip(&wire.fact_texts);
    let known = all.filter_map(|((host, kind), text)| {
        Some(HostFact { host: *host, kind: *kind?, text: text.as_str().into() })
    });
    Ok(known.collect())
}

/// Every row names a host of the delta.
fn known_hosts(what: &str, rows: &[u32], wire: &proto::HostDeltas) -> Result<(), WireError> {
    let hosts = wire.addresses.len();
    match rows.iter().enumerate().find(|(_, host)| **host as usize >= hosts) {
        Some((row, host)) => Err(malformed(&format!("{what} {row} is of host {host} of {hosts}"))),
        None => Ok(()),
    }
}
