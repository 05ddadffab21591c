//! The size budget: lines of functions (signature to closing brace) and of files without their
//! tests. It may only be tightened.

use std::fmt;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

/// No function is longer.
const FUNCTION_MAX: usize = 100;
/// Nineteen of twenty functions are at most this long.
const FUNCTION_P95: usize = 45;
/// No file is longer, its tests not counted.
const FILE_MAX: usize = 800;
/// Nineteen of twenty files are at most this long, their tests not counted.
const FILE_P95: usize = 500;

/// What was measured.
#[derive(Default)]
pub(crate) struct Sizes {
    functions: Vec<(usize, String)>,
    files: Vec<(usize, String)>,
}

/// Measures every file that holds more than tests.
pub(crate) fn measure(root: &Path, files: &[PathBuf]) -> Result<Sizes, String> {
    let mut sizes = Sizes::default();
    for path in files.iter().filter(|path| !super::is_test(path)) {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let parsed = syn::parse_file(&text).map_err(|error| format!("{name}: {error}"))?;
        let mut visitor = Functions {
            name: &name,
            found: &mut sizes.functions,
            tests: 0,
        };
        visitor.visit_file(&parsed);
        let tests = visitor.tests;
        sizes.files.push((text.lines().count() - tests, name));
    }
    sizes.functions.sort();
    sizes.files.sort();
    Ok(sizes)
}

fn lines(span: proc_macro2::Span) -> usize {
    span.end().line - span.start().line + 1
}

fn is_test_module(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

struct Functions<'a> {
    name: &'a str,
    found: &'a mut Vec<(usize, String)>,
    tests: usize,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, end: proc_macro2::Span) {
        let length = end.end().line - signature.span().start().line + 1;
        self.found
            .push((length, format!("{}: fn {}", self.name, signature.ident)));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_test_module(&module.attrs) {
            self.tests += lines(module.span());
        } else {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, function.block.span());
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, function.block.span());
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block.span());
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

fn p95(sorted: &[(usize, String)]) -> usize {
    sorted
        .get((sorted.len() * 95 / 100).min(sorted.len().saturating_sub(1)))
        .map_or(0, |(lines, _)| *lines)
}

/// What is wrong if more than one in twenty is longer than the limit: how many, and those that take least to mend.
fn too_many(what: &str, sorted: &[(usize, String)], limit: usize) -> Option<String> {
    let length = p95(sorted);
    if length <= limit {
        return None;
    }
    let over = sorted.partition_point(|(lines, _)| *lines <= limit);
    let excess = &sorted[over..=(sorted.len() * 95 / 100)];
    let names: Vec<String> = excess
        .iter()
        .map(|(lines, name)| format!("{name} ({lines})"))
        .collect();
    Some(format!(
        "{what}: p95 is {length} lines, over {limit}; {} too many, the shortest being {}",
        excess.len(),
        names.join(", ")
    ))
}

impl Sizes {
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (lines, name) in self.functions.iter().filter(|(lines, _)| *lines > FUNCTION_MAX) {
            problems.push(format!(
                "{name}: {lines} lines; a function has at most {FUNCTION_MAX}"
            ));
        }
        for (lines, name) in self.files.iter().filter(|(lines, _)| *lines > FILE_MAX) {
            problems.push(format!(
                "{name}: {lines} lines; a file has at most {FILE_MAX} without its tests"
            ));
        }
        problems.extend(too_many("functions", &self.functions, FUNCTION_P95));
        problems.extend(too_many("files", &self.files, FILE_P95));
        problems
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = |sorted: &[(usize, String)]| sorted.last().map_or(0, |(lines, _)| *lines);
        write!(
            f,
            "{} files (p95 {} lines, longest {}), {} functions (p95 {} lines, longest {})",
            self.files.len(),
            p95(&self.files),
            max(&self.files),
            self.functions.len(),
            p95(&self.functions),
            max(&self.functions)
        )
    }
}
