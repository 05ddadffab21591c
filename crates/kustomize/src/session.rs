//! What one build shares between its steps: the options, the files it has read, the warnings, the
//! schema in force. Nothing outlives the build, so builds run side by side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use fluvial_tree::{Digest, TreePath};
use fluvial_yaml::{FileId, Node, Pos};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::remote::{ChartRenderer, RemoteResolver};
use crate::schema::Schema;

/// The most resources that one build may hold.
const MAX_RESOURCES: usize = 200_000;
/// The most kustomizations below each other.
pub(crate) const MAX_DEPTH: usize = 100;
/// The most kustomizations in one build.
const MAX_KUSTOMIZATIONS: usize = 20_000;

/// A message that does not fail the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The text, as kustomize prints it.
    pub message: String,
    /// The file that it is about.
    pub file: Option<String>,
}

/// What a build has read of its own tree, for telling whether a later tree would build the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Files with their digests; no digest: it was looked for and not there.
    pub files: BTreeMap<TreePath, Option<Digest>>,
    /// Whether something outside of the tree was read, so that nothing can be said.
    pub remote: bool,
}

impl Reads {
    /// Whether the same build of another tree reads the same.
    #[must_use]
    pub fn same_in(&self, tree: &fluvial_tree::Tree) -> bool {
        !self.remote
            && self
                .files
                .iter()
                .all(|(path, digest)| tree.file(path).ok().map(fluvial_tree::File::digest) == *digest)
    }
}

pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) remote: &'a dyn RemoteResolver,
    pub(crate) charts: &'a dyn ChartRenderer,
    schema: RefCell<Option<Schema>>,
    schema_chosen: Cell<bool>,
    files: RefCell<Vec<String>>,
    warnings: RefCell<Vec<Warning>>,
    reads: RefCell<Reads>,
    resources: Cell<usize>,
    kustomizations: Cell<usize>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        options: &'a Options,
        remote: &'a dyn RemoteResolver,
        charts: &'a dyn ChartRenderer,
    ) -> Self {
        Session {
            options,
            remote,
            charts,
            schema: RefCell::new(None),
            schema_chosen: Cell::new(false),
            files: RefCell::default(),
            warnings: RefCell::default(),
            reads: RefCell::default(),
            resources: Cell::new(0),
            kustomizations: Cell::new(0),
        }
    }

    /// Numbers a file.
    pub(crate) fn add_file(&self, name: &str) -> FileId {
        let mut files = self.files.borrow_mut();
        files.push(name.to_owned());
        FileId(u32::try_from(files.len() - 1).unwrap_or(u32::MAX - 1))
    }

    /// The name of a file; empty if it has none.
    pub(crate) fn file_name(&self, file: FileId) -> String {
        self.files
            .borrow()
            .get(file.0 as usize)
            .cloned()
            .unwrap_or_default()
    }

    /// Says where in a file an error is.
    pub(crate) fn at(&self, error: Error, pos: Pos) -> Error {
        if pos.file == FileId::NONE {
            error
        } else {
            error.at(self.file_name(pos.file), pos.line)
        }
    }

    /// Notes that a file of the own tree was looked at.
    pub(crate) fn read(&self, path: &TreePath, digest: Option<Digest>) {
        self.reads.borrow_mut().files.insert(path.clone(), digest);
    }

    /// Notes that something outside was read.
    pub(crate) fn read_remote(&self) {
        self.reads.borrow_mut().remote = true;
    }

    pub(crate) fn warn(&self, message: impl Into<String>, file: Option<&str>) {
        self.warnings.borrow_mut().push(Warning {
            message: message.into(),
            file: file.map(str::to_owned),
        });
    }

    /// Counts resources as they are loaded.
    pub(crate) fn count_resources(&self, more: usize) -> Result<()> {
        let total = self.resources.get() + more;
        self.resources.set(total);
        if total > MAX_RESOURCES {
            return Err(Error::new(format!(
                "the build loads more than {MAX_RESOURCES} resources; split it"
            )));
        }
        Ok(())
    }

    /// Counts kustomizations as they are entered.
    pub(crate) fn count_kustomization(&self) -> Result<()> {
        let total = self.kustomizations.get() + 1;
        self.kustomizations.set(total);
        if total > MAX_KUSTOMIZATIONS {
            return Err(Error::new(format!(
                "the build enters more than {MAX_KUSTOMIZATIONS} kustomizations; split it"
            )));
        }
        Ok(())
    }

    /// Takes a kustomization's own schema, unless an outer one has chosen already.
    pub(crate) fn choose_schema(&self, schema: Option<Schema>, chosen: bool) {
        if !self.schema_chosen.get() {
            if schema.is_some() {
                self.schema.replace(schema);
            }
            self.schema_chosen.set(chosen);
        }
    }

    /// Whether a schema was chosen already.
    pub(crate) fn schema_chosen(&self) -> bool {
        self.schema_chosen.get()
    }

    /// Whether objects of this kind have no namespace.
    pub(crate) fn is_cluster_scoped(&self, api_version: &str, kind: &str) -> bool {
        match &*self.schema.borrow() {
            None => crate::schema::built_in_is_cluster_scoped(api_version, kind),
            Some(schema) => schema.is_cluster_scoped(api_version, kind),
        }
    }

    /// Gives the schema of a kind to a function.
    pub(crate) fn with_schema<T>(&self, use_it: impl FnOnce(Option<&Schema>) -> T) -> T {
        use_it(self.schema.borrow().as_ref())
    }

    pub(crate) fn finish(self) -> (Vec<String>, Vec<Warning>, Reads) {
        (
            self.files.into_inner(),
            self.warnings.into_inner(),
            self.reads.into_inner(),
        )
    }

    /// The line of a node as an error's place.
    pub(crate) fn about(&self, error: Error, node: &Node) -> Error {
        self.at(error, node.pos)
    }
}
