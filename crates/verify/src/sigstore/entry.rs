//! Entries of transparency logs (Rekor): that a log has what was signed, and when it took it.

use serde_json::Value;

use super::root::{Log, TrustedRoot};
use crate::{Refusal, base64, hex, pem, refuse, sha256};

/// What an entry must tell of.
pub(super) enum Artifact<'a> {
    /// A payload with its signature.
    Payload {
        data: &'a [u8],
        signature: &'a [u8],
        certificate: &'a [u8],
    },
    /// An envelope: its payload, and one of its signatures.
    Envelope {
        data: &'a [u8],
        signature: &'a [u8],
        certificate: &'a [u8],
    },
}

/// That a leaf is in a log of some size.
pub(super) struct Proof {
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) root: Vec<u8>,
    pub(super) hashes: Vec<Vec<u8>>,
    pub(super) checkpoint: String,
}

/// An entry.
pub(super) struct Entry {
    pub(super) log: Vec<u8>,
    pub(super) index: i64,
    /// Seconds since 1970, which only the promise vouches for.
    pub(super) time: i64,
    pub(super) body: Vec<u8>,
    /// The log's signature that it will have the entry.
    pub(super) promise: Option<Vec<u8>>,
    pub(super) proof: Option<Proof>,
}

impl Entry {
    /// Whether a trusted log has the artifact; when it took it, if it vouches for that.
    pub(super) fn verify(&self, artifact: &Artifact<'_>, root: &TrustedRoot) -> Result<Option<i64>, Refusal> {
        let Some(log) = root.log(&self.log) else {
            return refuse(format!(
                "the log '{}' of the signature's entry is not in the trusted root",
                hex(&self.log)
            ));
        };
        if self.promise.is_none() && self.proof.is_none() {
            return refuse("the log's entry has neither a promise nor a proof of inclusion");
        }
        if let Some(promise) = &self.promise {
            if !log.valid.holds(self.time) {
                return refuse("the log's key was not valid when it took the entry");
            }
            self.promised(log, promise)?;
        }
        if let Some(proof) = &self.proof {
            proof.verify(&self.body, log)?;
        }
        self.tells_of(artifact)?;
        Ok(self.promise.is_some().then_some(self.time))
    }

    /// Whether the log signed this body, time and place, in the one way to write them as JSON.
    fn promised(&self, log: &Log, promise: &[u8]) -> Result<(), Refusal> {
        use ::base64::Engine as _;
        let message = format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
            ::base64::engine::general_purpose::STANDARD.encode(&self.body),
            self.time,
            hex(&self.log),
            self.index
        );
        if log.key.signed_somehow(message.as_bytes(), promise) {
            return Ok(());
        }
        refuse("the log's promise (signed entry timestamp) is not of the log")
    }

    /// Whether the body is of this very signature.
    fn tells_of(&self, artifact: &Artifact<'_>) -> Result<(), Refusal> {
        let body: Value = serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::new(format!("the log's entry cannot be read: {error}")))?;
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let kind = (
            text("/kind").unwrap_or_default(),
            text("/apiVersion").unwrap_or_default(),
        );
        let (data, signature, certificate) = match artifact {
            Artifact::Payload {
                data,
                signature,
                certificate,
            }
            | Artifact::Envelope {
                data,
                signature,
                certificate,
            } => (*data, *signature, *certificate),
        };
        let of_payload = matches!(artifact, Artifact::Payload { .. });
        let digest = sha256(data);
        let same = match kind {
            ("hashedrekord", "0.0.1") if of_payload => {
                text("/spec/data/hash/algorithm") == Some("sha256")
                    && text("/spec/data/hash/value") == Some(&hex(&digest))
                    && is(text("/spec/signature/content"), signature)
                    && is_pem(text("/spec/signature/publicKey/content"), certificate)
            }
            ("hashedrekord", "0.0.2") if of_payload => {
                let at = "/spec/hashedRekordV002";
                is(text(&format!("{at}/data/digest")), &digest)
                    && is(text(&format!("{at}/signature/content")), signature)
                    && is(
                        text(&format!("{at}/signature/verifier/x509Certificate/rawBytes")),
                        certificate,
                    )
            }
            ("dsse", "0.0.1") if !of_payload => {
                text("/spec/payloadHash/algorithm") == Some("sha256")
                    && text("/spec/payloadHash/value") == Some(&hex(&digest))
                    && any(&body, "/spec/signatures", |one| {
                        is(one.get("signature").and_then(Value::as_str), signature)
                            && is_pem(one.get("verifier").and_then(Value::as_str), certificate)
                    })
            }
            ("dsse", "0.0.2") if !of_payload => {
                is(text("/spec/dsseV002/payloadHash/digest"), &digest)
                    && any(&body, "/spec/dsseV002/signatures", |one| {
                        let of = one.pointer("/verifier/x509Certificate/rawBytes");
                        is(one.get("content").and_then(Value::as_str), signature)
                            && is(of.and_then(Value::as_str), certificate)
                    })
            }
            ("intoto", "0.0.2") if !of_payload => {
                text("/spec/content/payloadHash/value") == Some(&hex(&digest))
                    && any(&body, "/spec/content/envelope/signatures", |one| {
                        // The signature is encoded twice here.
                        let inner = one.get("sig").and_then(Value::as_str).map(base64);
                        let inner = inner
                            .and_then(Result::ok)
                            .and_then(|text| String::from_utf8(text).ok());
                        is(inner.as_deref(), signature)
                            && is_pem(one.get("publicKey").and_then(Value::as_str), certificate)
                    })
            }
            (kind, version) => {
                return refuse(format!(
                    "the log's entry is of kind '{kind}' {version}, which does not belong to such a signature"
                ));
            }
        };
        if same {
            return Ok(());
        }
        refuse("the log's entry is of another signature")
    }
}

