//! The keys that somebody has, and the way from a file's metadata to its data key.

mod age;
mod aws;
mod azure;
mod gcp;
mod http;
mod jwt;
mod pgp;
mod vault;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use fluvial_ports::{Clock, Format, Integrity, KeyError};
use zeroize::Zeroizing;

use crate::cipher::DataKey;
use crate::error::Error;
use crate::file::File;
use crate::metadata::{MasterKey, Metadata};
use crate::shamir;
use http::Http;

/// Where the clouds' services are. Empty fields mean the real ones.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// AWS KMS.
    pub aws_kms: Option<String>,
    /// AWS STS.
    pub aws_sts: Option<String>,
    /// Google Cloud KMS.
    pub gcp_kms: Option<String>,
    /// Google Cloud's metadata server.
    pub gcp_metadata: Option<String>,
    /// Microsoft's identity platform.
    pub azure_authority: Option<String>,
    /// Azure Key Vault, whatever vault a file names.
    pub azure_vault: Option<String>,
    /// Azure's metadata server.
    pub azure_metadata: Option<String>,
}

/// What this process is to the clouds, besides the keys that it is given: what their own tools take from the
/// environment of a pod with a workload identity.
#[derive(Clone, Default)]
pub struct AmbientIdentity {
    /// Variables of the environment whose names start with `AWS_`, `AZURE_`, `GCE_`, `GOOGLE_` or `VAULT_`.
    pub variables: BTreeMap<String, String>,
    /// Reads a file that a variable names: a token that is exchanged.
    pub read: Option<Arc<dyn Fn(&Path) -> Result<Vec<u8>, String> + Send + Sync>>,
}

impl std::fmt::Debug for AmbientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("AmbientIdentity")
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

impl AmbientIdentity {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn file(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let read = self.read.as_ref().ok_or("this process reads no token files")?;
        read(Path::new(path)).map(Zeroizing::new)
    }
}

/// Makes keyrings.
#[derive(Default)]
pub struct KeyringBuilder {
    /// Where services are.
    pub endpoints: Endpoints,
    /// What this process is by itself.
    pub ambient: Option<AmbientIdentity>,
    /// The clock; requests to clouds are signed with the time.
    pub clock: Option<Arc<dyn Clock>>,
    /// Ask no key service, whatever a file names.
    pub offline: bool,
}

impl std::fmt::Debug for KeyringBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringBuilder")
            .field("endpoints", &self.endpoints)
            .field("ambient", &self.ambient)
            .finish_non_exhaustive()
    }
}

/// Keys of somebody. Cheap to keep, never shown.
pub struct Keyring {
    age: age::Identities,
    pgp: pgp::Keys,
    vault: Option<Zeroizing<String>>,
    aws: Option<aws::Credentials>,
    azure: Option<azure::Credentials>,
    gcp: Option<gcp::Credentials>,
    ambient: AmbientIdentity,
    endpoints: Endpoints,
    clock: Option<Arc<dyn Clock>>,
    offline: bool,
    http: Http,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("age", &self.age.len())
            .field("pgp", &self.pgp.len())
            .field("vault", &self.vault.is_some())
            .field("aws", &self.aws.is_some())
            .field("azure", &self.azure.is_some())
            .field("gcp", &self.gcp.is_some())
            .finish_non_exhaustive()
    }
}

/// Why one key did not help.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) transient: bool,
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self {
            message,
            transient: false,
        }
    }
}

impl From<&str> for Refused {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// A data key, or a part of one.
pub(crate) type Part = Zeroizing<Vec<u8>>;

impl KeyringBuilder {
    /// A keyring of the entries of a Secret, by their names: `*.agekey`, `*.asc`, `sops.vault-token`, `sops.aws-kms`,
    /// `sops.azure-kv`, `sops.gcp-kms`. Other entries are nobody's keys and are left alone.
    ///
    /// # Errors
    /// An entry with such a name cannot be read.
    pub fn build(self, entries: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, KeyError> {
        let mut keyring = Keyring {
            age: age::Identities::default(),
            pgp: pgp::Keys::default(),
            vault: None,
            aws: None,
            azure: None,
            gcp: None,
            ambient: self.ambient.unwrap_or_default(),
            endpoints: self.endpoints,
            clock: self.clock,
            offline: self.offline,
            http: Http::default(),
        };
        for (entry, value) in entries {
            keyring.import(entry, value).map_err(|message| KeyError {
                entry: entry.clone(),
                message,
            })?;
        }
        Ok(keyring)
    }
}

impl Keyring {
    /// A keyring of the entries of a Secret that asks no key service.
    ///
    /// # Errors
    /// See [`KeyringBuilder::build`].
    pub fn of(entries: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        let builder = KeyringBuilder {
            offline: true,
            ..KeyringBuilder::default()
        };
        builder.build(entries)
    }

