//! Trust policies: which repositories must be signed by whom, and how strictly each check counts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::der::{OID, Reader, SEQUENCE, SET};
use crate::{Refusal, refuse};

/// What happens when a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Enforce,
    Log,
    Skip,
}

/// What counts for some repositories.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    name: String,
    scopes: Vec<String>,
    skip: bool,
    pub(super) authenticity: Action,
    pub(super) timestamp: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Action,
    /// Whether a timestamp server's word counts.
    pub(super) has_servers: bool,
    /// Whether it is wanted only after a certificate's end.
    pub(super) after_expiry: bool,
    stores: BTreeSet<String>,
    /// Nothing: everybody from the trust stores.
    identities: Option<Vec<Vec<(String, String)>>>,
}

/// A trust policy (`trustpolicy.json`).
#[derive(Clone, Debug)]
pub struct TrustPolicy(Vec<Rule>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: String,
    #[serde(default)]
    trust_policies: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(default)]
    name: String,
    #[serde(default)]
    registry_scopes: Vec<String>,
    signature_verification: Verification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    #[serde(default)]
    level: String,
    #[serde(default, rename = "override")]
    changed: BTreeMap<String, String>,
    #[serde(default)]
    verify_timestamp: String,
}

impl TrustPolicy {
    /// Reads `trustpolicy.json`.
    ///
    /// # Errors
    /// If it cannot be read or contradicts itself.
    pub fn parse(data: &[u8]) -> Result<Self, Refusal> {
        let document: Document = serde_json::from_slice(data).map_err(|error| {
            Refusal::new(format!("error occurred while parsing trustpolicy.json: {error}"))
        })?;
        Self::read(document).map_err(|error| error.of("trustpolicy.json"))
    }

    fn read(document: Document) -> Result<Self, Refusal> {
        if document.version != "1.0" {
            return refuse(format!("version '{}' is not known; write 1.0", document.version));
        }
        if document.trust_policies.is_empty() {
            return refuse("it has no trustPolicies");
        }
        let mut rules: Vec<Rule> = Vec::new();
        for statement in document.trust_policies {
            let rule = Rule::read(statement)?;
            if rules.iter().any(|other| other.name == rule.name) {
                return refuse(format!("two trust policies are named '{}'", rule.name));
            }
            let taken = rules
                .iter()
                .flat_map(|other| &other.scopes)
                .collect::<BTreeSet<_>>();
            if let Some(scope) = rule.scopes.iter().find(|scope| taken.contains(scope)) {
                return refuse(format!("two trust policies have the scope '{scope}'"));
            }
            rules.push(rule);
        }
        Ok(TrustPolicy(rules))
    }

    pub(super) fn rule(&self, repository: &str) -> Result<&Rule, Refusal> {
        let of = |wanted: &str| {
            self.0
                .iter()
                .find(|rule| rule.scopes.iter().any(|scope| scope == wanted))
        };
        of(repository).or_else(|| of("*")).ok_or_else(|| {
            Refusal::new(format!(
                "artifact '{repository}' has no applicable trust policy; add it to registryScopes in trustpolicy.json"
            ))
        })
    }
}

