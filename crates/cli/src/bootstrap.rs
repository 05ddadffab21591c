//! What a cluster needs before it follows a repository: the definitions, a namespace, and the two objects that name
//! repository and folder. Those of the repository's own `flux-system` folder are taken if it has them, so that what is
//! put there first is what the repository puts there later.

mod arguments;
mod flux;

use std::collections::{BTreeMap, BTreeSet};

use fluvial_api::{definitions, keys};
use fluvial_controllers::Settings;
use fluvial_object::ObjectExt;
use fluvial_ports::{FetchRequest, Reference};
use fluvial_tree::{Tree, TreePath};
use serde_json::{Value, json};

use self::flux::{Flux, Sync};
use crate::environment::{LocalRepository, Rewrite};

/// Name of the objects and of their namespace.
const FLUX_SYSTEM: &str = "flux-system";

/// Which repository, and what of it.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// The URL that objects show.
    pub url: String,
    /// Which revision.
    pub reference: Reference,
    /// Where it is, if it is on this machine.
    pub local: Option<LocalRepository>,
    /// What opens it, in the form of a Secret's data; empty if it is open.
    pub credentials: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// The folder of this machine that stands for a URL of it.
    pub(crate) fn rewrite(&self, url: &str) -> Option<Rewrite> {
        let local = self.local.as_ref()?;
        Some(Rewrite {
            url: url.to_owned(),
            path: local.path.clone(),
            folder: local.folder.clone(),
        })
    }

    /// The place, for people.
    pub(crate) fn place(&self) -> String {
        match &self.local {
            Some(local) if local.folder.is_empty() => local.path.display().to_string(),
            Some(local) => local.path.join(&local.folder).display().to_string(),
            None => self.url.clone(),
        }
    }

    /// A message of a failed fetch, with the options of the command in place of the fields of an object.
    pub(crate) fn in_words_of_the_command(&self, message: &str) -> String {
        let message = message
            .replace("change spec.ref", "choose one with --branch")
            .replace("spec.url", "the URL");
        let opens = match (&self.local, self.url.starts_with("ssh://")) {
            (Some(_), _) => return message,
            (None, true) => "--private-key-file and --known-hosts-file",
            (None, false) => "--username and $GIT_PASSWORD",
        };
        message.replace("spec.secretRef", opens)
    }

    /// What to fetch in order to look at it.
    pub(crate) fn request(&self, timeout: std::time::Duration) -> FetchRequest {
        FetchRequest {
            url: self.url.clone(),
            reference: self.reference.clone(),
            timeout,
            credentials: (!self.credentials.is_empty()).then(|| self.credentials.clone()),
            ..FetchRequest::default()
        }
    }
}

/// What to put on the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Definitions and namespace: first of all.
    pub base: Vec<Value>,
    /// What follows the repository.
    pub objects: Vec<Value>,
    /// Rewrites of URLs that this takes.
    pub rewrites: Vec<Rewrite>,
    /// How the repository wants its controllers to be.
    pub settings: Settings,
    /// The arguments that these settings come from.
    pub lockdown: Vec<String>,
    /// What the user should know.
    pub remarks: Vec<String>,
}

