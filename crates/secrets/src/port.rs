//! The port of those who decrypt, with keyrings behind it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fluvial_ports::{Clock, Decryption, DecryptionError, Decryptor, Format, Integrity, KeyError};
use tokio::runtime::Handle;

use crate::error::Error;
use crate::keyring::{AmbientIdentity, Endpoints, Keyring, KeyringBuilder};

/// Decrypts with SOPS.
#[derive(Clone, Default)]
pub struct Sops {
    /// Where services are.
    pub endpoints: Endpoints,
    /// What this process is by itself.
    pub ambient: Option<AmbientIdentity>,
    /// How key services are asked. Without it none is: only keys that are at hand open anything.
    pub services: Option<Services>,
}

/// What it takes to ask key services.
#[derive(Clone)]
pub struct Services {
    /// The runtime that requests run on.
    pub runtime: Handle,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Decryption for Sops {
    fn decryptor(&self, secret: &BTreeMap<String, Vec<u8>>) -> Result<Arc<dyn Decryptor>, KeyError> {
        let keyring = KeyringBuilder {
            endpoints: self.endpoints.clone(),
            ambient: self.ambient.clone(),
            clock: self.services.as_ref().map(|services| Arc::clone(&services.clock)),
            offline: self.services.is_none(),
        }
        .build(secret)?;
        Ok(Arc::new(Opener {
            keyring,
            runtime: self.services.as_ref().map(|services| services.runtime.clone()),
        }))
    }
}

struct Opener {
    keyring: Keyring,
    runtime: Option<Handle>,
}

impl Decryptor for Opener {
    fn decrypt(
        &self,
        data: &[u8],
        input: Format,
        output: Format,
        integrity: Integrity,
    ) -> Result<Vec<u8>, DecryptionError> {
        let decrypted = self.keyring.decrypt(data, input, output, integrity);
        let result = match &self.runtime {
            Some(runtime) => runtime.block_on(decrypted),
            // Nobody is waited for.
            None => match pin!(decrypted).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(Error::DataKey {
                    report: "a key service would have to be asked, and none is asked from here".to_owned(),
                    transient: false,
                }),
            },
        };
        result.map_err(|error| DecryptionError {
            transient: matches!(error, Error::DataKey { transient: true, .. }),
            message: error.to_string(),
        })
    }
}