fn is(text: Option<&str>, bytes: &[u8]) -> bool {
    text.is_some_and(|text| base64(text).is_ok_and(|read| read == bytes))
}

/// Whether a text is the base64 of a certificate's PEM.
fn is_pem(text: Option<&str>, certificate: &[u8]) -> bool {
    text.and_then(|text| base64(text).ok())
        .and_then(|text| pem::certificates(&text).ok())
        .is_some_and(|all| all.first().is_some_and(|one| one == certificate))
}

fn any(body: &Value, pointer: &str, test: impl Fn(&Value) -> bool) -> bool {
    let list = body.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().any(test)
}

impl Proof {
    fn verify(&self, body: &[u8], log: &Log) -> Result<(), Refusal> {
        let leaf = hash(0, body, &[]);
        let computed = self.computed(leaf);
        if computed.is_none_or(|root| root.as_slice() != self.root) {
            return refuse("the log's proof of inclusion does not lead to its root");
        }
        self.witnessed(log)
    }

    /// The root that a leaf leads to (RFC 9162, 2.1.3.2).
    fn computed(&self, leaf: [u8; 32]) -> Option<[u8; 32]> {
        if self.index >= self.size {
            return None;
        }
        let (mut node, mut last) = (self.index, self.size - 1);
        let mut root = leaf;
        for sibling in &self.hashes {
            if last == 0 {
                return None;
            }
            if node & 1 == 1 || node == last {
                root = hash(1, sibling, &root);
                while node & 1 == 0 && node != 0 {
                    (node, last) = (node >> 1, last >> 1);
                }
            } else {
                root = hash(1, &root, sibling);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        (last == 0).then_some(root)
    }

    /// Whether the log signed a tree of this size with this root.
    fn witnessed(&self, log: &Log) -> Result<(), Refusal> {
        let bad = || Refusal::new("the log's checkpoint cannot be read");
        let (note, signatures) = self.checkpoint.split_once("\n\n").ok_or_else(bad)?;
        let note = format!("{note}\n");
        let mut lines = note.lines().skip(1);
        let size: u64 = lines.next().and_then(|line| line.parse().ok()).ok_or_else(bad)?;
        let root = base64(lines.next().ok_or_else(bad)?).map_err(|_| bad())?;
        if size != self.size || root != self.root {
            return refuse("the log's checkpoint is of another tree than the proof of inclusion");
        }
        let signed = signatures.lines().any(|line| {
            let parts = line
                .strip_prefix("\u{2014} ")
                .and_then(|line| line.rsplit_once(' '));
            let bytes = parts.and_then(|(_, text)| base64(text).ok());
            // Four bytes hint at the key; the trusted one is tried whatever they say.
            bytes.is_some_and(|bytes| {
                let signature = bytes.get(4..).unwrap_or_default();
                log.key.signed_somehow(note.as_bytes(), signature)
            })
        });
        if signed {
            return Ok(());
        }
        refuse("the log's checkpoint is not signed by the log")
    }
}

fn hash(prefix: u8, left: &[u8], right: &[u8]) -> [u8; 32] {
    let mut all = vec![prefix];
    all.extend_from_slice(left);
    all.extend_from_slice(right);
    sha256(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root and way of every leaf of small trees, made from the definition.
    fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [one] => *one,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                hash(1, &tree(&leaves[..half]), &tree(&leaves[half..]))
            }
        }
    }

    fn way(leaves: &[[u8; 32]], at: usize) -> Vec<Vec<u8>> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let half = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(half);
        let (mut way, other) = if at < half {
            (way(left, at), tree(right))
        } else {
            (way(right, at - half), tree(left))
        };
        way.push(other.to_vec());
        way
    }

    #[test]
    fn every_leaf_of_a_small_tree_leads_to_its_root() {
        for size in 1..20 {
            let leaves: Vec<_> = (0..size).map(|leaf: u8| hash(0, &[leaf], &[])).collect();
            let root = tree(&leaves);
            for at in 0..leaves.len() {
                let mut proof = Proof {
                    index: at as u64,
                    size: u64::from(size),
                    root: root.to_vec(),
                    hashes: way(&leaves, at),
                    checkpoint: String::new(),
                };
                assert_eq!(proof.computed(leaves[at]), Some(root), "{at} of {size}");
                assert_ne!(proof.computed(hash(0, b"other", &[])), Some(root));
                proof.hashes.push(root.to_vec());
                assert_ne!(proof.computed(leaves[at]), Some(root));
                proof.index = u64::from(size);
                assert_eq!(proof.computed(leaves[at]), None);
            }
        }
    }
}
