//! Vault's (and OpenBao's) transit engine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Keyring, Part, Refused, http};

const SERVICE: &str = "Vault";

impl Keyring {
    pub(super) async fn open_vault(
        &self,
        address: &str,
        engine: &str,
        name: &str,
        encrypted: &str,
    ) -> Result<Part, Refused> {
        let address = address.trim_end_matches('/');
        // The token of this process is for its own Vault, not for any that a file names.
        let own = self
            .ambient
            .variable("VAULT_ADDR")
            .map(|own| own.trim_end_matches('/'));
        let ambient = self
            .ambient
            .variable("VAULT_TOKEN")
            .filter(|_| own == Some(address));
        let token = self
            .vault
            .as_deref()
            .map(String::as_str)
            .or(ambient)
            .ok_or("no Vault token is at hand: the keys' Secret has no entry 'sops.vault-token'")?;
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return Err(format!("Vault's address '{address}' is no http(s) URL").into());
        }
        let segments: Vec<String> = engine
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(http::encode)
            .collect();
        let mut url = format!(
            "{address}/v1/{}/decrypt/{}",
            segments.join("/"),
            http::encode(name)
        );
        let secure = address.starts_with("https://");
        let mut redirected = false;
        let answer = loop {
            let mut request = self
                .http
                .client()?
                .post(&url)
                .header("X-Vault-Token", token)
                .header("X-Vault-Request", "true");
            request = http::with_json(request, &json!({"ciphertext": encrypted}));
            if let Some(namespace) = self.ambient.variable("VAULT_NAMESPACE") {
                request = request.header("X-Vault-Namespace", namespace);
            }
            let answer = http::send(SERVICE, request).await?;
            match (&answer.location, answer.status.as_u16()) {
                // A standby node names the active one.
                (Some(location), 307 | 308)
                    if !redirected && (!secure || location.starts_with("https://")) =>
                {
                    url.clone_from(location);
                    redirected = true;
                }
                _ => break answer.accepted(SERVICE)?,
            }
        };
        let plain = http::text(&answer, "/data/plaintext", SERVICE)?;
        STANDARD
            .decode(plain)
            .map(Part::new)
            .map_err(|_| "the key in the answer of Vault is not base64".into())
    }
}
