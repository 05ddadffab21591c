//! The keys of a Kustomization: who reads what its files hold encrypted.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_api::Kustomization;
use fluvial_ports::Decryptor;
use fluvial_tree::Digest;

use super::Kustomizations;
use super::step::BUILD_FAILED;
use crate::deliverer::failure::Failure;
use crate::remote;

/// Keys, and what tells whether they are others than before.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) decryptor: Arc<dyn Decryptor>,
    /// Says nothing about them to anybody who does not have them.
    pub(crate) digest: Digest,
}

impl Kustomizations {
    /// The keys that the spec names; none if it asks for no decryption.
    pub(super) async fn keys(&self, object: &Kustomization) -> Result<Option<Keys>, Failure> {
        let Some(decryption) = &object.spec.decryption else {
            return Ok(None);
        };
        let fallback = self.context.settings.sops_age_secret.as_ref();
        let (namespace, name, only_age) = match (&decryption.secret_ref, fallback) {
            (Some(secret), _) => (object.metadata.namespace.as_str(), secret.name.as_str(), false),
            (None, Some((namespace, name))) => (namespace.as_str(), name.as_str(), true),
            (None, None) => return self.decryptor(&BTreeMap::new(), "").map(Some),
        };
        let failed = |text: String| Failure::retry(BUILD_FAILED, text);
        let secret = remote::read(&self.context, "Secret", namespace, name)
            .await
            .map_err(|error| {
                failed(format!(
                    "cannot get sops decryption Secret '{namespace}/{name}': {error}"
                ))
            })?
            .ok_or_else(|| failed(format!("secrets \"{name}\" not found")))?;
        let mut entries = remote::entries(&secret);
        if only_age {
            entries.retain(|entry, _| entry.ends_with(".agekey"));
        }
        self.decryptor(&entries, &format!("{namespace}/{name}")).map(Some)
    }

    fn decryptor(&self, entries: &BTreeMap<String, Vec<u8>>, secret: &str) -> Result<Keys, Failure> {
        let mut all = Vec::new();
        for (entry, value) in entries {
            all.extend_from_slice(Digest::of(entry.as_bytes()).as_bytes());
            all.extend_from_slice(Digest::of(value).as_bytes());
        }
        let decryptor = self.context.decryption.decryptor(entries).map_err(|error| {
            Failure::retry(
                BUILD_FAILED,
                format!(
                    "failed to import '{}' data from sops decryption Secret '{secret}': {error}",
                    error.entry
                ),
            )
        })?;
        Ok(Keys {
            decryptor,
            digest: Digest::of(&all),
        })
    }
}
