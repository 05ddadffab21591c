//! Which certificates of webhooks are believed: those that an authority of the bundle signed and, as programs in Go have
//! it, the very certificates of the bundle. Many installations put the webhook's own certificate there.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

#[derive(Debug)]
struct Trust {
    signed: Arc<WebPkiServerVerifier>,
    bundle: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.signed.verify_server_cert(end, others, name, ocsp, now) {
            // Its time and purpose have been looked at; what is wrong is that nobody signed it, or that it may itself sign.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
            )) if self.bundle.iter().any(|own| own == end) => {
                verify_server_name(&ParsedCertificate::try_from(end)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

fn verifier(bundle: &[CertificateDer<'static>]) -> Result<Trust, String> {
    let mut roots = RootCertStore::empty();
    if bundle.is_empty() {
        // Those that the machine trusts, as for any other URL.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        roots.add_parsable_certificates(bundle.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(Trust {
        signed: signed.build().map_err(|error| error.to_string())?,
        bundle: bundle.to_vec(),
    })
}

/// The client's side of TLS to a webhook with this bundle.
///
/// # Errors
/// Nothing can be believed.
pub(super) fn config(bundle: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(bundle)?))
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    /// A certificate that signs itself.
    fn own(authority: bool, year: i32) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        if authority {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    fn believed(
        bundle: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &'static str,
    ) -> bool {
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_780_000_000));
        let trust = verifier(std::slice::from_ref(bundle)).unwrap();
        trust.verify_server_cert(shown, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn the_certificate_of_the_bundle_is_believed_where_its_issuer_has_the_same_name() {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let end = parameters.signed_by(&key, &issuer).unwrap().der().clone();
        assert!(believed(&end, &end, "localhost"));
    }

    #[test]
    fn the_certificate_of_the_bundle_itself_is_believed_for_its_name_and_time_alone() {
        for authority in [false, true] {
            let good = own(authority, 2040);
            assert!(believed(&good, &good, "localhost"), "{authority}");
            assert!(!believed(&good, &good, "elsewhere"));
            assert!(!believed(&good, &own(authority, 2040), "localhost"));
            let old = own(authority, 2021);
            assert!(!believed(&old, &old, "localhost"));
        }
    }
}
