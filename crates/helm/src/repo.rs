//! `index.yaml` of a chart repository: which versions there are, and which one a constraint means.

use std::collections::BTreeMap;

use fluvial_object::semver::{Constraint, Version};
use serde_json::Value as Json;

use crate::error::Error;
use crate::metadata::{Metadata, Reader};
use crate::values::yaml_to_json_strictly;

mod shape;

/// One version of a chart in a repository.
#[derive(Clone, Debug, Default)]
pub struct ChartVersion {
    /// What its `Chart.yaml` says.
    pub metadata: Metadata,
    /// Where its archive is; relative to the repository unless absolute.
    pub urls: Vec<String>,
    /// The archive's digest.
    pub digest: String,
    /// When it was added.
    pub created: String,
}

/// A repository's index; versions of a chart come newest first.
#[derive(Clone, Debug, Default)]
pub struct Index {
    entries: BTreeMap<String, Vec<ChartVersion>>,
}

impl Index {
    /// Reads an index, YAML or JSON. Entries that are no charts are left out.
    ///
    /// # Errors
    /// If it is empty, no YAML, or says no API version.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|error| Error::load(format!("error loading index.yaml: {error}")))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty index.yaml file".to_owned());
        }
        let json = match serde_json::from_str(text) {
            Ok(json) => {
                shape::check(&json, false)?;
                json
            }
            Err(_) => {
                let json = yaml_to_json_strictly(text)?;
                shape::check(&json, true)
                    .map_err(|error| format!("error unmarshaling JSON: while decoding JSON: {error}"))?;
                json
            }
        };
        let mut index = Index::default();
        let mut api_version = String::new();
        if let Json::Object(fields) = &json {
            let reader = Reader {
                fields,
                kind: "IndexFile",
            };
            reader.text("apiVersion", &mut api_version)?;
            if let Some(Json::Object(entries)) = reader.get("entries") {
                for (name, versions) in entries {
                    index.entries.insert(name.clone(), versions_of(versions));
                }
            }
        }
        if api_version.is_empty() {
            return Err("no API version specified".to_owned());
        }
        Ok(index)
    }

    /// The names of all charts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// All versions of a chart, newest first.
    #[must_use]
    pub fn versions(&self, name: &str) -> &[ChartVersion] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    /// The version that a text means: that very one, else the newest that fits it as a constraint.
    /// Nothing stands for the newest that is no pre-release.
    ///
    /// # Errors
    /// If there is no such chart or version, or the text is no constraint.
    pub fn get(&self, name: &str, version: &str) -> Result<&ChartVersion, Error> {
        let versions = self
            .entries
            .get(name)
            .ok_or_else(|| Error::load("no chart name found"))?;
        if versions.is_empty() {
            return Err(Error::load("no chart version found"));
        }
        let constraint = Constraint::parse(if version.is_empty() { "*" } else { version })
            .map_err(|error| Error::load(error.to_string()))?;
        if let Some(exact) = versions.iter().find(|known| known.metadata.version == version) {
            return Ok(exact);
        }
        let fits = |known: &&ChartVersion| {
            Version::parse(&known.metadata.version).is_ok_and(|version| constraint.matches(&version))
        };
        versions
            .iter()
            .find(fits)
            .ok_or_else(|| Error::load(format!("no chart version found for {name}-{version}")))
    }
}

/// The version that a text means among those of one chart, as the source controller chooses: that very one, else the
/// newest that fits it as a constraint; of those that differ in build metadata only, the one that was added last.
/// Nothing and `*` stand for the newest that is no pre-release.
///
/// # Errors
/// If there is none, or the text is no constraint.
pub fn newest<'a>(name: &str, versions: &'a [ChartVersion], wanted: &str) -> Result<&'a ChartVersion, Error> {
    if versions.is_empty() {
        return Err(Error::load("no chart version found"));
    }
    if let Some(exact) = versions
        .iter()
        .find(|known| !wanted.is_empty() && known.metadata.version == wanted)
    {
        return Ok(exact);
    }
    let constraint = Constraint::parse(if wanted.is_empty() { "*" } else { wanted })
        .map_err(|error| Error::load(error.to_string()))?;
    let fitting = versions.iter().filter_map(|known| {
        let version = Version::parse(&known.metadata.version).ok()?;
        constraint.matches(&version).then_some((version, known))
    });
    fitting
        // Of equals the first, as a stable sort leaves it.
        .reduce(|best, next| {
            let order = next
                .0
                .cmp(&best.0)
                .then_with(|| next.1.created.cmp(&best.1.created));
            if order.is_gt() { next } else { best }
        })
        .map(|(_, known)| known)
        .ok_or_else(|| {
            Error::load(format!(
                "no '{name}' chart with version matching '{wanted}' found"
            ))
        })
}

