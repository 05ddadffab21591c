//! Credentials as Secrets: what sources log in with, and pairs of certificates and keys.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};

use super::{Call, apply, given};
use crate::environment::{Failure, SshKey};

/// What a source logs in with.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub username: Option<String>,
    pub password: Option<String>,
    pub ca_file: Option<String>,
    /// Files of a certificate and its key.
    pub pair: Option<(String, String)>,
    /// Access key and secret key.
    pub keys: Option<(String, String)>,
}

/// Puts a source's credentials on the cluster, if there are any; gives the Secret's name.
pub(super) async fn store(call: &mut Call<'_, '_>, login: &Login) -> Result<Option<String>, Failure> {
    let mut data = Map::new();
    let mut what = "repository credentials";
    if given(login.username.as_ref()) && given(login.password.as_ref()) {
        data = texts(&[
            ("username", login.username.as_ref()),
            ("password", login.password.as_ref()),
        ]);
    }
    if let Some((access, secret)) = &login.keys {
        what = "the bucket credentials";
        data.extend(texts(&[("accesskey", Some(access)), ("secretkey", Some(secret))]));
    }
    if let Some((certificate, key)) = &login.pair {
        let (certificate, key) = (read(call, certificate, "TLS cert")?, read(call, key, "TLS key")?);
        data.insert("tls.crt".to_owned(), certificate.into());
        data.insert("tls.key".to_owned(), key.into());
    }
    authorities(call, login.ca_file.as_ref(), &mut data)?;
    if data.is_empty() {
        return Ok(None);
    }
    let secret = secret(call, data)?;
    call.session.action(&format!("applying secret with {what}"));
    let cluster = call.session.cluster().await?;
    apply(cluster.as_ref(), &secret).await?;
    call.session.success("authentication configured");
    Ok(Some(call.name.clone()))
}

/// Which key a Secret for Git over ssh gets.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SshOptions {
    /// File with the private key for SSH [default: a new key]
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<String>,
    /// Kind of a new key for SSH: rsa, ecdsa or ed25519 [default: ecdsa]
    #[arg(long, value_name = "KIND", value_parser = ["rsa", "ecdsa", "ed25519"], hide_possible_values = true)]
    ssh_key_algorithm: Option<String>,
    /// Curve of a new ECDSA key: p256, p384 or p521 [default: p384]
    #[arg(long, value_name = "CURVE", value_parser = ["p256", "p384", "p521"], hide_possible_values = true)]
    ssh_ecdsa_curve: Option<String>,
    /// Bits of a new RSA key [default: 2048]
    #[arg(long, value_name = "BITS", value_parser = rsa_bits)]
    ssh_rsa_bits: Option<usize>,
}

fn rsa_bits(text: &str) -> Result<usize, String> {
    let bits: usize = text.parse().map_err(|_| "it is no number".to_owned())?;
    if bits < 1024 || !bits.is_multiple_of(8) || bits > 16_384 {
        return Err("RSA keys have 1024 to 16384 bits, a multiple of 8".to_owned());
    }
    Ok(bits)
}

/// The fields of a Secret for Git over ssh.
pub(super) async fn ssh(
    call: &Call<'_, '_>,
    url: &str,
    options: &SshOptions,
    passphrase: Option<&String>,
) -> Result<Map<String, Value>, Failure> {
    let passphrase = passphrase.filter(|text| !text.is_empty());
    let key = match options.private_key_file.as_ref().filter(|file| !file.is_empty()) {
        Some(file) => SshKey::Given {
            private: read(call, file, "private key")?,
            passphrase: passphrase.cloned(),
        },
        None => match options.ssh_key_algorithm.as_deref() {
            Some("ed25519") => SshKey::Ed25519,
            Some("rsa") => SshKey::Rsa(options.ssh_rsa_bits.unwrap_or(2048)),
            _ => SshKey::Ecdsa(match options.ssh_ecdsa_curve.as_deref() {
                Some("p256") => 256,
                Some("p521") => 521,
                _ => 384,
            }),
        },
    };
    let outside = call.session.env.outside.clone();
    let login = outside.ssh_login(url, &key).await.map_err(Failure::new)?;
    let mut data = texts(&[
        ("identity", Some(&login.private)),
        ("identity.pub", Some(&login.public)),
        ("known_hosts", Some(&login.known_hosts)),
    ]);
    if matches!(key, SshKey::Given { .. }) {
        data.extend(texts(&[("password", passphrase)]));
    }
    Ok(data)
}

