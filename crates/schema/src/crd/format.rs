//! String formats that custom resources are checked for; unknown formats check nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text has a format; `None` if the format is not known.
pub(crate) fn check(format: &str, text: &str) -> Option<bool> {
    Some(match format.replace('-', "").as_str() {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uri" => uri(text),
        "email" => email(text),
        "hostname" => hostname(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "byte" => base64(text),
        "date" => date(text),
        "datetime" => date_time(text),
        "duration" => duration(text),
        "bsonobjectid" => text.len() == 24 && hex(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            (digits.len() == 3 || digits.len() == 6) && hex(digits)
        }
        "rgbcolor" => rgb(text),
        "ssn" => digits_in_groups(text, &[3, 2, 4]),
        "creditcard" => credit_card(text),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "password" => true,
        "k8sshortname" => label(text, 63),
        "k8slongname" => {
            text.len() <= 253 && !text.is_empty() && text.split('.').all(|part| label(part, 253))
        }
        _ => return None,
    })
}

fn hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn label(text: &str, max: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= max
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let Ok(bits) = bits.parse::<u8>() else {
        return false;
    };
    (address.parse::<Ipv4Addr>().is_ok() && bits <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && bits <= 128)
}

fn mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    [6, 8, 20].contains(&parts.len()) && parts.iter().all(|part| part.len() == 2 && hex(part))
}

/// A request URI: absolute, or an absolute path.
fn uri(text: &str) -> bool {
    if text.is_empty()
        || text
            .chars()
            .any(|character| character.is_control() || character == ' ')
    {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        && !rest.is_empty()
}

fn email(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else {
        return false;
    };
    !name.is_empty()
        && !domain.is_empty()
        && name
            .chars()
            .all(|letter| !letter.is_whitespace() && !"()<>[]:;,@\\\"".contains(letter))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && domain
            .split('.')
            .all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
}

fn hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let part_fits = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part
                .chars()
                .all(|letter| letter.is_alphanumeric() || letter == '-' || letter == '_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    !text.is_empty() && text.len() <= 255 && text.split('.').all(part_fits)
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let plain = text.replace('-', "");
    let grouped = digits_grouped(text, &[8, 4, 4, 4, 12]);
    (grouped || (version.is_none() && text.len() == 32))
        && hex(&plain)
        && version.is_none_or(|version| plain.chars().nth(12) == Some(version))
}

fn digits_grouped(text: &str, groups: &[usize]) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == groups.len() && parts.iter().zip(groups).all(|(part, len)| part.len() == *len)
}

fn digits_in_groups(text: &str, groups: &[usize]) -> bool {
    digits_grouped(text, groups) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

fn rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
    })
}

fn credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            if at % 2 == 0 {
                *digit
            } else {
                digit * 2 / 10 + digit * 2 % 10
            }
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

fn isbn10(text: &str) -> bool {
    let plain: String = text
        .chars()
        .filter(|letter| *letter != '-' && *letter != ' ')
        .collect();
    let value = |(at, letter): (usize, char)| match letter {
        'X' | 'x' if at == 9 => Some(10),
        other => other.to_digit(10),
    };
    let digits: Option<Vec<u32>> = plain.chars().enumerate().map(value).collect();
    digits.is_some_and(|digits| {
        let sum: u32 = digits
            .iter()
            .zip(1..)
            .map(|(digit, place): (&u32, u32)| digit * place)
            .sum();
        digits.len() == 10 && sum.is_multiple_of(11)
    })
}

fn isbn13(text: &str) -> bool {
    let plain: String = text
        .chars()
        .filter(|letter| *letter != '-' && *letter != ' ')
        .collect();
    let digits: Option<Vec<u32>> = plain.chars().map(|letter| letter.to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let weighed = digits
            .iter()
            .enumerate()
            .map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 3 });
        digits.len() == 13 && weighed.sum::<u32>().is_multiple_of(10)
    })
}

fn date(text: &str) -> bool {
    let groups = text.split('-').collect::<Vec<_>>();
    let [year, month, day] = groups.as_slice() else {
        return false;
    };
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return false;
    }
    let (Ok(year), Ok(month), Ok(day)) = (year.parse::<u32>(), month.parse::<u32>(), day.parse::<u32>())
    else {
        return false;
    };
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn date_time(text: &str) -> bool {
    if text.len() < 10 || !text.is_char_boundary(10) {
        return false;
    }
    let (day, rest) = text.split_at(10);
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else {
        return false;
    };
    if !date(day) {
        return false;
    }
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let within =
        |part: &str, max: u32| part.len() == 2 && part.parse::<u32>().is_ok_and(|value| value <= max);
    let [hour, minute, second] = parts.as_slice() else {
        return false;
    };
    let zone_fits = matches!(zone, "Z" | "z" | "") || {
        let offset: String = zone[1..].chars().filter(|letter| *letter != ':').collect();
        offset.len() == 4 && within(&offset[..2], 23) && within(&offset[2..], 59)
    };
    within(hour, 23)
        && within(minute, 59)
        && within(second, 60)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && zone_fits
}

/// A Go duration, or a number with a unit in words such as `3 days`.
fn duration(text: &str) -> bool {
    if go_duration(text).is_some() {
        return true;
    }
    let trimmed = text.trim();
    let at = trimmed
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(at);
    let unit = unit.trim().to_lowercase();
    const UNITS: [&str; 24] = [
        "ns",
        "nano",
        "nanosecond",
        "us",
        "µs",
        "micro",
        "microsecond",
        "ms",
        "milli",
        "millisecond",
        "s",
        "sec",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "wk",
        "week",
    ];
    number.parse::<f64>().is_ok()
        && UNITS.contains(
            &unit
                .strip_suffix('s')
                .filter(|unit| !unit.is_empty())
                .unwrap_or(&unit),
        )
}

/// Nanoseconds of a Go duration such as `1h2.5s`.
pub(crate) fn go_duration(text: &str) -> Option<i64> {
    fluvial_object::duration::parse_go(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (format, good, bad) in [
            ("ipv4", "1.2.3.4", "1.2.3"),
            ("date-time", "2024-02-29T03:04:05.1+01:00", "2023-02-29T03:04:05Z"),
            ("duration", "1h2m", "xx"),
            ("duration", "3 days", "3 dogs"),
            ("uri", "https://x/y", "::"),
            ("byte", "YQ==", "***"),
            (
                "uuid4",
                "6fa459ea-ee8a-4ca4-894e-db77e160355e",
                "6fa459ea-ee8a-3ca4-894e-db77e160355e",
            ),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("credit-card", "4111111111111111", "4111111111111112"),
        ] {
            assert_eq!(check(format, good), Some(true), "{format} {good}");
            assert_eq!(check(format, bad), Some(false), "{format} {bad}");
        }
        assert_eq!(check("int32", "x"), None);
    }
}
