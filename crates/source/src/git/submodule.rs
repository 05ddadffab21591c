//! Submodules: each is fetched at its pinned commit and put in its place in the tree.

use fluvial_tree::{Tree, TreePath};
use gix::ObjectId;

use super::checkout::{Snapshot, Sparse};
use super::source::{GitSource, Job};
use super::url::{Location, redact};
use super::{Fetched, GitReference, GitRequest};
use crate::error::{SourceError, reason};

/// Deepest chain of submodules in submodules.
const MAX_DEPTH: usize = 8;
/// Most submodules of one repository.
const MAX_COUNT: usize = 256;

fn refuse(message: String) -> SourceError {
    SourceError::retry(reason::GIT_OPERATION_FAILED, message)
}

/// The snapshot's tree with its submodules filled in.
pub(crate) fn add(
    source: &GitSource,
    job: &Job<'_>,
    snapshot: &Snapshot,
    url: &str,
) -> Result<Tree, SourceError> {
    if job.depth >= MAX_DEPTH || snapshot.submodules.len() > MAX_COUNT {
        return Err(refuse(format!(
            "'{url}' has submodules nested deeper than {MAX_DEPTH} or more than {MAX_COUNT} of them; unset \
             spec.recurseSubmodules or use spec.include"
        )));
    }
    let modules = TreePath::parse(".gitmodules")
        .ok()
        .and_then(|path| snapshot.tree.file(&path).ok())
        .map(|file| urls(file.data()))
        .unwrap_or_default();
    let mut builder = snapshot.tree.to_builder();
    for (path, commit) in snapshot.submodules.iter() {
        let named = modules.iter().find(|(at, _)| at == path).map(|(_, url)| url);
        let wanted = named.ok_or_else(|| {
            refuse(format!(
                "'{url}' has a submodule at '{path}' that its .gitmodules file does not name; add it there, or \
                 leave .gitmodules in sparseCheckout"
            ))
        })?;
        let address = resolve(&job.request.url, wanted);
        let tree = fetch(source, job, &address, *commit).map_err(|error| SourceError {
            message: format!("submodule '{path}' of '{url}': {}", error.message),
            ..error
        })?;
        for (inner, entry) in tree.iter() {
            let full = format!("{path}/{inner}");
            crate::entry::insert(&mut builder, &full, entry).map_err(|error| refuse(error.to_string()))?;
        }
    }
    Ok(builder.build())
}

fn fetch(source: &GitSource, job: &Job<'_>, url: &str, commit: ObjectId) -> Result<Tree, SourceError> {
    let parent = Location::parse(&job.request.url)?;
    let child = Location::parse(url)?;
    if matches!(child, Location::Local(_)) && !matches!(parent, Location::Local(_)) {
        return Err(refuse(format!(
            "its URL '{}' is a local path, which a repository from a server may not name",
            redact(url)
        )));
    }
    let credentials = if same_server(&job.request.url, url) {
        job.request.credentials.clone()
    } else {
        job.request.credentials.anonymous()
    };
    let request = GitRequest {
        url: url.to_owned(),
        reference: GitReference {
            commit: Some(commit.to_string()),
            ..GitReference::default()
        },
        credentials,
        recurse_submodules: true,
        ..GitRequest::default()
    };
    let inner = Job {
        request: &request,
        sparse: Sparse::new(),
        depth: job.depth + 1,
        ..*job
    };
    match source.fetch_job(&inner)? {
        Fetched::Changed(revision) => Ok(revision.tree),
        // Nothing was asked to be compared with.
        Fetched::Unchanged => Ok(Tree::default()),
    }
}

/// Credentials go to the server that they are for, and no other.
fn same_server(a: &str, b: &str) -> bool {
    match (reqwest::Url::parse(a), reqwest::Url::parse(b)) {
        (Ok(a), Ok(b)) if a.scheme() == "ssh" && b.scheme() == "ssh" => {
            a.host_str().is_some()
                && a.host_str() == b.host_str()
                && a.port().unwrap_or(22) == b.port().unwrap_or(22)
        }
        (Ok(a), Ok(b)) => a.origin() == b.origin() && a.origin().is_tuple(),
        _ => false,
    }
}

/// A submodule's URL; one that begins with `./` or `../` is relative to the repository's, and `user@host:path` is ssh.
fn resolve(parent: &str, wanted: &str) -> String {
    if !wanted.starts_with("./") && !wanted.starts_with("../") {
        return match wanted.split_once(':') {
            Some((host, path)) if host.contains('@') && !host.contains('/') && !wanted.contains("://") => {
                format!("ssh://{host}/{}", path.trim_start_matches('/'))
            }
            _ => wanted.to_owned(),
        };
    }
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut rest = wanted;
    loop {
        if let Some(tail) = rest.strip_prefix("../") {
            rest = tail;
            match base.rfind('/') {
                Some(slash) if !base[..slash].ends_with('/') => base.truncate(slash),
                _ => break,
            }
        } else if let Some(tail) = rest.strip_prefix("./") {
            rest = tail;
        } else {
            break;
        }
    }
    format!("{base}/{rest}")
}

/// `path` and `url` of the sections of a .gitmodules file.
fn urls(data: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(data);
    let Ok(file) = gix::config::File::try_from(text.as_ref()) else {
        return Vec::new();
    };
    file.sections_by_name("submodule")
        .into_iter()
        .flatten()
        .filter_map(|section| {
            let path = section.value("path")?.to_string();
            let url = section.value("url")?.to_string();
            Some((path.trim_matches('/').to_owned(), url))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_start_at_the_repository() {
        assert_eq!(resolve("https://h/o/r.git", "../x.git"), "https://h/o/x.git");
        assert_eq!(resolve("https://h/o/r", "./x"), "https://h/o/r/x");
        assert_eq!(resolve("/srv/r", "../../x"), "/x");
        assert_eq!(resolve("https://h/o/r", "https://other/x"), "https://other/x");
        assert_eq!(resolve("ssh://git@h/o/r", "git@h:o/x.git"), "ssh://git@h/o/x.git");
    }

    #[test]
    fn gitmodules_are_read() {
        let text = b"[submodule \"a\"]\n\tpath = libs/a\n\turl = ../a.git\n[submodule \"b\"]\n path = b\n url = https://h/b\n";
        assert_eq!(
            urls(text),
            [
                ("libs/a".to_owned(), "../a.git".to_owned()),
                ("b".to_owned(), "https://h/b".to_owned())
            ]
        );
    }

    #[test]
    fn credentials_stay_on_their_server() {
        assert!(same_server("https://h/a", "https://h:443/b"));
        assert!(!same_server("https://h/a", "https://other/b"));
        assert!(!same_server("https://h/a", "http://h/b"));
        assert!(!same_server("/a", "/b"));
        assert!(same_server("ssh://git@h/a", "ssh://git@h:22/b"));
        assert!(!same_server("ssh://git@h/a", "ssh://git@h:23/b"));
        assert!(!same_server("ssh://git@h/a", "ssh://git@other/b"));
    }
}
