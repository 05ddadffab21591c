//! The state that all requests share.

use std::sync::{Arc, PoisonError, RwLock};

use fluvial_schema::SchemaSet;
use jiff::Timestamp;
use serde_json::Value;

use crate::admission::plugins::Disabled;
use crate::auth::signer::Signer;
use crate::auth::tokens::StaticTokens;
use crate::crd;
use crate::kinds::Kinds;
use crate::registry::services::{Allocator, Range};
use crate::store::Store;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the process does beside answering.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Namespaces are emptied, dependents collected, service accounts made.
    pub controllers: bool,
    /// Workloads get the status of a healthy cluster.
    pub workloads: bool,
}

/// The shared state.
pub struct Api {
    /// Objects.
    pub store: Store,
    /// Types of the built-in kinds.
    pub schemas: SchemaSet,
    builtin: Kinds,
    kinds: RwLock<Arc<Kinds>>,
    definitions: std::sync::Mutex<crd::Cache>,
    /// The names of definitions, read once.
    pub names: std::sync::Mutex<crd::names::Cache>,
    /// The time.
    pub clock: Clock,
    /// Tokens from a file.
    pub tokens: RwLock<StaticTokens>,
    /// Service accounts' tokens.
    pub signer: Signer,
    /// The authority's certificate, PEM.
    pub authority: String,
    /// Addresses and ports of services.
    pub services: Allocator,
    /// What runs beside it.
    pub features: Features,
    /// Admission that takes no part.
    pub disabled: Disabled,
    /// Policies with their expressions compiled.
    pub policies: crate::admission::policies::Cache,
    /// Bindings and roles, read once.
    pub rules: crate::auth::rbac::Cache,
    /// Flow schemas, read once.
    pub flows: crate::auth::flows::Cache,
    /// How users were let to act as others.
    pub impersonators: crate::http::impersonate::Ways,
    /// Held from a look at quotas to the write that they allow.
    pub quotas: std::sync::Mutex<()>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Api")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// What [`Api::new`] needs.
pub struct Parts {
    /// Objects.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Tokens from a file.
    pub tokens: StaticTokens,
    /// Service accounts' tokens.
    pub signer: Signer,
    /// The authority's certificate, PEM.
    pub authority: String,
    /// What runs beside it.
    pub features: Features,
    /// Admission that takes no part.
    pub disabled: Disabled,
    /// Addresses of services.
    pub range: Range,
}

impl Api {
    /// Puts the state together; definitions of custom resources come from the store.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let schemas = SchemaSet::builtin();
        let builtin = Kinds::builtin(&schemas);
        let api = Api {
            store: parts.store,
            schemas,
            kinds: RwLock::new(Arc::new(builtin.clone())),
            definitions: std::sync::Mutex::default(),
            names: std::sync::Mutex::default(),
            builtin,
            clock: parts.clock,
            tokens: RwLock::new(parts.tokens),
            signer: parts.signer,
            authority: parts.authority,
            services: Allocator::new(parts.range),
            features: parts.features,
            disabled: parts.disabled,
            policies: crate::admission::policies::Cache::default(),
            rules: crate::auth::rbac::Cache::default(),
            flows: crate::auth::flows::Cache::default(),
            impersonators: crate::http::impersonate::Ways::default(),
            quotas: std::sync::Mutex::default(),
        };
        api.services.load(&api.store);
        api.reload_definitions();
        api
    }

    /// The kinds served now.
    #[must_use]
    pub fn kinds(&self) -> Arc<Kinds> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the definitions of custom resources again.
    pub fn reload_definitions(&self) {
        // Held to the end, so that an older reading never replaces a newer one.
        let mut cache = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kinds = self.builtin.clone();
        crd::add_kinds(&self.store, &mut kinds, &mut cache);
        *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kinds);
    }

    /// The time as objects show it.
    #[must_use]
    pub fn now(&self) -> String {
        rfc3339((self.clock)())
    }
}

/// A time as objects show it: whole seconds, UTC.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A new unique id.
#[must_use]
pub fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Five characters for a generated name.
#[must_use]
pub fn name_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

/// A text field of an object's metadata.
#[must_use]
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}
