//! Dependencies of a chart that is packed here: from folders of the same source, or from repositories.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluvial_api::source::HelmRepositoryType;
use fluvial_api::{HelmChart, HelmRepository};
use fluvial_helm::{Dependency, LoadLimits, Package};
use fluvial_object::semver::{Constraint, Version};
use fluvial_ports::{Access, ChartRequest, SourceErrorClass};
use fluvial_tree::{Tree, TreePath};

use super::build::Started;
use super::{Packages, access, aside};
use crate::context::Context;
use crate::source::step::{Failure, Part};

/// How deep charts of folders may depend on charts of folders.
const DEPTH: usize = 16;

fn failure(text: &dyn std::fmt::Display) -> Failure {
    let text = format!("dependency build error: {text}");
    Failure::new(Part::Build, SourceErrorClass::Retry, "DependencyBuildError", text)
}

/// Puts the dependencies in that the chart lacks; says how many.
pub(super) async fn resolve(
    packages: &Packages,
    context: &Context,
    object: &HelmChart,
    tree: &Tree,
    started: &mut Started,
) -> Result<usize, Failure> {
    let path = started.path.clone();
    put_in(
        packages,
        context,
        object,
        tree,
        &mut started.package,
        &path,
        DEPTH,
    )
    .await
}

async fn put_in(
    packages: &Packages,
    context: &Context,
    object: &HelmChart,
    tree: &Tree,
    package: &mut Package,
    path: &TreePath,
    depth: usize,
) -> Result<usize, Failure> {
    let missing: Vec<Dependency> = package.missing_dependencies().into_iter().cloned().collect();
    if missing.is_empty() {
        return Ok(0);
    }
    if depth == 0 {
        return Err(failure(&format!(
            "charts of folders depend on each other more than {DEPTH} deep"
        )));
    }
    let locked = package.locked();
    let mut done: BTreeSet<(String, String)> = BTreeSet::new();
    for mut dependency in missing {
        let lock = locked
            .iter()
            .find(|lock| lock.name == dependency.name && same_url(&lock.repository, &dependency.repository));
        if let Some(lock) = lock {
            dependency.version.clone_from(&lock.version);
        }
        let (version, archive) = if let Some(folder) = dependency.repository.strip_prefix("file://") {
            Box::pin(local(
                packages,
                context,
                object,
                tree,
                path,
                &dependency,
                folder,
                depth,
            ))
            .await?
        } else if dependency.repository.is_empty() {
            return Err(failure(&format!(
                "dependency '{}' names no repository and is not in charts/; add one of them",
                dependency.name
            )));
        } else {
            remote(packages, context, object, &dependency).await?
        };
        if done.insert((dependency.name.clone(), version.clone())) {
            package.add_dependency(&dependency.name, &version, archive);
        }
    }
    Ok(done.len())
}

/// A chart of a folder of the same source.
#[expect(
    clippy::too_many_arguments,
    reason = "what a build carries along, used here only"
)]
async fn local(
    packages: &Packages,
    context: &Context,
    object: &HelmChart,
    tree: &Tree,
    path: &TreePath,
    dependency: &Dependency,
    folder: &str,
    depth: usize,
) -> Result<(String, Arc<[u8]>), Failure> {
    let name = &dependency.name;
    let bad =
        |text: &dyn std::fmt::Display| failure(&format!("dependency '{name}' (file://{folder}): {text}"));
    let place = inside(path, folder).ok_or_else(|| bad(&"it leads out of the source"))?;
    let mut package = Package::from_tree(tree, &place, LoadLimits::default()).map_err(|error| bad(&error))?;
    let version = package.metadata().version.clone();
    let wanted = if dependency.version.is_empty() {
        "*"
    } else {
        &dependency.version
    };
    let fits = Constraint::parse(wanted)
        .ok()
        .zip(Version::parse(&version).ok())
        .is_some_and(|(constraint, version)| constraint.matches(&version));
    if !fits && wanted != version {
        return Err(bad(&format!("its version {version} does not satisfy '{wanted}'")));
    }
    put_in(packages, context, object, tree, &mut package, &place, depth - 1).await?;
    let data = aside(context, move || package.pack().map_err(|error| failure(&error))).await?;
    Ok((version, data.into()))
}

/// A folder relative to another; nothing if it leads out.
fn inside(base: &TreePath, relative: &str) -> Option<TreePath> {
    let mut parts: Vec<&str> = if relative.starts_with('/') {
        Vec::new()
    } else {
        base.parts().collect()
    };
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    TreePath::parse(&parts.join("/")).ok()
}

fn same_url(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// A chart of a repository: with the rights of the HelmRepository of that address, if there is one in the namespace.
async fn remote(
    packages: &Packages,
    context: &Context,
    object: &HelmChart,
    dependency: &Dependency,
) -> Result<(String, Arc<[u8]>), Failure> {
    let url = &dependency.repository;
    if url.starts_with('@') || url.starts_with("alias:") {
        return Err(failure(&format!(
            "dependency '{}' names its repository by the alias '{url}'; write its URL",
            dependency.name
        )));
    }
    let all = packages.origins.repositories.store().all();
    let repository: Option<Arc<HelmRepository>> = all.into_iter().find(|repository| {
        *repository.metadata.namespace == *object.metadata.namespace && same_url(&repository.spec.url, url)
    });
    let (access, index) = match &repository {
        Some(repository) => {
            let artifact = repository.status.artifact.as_ref();
            let index = match repository.spec.r#type {
                HelmRepositoryType::Oci => None,
                HelmRepositoryType::Default => artifact.map(|artifact| artifact.revision.clone()),
            };
            (access(context, repository).await?, index)
        }
        None => (Access::default(), None),
    };
    let request = ChartRequest {
        repository: url.clone(),
        chart: dependency.name.clone(),
        version: dependency.version.clone(),
        index,
        access,
        ..ChartRequest::default()
    };
    let found = context.sources.chart(request).await.map_err(|error| {
        failure(&format!(
            "dependency '{}' of {url}: {}",
            dependency.name, error.message
        ))
    })?;
    let archive = found.archive.ok_or_else(|| {
        failure(&format!(
            "dependency '{}' came without an archive",
            dependency.name
        ))
    })?;
    Ok((found.version, archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_dependencies_stay_inside_the_source() {
        let base = TreePath::parse("charts/web").unwrap();
        let place = |relative| inside(&base, relative).map(|path| path.to_string());
        assert_eq!(place("../db").as_deref(), Some("charts/db"));
        assert_eq!(place("./sub/").as_deref(), Some("charts/web/sub"));
        assert_eq!(place("../../../etc"), None);
    }
}
