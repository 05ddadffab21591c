//! Which repository `up` follows, and what opens it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fluvial_ports::Reference;

use crate::bootstrap::Repository;
use crate::environment::{Failure, Session};

/// Options that name a repository.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Place {
    /// Repository: a URL, a folder that is one, or a folder in one, which is then taken for the whole
    #[arg(value_name = "REPO", default_value = ".")]
    repository: String,
    /// Branch to follow [default: the one that is checked out, or a URL's default branch]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// User name for a URL; the password or token is taken from $GIT_PASSWORD
    #[arg(long, value_name = "NAME", default_value = "git", hide_default_value = true)]
    username: String,
    /// Private key for an ssh URL
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// Keys of ssh servers [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    known_hosts_file: Option<PathBuf>,
}

/// The reference that is meant if no branch is named: it has no name that would move with it.
fn head() -> Reference {
    Reference {
        name: Some("HEAD".to_owned()),
        ..Reference::default()
    }
}

fn branch(name: String) -> Reference {
    Reference {
        branch: Some(name),
        ..Reference::default()
    }
}

/// Which repository is meant.
pub(super) fn find(session: &Session<'_>, options: &Place) -> Result<Repository, Failure> {
    let chosen = options.branch.clone().map(branch);
    if let Some(url) = url(session, &options.repository) {
        return Ok(Repository {
            credentials: credentials(session, options, &url)?,
            url,
            reference: chosen.unwrap_or_else(head),
            local: None,
        });
    }
    let path = options.repository.trim_start_matches("file://");
    let local = session
        .env
        .outside
        .repository(std::path::Path::new(path))
        .map_err(Failure::new)?;
    let reference = chosen
        .or_else(|| local.branch.clone().map(branch))
        .unwrap_or_else(head);
    let path = local.path.join(&local.folder).to_string_lossy().into_owned();
    // Definitions of GitRepository know no paths; the rewrite leads this made-up URL back.
    let url = format!(
        "http://localhost/{}",
        path.trim_start_matches('/').replace(' ', "%20")
    );
    Ok(Repository {
        url,
        reference,
        local: Some(local),
        credentials: BTreeMap::new(),
    })
}

/// The URL, unless a path is meant: also for `git@example.com:org/fleet.git`, as Git writes addresses.
fn url(session: &Session<'_>, repository: &str) -> Option<String> {
    if repository.contains("://") {
        return (!repository.starts_with("file://")).then(|| repository.to_owned());
    }
    let (host, path) = repository.split_once(':')?;
    let is_path = host.contains('/') || session.env.folder.join(repository).exists();
    (!is_path && !host.is_empty() && !path.is_empty())
        .then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

/// What opens a URL, in the form of a Secret's data.
fn credentials(
    session: &Session<'_>,
    options: &Place,
    url: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let read = |option: &str, path: &PathBuf| {
        std::fs::read(session.env.folder.join(path))
            .map_err(|error| Failure::new(format!("{option} {}: {error}", path.display())))
    };
    let variable = |name: &str| session.env.variables.get(name).filter(|value| !value.is_empty());
    let mut data = BTreeMap::new();
    if !url.starts_with("ssh://") {
        if options.private_key_file.is_some() {
            return Err(Failure::new(format!(
                "--private-key-file is for ssh URLs; '{url}' takes --username and $GIT_PASSWORD"
            )));
        }
        if let Some(password) = variable("GIT_PASSWORD") {
            data.insert("username".to_owned(), options.username.clone().into_bytes());
            data.insert("password".to_owned(), password.clone().into_bytes());
        }
        return Ok(data);
    }
    let key = options.private_key_file.as_ref().ok_or_else(|| {
        Failure::new(format!(
            "'{url}' needs a key: name its file with --private-key-file, or clone the repository and name the clone"
        ))
    })?;
    data.insert("identity".to_owned(), read("--private-key-file", key)?);
    let hosts = match &options.known_hosts_file {
        Some(path) => read("--known-hosts-file", path)?,
        None => {
            let path = variable("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
            path.and_then(|path| std::fs::read(path).ok()).ok_or_else(|| {
                Failure::new("there is no ~/.ssh/known_hosts; name the file with the server's key with --known-hosts-file")
            })?
        }
    };
    data.insert("known_hosts".to_owned(), hosts);
    if let Some(password) = variable("GIT_PASSWORD") {
        data.insert("password".to_owned(), password.clone().into_bytes());
    }
    Ok(data)
}