/// The values that are given, as fields of a Secret.
pub(super) fn texts(pairs: &[(&str, Option<&String>)]) -> Map<String, Value> {
    pairs
        .iter()
        .filter(|(_, value)| given(*value))
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect()
}

/// Takes in the file of authorities, if one is given.
pub(super) fn authorities(
    call: &Call<'_, '_>,
    file: Option<&String>,
    data: &mut Map<String, Value>,
) -> Result<(), Failure> {
    if let Some(file) = file.filter(|file| !file.is_empty()) {
        data.insert("ca.crt".to_owned(), read(call, file, "TLS CA")?.into());
    }
    Ok(())
}

/// A Secret with these fields, named and labelled as the call says.
pub(super) fn secret(call: &Call<'_, '_>, data: Map<String, Value>) -> Result<Value, Failure> {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": call.name, "namespace": call.namespace()},
    });
    let labels = call.labels()?;
    if !labels.is_empty() {
        secret["metadata"]["labels"] = labels.into();
    }
    if !data.is_empty() {
        secret["stringData"] = data.into();
    }
    Ok(secret)
}

/// A file's text.
pub(super) fn read(call: &Call<'_, '_>, path: &str, what: &str) -> Result<String, Failure> {
    let data = call
        .file(path)
        .map_err(|error| Failure::new(format!("unable to read {what} file: {error}")))?;
    String::from_utf8(data)
        .map_err(|_| Failure::new(format!("unable to read {what} file: {path} is no text")))
}

/// What the files of a certificate, a key and certificates of authorities hold, after a look at them.
pub(super) fn tls(
    call: &Call<'_, '_>,
    certificate: Option<&String>,
    key: Option<&String>,
    authorities: Option<&String>,
) -> Result<Map<String, Value>, Failure> {
    let take = |file: Option<&String>, what: &str| match file.filter(|file| !file.is_empty()) {
        Some(file) => read(call, file, what).map(Some),
        None => Ok(None),
    };
    let authorities = take(authorities, "TLS CA")?;
    let certificate = take(certificate, "TLS cert")?;
    let key = take(key, "TLS key")?;
    let mut data = Map::new();
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            pair(&certificate, &key)
                .map_err(|why| Failure::new(format!("invalid TLS certificate and key pair: tls: {why}")))?;
            data.insert("tls.crt".to_owned(), certificate.into());
            data.insert("tls.key".to_owned(), key.into());
        }
        (Some(_), None) => return Err(Failure::new("found certificate but missing private key")),
        (None, Some(_)) => return Err(Failure::new("found private key but missing certificate")),
        (None, None) => {}
    }
    if let Some(authorities) = authorities {
        data.insert("ca.crt".to_owned(), authorities.into());
    }
    Ok(data)
}

/// Whether a key is that of a certificate.
fn pair(certificate: &str, key: &str) -> Result<(), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .flatten()
        .collect();
    if chain.is_empty() {
        let why = match certificate.contains("PRIVATE KEY-----") {
            true => {
                "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs \
                     may have been switched"
            }
            false => "failed to find any PEM data in certificate input",
        };
        return Err(why.to_owned());
    }
    let Ok(private) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
        let why = match key.contains("-----BEGIN CERTIFICATE-----") {
            true => "found a certificate rather than a key in the PEM for the private key",
            false => "failed to find any PEM data in key input",
        };
        return Err(why.to_owned());
    };
    let signing = any_supported_type(&private).map_err(|_| "failed to parse private key".to_owned())?;
    match rustls::sign::CertifiedKey::new(chain, signing).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err("private key does not match public key".to_owned())
        }
        Err(rustls::Error::InvalidCertificate(_)) => Err("the certificate cannot be read".to_owned()),
        _ => Ok(()),
    }
}
