//! The certificate that this server shows.
//!
//! Browsers look at it; devices do not: what they send through a door is sealed to the key that their join string
//! pins, so a certificate would prove nothing more to them. Without one of the operator's the server makes its own, once,
//! and keeps it beside its other keys.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::config::Config;
use crate::keys::{check_private, write_private};
use crate::problem::Problem;

/// What TLS is spoken with.
pub type Tls = Arc<ServerConfig>;

/// File of our own certificate inside the data directory, in DER.
const CERTIFICATE_FILE: &str = "web.crt";

/// File of its key, in DER (PKCS #8).
const KEY_FILE: &str = "web.key";

/// What TLS is spoken with: the operator's certificate, or one of our own, which is made if there is none yet.
///
/// # Errors
/// [`Problem`] `web.certificate` when the files of the settings are no certificate and key that belong together.
pub fn server_config(config: &Config) -> anyhow::Result<Tls> {
    let broken = |path: &Path, why: &dyn std::fmt::Display| {
        let text = format!(
            "{} is no PEM file for TLS ({why}): set web.certificate and web.key to a chain and its key that belong \
             together, or leave both empty",
            path.display()
        );
        Problem::new("web.certificate", text)
    };
    let (certificate, key) = (Path::new(&config.web.certificate), Path::new(&config.web.key));
    let (chain, secret) = if config.web.certificate.is_empty() {
        own(config)?
    } else {
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let chain: Chain = chain.map_err(|error| broken(certificate, &error))?;
        (chain, PrivateKeyDer::from_pem_file(key).map_err(|error| broken(key, &error))?)
    };
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose the versions of TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| broken(certificate, &error))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// Whether [`server_config`] would work; makes nothing.
///
/// # Errors
/// As [`server_config`].
pub fn check(config: &Config) -> anyhow::Result<()> {
    let is_made = config.data.dir.join(CERTIFICATE_FILE).exists();
    if config.web.certificate.is_empty() && !is_made { Ok(()) } else { server_config(config).map(drop) }
}

/// A certificate and those that vouch for it.
type Chain = Vec<CertificateDer<'static>>;

/// The certificate of our own, made if there is none yet.
fn own(config: &Config) -> anyhow::Result<(Chain, PrivateKeyDer<'static>)> {
    let dir = &config.data.dir;
    let (certificate, key) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
    if !certificate.exists() || !key.exists() {
        // Half a pair is what a crash between the two leaves.
        for half in [&certificate, &key] {
            if half.exists() {
                std::fs::remove_file(half).with_context(|| format!("remove {}", half.display()))?;
            }
        }
        let host = config.public.host.trim_start_matches('[').trim_end_matches(']');
        let name = if host.is_empty() { "lanyard.invalid" } else { host };
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).context("make a certificate")?;
        write_private(&key, made.signing_key.serialized_der())?;
        write_private(&certificate, made.cert.der())?;
    }
    check_private(&key)?;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let secret = PrivatePkcs8KeyDer::from(read(&key)?);
    Ok((vec![CertificateDer::from(read(&certificate)?)], secret.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::code_of;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        server_config(&config).unwrap();
        let first = std::fs::read(dir.path().join(CERTIFICATE_FILE)).unwrap();
        check_private(&dir.path().join(KEY_FILE)).unwrap();
        server_config(&config).unwrap();
        assert_eq!(std::fs::read(dir.path().join(CERTIFICATE_FILE)).unwrap(), first);
        std::fs::remove_file(dir.path().join(CERTIFICATE_FILE)).unwrap();
        server_config(&config).unwrap();
        assert_ne!(std::fs::read(dir.path().join(CERTIFICATE_FILE)).unwrap(), first, "a new pair");
    }

    #[test]
    fn files_of_the_operator_are_taken_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        server_config(&config).unwrap();
        let pem = |file: &str, label: &str| {
            let der = std::fs::read(dir.path().join(file)).unwrap();
            let text = data_encoding::BASE64.encode(&der);
            let path = dir.path().join(file).with_added_extension("pem");
            std::fs::write(&path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))
                .unwrap();
            path.display().to_string()
        };
        config.web.certificate = pem(CERTIFICATE_FILE, "CERTIFICATE");
        config.web.key = pem(KEY_FILE, "PRIVATE KEY");
        config.data.dir = "/nonexistent".into();
        server_config(&config).unwrap();
        config.web.key = config.web.certificate.clone();
        assert_eq!(code_of(&server_config(&config).unwrap_err()), "web.certificate");
    }

    fn config(dir: &Path) -> Config {
        let mut config = Config::default();
        config.data.dir = dir.to_owned();
        config.public.host = "203.0.113.1".to_owned();
        config
    }
}
