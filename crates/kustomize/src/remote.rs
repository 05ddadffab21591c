//! What a build needs from outside and its caller supplies: repositories, files behind URLs,
//! rendered charts. Addresses of repositories are taken apart here.

use std::time::Duration;

use fluvial_tree::{Tree, TreePath};
use serde_json::Value;

/// A repository address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoSpec {
    /// The address as written.
    pub raw: String,
    /// Scheme, user and host, as `https://github.com/` or `git@host:`.
    pub host: String,
    /// The repository's path at the host.
    pub repository: String,
    /// The folder in the repository.
    pub path: String,
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// Whether submodules are wanted.
    pub submodules: bool,
    /// How long fetching may take.
    pub timeout: Duration,
}

/// What `git clone` would be given, and the rest, for a text that is a repository address.
const FILE: &str = "file://";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(27);

impl RepoSpec {
    /// The address to clone.
    #[must_use]
    pub fn clone_url(&self) -> String {
        format!("{}{}", self.host, self.repository)
    }

    /// Takes an address apart.
    ///
    /// # Errors
    /// If the text is none, so that it may be a local path.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err(format!("uri looks like abs path: {text}"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let query = Query::parse(query);
        let (host, rest) = split_host(address)?;
        let (repository, path) = split_path(&rest, host.starts_with(FILE))?;
        Ok(RepoSpec {
            raw: text.to_owned(),
            host,
            repository,
            path,
            reference: query.reference,
            submodules: query.submodules,
            timeout: query.timeout,
        })
    }
}

struct Query {
    reference: String,
    submodules: bool,
    timeout: Duration,
}

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Query {
            reference: String::new(),
            submodules: true,
            timeout: DEFAULT_TIMEOUT,
        };
        let Some(pairs) = query_pairs(text) else {
            return query;
        };
        let get = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value.as_str())
        };
        query.reference = match get("ref") {
            "" => get("version").to_owned(),
            reference => reference.to_owned(),
        };
        if let Some(timeout) = seconds(get("timeout")) {
            query.timeout = timeout;
        }
        match get("submodules") {
            "0" | "f" | "F" | "false" | "False" | "FALSE" => query.submodules = false,
            _ => {}
        }
        query
    }
}

/// The pairs of a query; none if it is malformed.
fn query_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return None;
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((unescape(key)?, unescape(value)?));
    }
    Some(pairs)
}

fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'%' => {
                let hex = std::str::from_utf8(bytes.get(index + 1..index + 3)?).ok()?;
                out.push(u8::from_str_radix(hex, 16).ok()?);
                index += 2;
            }
            b'+' => out.push(b' '),
            other => out.push(*other),
        }
        index += 1;
    }
    String::from_utf8(out).ok()
}

/// A positive number of seconds, or a Go duration.
fn seconds(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<i64>() {
        return u64::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .map(Duration::from_secs);
    }
    let mut total = 0.0_f64;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (total > 0.0)
        .then(|| Duration::try_from_secs_f64(total).ok())
        .flatten()
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Splits scheme, user and host from the rest.
fn split_host(address: &str) -> Result<(String, String), String> {
    let address = strip_prefix_any_case(address, "git::").unwrap_or(address);
    let (scheme, rest) = ["ssh://", "https://", "http://", FILE]
        .iter()
        .find_map(|scheme| Some((*scheme, strip_prefix_any_case(address, scheme)?)))
        .unwrap_or(("", address));
    let (user, rest) = split_user(rest);
    let github = strip_prefix_any_case(rest, "github.com/").is_some()
        || strip_prefix_any_case(rest, "github.com:").is_some();
    let scp = scheme.is_empty() && (!user.is_empty() || github);
    if scheme.is_empty() && !scp {
        return Err("failed to parse scheme".to_owned());
    }
    if scheme == FILE {
        return Ok((scheme.to_owned(), format!("{user}{rest}")));
    }
    let (host, path) = match separator(rest, scp) {
        Some(index) => rest.split_at(index + 1),
        None => (rest, ""),
    };
    if github {
        let host = if scheme == "ssh://" || !user.is_empty() {
            format!("{user}github.com:")
        } else {
            "https://github.com/".to_owned()
        };
        return Ok((host, path.to_owned()));
    }
    if host.is_empty() {
        return Err("failed to parse host segment".to_owned());
    }
    Ok((format!("{scheme}{user}{host}"), path.to_owned()))
}

/// `user@`, if the text begins with it.
fn split_user(text: &str) -> (&str, &str) {
    let Some(at) = text.find('@') else {
        return ("", text);
    };
    let user = &text[..at];
    let named = user.starts_with(|c: char| c.is_ascii_alphabetic())
        && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if named { text.split_at(at + 1) } else { ("", text) }
}

/// Where the host ends.
fn separator(text: &str, scp: bool) -> Option<usize> {
    let slash = text.find('/');
    if !scp {
        return slash;
    }
    let colon = text.find(':');
    match (slash, colon) {
        (None, colon) => colon,
        (Some(slash), Some(colon)) if colon > 0 && colon < slash => Some(colon),
        _ => slash,
    }
}

/// Splits the repository from the folder in it.
fn split_path(rest: &str, whole: bool) -> Result<(String, String), String> {
    let (repository, path) = if let Some(index) = rest.find("_git/") {
        let (root, below) = rest.split_at(index + 5);
        let (name, path) = below.split_once('/').unwrap_or((below, ""));
        (format!("{root}{name}"), path.to_owned())
    } else if let Some(index) = rest.find("//") {
        (rest[..index].to_owned(), rest[index + 2..].to_owned())
    } else if let Some(index) = rest.find(".git") {
        (rest[..index + 4].to_owned(), rest[index + 4..].to_owned())
    } else if whole {
        (rest.to_owned(), String::new())
    } else {
        let mut parts = rest.splitn(3, '/');
        match (parts.next(), parts.next()) {
            (Some(owner), Some(name)) => (
                format!("{owner}/{name}"),
                parts.next().unwrap_or_default().to_owned(),
            ),
            _ => (String::new(), String::new()),
        }
    };
    if repository.is_empty() {
        return Err("failed to parse repo path segment".to_owned());
    }
    let path = path.strip_prefix('/').unwrap_or(&path).to_owned();
    if leaves(&path) {
        return Err(format!("url path exits repo: {rest}"));
    }
    Ok((repository, path))
}

/// Whether a cleaned path climbs out first.
fn leaves(path: &str) -> bool {
    let mut depth = 0_i64;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// Fetches what a kustomization names by address.
pub trait RemoteResolver: Sync {
    /// The files of a repository at a reference; `spec.path` is a folder in them.
    ///
    /// # Errors
    /// Why it cannot be fetched.
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String>;

    /// The content behind an `http://` or `https://` URL.
    ///
    /// # Errors
    /// Why it cannot be fetched.
    fn file(&self, url: &str) -> Result<Vec<u8>, FileError>;
}

/// Why there is no file behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The server answered with this status, so it may be a repository.
    Status(u16),
    /// No answer, or not wanted.
    Failed(String),
}

/// Refuses everything remote.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRemote;

impl RemoteResolver for NoRemote {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        Err(format!("remote bases are not allowed here: {}", spec.raw))
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::Failed(format!(
            "remote files are not allowed here: {url}"
        )))
    }
}

