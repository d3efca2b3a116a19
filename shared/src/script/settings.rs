//! What users set for a script: on or off, its configuration, and both for some elements only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::HookName;
use crate::model::flow::FlowSide;
use crate::model::pool::Mac;
use crate::model::{FlowRecord, HostPools, PoolMember};

/// What the user sets for one script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptSettings {
    /// On or off; the script's `default_enabled` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Configuration; the script's `default_value` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Settings of single hooks, by hook name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, HookSettings>,
    /// Settings for some elements; the first that fits one is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

/// What the user sets for one hook of a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookSettings {
    /// On or off; as the script when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Configuration; the script's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// What the user sets for some elements. One of `pool` and `element` says which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Hosts of this pool; flows with a side in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// An address, a prefix (also with `@vlan`) or a hardware address of hosts, or of a side of flows;
    /// else the identifying string of a network or an interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Only these hooks, by name; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// On or off; as for all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Configuration; that of all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// What a script is about to be called for.
#[derive(Clone, Debug, Default)]
pub struct Target<'a> {
    /// The identifying string of an element; empty for flows.
    pub value: &'a str,
    /// The host, or the sides of the flow: address, VLAN, hardware address.
    pub hosts: [Option<(IpAddr, u16, Option<Mac>)>; 2],
}

impl Override {
    /// True when it is meant for `target`.
    pub fn fits(&self, target: &Target<'_>, pools: &HostPools) -> bool {
        let mut hosts = target.hosts.iter().flatten();
        if let Some(pool) = &self.pool {
            return hosts.any(|(ip, vlan, mac)| pools.find(*ip, *vlan, mac.as_ref()) == pool);
        }
        let Some(element) = &self.element else { return false };
        match element.parse::<PoolMember>() {
            Ok(member) if target.hosts[0].is_some() => {
                hosts.any(|(ip, vlan, mac)| member.has(*ip, *vlan, mac.as_ref()))
            }
            _ => element == target.value,
        }
    }

    /// True when it is meant for this hook.
    pub fn is_of(&self, hook: HookName) -> bool {
        self.hooks.is_empty() || self.hooks.iter().any(|name| name == hook.name())
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// It names neither or both of pool and element.
    pub fn check(&self) -> Result<(), String> {
        match (&self.pool, &self.element) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err("needs either pool or element".to_owned()),
        }
    }
}

impl FlowRecord {
    /// Which flow it is, for settings that differ.
    pub fn target(&self) -> Target<'static> {
        let side = |side: &FlowSide| Some((side.ip, self.vlan, side.mac));
        Target { value: "", hosts: [side(&self.client), side(&self.server)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_fits_by_pool_prefix_or_name() {
        let guests =
            serde_json::from_value(serde_json::json!({ "name": "guests", "members": ["10.9.0.0/16"] }));
        let pools = HostPools::new(vec![guests.unwrap()]);
        let host = |ip: &str| Target { value: "x", hosts: [Some((ip.parse().unwrap(), 0, None)), None] };
        let flow = Target {
            value: "",
            hosts: [
                Some(("192.0.2.1".parse().unwrap(), 0, None)),
                Some(("10.9.1.1".parse().unwrap(), 0, None)),
            ],
        };
        let of = |pool: Option<&str>, element: Option<&str>| Override {
            pool: pool.map(str::to_owned),
            element: element.map(str::to_owned),
            ..Override::default()
        };
        let guests = of(Some("guests"), None);
        assert!(guests.fits(&host("10.9.0.1"), &pools) && guests.fits(&flow, &pools));
        assert!(!guests.fits(&host("10.8.0.1"), &pools));
        let prefix = of(None, Some("10.9.1.0/24"));
        assert!(prefix.fits(&flow, &pools) && !prefix.fits(&host("10.9.0.1"), &pools));
        // The prefix is also the name of a network.
        let network = Target { value: "10.9.1.0/24", ..Target::default() };
        assert!(prefix.fits(&network, &pools) && !prefix.fits(&Target::default(), &pools));
        assert!(of(None, None).check().is_err() && of(Some("a"), Some("b")).check().is_err());
    }
}
