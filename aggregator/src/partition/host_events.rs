//! Events of hosts that become active or idle. Pure.

use serde_json::json;
use shared::events::Draft;
use shared::model::pool::mac_text;
use shared::model::{HostKey, Timestamp};

use crate::element::{Host, Interface};

/// States of hosts.
pub(super) const ACTIVE: &str = "ACTIVE";
pub(super) const IDLE: &str = "IDLE";

/// Whether events are told of a host, when they are of one in `one_in`; 0 is of none.
pub(super) fn are_told_of(key: HostKey, one_in: u32) -> bool {
    match one_in {
        0 | 1 => one_in == 1,
        _ => xxhash_rust::xxh3::xxh3_64(key.to_string().as_bytes()).is_multiple_of(u64::from(one_in)),
    }
}

/// A host is in another state; the event's id follows from what happened, so that who goes through it
/// again tells it once.
pub(super) fn draft(
    interface: &Interface,
    key: HostKey,
    host: &Host,
    state: &str,
    before: Option<&str>,
    at: Timestamp,
) -> Draft {
    let object = json!({
        "ip": key.ip,
        "vlan": key.vlan,
        "mac": host.mac.as_ref().map(mac_text),
        "local": host.local,
        "site": interface.site,
        "node": interface.node,
        "ifid": interface.id,
        "interface": interface.name,
        "first_seen": host.first_seen,
        "last_seen": host.last_seen,
    });
    let id = format!("{}/{}/{key}/{state}/{}", interface.site, interface.id, at.ns());
    Draft::state("HOST", &key.to_string(), state, before, object).with_id(id)
}
