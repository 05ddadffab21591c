//! Addresses and ranges that are taken for compatibility, though they are not written as they should be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::request::Request;

/// An address as old clients may write it: numbers with leading zeros, and IPv4 inside of IPv6.
fn lenient(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        });
    }
    let parts: Option<Vec<u8>> = text
        .split('.')
        .map(|part| part.trim_start_matches('0'))
        .map(|part| {
            if part.is_empty() {
                Some(0)
            } else {
                part.parse().ok()
            }
        })
        .collect();
    let [a, b, c, d] = parts?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
}

/// Warns of an address that is not written in its usual form.
pub(super) fn address(request: &Request, value: &Value, path: &str) {
    let text = value.as_str().unwrap_or("");
    let Some(meant) = lenient(text) else { return };
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => {}
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_none() => {
            if six.to_string() != text {
                request.warn(format!(
                    "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{six}\")"
                ));
            }
        }
        _ => request.warn(format!(
            "{path}: non-standard IP address {text:?} is invalid: use \"{meant}\""
        )),
    }
}

/// The first address of a range.
fn masked(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(four.to_bits() & mask))
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & mask))
        }
    }
}

/// Warns of a range that names more than its first address, or is not written in its usual form.
pub(super) fn range(request: &Request, value: &Value, path: &str) {
    let text = value.as_str().unwrap_or("");
    let Some((address, length)) = text.split_once('/') else {
        return;
    };
    let (Some(meant), Ok(bits)) = (lenient(address), length.parse::<u32>()) else {
        return;
    };
    let written = address.parse::<IpAddr>().ok();
    let mapped = matches!(written, Some(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some());
    let size = if meant.is_ipv4() { 32 } else { 128 };
    let bits = if mapped { bits.saturating_sub(96) } else { bits };
    if bits > size {
        return;
    }
    let first = masked(meant, bits);
    let mut plain = true;
    if first != meant {
        plain = false;
        request.warn(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{first}/{bits}\" or \
             \"{meant}/{size}\"?)"
        ));
    }
    let zeros = length.len() > 1 && length.starts_with('0');
    if written.is_none() || mapped || zeros {
        plain = false;
        request.warn(format!(
            "{path}: non-standard CIDR value {text:?} is invalid: use \"{first}/{bits}\""
        ));
    }
    let usual = format!("{meant}/{bits}");
    if plain && meant.is_ipv6() && usual != text {
        request.warn(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({usual:?})"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_old_clients_are_understood() {
        let four = |text: &str| lenient(text).map(|address| address.to_string());
        assert_eq!(four("010.001.002.003").as_deref(), Some("10.1.2.3"));
        assert_eq!(four("::ffff:1.2.3.4").as_deref(), Some("1.2.3.4"));
        assert_eq!(four("1.2.3"), None);
        assert_eq!(four("1.2.3.400"), None);
        assert_eq!(masked("10.1.2.3".parse().unwrap(), 8).to_string(), "10.0.0.0");
        assert_eq!(masked("10.1.2.3".parse().unwrap(), 0).to_string(), "0.0.0.0");
        assert_eq!(
            masked("2001:db8::1".parse().unwrap(), 32).to_string(),
            "2001:db8::"
        );
    }
}
