//! Admission by name, as kube-apiserver's `--disable-admission-plugins` has it.

/// A step of admission that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// Nothing new in namespaces that are missing or going.
    NamespaceLifecycle,
    /// Bounds and defaults of `LimitRange`.
    LimitRanger,
    /// Pods have a service account, and its token.
    ServiceAccount,
    /// Pods bear troubled nodes for five minutes.
    DefaultTolerationSeconds,
    /// Pods have the priority of their class.
    Priority,
    /// Pods have the overhead of their runtime class.
    RuntimeClass,
    /// Levels of pod security that namespaces ask for.
    PodSecurity,
    /// Claims without a class get the default one.
    DefaultStorageClass,
    /// Bound claims grow only where their class lets them.
    PersistentVolumeClaimResize,
    /// Ingresses without a class get the default one.
    DefaultIngressClass,
    /// Claims and volumes stay while they are used.
    StorageObjectInUseProtection,
    /// Policies that change what is written.
    MutatingAdmissionPolicy,
    /// Webhooks that change what is written.
    MutatingAdmissionWebhook,
    /// Policies that refuse.
    ValidatingAdmissionPolicy,
    /// Webhooks that refuse.
    ValidatingAdmissionWebhook,
    /// Quotas of namespaces.
    ResourceQuota,
}

impl Plugin {
    /// All of them.
    pub const ALL: [Plugin; 16] = [
        Plugin::NamespaceLifecycle,
        Plugin::LimitRanger,
        Plugin::ServiceAccount,
        Plugin::DefaultTolerationSeconds,
        Plugin::Priority,
        Plugin::RuntimeClass,
        Plugin::PodSecurity,
        Plugin::DefaultStorageClass,
        Plugin::PersistentVolumeClaimResize,
        Plugin::DefaultIngressClass,
        Plugin::StorageObjectInUseProtection,
        Plugin::MutatingAdmissionPolicy,
        Plugin::MutatingAdmissionWebhook,
        Plugin::ValidatingAdmissionPolicy,
        Plugin::ValidatingAdmissionWebhook,
        Plugin::ResourceQuota,
    ];

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// The steps that are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disabled(u16);

impl Disabled {
    /// Reads names.
    ///
    /// # Errors
    /// A name is none of a step that is here; the text says which there are.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
        let mut disabled = Disabled::default();
        for name in names.iter().map(AsRef::as_ref) {
            let found = Plugin::ALL.into_iter().find(|plugin| plugin.name() == name);
            let plugin = found.ok_or_else(|| {
                let all = Plugin::ALL.map(Plugin::name).join(", ");
                format!("no admission plugin is called {name:?}; there are {all}")
            })?;
            disabled.0 |= 1 << plugin as u16;
        }
        Ok(disabled)
    }

    /// Whether a step takes part.
    #[must_use]
    pub fn allows(self, plugin: Plugin) -> bool {
        self.0 & 1 << plugin as u16 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_disabled_by_their_names() {
        let disabled = Disabled::parse(&["ServiceAccount", "ResourceQuota"]).unwrap();
        assert!(!disabled.allows(Plugin::ServiceAccount) && !disabled.allows(Plugin::ResourceQuota));
        assert!(disabled.allows(Plugin::Priority));
        let error = Disabled::parse(&["Nonsense"]).unwrap_err();
        assert!(
            error.starts_with("no admission plugin is called \"Nonsense\"; there are NamespaceLifecycle"),
            "{error}"
        );
    }
}
