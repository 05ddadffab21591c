//! The authority of an embedded control plane, and the certificates that it gives out.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest, Sha256};

use crate::auth::User;

/// Why certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making one.
    #[error("make certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Using one.
    #[error("use certificate: {0}")]
    Use(String),
    /// Keeping one.
    #[error("keep certificate authority in {0}: {1}")]
    File(std::path::PathBuf, std::io::Error),
}

/// Certificates that somebody else made, PEM.
#[derive(Clone, Default)]
pub struct Given {
    /// What the server shows instead of a certificate of its own authority: the chain, and its key.
    pub server: Option<(String, String)>,
    /// Authorities whose client certificates are believed, beside its own.
    pub clients: Option<String>,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Given")
    }
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
    key: String,
    given: Given,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}

fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = name("fluvial", None);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2049, 1, 1);
    // The same key makes the same certificate, so the key alone is kept.
    parameters.serial_number = Some(rcgen::SerialNumber::from(vec![1]));
    parameters
}

fn name(common: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, common);
    name
}

impl Authority {
    /// The authority of a data folder, or a new one.
    ///
    /// # Errors
    /// The folder cannot be used or no key can be made.
    pub fn load(folder: Option<&Path>) -> Result<Self, CertificateError> {
        let Some(folder) = folder else {
            return Self::from_key(KeyPair::generate()?);
        };
        let file = folder.join("authority.key");
        let failed = |error| CertificateError::File(file.clone(), error);
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::from_key(KeyPair::from_pem(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder).map_err(failed)?;
                let key = KeyPair::generate()?;
                private(&file, &key.serialize_pem()).map_err(failed)?;
                Self::from_key(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn from_key(key: KeyPair) -> Result<Self, CertificateError> {
        let text = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(authority_parameters(), key)?;
        Ok(Authority {
            pem: issuer.pem(),
            issuer,
            key: text,
            given: Given::default(),
        })
    }

    /// The same, with certificates of others.
    #[must_use]
    pub fn with(self, given: Given) -> Self {
        Authority { given, ..self }
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// A secret for signing tokens, the same as long as the authority's key is.
    #[must_use]
    pub fn token_key(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update("service account tokens")
            .chain_update(&self.key)
            .finalize()
            .into()
    }

    fn issue(&self, mut parameters: CertificateParams) -> Result<(String, KeyPair), CertificateError> {
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2048, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key))
    }

    /// The certificate and key, PEM, of a client in one group.
    ///
    /// # Errors
    /// None can be made.
    pub fn client(&self, user: &str, group: &str) -> Result<(String, String), CertificateError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name(user, Some(group));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.issue(parameters)?;
        Ok((certificate, key.serialize_pem()))
    }

    /// A certificate for the names that this server has on a loopback address and in a cluster, with its key.
    fn own(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CertificateError> {
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut parameters = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        let addresses = ["127.0.0.1", "::1", "0.0.0.0", "10.0.0.1"];
        parameters.subject_alt_names.extend(
            addresses
                .iter()
                .filter_map(|text| text.parse().ok())
                .map(SanType::IpAddress),
        );
        parameters.distinguished_name = name("kube-apiserver", None);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2048, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(used)?;
        Ok((vec![certificate.der().clone()], private))
    }

    /// The authorities of client certificates.
    fn roots(&self) -> Result<rustls::RootCertStore, CertificateError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).map_err(used)?;
        if let Some(text) = &self.given.clients {
            let all = chain(text, "client authorities")?;
            for certificate in all {
                roots.add(certificate).map_err(used)?;
            }
        }
        Ok(roots)
    }

    /// The TLS side of the server: certificates for loopback, client certificates welcome.
    ///
    /// # Errors
    /// None can be made, or those that were given cannot be used.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, CertificateError> {
        let (certificates, private) = match &self.given.server {
            Some((text, key)) => (
                chain(text, "server certificate")?,
                PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(used)?,
            ),
            None => self.own()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(used)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(used)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates, private)
            .map_err(used)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// A kubeconfig of an administrator.
    ///
    /// # Errors
    /// No client certificate can be made.
    pub fn kubeconfig(&self, url: &str) -> Result<String, CertificateError> {
        let (certificate, key) = self.client("fluvial:admin", "system:masters")?;
        let shown = self.given.server.as_ref().map_or("", |(chain, _)| chain);
        let trusted = format!("{}{shown}", self.pem);
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fluvial\nclusters:\n- name: fluvial\n  cluster:\n    server: {url}\n    \
             certificate-authority-data: {}\ncontexts:\n- name: fluvial\n  context:\n    cluster: fluvial\n    user: admin\nusers:\n- \
             name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            base64(&trusted),
            base64(&certificate),
            base64(&key)
        ))
    }
}

fn used(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Use(error.to_string())
}

/// The certificates of a text; there must be one.
fn chain(text: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| used(format!("{what}: {error}")))?;
    if all.is_empty() {
        return Err(used(format!("{what}: no PEM certificate in it")));
    }
    Ok(all)
}

/// Writes a file that only its owner may read.
fn private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(file)?.write_all(text.as_bytes())
}

/// The user that a client certificate names: common name and organisations of its subject.
#[must_use]
pub fn subject(certificate: &CertificateDer<'_>) -> Option<User> {
    let mut user = User::default();
    let fields = der::subject_attributes(certificate)?;
    for (oid, value) in fields {
        match oid {
            [0x55, 0x04, 0x03] => user.name = value,
            [0x55, 0x04, 0x0a] => user.groups.push(value),
            _ => {}
        }
    }
    (!user.name.is_empty()).then_some(user)
}

/// As much of DER as a certificate's subject needs.
mod der {
    /// Splits the first element off: its tag, content and what follows.
    fn element(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
        let (tag, rest) = data.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            let bytes = rest.get(..count).filter(|_| count <= 4)?;
            let length = bytes
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (length, &rest[count..])
        };
        Some((*tag, rest.get(..length)?, &rest[length..]))
    }

    /// Object identifiers and texts of the subject.
    pub(super) fn subject_attributes(certificate: &[u8]) -> Option<Vec<([u8; 3], String)>> {
        let (_, outer, _) = element(certificate)?;
        let (_, mut body, _) = element(outer)?;
        if body.first() == Some(&0xa0) {
            body = element(body)?.2;
        }
        // Serial number, signature algorithm, issuer and validity come first.
        for _ in 0..4 {
            body = element(body)?.2;
        }
        let (_, mut names, _) = element(body)?;
        let mut all = vec![];
        while let Some((_, set, rest)) = element(names) {
            names = rest;
            let (_, pair, _) = element(set)?;
            let (_, oid, value) = element(pair)?;
            let (_, text, _) = element(value)?;
            if let Ok(oid) = <[u8; 3]>::try_from(oid) {
                all.push((oid, String::from_utf8_lossy(text).into_owned()));
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_certificate_names_its_user() {
        let authority = Authority::load(None).unwrap();
        let (certificate, _) = authority.client("alice", "ops").unwrap();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let user = subject(&certificate).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("alice", vec!["ops".into()]));
    }
}
