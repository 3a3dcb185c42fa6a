//! TLS (rustls): certificate and key from files, read anew on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Where certificate (with its chain) and key are, as PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What connections are encrypted with; TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    now: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// # Errors
    /// Which file, and what is wrong with it.
    pub fn load(files: TlsFiles) -> Result<Self, String> {
        let config = read(&files)?;
        Ok(Self { files, now: Arc::new(RwLock::new(config)) })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Reads the files anew; new connections get what is in them now.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was there stays in use.
    pub fn reload(&self) -> Result<(), String> {
        replace(&self.files, &self.now)
    }

    /// Reads the files anew at every SIGHUP.
    pub(super) fn reload_on_signal(&self) -> Option<JoinHandle<()>> {
        let mut hangups = signal(SignalKind::hangup())
            .inspect_err(|e| tracing::warn!("SIGHUP will not reload the certificate: {e}"))
            .ok()?;
        let (files, now) = (self.files.clone(), self.now.clone());
        Some(tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                match replace(&files, &now) {
                    Ok(()) => tracing::info!("the TLS certificate was read anew"),
                    Err(why) => tracing::error!(why, "the TLS certificate was not replaced"),
                }
            }
        }))
    }
}

fn replace(files: &TlsFiles, now: &RwLock<Arc<ServerConfig>>) -> Result<(), String> {
    let config = read(files)?;
    *now.write().unwrap_or_else(PoisonError::into_inner) = config;
    Ok(())
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let at = |path: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let cert = &files.certificate;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| at(cert, &format!("not a PEM certificate ({e})")))?;
    if chain.is_empty() {
        return Err(at(cert, &"holds no certificate"));
    }
    // What a key file holds is never shown.
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| match e {
        rustls::pki_types::pem::Error::Io(e) => at(&files.key, &e),
        _ => at(&files.key, &"not a PEM private key"),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| at(cert, &format!("does not go with {} ({e})", files.key.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
