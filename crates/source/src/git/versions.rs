//! Versions over tags: the one place that knows how ranges are read.

use fluvial_object::semver::{Constraint, Version};

/// Whether the range can be read.
pub(crate) fn check(range: &str) -> Result<(), String> {
    Constraint::parse(range)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// The tags with the highest version in the range; several if their versions are equal.
pub(crate) fn highest<'a>(
    range: &str,
    tags: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<&'a str>, String> {
    let range = Constraint::parse(range).map_err(|error| error.to_string())?;
    let mut best: Option<(Version, Vec<&str>)> = None;
    for tag in tags {
        let Some(version) = Version::parse(tag).ok().filter(|version| range.matches(version)) else {
            continue;
        };
        match &mut best {
            Some((highest, tags)) => match version.cmp(highest) {
                std::cmp::Ordering::Greater => best = Some((version, vec![tag])),
                std::cmp::Ordering::Equal => tags.push(tag),
                std::cmp::Ordering::Less => {}
            },
            None => best = Some((version, vec![tag])),
        }
    }
    Ok(best.map(|(_, tags)| tags).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_in_the_range_is_chosen() {
        let tags = ["v1.0.0", "1.2.0", "v1.2.0", "v2.0.0-rc.1", "nightly", "v1.1.9"];
        assert_eq!(highest(">=1.0.0 <2.0.0", tags).unwrap(), ["1.2.0", "v1.2.0"]);
        assert_eq!(highest("1.1.x", tags).unwrap(), ["v1.1.9"]);
        assert_eq!(highest("v1.0.0", tags).unwrap(), ["v1.0.0"]);
        assert!(highest(">=3", tags).unwrap().is_empty());
        assert!(check("not a range").is_err());
    }
}