/// Sorts versions of one chart, newest first; what is no version counts as the oldest.
pub fn sort_versions<T>(versions: &mut [T], version: impl Fn(&T) -> &str) {
    versions.sort_by_cached_key(|known| {
        let parsed = Version::parse(version(known)).ok();
        std::cmp::Reverse((parsed.is_some(), parsed))
    });
}

fn versions_of(json: &Json) -> Vec<ChartVersion> {
    let items = json.as_array().into_iter().flatten();
    let mut versions: Vec<ChartVersion> = items.filter_map(ChartVersion::from_json).collect();
    sort_versions(&mut versions, |known| &known.metadata.version);
    versions
}

impl ChartVersion {
    /// Reads an entry of an index; nothing if it is no chart.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        one(json)
    }
}

fn one(json: &Json) -> Option<ChartVersion> {
    let fields = json.as_object()?;
    let mut version = ChartVersion::default();
    version.metadata.merge(json).ok()?;
    if version.metadata.api_version.is_empty() {
        "v1".clone_into(&mut version.metadata.api_version);
    }
    if let Err(error) = version.metadata.validate()
        && !error
            .to_string()
            .contains("more than one dependency with name or alias")
    {
        return None;
    }
    let reader = Reader {
        fields,
        kind: "ChartVersion",
    };
    reader.text("digest", &mut version.digest).ok()?;
    reader.text("created", &mut version.created).ok()?;
    reader.texts("urls", &mut version.urls).ok()?;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::{Index, newest};

    #[test]
    fn an_index_is_decoded_strictly_if_it_is_yaml() {
        let chart = |field: &str| {
            format!("entries:\n  a:\n  - {{name: a, version: 1.0.0, {field}}}\napiVersion: v1\n")
        };
        let decoding = "error unmarshaling JSON: while decoding JSON: ";
        for (text, want) in [
            (chart("urls: [1], digest: 2"), String::new()),
            (chart("nope: 1"), format!("{decoding}json: unknown field \"nope\"")),
            (
                chart("icon: 1"),
                format!("{decoding}json: cannot unmarshal number into Go struct field ChartVersion.entries.Metadata.icon of type string"),
            ),
            (
                chart("nope: 1, created: x"),
                format!("{decoding}parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""),
            ),
            (
                "apiVersion: v1\napiVersion: v1\n".to_owned(),
                "error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"apiVersion\" already set in map".to_owned(),
            ),
            ("{\"apiVersion\": \"v1\", \"nope\": 1}".to_owned(), String::new()),
            (
                "{\"apiVersion\": 1}".to_owned(),
                "json: cannot unmarshal number into Go struct field IndexFile.apiVersion of type string".to_owned(),
            ),
            ("x".to_owned(), format!("{decoding}json: cannot unmarshal string into Go value of type repo.IndexFile")),
        ] {
            let error = Index::parse(&text).err().map_or_else(String::new, |error| error.to_string());
            assert_eq!(error.strip_prefix("error loading index.yaml: ").unwrap_or(&error), want, "{text}");
        }
    }

    #[test]
    fn the_newest_release_is_chosen_unless_a_constraint_says_otherwise() {
        let index = Index::parse(
            "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.2.0}\n  - {name: a, version: 2.0.0-rc.1}\n  - \
             {name: a, version: 1.10.0}\n",
        )
        .unwrap();
        let version = |constraint| index.get("a", constraint).unwrap().metadata.version.clone();
        assert_eq!(version(""), "1.10.0");
        assert_eq!(version("~1.2"), "1.2.0");
        let chosen = |wanted| newest("a", index.versions("a"), wanted).map(|known| &*known.metadata.version);
        assert_eq!(chosen("*").unwrap(), "1.10.0");
        assert_eq!(chosen(">=2.0.0-0").unwrap(), "2.0.0-rc.1");
        assert_eq!(
            chosen("^3").unwrap_err().to_string(),
            "no 'a' chart with version matching '^3' found"
        );
        assert_eq!(version("2.0.0-rc.1"), "2.0.0-rc.1");
        assert_eq!(
            index.get("a", "^3").unwrap_err().to_string(),
            "no chart version found for a-^3"
        );
    }
}