impl Rule {
    fn read(statement: Statement) -> Result<Self, Refusal> {
        use Action::{Enforce, Log, Skip};
        let name = statement.name;
        let wrong = |what: String| Refusal::new(format!("trust policy '{name}' {what}"));
        if name.is_empty() {
            return refuse("a trust policy has no name");
        }
        let scopes = statement.registry_scopes;
        if scopes.is_empty() || (scopes.len() > 1 && scopes.iter().any(|scope| scope == "*")) {
            return Err(wrong("needs registryScopes: repositories, or * alone".to_owned()));
        }
        let verification = statement.signature_verification;
        let level = match verification.level.as_str() {
            "strict" => [Enforce, Enforce, Enforce, Enforce],
            "permissive" => [Enforce, Log, Log, Log],
            "audit" => [Log, Log, Log, Log],
            "skip" => [Skip, Skip, Skip, Skip],
            other => {
                return Err(wrong(format!(
                    "has signatureVerification.level '{other}'; write strict, permissive, audit or skip"
                )));
            }
        };
        let skip = verification.level == "skip";
        let mut actions = level;
        for (check, action) in &verification.changed {
            let checks = ["authenticity", "authenticTimestamp", "expiry", "revocation"];
            let at = checks.iter().position(|known| known == check);
            let action = match action.as_str() {
                "enforce" => Some(Enforce),
                "log" => Some(Log),
                "skip" if check == "revocation" => Some(Skip),
                _ => None,
            };
            match (at.and_then(|at| actions.get_mut(at)), action) {
                (Some(place), Some(action)) if !skip => *place = action,
                _ => return Err(wrong(format!("cannot override '{check}' in such a way"))),
            }
        }
        let after_expiry = match verification.verify_timestamp.as_str() {
            "" | "always" => false,
            "afterCertExpiry" => true,
            other => return Err(wrong(format!("has verifyTimestamp '{other}'"))),
        };
        let mut stores = BTreeSet::new();
        let mut identities = None;
        // What a skipped policy trusts does not matter.
        if !skip {
            for store in &statement.trust_stores {
                match store.split_once(':') {
                    Some((kind @ ("ca" | "signingAuthority" | "tsa"), rest)) if !rest.is_empty() => {
                        stores.insert(kind.to_owned());
                    }
                    _ => {
                        return Err(wrong(format!(
                            "has trust store '{store}'; write ca:NAME, signingAuthority:NAME or tsa:NAME"
                        )));
                    }
                }
            }
            if stores.is_empty() || statement.trusted_identities.is_empty() {
                return Err(wrong("needs trustStores and trustedIdentities".to_owned()));
            }
            identities =
                named(&statement.trusted_identities).map_err(|error| wrong(format!("has {error}")))?;
        }
        let [authenticity, timestamp, expiry, revocation] = actions;
        Ok(Rule {
            has_servers: stores.contains("tsa"),
            name,
            scopes,
            skip,
            authenticity,
            timestamp,
            expiry,
            revocation,
            after_expiry,
            stores,
            identities,
        })
    }

    pub(super) fn is_skip(&self) -> bool {
        self.skip
    }

    /// Whether it names a store of the kind that a signature needs.
    pub(super) fn has_store(&self, authority: bool) -> bool {
        self.stores
            .contains(if authority { "signingAuthority" } else { "ca" })
    }

    /// Whether a signer's subject is one of the trusted identities.
    pub(super) fn accepts(&self, subject: &[u8]) -> Result<(), Refusal> {
        let Some(identities) = &self.identities else {
            return Ok(());
        };
        let subject = attributes(subject)?;
        if identities
            .iter()
            .any(|identity| identity.iter().all(|pair| subject.contains(pair)))
        {
            return Ok(());
        }
        let shown: Vec<String> = subject
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        refuse(format!(
            "the signer '{}' is none of the trustedIdentities of trust policy '{}'",
            shown.join(","),
            self.name
        ))
    }
}

fn named(identities: &[String]) -> Result<Option<Vec<Vec<(String, String)>>>, Refusal> {
    if identities.iter().any(|identity| identity == "*") {
        if identities.len() > 1 {
            return refuse("* beside other trustedIdentities; it stands alone");
        }
        return Ok(None);
    }
    let read = identities.iter().map(|identity| {
        let Some(name) = identity.strip_prefix("x509.subject:") else {
            return refuse(format!(
                "trusted identity '{identity}'; write x509.subject: C=…, ST=…, O=… or *"
            ));
        };
        let pairs = distinguished(name)?;
        let wanted = ["C", "ST", "O"];
        match wanted
            .iter()
            .find(|wanted| !pairs.iter().any(|(name, _)| name == *wanted))
        {
            None => Ok(pairs),
            Some(missing) => refuse(format!("trusted identity '{identity}' without {missing}")),
        }
    });
    read.collect::<Result<Vec<_>, _>>().map(Some)
}

