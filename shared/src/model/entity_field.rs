//! The fields of `params.entity_info`, for the manual and for those who fill them.

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct EntityField {
    /// Name in scripts, as in `params.entity_info.ip`.
    pub name: &'static str,
    /// Its type in scripts.
    pub kind: &'static str,
    /// What it holds.
    pub doc: &'static str,
}

const fn field(name: &'static str, kind: &'static str, doc: &'static str) -> EntityField {
    EntityField { name, kind, doc }
}

/// Of a host.
pub const HOST_FIELDS: &[EntityField] = &[
    field("ip", "text", "Address."),
    field("vlan", "int", "Outermost VLAN id, 0 when untagged."),
    field("local", "bool", "True when a local network holds the address."),
    field(
        "mac",
        "text",
        "Hardware address seen with it last, empty when none was; of remote hosts the router's.",
    ),
    field("name", "text", "Name it was known by last, empty when none was seen."),
    field("names", "text", "The last four names it was known by, the last first, parted by commas."),
    field("os", "text", "Operating system as its traffic suggests, empty when it does not."),
    field("pool", "text", "Host pool that it is in; `default` when in no other."),
    field("first_seen", "int", "Time at which it was counted first, seconds since the epoch."),
    field("last_seen", "int", "Time of its last packet, seconds since the epoch."),
    field(
        "country",
        "text",
        "Country by its two letters (ISO 3166-1); empty when unknown, as without databases (`geo.databases`).",
    ),
    field("continent", "text", "Continent by its two letters."),
    field("city", "text", "City."),
    field("asn", "int", "Autonomous system, 0 when unknown."),
    field("as_name", "text", "Who runs the autonomous system."),
];

/// Of a local network.
pub const NETWORK_FIELDS: &[EntityField] = &[
    field("network", "text", "The prefix, such as `192.168.0.0/16`."),
    field("prefix", "text", "The same."),
    field("name", "text", "The same."),
];

/// Of an interface.
pub const INTERFACE_FIELDS: &[EntityField] = &[
    field("name", "text", "Its name."),
    field("id", "int", "Interface id."),
    field("site", "text", "Site of its node."),
    field("node", "text", "Node that captures on it."),
    field("live_flows", "int", "Flows alive at the last summary."),
];

/// Of a host that is probed.
pub const AM_HOST_FIELDS: &[EntityField] = &[
    field("host", "text", "Name or address, as it was given."),
    field("measure", "text", "How it is probed: `icmp`, `tcp`, `http`, `https`, `dns`, `tls`."),
    field("granularity", "text", "How often: `min`, `5mins`, `hour`."),
    field("port", "int", "Port that is probed, 0 where there is none."),
    field("ip", "text", "Address that was probed last; absent before the first probe of a name."),
];

/// Levels of a host that is probed, in `stats` only.
pub const AM_HOST_LEVELS: [(&str, &str); 4] = [
    ("up", "1 when a probe of the last round was answered, else 0."),
    ("last_rtt_us", "Mean round trip of the last round in microseconds."),
    ("last_loss_percent", "Probes of the last round that were not answered, in percent."),
    ("days_left", "Days until the certificate expires, 0 when it has or there is none."),
];

/// Levels of flowhook itself, in `stats` only. All but the first two are of the aggregator's process as it
/// is when the run begins; one that the process does not have is absent.
pub const SYSTEM_LEVELS: [(&str, &str); 7] = [
    ("hosts", "Hosts known."),
    ("engaged_alerts", "Alerts engaged."),
    ("deltas_waiting", "Summaries that the aggregator has taken from the bus and not yet applied."),
    ("events_waiting", "Events that wait for the store, of at most 8192."),
    ("store_waiting", "Calls that wait for the store."),
    ("disk_free", "Bytes free on the disk that holds `node.state_dir`; absent where nothing is kept."),
    ("disk_size", "Size of that disk in bytes; absent where nothing is kept."),
];

/// Of flowhook itself.
pub const SYSTEM_FIELDS: &[EntityField] = &[field("name", "text", "`flowhook`.")];
