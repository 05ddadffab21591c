//! Signatures of an image: found in its repository by the layouts of cosign and Notation, and judged.

use fluvial_ports::{SecretData, Verification};
use fluvial_verify::PublicKey;
use fluvial_verify::notation::{self, Artifact, MOST_SIGNATURES, Outcome, TrustPolicy, TrustStore};
use fluvial_verify::sigstore::{self, Identity, Material, Signature, Trust, TrustedRoot};

use super::client::Repository;
use super::manifest::{Descriptor, Manifest};

/// A layer with what cosign 2 signs.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// An image with such layers that refers to what it signs.
const SIMPLE_REFERRER: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// What cosign 3 makes, in some version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// What Notation makes.
const NOTATION: &str = "application/vnd.cncf.notary.signature";
/// Most signatures that are looked at.
const MOST: usize = 64;
/// Largest signature.
const LARGEST: u64 = 8 << 20;
/// Key of a Secret with a trusted root.
const TRUSTED_ROOT: &str = "trusted_root.json";
/// Key of a Secret with a trust policy.
const TRUST_POLICY: &str = "trustpolicy.json";

/// How an image passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// With a trusted signature.
    Yes,
    /// By a policy that asks for none.
    Ignored,
}

/// Whether the image with a digest has a signature that counts; why not, for people. `shown` is its revision.
pub(super) async fn verify(
    repository: &Repository,
    shown: &str,
    digest: &str,
    wanted: &Verification,
    root: Option<&TrustedRoot>,
) -> Result<Passed, String> {
    let keyless = wanted.provider == "cosign" && wanted.keys.is_none();
    let result = match wanted.provider.as_str() {
        "cosign" => cosign(repository, digest, wanted, root).await,
        "notation" => by_notation(repository, digest, wanted).await,
        other => Err(format!("it is none of cosign, notation: '{other}'")),
    };
    result.map_err(|why| {
        format!(
            "failed to verify the signature using provider '{}{}': no matching signatures were found for '{}:{shown}': {why}",
            wanted.provider,
            if keyless { " keyless" } else { "" },
            repository.place().name(),
        )
    })
}

async fn cosign(
    repository: &Repository,
    digest: &str,
    wanted: &Verification,
    root: Option<&TrustedRoot>,
) -> Result<Passed, String> {
    let given;
    let (keys, identities);
    let trust = match &wanted.keys {
        Some(data) => {
            keys = public_keys(data)?;
            Trust::Keys(&keys)
        }
        None => {
            let root = match &wanted.trusted_root {
                Some(data) => {
                    given = trusted_root(data)?;
                    &given
                }
                None => root.ok_or_else(|| {
                    "no trusted root is given; name a Secret with trusted_root.json in spec.verify.trustedRootSecretRef, or \
                     start with --sigstore-trusted-root"
                        .to_owned()
                })?,
            };
            let read = wanted.identities.iter();
            let read = read.map(|(issuer, subject)| Identity::new(issuer, subject));
            identities = read
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| error.to_string())?;
            Trust::Certificates {
                root,
                identities: &identities,
            }
        }
    };
    let found = materials(repository, digest).await?;
    sigstore::verify(digest, &found, &trust).map_err(|error| error.to_string())?;
    Ok(Passed::Yes)
}

fn public_keys(data: &SecretData) -> Result<Vec<(String, PublicKey)>, String> {
    let mut keys = Vec::new();
    for (name, value) in data.iter().filter(|(name, _)| name.ends_with(".pub")) {
        let key = PublicKey::from_pem(value);
        let key =
            key.map_err(|error| format!("key '{name}' of the secret in spec.verify.secretRef: {error}"))?;
        keys.push((name.clone(), key));
    }
    if keys.is_empty() {
        return Err(
            "the secret in spec.verify.secretRef holds no public key; add one as NAME.pub".to_owned(),
        );
    }
    Ok(keys)
}

fn trusted_root(data: &SecretData) -> Result<TrustedRoot, String> {
    let root = data.get(TRUSTED_ROOT).ok_or_else(|| {
        format!("'{TRUSTED_ROOT}' not found in the secret in spec.verify.trustedRootSecretRef; add it")
    })?;
    TrustedRoot::parse(root).map_err(|error| error.to_string())
}

