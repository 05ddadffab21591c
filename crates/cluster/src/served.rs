//! What a server says of itself: its version, and all that it serves, in three requests.

use fluvial_ports::{ClusterError, Served};
use http::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::request::Form;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

/// Aggregated discovery; servers without it answer with the plain list of groups.
#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    items: Vec<Group>,
    #[serde(default)]
    groups: Vec<PlainGroup>,
    /// Of the core group, plain.
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Name,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize, Default)]
struct Name {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    response_kind: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct PlainGroup {
    #[serde(default)]
    versions: Vec<PlainVersion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainVersion {
    group_version: String,
}

/// Asks the server.
pub(crate) async fn read(client: &Client) -> Result<Served, ClusterError> {
    let plain = client.plain();
    let version: Version = plain.call(Method::GET, "/version", Form::Whole, None).await?;
    let mut api_versions = Vec::new();
    for url in ["/api", "/apis"] {
        let groups: Groups = plain.call(Method::GET, url, Form::Discovery, None).await?;
        collect(&groups, &mut api_versions);
    }
    api_versions.sort_unstable();
    api_versions.dedup();
    Ok(Served {
        version: version.git_version,
        api_versions,
    })
}

fn collect(groups: &Groups, out: &mut Vec<String>) {
    out.extend(groups.versions.iter().cloned());
    let plain = groups.groups.iter().flat_map(|group| &group.versions);
    out.extend(plain.map(|version| version.group_version.clone()));
    for group in &groups.items {
        for version in &group.versions {
            let prefix = match group.metadata.name.as_str() {
                "" => version.version.clone(),
                name => format!("{name}/{}", version.version),
            };
            let kinds = version.resources.iter().filter_map(|resource| {
                let kind = &resource.response_kind.as_ref()?.kind;
                (!kind.is_empty()).then(|| format!("{prefix}/{kind}"))
            });
            out.extend(kinds);
            out.push(prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_discovery_are_read() {
        let aggregated = r#"{"items":[{"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
            {"resource":"deployments","responseKind":{"group":"apps","version":"v1","kind":"Deployment"}}]}]},
            {"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"pods","responseKind":{"kind":"Pod"}}]}]}]}"#;
        let plain = r#"{"kind":"APIGroupList","groups":[{"name":"batch","versions":[{"groupVersion":"batch/v1","version":"v1"}]}]}"#;
        let mut found = Vec::new();
        for text in [aggregated, plain] {
            collect(&serde_json::from_str(text).unwrap(), &mut found);
        }
        assert_eq!(
            found,
            ["apps/v1/Deployment", "apps/v1", "v1/Pod", "v1", "batch/v1"]
        );
    }
}
