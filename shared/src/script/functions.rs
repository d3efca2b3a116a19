//! What scripts' functions compute, for the interpreter and for lowered hooks alike.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address, also as an element's value: `ip@vlan`.
pub(super) fn parse_ip(ip: &str) -> Result<IpAddr, String> {
    ip.split('@').next().unwrap_or(ip).parse().map_err(|_| format!("'{ip}' is not an IP address"))
}

/// Whether an address is under a prefix.
pub(super) fn ip_in(ip: &str, prefix: &str) -> Result<bool, String> {
    let address = parse_ip(ip)?;
    let net = prefix.parse::<IpNet>().or_else(|_| prefix.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| format!("'{prefix}' is neither a prefix nor an address"))?;
    Ok(net.contains(&address))
}

/// Private, link-local or loopback (RFC 1918, RFC 4193, RFC 4291).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// `1 Byte`, `2 Bytes`, `1.08 MB`: powers of 1024, as seed 002 writes them.
pub(super) fn format_bytes(bytes: f64) -> String {
    if bytes.abs() < 1024.0 {
        return format!("{bytes} Byte{}", if bytes == 1.0 { "" } else { "s" });
    }
    let mut value = bytes;
    let mut unit = "";
    for next in ["KB", "MB", "GB", "TB", "PB", "EB"] {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.2} {unit}")
}
