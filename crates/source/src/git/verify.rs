//! Signatures of commits and tags, checked in process against the keys of a Secret: OpenPGP and SSH.

mod payload;
mod pgp_keys;
mod ssh_keys;

use gix::ObjectId;

use super::local::Resolved;
use super::reference::Target;
use crate::credentials::SecretData;
use crate::error::{SourceError, reason};
use payload::Signed;
use pgp_keys::PgpKeys;
use ssh_keys::SshKeys;

/// End of the names of SSH keys in a Secret; every other key is OpenPGP's.
const SSH_SUFFIX: &str = ".sshpub";
/// Largest key or signature that is read.
const MAX_SIZE: usize = 1 << 20;

/// Which signatures must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerifyMode {
    /// The commit's.
    Head,
    /// The tag's.
    Tag,
    /// Both.
    TagAndHead,
}

impl VerifyMode {
    /// Reads `spec.verify.mode`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            // The small one is from before the other modes.
            "HEAD" | "head" | "" => Some(VerifyMode::Head),
            "Tag" => Some(VerifyMode::Tag),
            "TagAndHEAD" => Some(VerifyMode::TagAndHead),
            _ => None,
        }
    }
}

/// What must be signed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verify {
    /// What must be signed.
    pub mode: VerifyMode,
    /// Data of the Secret with the public keys.
    pub keys: SecretData,
}

/// The keys that are trusted.
struct Keys {
    pgp: PgpKeys,
    ssh: SshKeys,
}

impl Keys {
    fn read(data: &SecretData) -> Result<Self, SourceError> {
        let refuse = |name: &str, what: String| {
            SourceError::retry(
                reason::VERIFICATION_ERROR,
                format!("public key '{name}' of the secret in spec.verify.secretRef: {what}"),
            )
        };
        let mut keys = Keys {
            pgp: PgpKeys::default(),
            ssh: SshKeys::default(),
        };
        for (name, value) in data {
            if value.len() > MAX_SIZE {
                return Err(refuse(name, format!("it has more than {MAX_SIZE} bytes")));
            }
            if name.ends_with(SSH_SUFFIX) {
                keys.ssh.add(value).map_err(|what| refuse(name, what))?;
            } else {
                keys.pgp.add(value).map_err(|what| refuse(name, what))?;
            }
        }
        if data.is_empty() {
            return Err(SourceError::retry(
                reason::VERIFICATION_ERROR,
                "the secret in spec.verify.secretRef holds no public key; add one as NAME.asc (OpenPGP) or NAME.sshpub",
            ));
        }
        Ok(keys)
    }

    /// Who signed, or why it counts as unsigned.
    fn signer(&self, signed: &Signed) -> Result<String, String> {
        let text = &signed.signature;
        if text.len() > MAX_SIZE {
            return Err(format!("the signature has more than {MAX_SIZE} bytes"));
        }
        if text.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            self.ssh.verify(text, &signed.payload, signed.time)
        } else if text.starts_with(b"-----BEGIN PGP ") {
            self.pgp.verify(text, &signed.payload)
        } else {
            let kind = if text.starts_with(b"-----BEGIN SIGNED MESSAGE-----") {
                "an X.509 signature, which is not verified here"
            } else {
                "neither an OpenPGP nor an SSH signature"
            };
            Err(format!(
                "it is {kind}; sign with an OpenPGP or SSH key (git config gpg.format)"
            ))
        }
    }
}

/// Checks what a request wants checked; the answer is the message of the condition.
pub(crate) fn verify(
    repo: &gix::Repository,
    target: &Target,
    resolved: &Resolved,
    wanted: &Verify,
) -> Result<String, SourceError> {
    let mut lines = Vec::new();
    let keys = Keys::read(&wanted.keys)?;
    if wanted.mode != VerifyMode::Head {
        lines.push(tag(repo, target, resolved, &keys)?);
    }
    if wanted.mode != VerifyMode::Tag {
        let id = resolved.commit;
        let fail = |what: String| {
            SourceError::retry(
                reason::INVALID_COMMIT_SIGNATURE,
                format!("signature verification of commit '{id}' failed: {what}"),
            )
        };
        let data = raw(repo, id)?;
        let signed = payload::commit(&data, id.kind())
            .map_err(&fail)?
            .ok_or_else(|| fail("it is not signed".to_owned()))?;
        let key = keys.signer(&signed).map_err(fail)?;
        lines.push(format!("commit '{id}' with key '{key}'"));
    }
    Ok(format!("verified signature of\n\t- {}", lines.join("\n\t- ")))
}

fn tag(
    repo: &gix::Repository,
    target: &Target,
    resolved: &Resolved,
    keys: &Keys,
) -> Result<String, SourceError> {
    let name = match target {
        Target::Tag(_) | Target::Semver(_) => resolved.label.as_str(),
        Target::Name(name) if name.starts_with("refs/tags/") => &name["refs/tags/".len()..],
        _ => {
            return Err(SourceError::stalled(
                reason::INVALID_VERIFICATION_MODE,
                "cannot verify tag object's signature if a tag reference is not specified; set spec.ref.tag or \
                 spec.ref.semver, or spec.verify.mode to HEAD",
            ));
        }
    };
    let unsigned = || {
        SourceError::retry(
            reason::INVALID_GIT_OBJECT,
            format!(
                "cannot verify signature of tag '{name}' since it is not signed; sign it with git tag -s"
            ),
        )
    };
    // A lightweight tag has no object that could be signed.
    let id = resolved.tag.ok_or_else(unsigned)?;
    let shown = super::reference::revision(name, &id);
    let fail = |what: String| {
        SourceError::retry(
            reason::INVALID_TAG_SIGNATURE,
            format!("signature verification of tag '{shown}' failed: {what}"),
        )
    };
    let data = raw(repo, id)?;
    let signed = payload::tag(&data, id.kind())
        .map_err(&fail)?
        .ok_or_else(unsigned)?;
    let key = keys.signer(&signed).map_err(&fail)?;
    // Else an old signed tag could be put under a new name.
    if signed.tag.as_deref() != Some(name.as_bytes()) {
        return Err(fail(format!(
            "the signed object is tag '{}', not '{name}'; tag the commit anew",
            String::from_utf8_lossy(signed.tag.as_deref().unwrap_or_default())
        )));
    }
    Ok(format!("tag '{shown}' with key '{key}'"))
}

fn raw(repo: &gix::Repository, id: ObjectId) -> Result<Vec<u8>, SourceError> {
    repo.find_object(id)
        .map(|object| object.data.clone())
        .map_err(|error| {
            SourceError::retry(
                reason::INVALID_GIT_OBJECT,
                format!("cannot read object {id}: {error}"),
            )
        })
}