/// A chart to render.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartRequest {
    /// Chart name.
    pub name: String,
    /// Repository URL; empty for a local chart.
    pub repository: String,
    /// Chart version; empty for the newest.
    pub version: String,
    /// Whether pre-releases count.
    pub devel: bool,
    /// The chart's folder in the tree, if it is there.
    pub local: Option<TreePath>,
    /// Release name; empty: generated from the template.
    pub release_name: String,
    /// Template of the release name.
    pub name_template: String,
    /// Release namespace.
    pub namespace: String,
    /// Values files in order, later ones win.
    pub values: Vec<Value>,
    /// Kubernetes version; empty for the default.
    pub kube_version: String,
    /// API versions besides the default ones.
    pub api_versions: Vec<String>,
    /// Whether the chart's `crds/` are wanted.
    pub include_crds: bool,
    /// Whether hooks are left out.
    pub skip_hooks: bool,
    /// Whether tests are left out.
    pub skip_tests: bool,
}

/// Renders charts.
pub trait ChartRenderer: Sync {
    /// The chart's own default values.
    ///
    /// # Errors
    /// Why the chart cannot be read.
    fn default_values(&self, tree: &Tree, request: &ChartRequest) -> Result<Value, String>;

    /// What `helm template` prints.
    ///
    /// # Errors
    /// Why the chart cannot be rendered.
    fn render(&self, tree: &Tree, request: &ChartRequest) -> Result<String, String>;
}

/// Refuses to render charts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCharts;

impl ChartRenderer for NoCharts {
    fn default_values(&self, _: &Tree, request: &ChartRequest) -> Result<Value, String> {
        Err(format!("charts are not rendered here: {}", request.name))
    }

    fn render(&self, _: &Tree, request: &ChartRequest) -> Result<String, String> {
        Err(format!("charts are not rendered here: {}", request.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let spec = RepoSpec::parse(text).unwrap();
        (spec.clone_url(), spec.path, spec.reference)
    }

    #[test]
    fn addresses_split_into_repository_folder_and_reference() {
        let expect =
            |url: &str, path: &str, reference: &str| (url.to_owned(), path.to_owned(), reference.to_owned());
        assert_eq!(
            parts("https://github.com/o/r/a/b?ref=v1"),
            expect("https://github.com/o/r", "a/b", "v1")
        );
        assert_eq!(
            parts("git@host.example:o/r.git//a"),
            expect("git@host.example:o/r.git", "a", "")
        );
        assert_eq!(parts("file:///x/y//z?version=m"), expect("file:///x/y", "z", "m"));
    }

    #[test]
    fn local_paths_are_no_addresses() {
        for path in ["../base", "base/x", "/abs/x", "a.yaml"] {
            assert!(RepoSpec::parse(path).is_err(), "{path}");
        }
        assert!(RepoSpec::parse("https://h/o/r//../../x").is_err());
    }

    #[test]
    fn timeouts_are_seconds_or_durations() {
        assert_eq!(seconds("61"), Some(Duration::from_secs(61)));
        assert_eq!(seconds("1m1s"), Some(Duration::from_secs(61)));
        assert_eq!(seconds("-3"), None);
        assert_eq!(seconds("x"), None);
    }
}
