//! IP addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{Opaque, Value};
use crate::error::quote;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "ip" => |args| match &args[0] {
            Value::Opaque(Opaque::Cidr(address, _)) => Ok(ip(*address)),
            other => parse_ip(text(other)?).map(ip),
        },
        "isIP" => |args| Ok(Value::Bool(parse_ip(text(&args[0])?).is_ok())),
        "ip.isCanonical" => |args| {
            let text = text(&args[0])?;
            Ok(Value::Bool(parse_ip(text)?.to_string() == text))
        },
        "family" => |args| Ok(Value::Int(if get_ip(&args[0])?.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => |args| Ok(Value::Bool(get_ip(&args[0])?.is_unspecified())),
        "isLoopback" => |args| Ok(Value::Bool(get_ip(&args[0])?.is_loopback())),
        "isLinkLocalMulticast" => |args| Ok(Value::Bool(link_local_multicast(get_ip(&args[0])?))),
        "isLinkLocalUnicast" => |args| Ok(Value::Bool(link_local_unicast(get_ip(&args[0])?))),
        "isGlobalUnicast" => |args| {
            let address = get_ip(&args[0])?;
            let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
            let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
            Ok(Value::Bool(
                !special && !broadcast && !link_local_unicast(address),
            ))
        },
        "cidr" => |args| parse_cidr(text(&args[0])?).map(|(address, bits)| cidr(address, bits)),
        "isCIDR" => |args| Ok(Value::Bool(parse_cidr(text(&args[0])?).is_ok())),
        "containsIP" => |args| {
            let (network, bits) = get_cidr(&args[0])?;
            let address = match &args[1] {
                Value::String(text) => parse_ip(text.as_str())?,
                other => get_ip(other)?,
            };
            Ok(Value::Bool(mask(address, bits) == mask(network, bits)))
        },
        "containsCIDR" => |args| {
            let (network, bits) = get_cidr(&args[0])?;
            let (other, others) = match &args[1] {
                Value::String(text) => parse_cidr(text.as_str())?,
                other => get_cidr(other)?,
            };
            let within = mask(other, bits) == mask(network, bits) && others >= bits;
            Ok(Value::Bool(within))
        },
        "masked" => |args| {
            let (network, bits) = get_cidr(&args[0])?;
            Ok(cidr(mask(network, bits), bits))
        },
        "prefixLength" => |args| Ok(Value::Int(get_cidr(&args[0])?.1.into())),
        _ => return None,
    })
}

fn ip<'a>(address: IpAddr) -> Value<'a> {
    Value::Opaque(Opaque::Ip(address))
}

fn cidr<'a>(address: IpAddr, bits: u8) -> Value<'a> {
    Value::Opaque(Opaque::Cidr(address, bits))
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(Error::no_overload)
}

fn get_ip(value: &Value<'_>) -> Result<IpAddr, Error> {
    match value {
        Value::Opaque(Opaque::Ip(address)) => Ok(*address),
        _ => Err(Error::no_overload()),
    }
}

fn get_cidr(value: &Value<'_>) -> Result<(IpAddr, u8), Error> {
    match value {
        Value::Opaque(Opaque::Cidr(address, bits)) => Ok((*address, *bits)),
        _ => Err(Error::no_overload()),
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & keep).into()
        }
        IpAddr::V6(address) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & keep).into()
        }
    }
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Go's words for what is no address.
fn address(text: &str) -> Result<IpAddr, String> {
    let wrong = |what: &str| format!("ParseAddr({}): {what}", quote(text));
    match text.find(['.', ':', '%']) {
        Some(at) if text.as_bytes()[at] == b'.' => four(text).map(IpAddr::V4).map_err(|what| wrong(&what)),
        Some(at) if text.as_bytes()[at] == b'%' => Err(wrong("missing IPv6 address")),
        Some(_) => {
            let bare = text.split('%').next().unwrap_or_default();
            let parsed: Result<Ipv6Addr, _> = bare.parse();
            parsed.map(IpAddr::V6).map_err(|_| {
                let bad = bare.find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
                wrong(&match bad {
                    Some(at) => format!(
                        "each colon-separated field must have at least one digit (at {})",
                        quote(&bare[at..])
                    ),
                    None => "address string too short".to_owned(),
                })
            })
        }
        None => Err(wrong("unable to parse IP")),
    }
}

fn four(text: &str) -> Result<Ipv4Addr, String> {
    let mut octets = Vec::new();
    for (count, part) in text.split('.').enumerate() {
        if let Some(at) = part.find(|c: char| !c.is_ascii_digit()) {
            return Err(format!("unexpected character (at {})", quote(&part[at..])));
        }
        if part.is_empty() {
            return Err(format!(
                "IPv4 field must have at least one digit (at {})",
                quote(text.splitn(count + 1, '.').last().unwrap_or_default())
            ));
        }
        if part.len() > 1 && part.starts_with('0') {
            return Err("IPv4 field has octet with leading zero".to_owned());
        }
        octets.push(
            part.parse::<u8>()
                .map_err(|_| "IPv4 field has value >255".to_owned())?,
        );
    }
    let octets: [u8; 4] = octets.try_into().map_err(|octets: Vec<u8>| {
        let what = if octets.len() < 4 { "short" } else { "long" };
        format!("IPv4 address too {what}")
    })?;
    Ok(octets.into())
}

fn parse_ip(text: &str) -> Result<IpAddr, Error> {
    let parsed = address(text).map_err(|error| {
        Error::new(format!(
            "IP Address {} parse error during conversion from string: {error}",
            quote(text)
        ))
    })?;
    if text.contains('%') {
        return Err(Error::new(format!(
            "IP address {} with zone value is not allowed",
            quote(text)
        )));
    }
    if matches!(parsed, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        return Err(Error::new(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quote(text)
        )));
    }
    Ok(parsed)
}

fn parse_cidr(text: &str) -> Result<(IpAddr, u8), Error> {
    let prefix = "network address parse error during conversion from string: ";
    let wrong = |what: String| {
        Error::new(format!(
            "{prefix}{prefix}netip.ParsePrefix({}): {what}",
            quote(text)
        ))
    };
    let (base, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'".to_owned()))?;
    let parsed = address(base).map_err(&wrong)?;
    if base.contains('%') {
        return Err(wrong("IPv6 zones cannot be present in a prefix".to_owned()));
    }
    let max = if parsed.is_ipv4() { 32 } else { 128 };
    let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (bits.len() > 1 && bits.starts_with('0')) {
        return Err(wrong(format!("bad bits after slash: {}", quote(bits))));
    }
    match bits.parse::<u8>() {
        Ok(bits) if bits <= max => Ok((parsed, bits)),
        _ => Err(wrong("prefix length out of range".to_owned())),
    }
}