    fn import(&mut self, entry: &str, value: &[u8]) -> Result<(), String> {
        match entry.rsplit_once('.').map(|(_, extension)| extension) {
            Some("agekey") => self.age.import(value)?,
            Some("asc") => self.pgp.import(value)?,
            _ => match entry {
                "sops.vault-token" => {
                    let text = std::str::from_utf8(value).map_err(|_| "a token is text")?;
                    self.vault = Some(Zeroizing::new(text.trim().to_owned()));
                }
                "sops.aws-kms" => self.aws = Some(aws::Credentials::read(value)?),
                "sops.azure-kv" => self.azure = Some(azure::Credentials::read(value)?),
                "sops.gcp-kms" => self.gcp = Some(gcp::Credentials::read(value)?),
                _ => {}
            },
        }
        Ok(())
    }

    fn now(&self) -> Result<jiff::Timestamp, Refused> {
        let clock = self
            .clock
            .as_ref()
            .ok_or("key services cannot be asked from here")?;
        Ok(clock.now())
    }

    /// Decrypts a file with what is at hand, network or not.
    ///
    /// # Errors
    /// The text is malformed, no key fits, or it has been tampered with.
    pub async fn decrypt(
        &self,
        data: &[u8],
        input: Format,
        output: Format,
        integrity: Integrity,
    ) -> Result<Vec<u8>, Error> {
        let file = File::read(data, input)?;
        let key = self.data_key(&file.metadata).await?;
        file.decrypt(&key, output, integrity)
    }

    /// The data key of a file.
    async fn data_key(&self, metadata: &Metadata) -> Result<DataKey, Error> {
        let mut report = Report::default();
        let mut parts: Vec<Part> = Vec::new();
        for (number, group) in metadata.groups.iter().enumerate() {
            // More parts than are needed give nothing.
            if metadata.groups.len() > 1 && parts.len() >= metadata.threshold {
                break;
            }
            match self.part(group).await {
                Ok(part) => {
                    report.opened(number);
                    parts.push(part);
                }
                Err(refusals) => report.failed(number, &refusals),
            }
        }
        if metadata.groups.len() == 1 {
            return match parts.pop() {
                Some(part) => Ok(DataKey::new(part)),
                None => Err(report.finish(0, 1)),
            };
        }
        if parts.len() < metadata.threshold {
            return Err(report.finish(parts.len(), metadata.threshold));
        }
        shamir::combine(&parts)
            .map(DataKey::new)
            .map_err(|error| Error::DataKey {
                report: error,
                transient: false,
            })
    }

    /// What a group's keys open: the first that can does.
    async fn part(&self, group: &[MasterKey]) -> Result<Part, Vec<(String, Refused)>> {
        let mut refusals = Vec::new();
        let (local, remote): (Vec<&MasterKey>, Vec<&MasterKey>) =
            group.iter().partition(|key| key.is_local());
        for key in local.into_iter().chain(remote) {
            match self.open(key).await {
                Ok(part) => return Ok(part),
                Err(refused) => refusals.push((key.name(), refused)),
            }
        }
        Err(refusals)
    }

    async fn open(&self, key: &MasterKey) -> Result<Part, Refused> {
        if self.offline && !key.is_local() {
            return Err("key services are not asked from here".into());
        }
        match key {
            MasterKey::Age { encrypted, .. } => self.age.open(encrypted),
            MasterKey::Pgp {
                fingerprint,
                encrypted,
            } => self.pgp.open(fingerprint, encrypted),
            MasterKey::Aws {
                arn,
                role,
                context,
                encrypted,
            } => {
                let request = aws::Request {
                    arn,
                    role,
                    context,
                    encrypted,
                };
                self.open_aws(&request).await
            }
            MasterKey::Gcp { resource, encrypted } => self.open_gcp(resource, encrypted).await,
            MasterKey::Azure {
                vault,
                name,
                version,
                encrypted,
            } => self.open_azure(vault, name, version, encrypted).await,
            MasterKey::Vault {
                address,
                engine,
                name,
                encrypted,
            } => self.open_vault(address, engine, name, encrypted).await,
        }
    }
}

/// What was tried and how it ended, for a person.
#[derive(Default)]
struct Report {
    text: String,
    transient: bool,
}

impl Report {
    fn opened(&mut self, group: usize) {
        let _ = write!(self.text, "\n\nGroup {group}: SUCCESS");
    }

    fn failed(&mut self, group: usize, refusals: &[(String, Refused)]) {
        let _ = write!(self.text, "\n\nGroup {group}: FAILED");
        for (name, refused) in refusals {
            let message = refused.message.replace('\n', "\n      | ");
            let _ = write!(self.text, "\n  {name}: FAILED\n    - | {message}");
            self.transient |= refused.transient;
        }
    }

    fn finish(self, opened: usize, needed: usize) -> Error {
        let end = if needed > 1 {
            format!("{opened} of the {needed} groups that are needed could be opened.")
        } else {
            "No master key was able to decrypt the file.".to_owned()
        };
        Error::DataKey {
            report: format!(
                "Failed to get the data key required to decrypt the SOPS file.{}\n\nRecovery failed: {end}",
                self.text
            ),
            transient: self.transient,
        }
    }
}
