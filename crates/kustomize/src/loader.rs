//! Finding files and other kustomizations from one kustomization's folder, under the rules on what
//! may be read.

use std::rc::Rc;

use fluvial_tree::{Entry, File, PathError, ResolveError, Tree, TreePath};

use crate::error::{Error, Result};
use crate::options::LoadRestrictor;
use crate::remote::{FileError, RepoSpec};
use crate::session::Session;

/// The folder of a kustomization, with those of the kustomizations that led to it.
#[derive(Clone)]
pub(crate) struct Loader {
    tree: Tree,
    root: TreePath,
    parent: Option<Rc<Loader>>,
    repository: Option<Rc<RepoSpec>>,
    depth: usize,
}

/// A loaded file.
pub(crate) struct Loaded {
    /// Name for messages.
    pub(crate) name: String,
    /// Content.
    pub(crate) file: File,
}

impl Loaded {
    /// The content as text.
    pub(crate) fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.file.data())
            .map_err(|error| Error::new(format!("not UTF-8 text ({error})")).at(&self.name, 0))
    }
}

/// Why a file could not be loaded, as far as it matters for what is tried next.
pub(crate) enum LoadFailure {
    /// A folder may be there instead.
    Other(Error),
    /// The server refused: nothing else is tried.
    Http(Error),
}

impl From<LoadFailure> for Error {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::Other(error) | LoadFailure::Http(error) => error,
        }
    }
}

impl Loader {
    /// The loader of the folder to build.
    pub(crate) fn new(session: &Session<'_>, tree: &Tree, path: &TreePath) -> Result<Self> {
        let root = match tree.resolve(path) {
            Ok((root, Entry::Folder)) => root,
            Ok(_) => {
                return Err(Error::new(format!(
                    "'{path}' must be a directory so that it can be used as a build root"
                )));
            }
            Err(error) => return Err(Error::new(error.to_string())),
        };
        session.count_kustomization()?;
        Ok(Loader {
            tree: tree.clone(),
            root,
            parent: None,
            repository: None,
            depth: 0,
        })
    }

    /// The folder, for messages.
    pub(crate) fn root_name(&self) -> String {
        self.name_of(&self.root)
    }

    /// Whether this is the folder to build itself.
    pub(crate) fn is_first(&self) -> bool {
        self.parent.is_none()
    }

