//! Sources other than Git: chart repositories, OCI registries and buckets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fluvial_tree::Tree;

use crate::source::Account;

/// Data of a Secret, by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// Who vouches for the credentials of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provider {
    /// Secrets and service accounts.
    #[default]
    Generic,
    /// AWS with the workload's identity.
    Aws,
    /// Azure with the workload's identity.
    Azure,
    /// Google Cloud with the workload's identity.
    Gcp,
}

/// With which rights, and in which way, a server is asked.
#[derive(Clone, Default)]
pub struct Access {
    /// Data of the credentials' Secret.
    pub credentials: Option<SecretData>,
    /// Docker configurations of pull Secrets, tried after `credentials`.
    pub pull_secrets: Vec<SecretData>,
    /// Data of the Secret with certificates.
    pub certificates: Option<SecretData>,
    /// Data of the proxy's Secret.
    pub proxy: Option<SecretData>,
    /// Whether credentials go to other hosts that an index names.
    pub pass_credentials: bool,
    /// Whether plain HTTP is allowed where the address does not say which it is.
    pub insecure: bool,
    /// Who vouches.
    pub provider: Provider,
    /// Who asks, as `kind/namespace/name`: tokens are kept per object.
    pub object: String,
    /// Whose identity a cloud is asked with; without one, that of the program.
    pub account: Option<Account>,
    /// Give up after this time.
    pub timeout: Duration,
}

/// Bytes that are to be stored as they are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file, which may be large. It stays where it is.
    File(PathBuf),
}

/// Asks for the index of a chart repository.
#[derive(Clone, Default)]
pub struct IndexRequest {
    /// Address of the repository.
    pub url: String,
    /// Rights.
    pub access: Access,
    /// The revision that the caller has already.
    pub last_revision: Option<String>,
}

/// An index of a chart repository.
#[derive(Debug, Clone)]
pub struct IndexFound {
    /// `sha256:…` of the index as it was served.
    pub revision: String,
    /// Whether it is the revision that the caller has.
    pub unchanged: bool,
    /// The index as JSON, with what is no chart left out and newest versions first.
    pub content: Content,
    /// Bytes of the index as it was served.
    pub size: u64,
    /// Where it really came from, when a mirror rule rewrote the URL.
    pub rewritten: Option<String>,
}

/// What signatures are checked, and against what.
#[derive(Clone, Default)]
pub struct Verification {
    /// `cosign` or `notation`.
    pub provider: String,
    /// Data of the Secret with public keys.
    pub keys: Option<SecretData>,
    /// Accepted signers: regular expressions for issuer and subject.
    pub identities: Vec<(String, String)>,
    /// Data of the Secret with a trusted root.
    pub trusted_root: Option<SecretData>,
}

/// Asks for a version of a chart.
#[derive(Clone, Default)]
pub struct ChartRequest {
    /// Address of the repository.
    pub repository: String,
    /// Name of the chart in it.
    pub chart: String,
    /// Range of versions.
    pub version: String,
    /// Revision of the index that is to be looked into; the present one if it is not known here any more.
    pub index: Option<String>,
    /// Rights.
    pub access: Access,
    /// Signature check.
    pub verify: Option<Verification>,
    /// Version that the caller has already.
    pub last_version: Option<String>,
}

/// A version of a chart.
#[derive(Debug, Clone)]
pub struct ChartFound {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its archive; nothing if it is the version that the caller has.
    pub archive: Option<Arc<[u8]>>,
    /// Where it really came from, when a mirror rule rewrote the URL.
    pub rewritten: Option<String>,
    /// How its signature was verified.
    pub verified: Option<String>,
}

/// Which image of an OCI repository is wanted; digest beats semver beats tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageReference {
    /// Digest.
    pub digest: Option<String>,
    /// Range over tags.
    pub semver: Option<String>,
    /// Regular expression for tags that count for `semver`.
    pub semver_filter: Option<String>,
    /// Tag.
    pub tag: Option<String>,
}

/// Asks for a layer of an image.
#[derive(Clone, Default)]
pub struct ImageRequest {
    /// `oci://HOST/REPOSITORY`.
    pub url: String,
    /// Which image.
    pub reference: ImageReference,
    /// Media type of the wanted layer; the first one if empty.
    pub media_type: String,
    /// Whether the layer is taken as it is, and not unpacked.
    pub copy: bool,
    /// Rights.
    pub access: Access,
    /// Signature check.
    pub verify: Option<Verification>,
    /// The revision that the caller has already.
    pub last_revision: Option<String>,
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Unpacked, not yet filtered by ignore rules.
    Files(Tree),
    /// As it is.
    Copy(Arc<[u8]>),
}

/// An image.
#[derive(Debug, Clone)]
pub struct ImageFound {
    /// `TAG@sha256:…`, or the digest alone.
    pub revision: String,
    /// The wanted layer; nothing if it is the revision that the caller has.
    pub layer: Option<Layer>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where it really came from, when a mirror rule rewrote the URL.
    pub rewritten: Option<String>,
    /// How its signature was verified.
    pub verified: Option<String>,
}

/// Temporary credentials for a bucket.
#[derive(Clone, Default)]
pub struct TokenService {
    /// `aws` or `ldap`.
    pub provider: String,
    /// Address.
    pub endpoint: String,
    /// Data of the credentials' Secret.
    pub credentials: Option<SecretData>,
    /// Data of the Secret with certificates.
    pub certificates: Option<SecretData>,
}

/// Asks for the files of a bucket.
#[derive(Clone, Default)]
pub struct BucketRequest {
    /// Name.
    pub bucket: String,
    /// Address of the storage, without a scheme.
    pub endpoint: String,
    /// Region.
    pub region: Option<String>,
    /// Only keys that begin with it.
    pub prefix: Option<String>,
    /// Patterns that are left out.
    pub ignore: Option<String>,
    /// Temporary credentials.
    pub sts: Option<TokenService>,
    /// Rights; the provider says whose storage it is.
    pub access: Access,
    /// The revision that the caller has already.
    pub last_revision: Option<String>,
}

/// Files of a bucket.
#[derive(Debug, Clone)]
pub struct BucketFound {
    /// `sha256:…` over the keys and their etags.
    pub revision: String,
    /// The files; nothing if it is the revision that the caller has.
    pub files: Option<Tree>,
    /// Where they really came from, when a mirror rule rewrote the address.
    pub rewritten: Option<String>,
}