/// The folder to follow when none was named: the only folder of `clusters`, or the whole repository.
pub(crate) fn folder(tree: &Tree, wanted: Option<&str>) -> Result<TreePath, String> {
    if let Some(wanted) = wanted {
        let path = TreePath::parse(wanted.trim_start_matches("./").trim_end_matches('/'))
            .map_err(|error| format!("--path {wanted}: {error}"))?;
        return if path.is_root() || tree.is_folder(&path) {
            Ok(path)
        } else {
            let near = folders(tree, &path.parent().unwrap_or_else(TreePath::root));
            Err(format!(
                "--path {wanted}: there is no such folder in the repository{near}"
            ))
        };
    }
    let clusters = TreePath::parse("clusters").map_err(|error| error.to_string())?;
    let found: BTreeSet<String> = tree
        .below(&clusters)
        .filter_map(|(path, _)| path.as_str().split('/').nth(1).map(str::to_owned))
        .filter(|name| TreePath::parse(&format!("clusters/{name}")).is_ok_and(|path| tree.is_folder(&path)))
        .collect();
    match found.len() {
        0 => Ok(TreePath::root()),
        1 => TreePath::parse(&format!("clusters/{}", found.first().map_or("", String::as_str)))
            .map_err(|error| error.to_string()),
        _ => Err(format!(
            "the repository has several clusters; choose one with --path: {}",
            found
                .iter()
                .map(|name| format!("clusters/{name}"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

fn folders(tree: &Tree, parent: &TreePath) -> String {
    let prefix = if parent.is_root() {
        String::new()
    } else {
        format!("{parent}/")
    };
    let names: BTreeSet<&str> = tree
        .iter()
        .filter_map(|(path, _)| path.as_str().strip_prefix(prefix.as_str())?.split_once('/'))
        .map(|(name, _)| name)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names
        .into_iter()
        .take(8)
        .map(|name| format!("{prefix}{name}"))
        .collect();
    format!("; there are {}", names.join(", "))
}

/// What to put on the cluster so that it follows `path` of a repository with these files.
pub(crate) fn plan(repository: &Repository, tree: &Tree, path: &TreePath) -> Plan {
    let fresh = Sync {
        source: git_repository(repository),
        kustomization: kustomization(path),
    };
    let Flux {
        accounts,
        sync,
        asked,
    } = flux::read(tree, path, fresh);
    let mut plan = Plan {
        base: definitions(),
        objects: accounts,
        rewrites: repository.rewrite(&repository.url).into_iter().collect(),
        settings: asked.settings,
        lockdown: asked.honoured,
        remarks: asked.remarks,
    };
    let namespaces = [
        FLUX_SYSTEM,
        sync.source.namespace(),
        sync.kustomization.namespace(),
    ];
    for name in BTreeSet::from(namespaces) {
        plan.base.push(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        }));
    }
    follow(repository, sync, &mut plan);
    plan
}

fn git_repository(repository: &Repository) -> Value {
    let reference = &repository.reference;
    let mut names = serde_json::Map::new();
    for (key, value) in [
        ("branch", &reference.branch),
        ("tag", &reference.tag),
        ("semver", &reference.semver),
        ("name", &reference.name),
        ("commit", &reference.commit),
    ] {
        if let Some(value) = value {
            names.insert(key.to_owned(), value.as_str().into());
        }
    }
    let mut object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {"interval": "1m", "url": repository.url, "ref": names},
    });
    if !repository.credentials.is_empty() {
        object["spec"]["secretRef"] = json!({"name": FLUX_SYSTEM});
    }
    object
}

fn kustomization(path: &TreePath) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {
            "interval": "10m", "path": format!("./{path}"), "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": FLUX_SYSTEM},
        },
    })
}

/// Puts the two objects on the cluster, and what it takes to read the repository where it is.
fn follow(repository: &Repository, sync: Sync, plan: &mut Plan) {
    let source = &sync.source;
    let text = |pointer: &str| source.pointer(pointer).and_then(Value::as_str);
    if let Some(url) = text("/spec/url").filter(|url| *url != repository.url) {
        plan.rewrites.extend(repository.rewrite(url));
    }
    if let (Some(theirs), Some(ours)) = (text("/spec/ref/branch"), &repository.reference.branch)
        && theirs != ours
    {
        plan.remarks.push(format!(
            "{ours} is checked out, but the repository's own flux-system folder follows {theirs}"
        ));
    }
    if let Some(name) = text("/spec/secretRef/name") {
        plan.objects.push(secret(repository, source.namespace(), name));
    }
    plan.objects.push(sync.source);
    plan.objects.push(sync.kustomization);
}

/// The Secret that the GitRepository names: what opened the repository, or a stand-in where nothing is locked.
fn secret(repository: &Repository, namespace: &str, name: &str) -> Value {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {keys::SUBSTITUTE: "disabled"},
        },
        "data": {},
    });
    for (key, value) in &repository.credentials {
        use base64::Engine as _;
        secret["data"][key] = base64::engine::general_purpose::STANDARD.encode(value).into();
    }
    if repository.credentials.is_empty() {
        let why = "the repository is opened without credentials";
        secret["metadata"]["annotations"] = json!({"fluvial.dev/stands-in": why});
    }
    secret
}

#[cfg(test)]
mod tests {
    use fluvial_tree::{File, TreeBuilder};

    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut builder = TreeBuilder::default();
        for (path, text) in files {
            builder
                .file(path, File::new(text.as_bytes().to_vec(), false))
                .unwrap();
        }
        builder.build()
    }

    fn planned(files: &[(&str, &str)]) -> Plan {
        let repository = Repository {
            url: "http://localhost/fleet".to_owned(),
            reference: Reference {
                branch: Some("main".to_owned()),
                ..Reference::default()
            },
            local: Some(LocalRepository {
                path: "/fleet".into(),
                folder: String::new(),
                branch: Some("main".to_owned()),
            }),
            credentials: BTreeMap::new(),
        };
        plan(
            &repository,
            &tree(files),
            &TreePath::parse("clusters/one").unwrap(),
        )
    }

    fn object<'p>(plan: &'p Plan, kind: &str, name: &str) -> &'p Value {
        let mut all = plan.objects.iter();
        all.find(|object| object.kind() == kind && object.name() == name)
            .unwrap_or_else(|| panic!("no {kind} {name} in {:?}", plan.objects))
    }

    const LOCKED: &str = "resources: [gotk-components.yaml, gotk-sync.yaml]
