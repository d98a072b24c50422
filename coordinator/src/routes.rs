//! The IPv4 prefixes this machine routes, so that no network is drawn over one of them.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

/// Prefixes of the kernel's routing table, the default route left out; empty where there is no such table.
#[must_use]
pub fn local_prefixes() -> Vec<Ipv4Network> {
    std::fs::read_to_string("/proc/net/route").map(|table| parse(&table)).unwrap_or_default()
}

/// Reads Linux's `/proc/net/route`: destination and mask in columns 2 and 8, hexadecimal in the machine's byte order.
fn parse(table: &str) -> Vec<Ipv4Network> {
    let address =
        |text: &str| u32::from_str_radix(text, 16).ok().map(|value| Ipv4Addr::from(value.to_ne_bytes()));
    let mut prefixes: Vec<Ipv4Network> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let destination = address(columns.nth(1)?)?;
            let mask = address(columns.nth(5)?)?;
            Ipv4Network::with_netmask(destination, mask).ok()
        })
        .filter(|prefix| prefix.prefix() > 0)
        .collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_routing_table_is_read_without_the_default_route() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     nonsense\n";
        assert_eq!(parse(table), ["192.168.2.0/24".parse::<Ipv4Network>().unwrap()]);
    }
}