/// `C=US, O=Some\, Inc.` in pairs.
fn distinguished(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut parts = vec![String::new()];
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match sign {
            ',' => parts.push(String::new()),
            '\\' => {
                let last = parts.last_mut();
                last.into_iter().for_each(|part| part.extend(signs.next()));
            }
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in &parts {
        let Some((name, value)) = part.split_once('=') else {
            return refuse(format!(
                "part '{part}' of a trusted identity, which is not NAME=VALUE"
            ));
        };
        let name = match name.trim().to_ascii_uppercase().as_str() {
            "S" => "ST".to_owned(),
            other => other.to_owned(),
        };
        if pairs.iter().any(|(other, _)| *other == name) {
            return refuse(format!("attribute '{name}' of a trusted identity twice"));
        }
        pairs.push((name, value.trim().to_owned()));
    }
    Ok(pairs)
}

/// The attributes of a name in a certificate.
fn attributes(name: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    let mut all = Vec::new();
    let mut sequence = Reader::new(name).enter(SEQUENCE)?;
    while !sequence.is_empty() {
        let mut set = sequence.enter(SET)?;
        while !set.is_empty() {
            let mut pair = set.enter(SEQUENCE)?;
            let name = match pair.take(OID)?.content {
                [0x55, 0x04, 3] => "CN",
                [0x55, 0x04, 6] => "C",
                [0x55, 0x04, 7] => "L",
                [0x55, 0x04, 8] => "ST",
                [0x55, 0x04, 9] => "STREET",
                [0x55, 0x04, 10] => "O",
                [0x55, 0x04, 11] => "OU",
                [0x55, 0x04, 17] => "POSTALCODE",
                [0x55, 0x04, 5] => "SERIALNUMBER",
                [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
                _ => continue,
            };
            let value = pair.next()?;
            all.push((
                name.to_owned(),
                String::from_utf8_lossy(value.content).into_owned(),
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statement: &str) -> Result<TrustPolicy, Refusal> {
        TrustPolicy::parse(format!(r#"{{"version":"1.0","trustPolicies":[{statement}]}}"#).as_bytes())
    }

    #[test]
    fn policies_are_read_and_contradictions_refused() {
        let good = r#"{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"strict",
            "override":{"revocation":"skip"}},"trustStores":["ca:x"],"trustedIdentities":["x509.subject: C=DE, ST=B, O=A\\, Inc"]}"#;
        let read = policy(good).unwrap();
        let rule = read.rule("ghcr.io/a/b").unwrap();
        assert_eq!((rule.revocation, rule.expiry), (Action::Skip, Action::Enforce));
        assert_eq!(rule.identities.as_ref().unwrap()[0][2].1, "A, Inc");
        for (from, to, want) in [
            ("strict", "harsh", "level 'harsh'"),
            ("ca:x", "ca", "trust store 'ca'"),
            ("revocation", "integrity", "cannot override 'integrity'"),
            ("revocation", "expiry", "cannot override 'expiry'"),
            ("ST=B, ", "", "without ST"),
            ("[\"*\"]", "[\"*\",\"a/b\"]", "registryScopes"),
            ("x509.subject", "mail", "x509.subject"),
        ] {
            let error = policy(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let twice = policy(&format!("{good},{good}")).unwrap_err().to_string();
        assert!(twice.contains("two trust policies"), "{twice}");
        let narrow = policy(&good.replace("\"*\"", "\"ghcr.io/a/b\"")).unwrap();
        assert!(narrow.rule("ghcr.io/a/b").is_ok() && narrow.rule("ghcr.io/a/c").is_err());
    }
}
