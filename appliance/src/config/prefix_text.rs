//! Parses and formats addresses and prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::choice::quoted;

/// Parses an address or a prefix. An address becomes a prefix of full length. The error says what would be right.
pub(super) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| {
        let shown = quoted(text);
        format!(r#"{shown} is not an address; use one like "192.0.2.10" or "2001:db8::10", or a prefix like "198.51.100.0/24""#)
    })?;
    if net.trunc() != net {
        return Err(format!(
            r#""{net}" has host bits set; use "{}" or "{}""#,
            net.trunc(),
            net.addr()
        ));
    }
    Ok(net)
}

/// Like `parse_prefix`, for the sources of allow and deny lists.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_listed_prefix(text: &str) -> Result<IpNet, String> {
    let net = parse_prefix(text)?;
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err(format!(
                "{} is an IPv4-mapped IPv6 address; write the IPv4 address or prefix",
                quoted(text)
            ))
        }
        _ => Ok(net),
    }
}

/// Like [`parse_prefix`], for the addresses of servers: unicast only.
pub(super) fn parse_unicast_prefix(text: &str) -> Result<IpNet, String> {
    let net = parse_prefix(text)?;
    for (range, name) in not_unicast() {
        if range.contains(&net) {
            return Err(format!(
                r#""{text}" is {name}; use the address at which clients reach the server"#
            ));
        }
        if net.contains(&range) {
            return Err(format!(
                r#""{text}" contains {range}, which is {name}; use the prefixes of the servers"#
            ));
        }
    }
    Ok(net)
}

/// Formats `net`, without the length if it is a single address.
pub(super) fn format_prefix(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// Ranges that are no server's address: those of RFC 6890's tables that the kernel does not route or TCP cannot use.
fn not_unicast() -> [(IpNet, &'static str); 8] {
    let v4 = |address, length| IpNet::V4(Ipv4Net::new_assert(address, length));
    let v6 = |address, length| IpNet::V6(Ipv6Net::new_assert(address, length));
    [
        (v4(Ipv4Addr::UNSPECIFIED, 8), "unspecified"),
        (v4(Ipv4Addr::new(127, 0, 0, 0), 8), "loopback"),
        (v4(Ipv4Addr::new(224, 0, 0, 0), 4), "multicast"),
        (v4(Ipv4Addr::BROADCAST, 32), "broadcast"),
        (v6(Ipv6Addr::UNSPECIFIED, 128), "unspecified"),
        (v6(Ipv6Addr::LOCALHOST, 128), "loopback"),
        (
            v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
            "multicast",
        ),
        (
            v6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96),
            "an IPv4-mapped IPv6 address",
        ),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_full_prefixes() {
        for (text, net, again) in [
            ("192.0.2.10", "192.0.2.10/32", "192.0.2.10"),
            ("2001:DB8::10", "2001:db8::10/128", "2001:db8::10"),
            ("198.51.100.0/24", "198.51.100.0/24", "198.51.100.0/24"),
        ] {
            assert_eq!(parse_unicast_prefix(text).unwrap().to_string(), net);
            assert_eq!(format_prefix(parse_prefix(text).unwrap()), again);
        }
    }

    #[test]
    fn host_bits_are_refused_with_both_corrections() {
        let refused = parse_prefix("192.0.2.10/24").unwrap_err();
        assert_eq!(
            refused,
            r#""192.0.2.10/24" has host bits set; use "192.0.2.0/24" or "192.0.2.10""#
        );
    }

    #[test]
    fn sources_are_not_written_as_mapped_addresses() {
        for text in ["::ffff:192.0.2.1", "::ffff:192.0.2.0/120", "::ffff:0:0/96"] {
            let refused = parse_listed_prefix(text).unwrap_err();
            assert!(refused.contains("write the IPv4 address"), "{refused}");
        }
        for text in ["::/0", "0.0.0.0/0", "::/96", "::1"] {
            assert!(parse_listed_prefix(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            "web",
            "192.0.2.300",
            "192.0.2.1:80",
            "192.0.2.0/33",
            "192.0.2.0/255.255.255.0",
            "fe80::1%eth0",
        ] {
            assert!(
                parse_prefix(text)
                    .unwrap_err()
                    .contains("is not an address"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_service_has_unicast_addresses() {
        for (text, name) in [
            ("0.0.0.0", "is unspecified"),
            ("127.0.0.1", "is loopback"),
            ("239.1.2.3", "is multicast"),
            ("255.255.255.255", "is broadcast"),
            ("::", "is unspecified"),
            ("::1", "is loopback"),
            ("ff02::1", "is multicast"),
            ("::ffff:192.0.2.1", "is an IPv4-mapped IPv6 address"),
            ("0.0.0.0/0", "contains 0.0.0.0/8, which is unspecified"),
            ("::/0", "contains ::/128, which is unspecified"),
        ] {
            assert!(
                parse_unicast_prefix(text).unwrap_err().contains(name),
                "{text}"
            );
        }
        assert!(
            parse_prefix("0.0.0.0/0").is_ok(),
            "allow and deny may contain every address"
        );
    }
}
