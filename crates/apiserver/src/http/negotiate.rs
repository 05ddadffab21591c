//! Media types: what a client sends and what it accepts.

use super::route::Query;
use crate::status::{Failure, Outcome};

/// Representation of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// JSON with indentation.
    Pretty,
    /// YAML.
    Yaml,
}

/// What an object is turned into before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Shape {
    /// As it is.
    #[default]
    Object,
    /// A Table of this version of meta.k8s.io.
    Table(String),
    /// Metadata alone.
    Partial(String),
    /// A list of metadata.
    PartialList(String),
    /// Aggregated discovery of this version.
    Discovery(String),
}

/// What a client accepts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Accept {
    /// Representation.
    pub format: Format,
    /// Shape.
    pub shape: Shape,
}

struct Clause<'a> {
    media: String,
    parameters: Vec<(String, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = header
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next()?.to_ascii_lowercase();
            let parameters: Vec<(String, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
                .collect();
            let quality = parameters
                .iter()
                .find(|(name, _)| name == "q")
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(1.0);
            Some(Clause {
                media,
                parameters,
                quality,
            })
        })
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// Whether a client takes nothing but protobuf.
#[must_use]
pub fn only_protobuf(header: Option<&str>) -> bool {
    let all = clauses(header.unwrap_or(""));
    let takes = |media: &str| all.iter().any(|clause| clause.media == media);
    takes("application/vnd.kubernetes.protobuf")
        && !["application/json", "application/yaml", "*/*", "application/*"]
            .iter()
            .any(|media| takes(media))
}

/// The failure that lists what can be had.
#[must_use]
pub fn not_acceptable() -> Failure {
    Failure::new(
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf",
    )
    .with_details(serde_json::json!({}))
}

/// The failure of one that takes a media type that is served, in a form that is not.
#[must_use]
pub fn other_media_only() -> Failure {
    let message = "only the following media types are accepted: application/json, application/yaml, \
                   application/vnd.kubernetes.protobuf";
    Failure::new(406, "NotAcceptable", message)
}

/// Whether answers may come compressed.
#[must_use]
pub fn takes_gzip(encodings: Option<&str>) -> bool {
    encodings.is_some_and(|all| all.split(',').any(|one| one.trim() == "gzip"))
}

/// What is accepted of something that has no tables.
///
/// # Errors
/// Nothing but tables is.
pub fn without_tables(accept: Option<&str>, query: &Query, agent: &str) -> Outcome<Accept> {
    let clauses = accept.unwrap_or("").split(',');
    let left: Vec<&str> = clauses.filter(|clause| !clause.contains("as=Table")).collect();
    if left.is_empty() {
        return Err(other_media_only());
    }
    self::accept(Some(&left.join(",")), query, agent)
}

/// A failure of lists, which can be had as streams too.
pub fn name_streams(failure: &mut Failure) {
    if failure.code == 406 && failure.message.starts_with("406") {
        failure
            .message
            .push_str(", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch");
    }
}

/// Reads an Accept header.
///
/// # Errors
/// Nothing that is accepted can be given.
pub fn accept(header: Option<&str>, query: &Query, user_agent: &str) -> Outcome<Accept> {
    let header = header.unwrap_or("").trim();
    let pretty = query.flag("pretty")
        || (query.get("pretty").is_none()
            && ["curl", "Wget", "Mozilla/5.0"]
                .iter()
                .any(|agent| user_agent.starts_with(agent)));
    let plain = if pretty { Format::Pretty } else { Format::Json };
    if header.is_empty() {
        return Ok(Accept {
            format: plain,
            shape: Shape::Object,
        });
    }
    let mut served = false;
    for clause in clauses(header) {
        let format = match clause.media.as_str() {
            "application/json" | "*/*" => plain,
            "application/yaml" => Format::Yaml,
            _ => continue,
        };
        let (group, version) = (clause.parameter("g"), clause.parameter("v"));
        let shape = match (clause.parameter("as"), group) {
            ("", _) => Shape::Object,
            ("Table", "meta.k8s.io") if matches!(version, "v1" | "v1beta1") => {
                Shape::Table(version.to_owned())
            }
            ("PartialObjectMetadata", "meta.k8s.io") if matches!(version, "v1" | "v1beta1") => {
                Shape::Partial(version.to_owned())
            }
            ("PartialObjectMetadataList", "meta.k8s.io") if matches!(version, "v1" | "v1beta1") => {
                Shape::PartialList(version.to_owned())
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io") if version == "v2" => {
                Shape::Discovery(version.to_owned())
            }
            _ => {
                served = true;
                continue;
            }
        };
        return Ok(Accept { format, shape });
    }
    Err(if served {
        other_media_only()
    } else {
        not_acceptable()
    })
}

/// Format of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Protobuf, which is refused.
    Protobuf,
}

/// A content type without its parameters, in lower case.
#[must_use]
pub fn media_type(header: Option<&str>) -> String {
    header
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}

/// Reads the content type of an object sent.
///
/// # Errors
/// No object can be read from it.
pub fn body_format(header: Option<&str>) -> Outcome<BodyFormat> {
    let mut parameters = header.unwrap_or("").split(';').skip(1).map(str::trim);
    if parameters.any(|parameter| !parameter.is_empty() && !parameter.contains('=')) {
        return Err(Failure::unsupported_body());
    }
    match media_type(header).as_str() {
        "" | "application/json" => Ok(BodyFormat::Json),
        "application/yaml" => Ok(BodyFormat::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyFormat::Protobuf),
        _ => Err(Failure::unsupported_body()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_clause_that_can_be_given_wins() {
        let query = Query::default();
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(
            accept(Some(kubectl), &query, "").unwrap().shape,
            Shape::Table("v1".to_owned())
        );
        let fallback = accept(
            Some("application/vnd.kubernetes.protobuf,application/json"),
            &query,
            "",
        )
        .unwrap();
        assert_eq!(fallback, Accept::default());
        assert_eq!(accept(Some("text/html"), &query, "").unwrap_err().code, 406);
        assert_eq!(
            accept(Some("text/html,application/yaml;q=0.5"), &query, "")
                .unwrap()
                .format,
            Format::Yaml
        );
    }
}