/// Everything of Sigstore that belongs to a digest: bundles, and both places of simple signatures.
async fn materials(repository: &Repository, digest: &str) -> Result<Vec<Material>, String> {
    let mut found = Vec::new();
    let referrers = repository
        .referrers(digest)
        .await
        .map_err(|error| error.message)?;
    for referrer in &referrers {
        if found.len() >= MOST {
            break;
        }
        if referrer.artifact_type.starts_with(BUNDLE) {
            let (_, manifest) = fetch(repository, referrer).await?;
            for layer in manifest
                .layers
                .iter()
                .filter(|layer| layer.media_type.starts_with(BUNDLE))
            {
                found.push(Material::Bundle(blob(repository, layer).await?));
            }
        } else if referrer.artifact_type == SIMPLE_REFERRER {
            let (_, manifest) = fetch(repository, referrer).await?;
            simple(repository, &manifest, &mut found).await?;
        }
    }
    let tag = format!("{}.sig", digest.replace(':', "-"));
    if let Some(raw) = repository.raw(&tag).await.map_err(|error| error.message)? {
        simple(repository, &Manifest::parse(&raw.data)?, &mut found).await?;
    }
    Ok(found)
}

async fn fetch(repository: &Repository, what: &Descriptor) -> Result<(String, Manifest), String> {
    repository
        .manifest(&what.digest)
        .await
        .map_err(|error| error.message)
}

async fn blob(repository: &Repository, layer: &Descriptor) -> Result<Vec<u8>, String> {
    repository
        .blob(layer, LARGEST)
        .await
        .map_err(|error| error.message)
}

async fn simple(
    repository: &Repository,
    manifest: &Manifest,
    found: &mut Vec<Material>,
) -> Result<(), String> {
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE) {
        if found.len() >= MOST {
            break;
        }
        let given = |name: &str| {
            layer
                .annotations
                .get(name)
                .filter(|text| !text.is_empty())
                .cloned()
        };
        let Some(signature) = given("dev.cosignproject.cosign/signature") else {
            continue;
        };
        found.push(Material::Simple(Signature {
            payload: blob(repository, layer).await?,
            signature,
            certificate: given("dev.sigstore.cosign/certificate"),
            chain: given("dev.sigstore.cosign/chain"),
            bundle: given("dev.sigstore.cosign/bundle"),
            timestamp: given("dev.sigstore.cosign/rfc3161timestamp"),
        }));
    }
    Ok(())
}

async fn by_notation(repository: &Repository, digest: &str, wanted: &Verification) -> Result<Passed, String> {
    let data = wanted.keys.as_ref().ok_or_else(|| {
        "verification secret cannot be empty; name one with trustpolicy.json and certificates in spec.verify.secretRef".to_owned()
    })?;
    let policy = data.get(TRUST_POLICY).ok_or_else(|| {
        format!("'{TRUST_POLICY}' not found in the secret in spec.verify.secretRef; add it")
    })?;
    let policy = TrustPolicy::parse(policy).map_err(|error| error.to_string())?;
    let mut store = TrustStore::default();
    let mut certificates = 0;
    for (name, value) in data {
        if name.ends_with(".crt") || name.ends_with(".pem") {
            store
                .add(value)
                .map_err(|error| format!("certificate '{name}': {error}"))?;
            certificates += 1;
        }
    }
    if certificates == 0 {
        return Err(
            "no certificates found in the secret in spec.verify.secretRef; add the signer's root as NAME.crt or NAME.pem".to_owned(),
        );
    }
    let raw = repository.raw(digest).await.map_err(|error| error.message)?;
    let raw = raw.ok_or_else(|| format!("manifest '{digest}' has gone"))?;
    let manifest = Manifest::parse(&raw.data)?;
    let artifact = Artifact {
        repository: repository.place().name(),
        media_type: if manifest.media_type.is_empty() {
            raw.media_type
        } else {
            manifest.media_type
        },
        digest: digest.to_owned(),
        size: raw.data.len() as u64,
    };
    let mut found = Vec::new();
    let referrers = repository
        .referrers(digest)
        .await
        .map_err(|error| error.message)?;
    let signatures = referrers
        .iter()
        .filter(|referrer| referrer.artifact_type == NOTATION);
    for referrer in signatures.take(MOST_SIGNATURES) {
        let (_, manifest) = fetch(repository, referrer).await?;
        let [layer] = manifest.layers.as_slice() else {
            continue;
        };
        found.push(notation::Signature {
            media_type: layer.media_type.clone(),
            data: blob(repository, layer).await?,
        });
    }
    let now = jiff::Timestamp::now().as_second();
    match notation::verify(&artifact, &found, &policy, &store, now).map_err(|error| error.to_string())? {
        Outcome::Verified => Ok(Passed::Yes),
        Outcome::Ignored => Ok(Passed::Ignored),
    }
}
