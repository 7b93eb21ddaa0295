//! Certificate and key: read at the start and again when the files change, without a restart.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the certificate files")]

use crate::config::TlsFiles;
use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Certificates of this server.
pub struct Certificates {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>> {
        let current = RwLock::new(read(&files)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// The settings for accepting connections: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Reads the files again. If that fails, the old certificate stays in use.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn reload(&self) -> Result<()> {
        let new = read(&self.files)?;
        match self.current.write() {
            Ok(mut current) => *current = new,
            Err(poisoned) => *poisoned.into_inner() = new,
        }
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        match self.current.read() {
            Ok(current) => current.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Reloads whenever a file has changed. Never ends.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = modified(&self.files);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let now = modified(&self.files);
            if now == seen {
                continue;
            }
            // Certificate and key are two files: between their writes they do not fit, and the next look helps.
            match self.reload() {
                Ok(()) => {
                    tracing::info!(file = %self.files.cert.display(), "the certificate was read again");
                    seen = now;
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the new certificate is not usable; the old one stays"
                    );
                }
            }
        }
    }
}

fn modified(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.cert, &files.key].map(|path| std::fs::metadata(path).and_then(|about| about.modified()).ok())
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>> {
    let cert = files.cert.display();
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| anyhow::anyhow!("cannot read the certificate {cert}: {error}"))?;
    anyhow::ensure!(!chain.is_empty(), "{cert} holds no certificate (PEM)");
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| anyhow::anyhow!("cannot read the private key {}: {error}", files.key.display()))?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .with_context(|| format!("{} is not the key of {cert}", files.key.display()))?;
    Ok(Arc::new(key))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use std::path::Path;

    /// Writes a certificate for localhost and its key.
    pub fn write_certificate(folder: &Path) -> (TlsFiles, CertificateDer<'static>) {
        let Made { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.cert, cert.pem()).expect("written");
        std::fs::write(&files.key, signing_key.serialize_pem()).expect("written");
        (files, cert.der().clone())
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, first) = write_certificate(folder.path());
        let certificates = Certificates::load(files.clone()).expect("loads");
        assert_eq!(certificates.current().cert, std::slice::from_ref(&first));
        let (_, second) = write_certificate(folder.path());
        certificates.reload().expect("reloads");
        assert_eq!(certificates.current().cert, std::slice::from_ref(&second));
        std::fs::write(&files.cert, "nonsense").expect("written");
        let error = certificates.reload().expect_err("broken");
        assert!(error.to_string().contains("cert.pem"), "{error}");
        assert_eq!(certificates.current().cert, [second]);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (first, _) = write_certificate(one.path());
        let (second, _) = write_certificate(two.path());
        let mixed = TlsFiles { cert: first.cert, key: second.key };
        let error = Certificates::load(mixed).expect_err("mixed");
        assert!(error.to_string().contains("is not the key of"), "{error}");
    }
}
