//! One host.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::geo::GeoCache;
use shared::model::l7_info::Text;
use shared::model::packed::Packed;
use shared::model::pool::Mac;
use shared::model::{AppCategory, GeoPlace, Granularity, HostCounters, HostKey, HostPools, Timestamp};
use shared::script::element::InfoValue;

use super::Tally;
use super::contacts::Contacts;
use crate::partition::saved::host_key;
use crate::snapshot;

/// Names of a host that are kept.
const NAMES: usize = 4;

/// One host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Counters.
    pub tally: Tally<HostCounters>,
    /// Hardware address seen with it last.
    pub mac: Option<Mac>,
    /// Whom it got in touch with within the running hour; local hosts only.
    pub contacts: Option<Box<Contacts>>,
    /// What was learned of it, and what it used the network for.
    pub facts: Option<Box<Facts>>,
    /// Where it is; looked up once.
    pub geo: Option<Arc<GeoPlace>>,
    /// It was looked up.
    pub located: bool,
    /// True when a local network holds it.
    pub local: bool,
    /// Time of its first delta.
    pub first_seen: Timestamp,
    /// Time of its last packet.
    pub last_seen: Timestamp,
    /// Time at which something of it was counted last: its flows live longer than its packets.
    pub last_counted: Timestamp,
    /// Idle, and told so.
    pub idle: bool,
}

impl Host {
    /// True when a run of this period, of a window that began at `since`, calls it: an active one; for hour and
    /// day also one that was seen since the window began.
    pub fn is_called(&self, granularity: Granularity, since: Timestamp) -> bool {
        let long = matches!(granularity, Granularity::Hour | Granularity::Day);
        !self.idle || (long && self.last_seen >= since)
    }
}

/// What was learned of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name by which clients asked for it last; empty when unknown.
    pub name: Text,
    /// Names before that, the last first.
    earlier: Vec<Text>,
    /// Operating system that it seems to run; empty when unknown.
    pub os: Text,
    /// Bytes sent and received by category, see [`Host::categories`].
    pub(super) categories: Packed,
}

impl Facts {
    /// Clients asked for it by this name.
    pub(super) fn called(&mut self, name: &Text) {
        if self.name == *name {
            return;
        }
        let before = std::mem::replace(&mut self.name, name.clone());
        self.earlier.retain(|known| known != name);
        if !before.is_empty() {
            self.earlier.insert(0, before);
        }
        self.earlier.truncate(NAMES - 1);
    }

    /// Names that it was known by, the last first, parted by commas.
    fn names(&self) -> String {
        let all = std::iter::once(&self.name).chain(&self.earlier).filter(|name| !name.is_empty());
        all.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Host {
    /// Bytes sent and received by what they were for.
    pub fn categories(&self) -> BTreeMap<AppCategory, (u64, u64)> {
        let mut bytes = BTreeMap::<AppCategory, (u64, u64)>::new();
        for (place, value) in self.facts.iter().flat_map(|facts| facts.categories.values()) {
            let Some(category) = AppCategory::ALL.get(place / 2) else { continue };
            let both = bytes.entry(*category).or_default();
            *(if place % 2 == 0 { &mut both.0 } else { &mut both.1 }) = value;
        }
        bytes
    }

    /// Fields of `entity_info`; pools are looked up in `pools`.
    pub fn info(&self, key: HostKey, pools: &HostPools) -> Vec<(&'static str, InfoValue)> {
        vec![
            ("ip", InfoValue::Ip(key.ip)),
            ("vlan", InfoValue::Int(key.vlan.into())),
            ("local", InfoValue::Bool(self.local)),
            ("mac", InfoValue::Mac(self.mac)),
            ("name", InfoValue::Text(self.facts.as_ref().map_or_else(String::new, |f| f.name.to_string()))),
            ("names", InfoValue::Text(self.facts.as_ref().map_or_else(String::new, |f| f.names()))),
            ("os", InfoValue::Text(self.facts.as_ref().map_or_else(String::new, |f| f.os.to_string()))),
            ("pool", InfoValue::Text(pools.find(key.ip, key.vlan, self.mac.as_ref()).to_owned())),
            ("first_seen", InfoValue::Int(self.first_seen.secs())),
            ("last_seen", InfoValue::Int(self.last_seen.secs())),
            ("country", InfoValue::Text(self.place_text(|place| &place.country))),
            ("continent", InfoValue::Text(self.place_text(|place| &place.continent))),
            ("city", InfoValue::Text(self.place_text(|place| &place.city))),
            ("asn", InfoValue::Int(self.geo.as_ref().map_or(0, |place| place.asn.into()))),
            ("as_name", InfoValue::Text(self.place_text(|place| &place.as_name))),
        ]
    }

    fn place_text(&self, of: impl Fn(&GeoPlace) -> &String) -> String {
        self.geo.as_deref().map(of).cloned().unwrap_or_default()
    }

    /// To be kept somewhere.
    pub fn save(&self, interface: u32, key: HostKey) -> snapshot::Host {
        let facts = self.facts.as_ref().map(|facts| snapshot::Facts {
            name: facts.name.to_string(),
            os: facts.os.to_string(),
            earlier: facts.earlier.iter().map(ToString::to_string).collect(),
            categories: facts.categories.bytes().to_vec(),
        });
        let ip = match key.ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        snapshot::Host {
            interface,
            ip,
            vlan: key.vlan.into(),
            mac: self.mac.map(|mac| mac.to_vec()).unwrap_or_default(),
            local: self.local,
            idle: self.idle,
            first_seen: self.first_seen.ns(),
            last_seen: self.last_seen.ns(),
            last_counted: self.last_counted.ns(),
            tally: Some(self.tally.save()),
            facts,
            contacts: self.contacts.as_ref().map(|contacts| contacts.save()).unwrap_or_default(),
        }
    }

    /// What [`Host::save`] gave; where it is has to be looked up again.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn restore(saved: snapshot::Host) -> Result<(HostKey, Self), String> {
        let key = host_key(&saved.ip, saved.vlan)?;
        let facts = saved.facts.map(|facts| {
            let categories = Packed::from_bytes(&facts.categories);
            let earlier = facts.earlier.into_iter().take(NAMES - 1).map(Text::from).collect();
            Box::new(Facts { name: facts.name.into(), earlier, os: facts.os.into(), categories })
        });
        let contacts = match saved.contacts.is_empty() {
            true => None,
            false => Some(Box::new(Contacts::restore(&saved.contacts)?)),
        };
        let host = Self {
            tally: Tally::restore(&saved.tally.unwrap_or_default()),
            mac: Mac::try_from(saved.mac.as_slice()).ok(),
            contacts,
            facts,
            geo: None,
            located: false,
            local: saved.local,
            first_seen: Timestamp::from_ns(saved.first_seen),
            last_seen: Timestamp::from_ns(saved.last_seen),
            last_counted: Timestamp::from_ns(saved.last_counted),
            idle: saved.idle,
        };
        Ok((key, host))
    }

    /// Looks up where it is, unless that was done.
    pub fn locate(&mut self, key: HostKey, geo: &mut GeoCache) {
        if !self.located && !geo.is_empty() {
            (self.located, self.geo) = (true, geo.find(key.ip));
        }
    }
}
