//! The gateways of this machine, from the kernel's tables (proc(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Every gateway; none where the tables cannot be read.
pub fn gateways(net: &Path) -> Vec<IpAddr> {
    let read = |name: &str| std::fs::read_to_string(net.join(name)).unwrap_or_default();
    let (v4, v6) = (read("route"), read("ipv6_route"));
    v4.lines().filter_map(gateway_v4).chain(v6.lines().filter_map(gateway_v6)).collect()
}

/// Third column of `route`: the address as the machine keeps it, in hexadecimal.
fn gateway_v4(line: &str) -> Option<IpAddr> {
    let word = u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok()?;
    (word != 0).then(|| IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())))
}

/// Fifth column of `ipv6_route`: 32 hexadecimal digits.
fn gateway_v6(line: &str) -> Option<IpAddr> {
    let word = u128::from_str_radix(line.split_whitespace().nth(4)?, 16).ok()?;
    (word != 0).then(|| IpAddr::V6(Ipv6Addr::from(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read_from_both_tables() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(gateways(dir.path()), Vec::<IpAddr>::new());
        let word = format!("{:08X}", u32::from_ne_bytes([192, 168, 1, 1]));
        write(
            "route",
            &format!(
                "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t{word}\t0003\neth0\t0001A8C0\t00000000\t0001\n"
            ),
        );
        write(
            "ipv6_route",
            "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
             fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n",
        );
        let expected: [IpAddr; 2] = ["192.168.1.1".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(gateways(dir.path()), expected);
    }
}