patches:
- target: {kind: Deployment, name: (kustomize-controller|helm-controller)}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --default-service-account=default}
- target: {kind: Kustomization, name: flux-system}
  patch: |
    - {op: add, path: /spec/serviceAccountName, value: kustomize-controller}
";

    #[test]
    fn a_folder_that_bootstrap_has_not_filled_is_patched_all_the_same() {
        let folder = "clusters/one/flux-system";
        let plan = planned(&[
            (&format!("{folder}/gotk-components.yaml"), "# later\n"),
            (&format!("{folder}/gotk-sync.yaml"), ""),
            (&format!("{folder}/kustomization.yaml"), LOCKED),
        ]);
        assert_eq!(
            plan.lockdown,
            ["--default-service-account=default (helm-controller, kustomize-controller)"]
        );
        let account = |restrictions: &fluvial_controllers::Restrictions| {
            restrictions.default_service_account.clone().unwrap_or_default()
        };
        assert_eq!(account(&plan.settings.releases), "default");
        assert_eq!(account(&plan.settings.kustomizations), "default");
        let root = object(&plan, "Kustomization", FLUX_SYSTEM);
        assert_eq!(root["spec"]["serviceAccountName"], "kustomize-controller");
        assert_eq!(root["spec"]["path"], "./clusters/one");
        assert_eq!(root["metadata"].get("labels"), None);
        assert_eq!(
            object(&plan, "GitRepository", FLUX_SYSTEM)["spec"]["url"],
            "http://localhost/fleet"
        );
        // The account is there before anybody acts as it, and it may act.
        object(&plan, "ServiceAccount", "kustomize-controller");
        let binding = object(&plan, "ClusterRoleBinding", "cluster-reconciler-flux-system");
        assert_eq!(binding["roleRef"]["name"], "cluster-admin");
        // Deployments are the repository's to bring.
        assert!(plan.objects.iter().all(|object| object.kind() != "Deployment"));
    }

    #[test]
    fn the_repositorys_own_objects_are_taken_as_its_build_has_them() {
        let folder = "clusters/one/flux-system";
        let sync = "apiVersion: source.toolkit.fluxcd.io/v1beta1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {url: 'ssh://git@example.com/fleet', ref: {branch: live}, secretRef: {name: key}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1beta1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec: {path: ./clusters/one, sourceRef: {kind: GitRepository, name: flux-system}}
";
        let components = "apiVersion: v1
kind: ServiceAccount
metadata: {name: kustomize-controller, namespace: flux-system, labels: {app.kubernetes.io/part-of: flux}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kustomize-controller, namespace: flux-system}
spec: {template: {spec: {containers: [{name: manager, args: [--no-cross-namespace-refs]}]}}}
";
        let files = [
            (&*format!("{folder}/gotk-components.yaml"), components),
            (&*format!("{folder}/gotk-sync.yaml"), sync),
        ];
        let plan = planned(&files);
        assert!(plan.settings.kustomizations.no_cross_namespace_refs);
        let urls: Vec<&str> = plan.rewrites.iter().map(|rewrite| &*rewrite.url).collect();
        assert_eq!(urls, ["http://localhost/fleet", "ssh://git@example.com/fleet"]);
        let stands_in = object(&plan, "Secret", "key");
        assert_eq!(stands_in["data"], json!({}));
        assert_eq!(
            plan.remarks,
            ["main is checked out, but the repository's own flux-system folder follows live"]
        );
        let accounts = plan.objects.iter();
        let accounts = accounts.filter(|object| object.kind() == "ServiceAccount");
        assert_eq!(accounts.count(), 1);

        // A build that fails is no reason to take less than the files say.
        let broken = (
            &*format!("{folder}/kustomization.yaml"),
            "resources: [absent.yaml]\n",
        );
        let again = planned(&[files[0], files[1], broken]);
        assert_eq!(again.objects, plan.objects);
        assert_eq!(again.lockdown, plan.lockdown);
    }
}
