//! Trusted roots: the authorities, logs and timestamp servers of a Sigstore installation, as `trusted_root.json` names them.

use serde::Deserialize;

use crate::{PublicKey, Refusal, base64, refuse};

/// Most bytes of a trusted root.
const LARGEST: usize = 4 << 20;

/// A time that has a beginning and maybe an end.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Period {
    #[serde(default)]
    start: Option<String>,
    #[serde(default)]
    end: Option<String>,
}

impl Period {
    /// Whether a time is in it; a limit that cannot be read keeps every time out.
    pub(crate) fn holds(&self, time: i64) -> bool {
        let second = |text: &String| text.parse::<jiff::Timestamp>().map(|at| at.as_second());
        let begun = match self.start.as_ref().map(second) {
            None => true,
            Some(Ok(start)) => start <= time,
            Some(Err(_)) => false,
        };
        let over = match self.end.as_ref().map(second) {
            None => false,
            Some(Ok(end)) => end < time,
            Some(Err(_)) => true,
        };
        begun && !over
    }
}

/// A transparency log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) valid: Period,
}

/// An authority: its certificates, the root last.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) valid: Period,
}

/// What is trusted of a Sigstore installation.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    logs: Vec<Log>,
    certificate_logs: Vec<Log>,
    authorities: Vec<Authority>,
    timestamps: Vec<Authority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<LogDocument>,
    #[serde(default)]
    ctlogs: Vec<LogDocument>,
    #[serde(default)]
    certificate_authorities: Vec<AuthorityDocument>,
    #[serde(default)]
    timestamp_authorities: Vec<AuthorityDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogDocument {
    public_key: KeyDocument,
    log_id: IdDocument,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyDocument {
    raw_bytes: String,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdDocument {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityDocument {
    cert_chain: ChainDocument,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
struct ChainDocument {
    certificates: Vec<CertificateDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateDocument {
    raw_bytes: String,
}

impl TrustedRoot {
    /// Reads `trusted_root.json`.
    ///
    /// # Errors
    /// If it is none, or names no authority.
    pub fn parse(data: &[u8]) -> Result<Self, Refusal> {
        Self::read(data).map_err(|error| error.of("the trusted root cannot be used"))
    }

    fn read(data: &[u8]) -> Result<Self, Refusal> {
        if data.len() > LARGEST {
            return refuse(format!("it has more than {LARGEST} bytes"));
        }
        let document: Document =
            serde_json::from_slice(data).map_err(|error| Refusal::new(error.to_string()))?;
        if !document
            .media_type
            .starts_with("application/vnd.dev.sigstore.trustedroot")
        {
            return refuse(format!("its mediaType is '{}'", document.media_type));
        }
        let root = TrustedRoot {
            logs: logs(document.tlogs, "tlogs")?,
            certificate_logs: logs(document.ctlogs, "ctlogs")?,
            authorities: authorities(document.certificate_authorities, "certificateAuthorities")?,
            timestamps: authorities(document.timestamp_authorities, "timestampAuthorities")?,
        };
        if root.authorities.is_empty() {
            return refuse("it names no certificateAuthorities");
        }
        if root.logs.is_empty() && root.timestamps.is_empty() {
            return refuse(
                "it names neither tlogs nor timestampAuthorities, so no time of signing can be proved",
            );
        }
        Ok(root)
    }

    pub(crate) fn log(&self, id: &[u8]) -> Option<&Log> {
        self.logs.iter().find(|log| log.id == id)
    }

    pub(crate) fn has_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    pub(crate) fn certificate_logs(&self) -> &[Log] {
        &self.certificate_logs
    }

    pub(crate) fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    pub(crate) fn timestamps(&self) -> &[Authority] {
        &self.timestamps
    }
}

fn logs(documents: Vec<LogDocument>, field: &str) -> Result<Vec<Log>, Refusal> {
    let mut all = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let what = |error: Refusal| error.of(format!("{field}[{index}]"));
        let key = base64(&document.public_key.raw_bytes).map_err(what)?;
        // A log with a key of a kind that is not known here vouches for nothing; the others still do.
        let Ok(key) = PublicKey::from_spki(&key) else {
            continue;
        };
        all.push(Log {
            id: base64(&document.log_id.key_id).map_err(what)?,
            key,
            valid: document.public_key.valid_for,
        });
    }
    Ok(all)
}

fn authorities(documents: Vec<AuthorityDocument>, field: &str) -> Result<Vec<Authority>, Refusal> {
    let read = documents.into_iter().enumerate().map(|(index, document)| {
        let chain = document.cert_chain.certificates.iter();
        let chain: Result<Vec<_>, _> = chain.map(|certificate| base64(&certificate.raw_bytes)).collect();
        let chain = chain.map_err(|error| error.of(format!("{field}[{index}]")))?;
        if chain.is_empty() {
            return refuse(format!("{field}[{index}] has no certificates"));
        }
        Ok(Authority {
            chain,
            valid: document.valid_for,
        })
    });
    read.collect()
}
