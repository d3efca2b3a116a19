//! Whom local hosts got in touch with within one interval.

use std::net::IpAddr;

use shared::model::{Contact, ContactKind, GeoPlace, L4};
use xxhash_rust::xxh3::xxh3_64;

use crate::flow::{Flow, Growth};
use crate::l7::ProtocolId;
use crate::pipeline::HOSTS_PER_DELTA;

/// Contacts noted in one interval at most; a flood of them is no less a flood for being cut.
const MAX_NOTED: usize = 1 << 20;

/// Contacts of one delta at most, so that it fits into a message: 11 bytes each.
const MAX_TOLD: usize = 30_000;

/// Contacts of one host and kind in a delta that would have more than [`MAX_TOLD`].
const MAX_TOLD_EACH: usize = MAX_TOLD / HOSTS_PER_DELTA;

/// Contacts noted since the last time.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    noted: Vec<Contact>,
}

impl Contacts {
    /// Notes what a flow that is new, or has become known, says of its client.
    pub(super) fn of_flow(
        &mut self,
        client: u32,
        flow: &Flow,
        server: IpAddr,
        place: Option<&GeoPlace>,
        growth: &Growth,
    ) {
        let ip = match server {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        if growth.begun {
            self.note(client, ContactKind::Peer, &ip);
            if let Some(country) = place.map(|place| &place.country).filter(|country| !country.is_empty()) {
                self.note(client, ContactKind::Country, country.as_bytes());
            }
            if matches!(flow.l4(), L4::TCP | L4::UDP) {
                let mut service = [0; 18];
                service[..16].copy_from_slice(&ip);
                service[16..].copy_from_slice(&flow.ports().1.to_be_bytes());
                self.note(client, ContactKind::Service, &service);
            }
        }
        if !growth.named {
            return;
        }
        if let Some(kind) = flow.l7().and_then(kind_of) {
            self.note(client, kind, &ip);
        }
        if let Some(name) = flow.server_name() {
            self.note(client, ContactKind::Name, name.as_bytes());
        }
    }

    fn note(&mut self, host: u32, kind: ContactKind, other: &[u8]) {
        if self.noted.len() < MAX_NOTED {
            self.noted.push(Contact { host, kind, hash: xxh3_64(other) });
        }
    }

    /// The contacts of each of `parts` parts of hosts, each once, with places within the part.
    pub(super) fn take(&mut self, parts: usize) -> Vec<Vec<Contact>> {
        self.noted.sort_unstable();
        self.noted.dedup();
        let mut told = vec![Vec::new(); parts];
        let part_of = |contact: &Contact| contact.host as usize / HOSTS_PER_DELTA;
        for of_part in self.noted.chunk_by(|a, b| part_of(a) == part_of(b)) {
            let Some(part) = of_part.first().and_then(|first| told.get_mut(part_of(first))) else { continue };
            let each = if of_part.len() > MAX_TOLD { MAX_TOLD_EACH } else { MAX_TOLD };
            for of_kind in of_part.chunk_by(|a, b| (a.host, a.kind) == (b.host, b.kind)) {
                for contact in &of_kind[..of_kind.len().min(each)] {
                    let host = contact.host % HOSTS_PER_DELTA as u32;
                    part.push(Contact { host, ..*contact });
                }
            }
            part.truncate(MAX_TOLD);
        }
        self.noted.clear();
        told
    }
}

fn kind_of(protocol: ProtocolId) -> Option<ContactKind> {
    match protocol.name() {
        "DNS" | "DoH_DoT" => Some(ContactKind::DnsServer),
        "NTP" => Some(ContactKind::NtpServer),
        "SMTP" | "SMTPS" => Some(ContactKind::SmtpServer),
        _ => None,
    }
}
