//! Networks: lists of addresses and ranges of addresses.

use std::net::IpAddr;

/// Networks in which an address may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Any,
    /// An address and how many of its first bits count.
    Range(IpAddr, u8),
}

/// What `private` stands for: this machine, private and link-local networks.
const PRIVATE: &[&str] = &[
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Default for Networks {
    fn default() -> Networks {
        Networks::private()
    }
}

impl Networks {
    /// Reads addresses, ranges (`10.0.0.0/8`), `private` and `*`.
    ///
    /// # Errors
    /// What is none of them.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Networks, String> {
        let mut out = Vec::new();
        for text in list.iter().map(|t| t.as_ref().trim()) {
            match text {
                "*" => out.push(Network::Any),
                "private" => out.extend(PRIVATE.iter().filter_map(|text| range(text))),
                text => out.push(range(text).ok_or_else(|| {
                    format!(
                        "\"{text}\" is no address, range such as \"10.0.0.0/8\", \"private\" or \"*\""
                    )
                })?),
            }
        }
        Ok(Networks(out))
    }

    /// This machine, private and link-local networks.
    pub fn private() -> Networks {
        Networks(PRIVATE.iter().filter_map(|text| range(text)).collect())
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| match *network {
            Network::Any => true,
            Network::Range(start, bits) => same_start(start, address, bits),
        })
    }
}

fn range(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address = address.parse::<IpAddr>().ok()?.to_canonical();
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some(Network::Range(address, bits))
}

fn same_start(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let (a, b, all) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::from(all - bits.min(all));
    a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_ranges() {
        for (list, address, is_in) in [
            ("private", "127.0.0.1", true),
            ("private", "::ffff:10.1.2.3", true),
            ("private", "172.31.255.255", true),
            ("private", "172.32.0.0", false),
            ("private", "fd00::1", true),
            ("private", "8.8.8.8", false),
            ("*", "8.8.8.8", true),
            ("8.8.8.8", "8.8.8.8", true),
            ("8.8.8.8", "8.8.8.9", false),
            ("8.8.8.8/31", "8.8.8.9", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
        ] {
            let networks = Networks::parse(&[list]).unwrap();
            let found = networks.contains(address.parse().unwrap());
            assert_eq!(found, is_in, "{list} {address}");
        }
        for text in ["", "10.0.0.0/33", "x", "10.0.0.0/-1", "10.0.0"] {
            assert!(Networks::parse(&[text]).is_err(), "{text}");
        }
        assert!(
            !Networks::parse::<&str>(&[])
                .unwrap()
                .contains([127, 0, 0, 1].into())
        );
        assert_eq!(Networks::private(), Networks::parse(&["private"]).unwrap());
    }
}
