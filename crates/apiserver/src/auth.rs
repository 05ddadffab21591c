//! Who asks, and whether they may.

pub mod escalation;
pub mod flows;
pub mod rbac;
pub mod signer;
pub mod tokens;

use std::collections::BTreeMap;

/// Who a request is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Unique id, if the authenticator gave one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with a name and groups.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        User {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        }
    }

    /// The administrator of an embedded control plane.
    #[must_use]
    pub fn admin() -> Self {
        User::new("fluvial:admin", &["system:masters", "system:authenticated"])
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        User::new("system:anonymous", &["system:unauthenticated"])
    }

    /// Whether the user belongs to a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The same with the group of everyone who proved who they are.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if self.name != "system:anonymous" && !self.is_in("system:authenticated") {
            self.groups.push("system:authenticated".to_owned());
        }
        self
    }
}

/// What someone wants to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// get, list, watch, create, …
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource; empty for other paths.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace; empty for the whole cluster.
    pub namespace: &'a str,
    /// Object.
    pub name: &'a str,
    /// Path, if it is no resource.
    pub path: &'a str,
}

impl Attributes<'_> {
    /// The text of a refusal.
    #[must_use]
    pub fn refusal(&self, user: &User) -> String {
        let who = format!("User \"{}\" cannot {}", user.name, self.verb);
        if self.resource.is_empty() {
            return format!("{who} path \"{}\"", self.path);
        }
        let resource = if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", self.namespace)
        };
        format!(
            "{who} resource \"{resource}\" in API group \"{}\" {place}",
            self.group
        )
    }
}