    /// The tree.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    fn name_of(&self, path: &TreePath) -> String {
        match &self.repository {
            None => path.to_string(),
            Some(spec) if path.is_root() => spec.clone_url(),
            Some(spec) => format!("{}//{path}", spec.clone_url()),
        }
    }

    /// Reads a path that a kustomization names.
    fn path(&self, session: &Session<'_>, relative: &str) -> Result<TreePath> {
        let joined = if let Some(rest) = relative.strip_prefix('/') {
            let Some(root) = &session.options.root_path else {
                return Err(Error::new(format!("absolute path '{relative}' is not allowed")));
            };
            let prefix = root.trim_matches('/');
            let inside = if prefix.is_empty() {
                Some(rest)
            } else {
                rest.strip_prefix(prefix)
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                    .map(|rest| rest.trim_start_matches('/'))
            };
            let inside = inside.ok_or_else(|| Error::new(format!("'{relative}' is not in the tree")))?;
            TreePath::root().join(inside)
        } else {
            self.join(session, relative)
        };
        joined.map_err(|error| match error {
            PathError::Escapes(_) => Error::new(format!("'{relative}' leads out of the tree")),
            error => Error::new(error.to_string()),
        })
    }

    /// Joins a path; at the root of a whole file system, `..` stays there.
    fn join(&self, session: &Session<'_>, relative: &str) -> std::result::Result<TreePath, PathError> {
        match self.root.join(relative) {
            Err(PathError::Escapes(_)) if session.options.root_path.as_deref() == Some("/") => {
                let mut path = self.root.clone();
                for part in relative.split('/') {
                    path = match part {
                        ".." => path.parent().unwrap_or_default(),
                        part => path.join(part)?,
                    };
                }
                Ok(path)
            }
            result => result,
        }
    }

    /// Loads a file that a kustomization names.
    pub(crate) fn load(&self, session: &Session<'_>, path: &str) -> std::result::Result<Loaded, LoadFailure> {
        if is_url(path) {
            return load_url(session, path);
        }
        self.load_local(session, path).map_err(LoadFailure::Other)
    }

    fn load_local(&self, session: &Session<'_>, relative: &str) -> Result<Loaded> {
        let path = self.path(session, relative)?;
        let own = self.repository.is_none();
        let (real, entry) = self.tree.resolve(&path).map_err(|error| {
            if own {
                session.read(&path, None);
            }
            Error::new(match error {
                ResolveError::NotFound(_) => {
                    format!("'{}' doesn't exist", self.name_of(&path))
                }
                error => error.to_string(),
            })
        })?;
        let Entry::File(file) = entry else {
            return Err(Error::new(format!(
                "'{}' must resolve to a file",
                self.name_of(&path)
            )));
        };
        if session.options.load_restrictor == LoadRestrictor::RootOnly && !real.starts_with(&self.root) {
            return Err(Error::new(format!(
                "security; file '{}' is not in or below '{}'",
                self.name_of(&real),
                self.root_name()
            )));
        }
        if own && !session.options.forget_reads {
            session.read(&path, Some(file.digest()));
        }
        Ok(Loaded {
            name: self.name_of(&path),
            file: file.clone(),
        })
    }

    /// A folder of the tree that a kustomization names, if it is there.
    pub(crate) fn folder(&self, session: &Session<'_>, relative: &str) -> Option<TreePath> {
        let path = self.path(session, relative).ok()?;
        self.tree.is_folder(&path).then_some(path)
    }

    /// The loader of another kustomization.
    pub(crate) fn enter(self: &Rc<Self>, session: &Session<'_>, path: &str) -> Result<Rc<Loader>> {
        if path.is_empty() {
            return Err(Error::new("new root cannot be empty"));
        }
        session.count_kustomization()?;
        if self.depth >= crate::session::MAX_DEPTH {
            return Err(Error::new(format!(
                "more than {} kustomizations below each other",
                crate::session::MAX_DEPTH
            )));
        }
        if let Ok(spec) = RepoSpec::parse(path) {
            return self.enter_repository(session, spec);
        }
        if path.starts_with('/') {
            return Err(Error::new(format!("new root '{path}' cannot be absolute")));
        }
        let wanted = self.path(session, path)?;
        let root = match self.tree.resolve(&wanted) {
            Ok((root, Entry::Folder)) => root,
            Ok(_) => {
                return Err(Error::new(format!(
                    "'{}' must be a directory so that it can be used as a build root",
                    self.name_of(&wanted)
                )));
            }
            Err(error) => return Err(Error::new(error.to_string())),
        };
        self.refuse_cycle(&root)?;
        Ok(Rc::new(Loader {
            tree: self.tree.clone(),
            root,
            parent: Some(Rc::clone(self)),
            repository: self.repository.clone(),
            depth: self.depth + 1,
        }))
    }

    fn refuse_cycle(&self, root: &TreePath) -> Result<()> {
        let mut visited = Some(self);
        while let Some(loader) = visited {
            if loader.repository == self.repository && loader.root.starts_with(root) {
                return Err(Error::new(format!(
                    "cycle detected: candidate root '{}' contains visited root '{}'",
                    self.name_of(root),
                    loader.root_name()
                )));
            }
            visited = loader.parent.as_deref();
        }
        Ok(())
    }

    fn enter_repository(self: &Rc<Self>, session: &Session<'_>, spec: RepoSpec) -> Result<Rc<Loader>> {
        if !session.options.remote {
            return Err(Error::new(format!(
                "remote bases are not allowed: '{}'; vendor the base into the repository",
                spec.raw
            )));
        }
        let mut visited = Some(&**self);
        while let Some(loader) = visited {
            if let Some(known) = &loader.repository
                && known.raw.starts_with(&spec.raw)
            {
                return Err(Error::new(format!(
                    "cycle detected: URI '{}' referenced by previous URI '{}'",
                    spec.raw, known.raw
                )));
            }
            visited = loader.parent.as_deref();
        }
        let tree = session.repository(&spec)?;
        let folder = TreePath::parse(&spec.path).map_err(|error| Error::new(error.to_string()))?;
        let root = match tree.resolve(&folder) {
            Ok((root, Entry::Folder)) => root,
            Ok(_) => {
                return Err(Error::new(format!(
                    "'{}' refers to file '{folder}'; expecting directory",
                    spec.raw
                )));
            }
            Err(error) => return Err(Error::new(format!("{}: {error}", spec.raw))),
        };
        Ok(Rc::new(Loader {
            tree,
            root,
            parent: Some(Rc::clone(self)),
            repository: Some(Rc::new(spec)),
            depth: self.depth + 1,
        }))
    }
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

fn load_url(session: &Session<'_>, url: &str) -> std::result::Result<Loaded, LoadFailure> {
    if !session.options.remote {
        return Err(LoadFailure::Other(Error::new(format!(
            "remote files are not allowed: '{url}'; vendor the file into the repository"
        ))));
    }
    session.read_remote();
    match session.remote.file(url) {
        Ok(data) => Ok(Loaded {
            name: url.to_owned(),
            file: File::new(data, false),
        }),
        Err(FileError::Status(_)) if RepoSpec::parse(url).is_ok() => {
            Err(LoadFailure::Other(Error::new("URL is a git repository")))
        }
        Err(FileError::Status(status)) => Err(LoadFailure::Http(Error::new(format!(
            "HTTP error: status code {status} for '{url}'"
        )))),
        Err(FileError::Failed(message)) => Err(LoadFailure::Other(Error::new(message))),
    }
}
