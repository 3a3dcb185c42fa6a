//! An AdminService with a certificate of the site's own authority.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "the rig serves several tests")]

mod configmgr_rig;

use std::net::SocketAddr;
use std::sync::Arc;

use configmgr_rig::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use trueup_model::{Fault, ManualClock, SharedClock};
use trueup_planes::configmgr::{ConfigMgr, ConfigMgrConfig};
use trueup_planes::{FixedSecrets, LocalBroker, Plane, Secret};
use trueup_simulators::*;

struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            // A client that does not trust us hangs up.
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves a site over TLS. Gives its address, the authority's certificate, and a token.
async fn serve(clock: &ManualClock) -> (String, String, String) {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();

    let mut options = ConfigMgrOptions::new(Arc::new(clock.clone()));
    options.scheme = "https";
    options.page = 10;
    let simulator = ConfigMgrSimulator::with(options);
    let site = simulator.tenant(TENANT);
    site.seed(&seed());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tls = Tls(listener, TlsAcceptor::from(Arc::new(config)));
    let router = simulator.router();
    tokio::spawn(async move { axum::serve(tls, router).await });
    (origin, root, site.issue_token().0)
}

fn connect_to(origin: &str, ca_file: Value, token: &str, clock: &ManualClock) -> ConfigMgr {
    let config: ConfigMgrConfig = serde_json::from_value(json!({"name": "site", "tenant": TENANT,
        "url": format!("{origin}/AdminService"), "ca_file": ca_file, "auth": {"token": {"token_env": "T"}}}))
    .unwrap();
    let clock: SharedClock = Arc::new(clock.clone());
    let secrets = FixedSecrets([("T".to_owned(), Secret::new(token))].into());
    ConfigMgr::new(&config, clock.clone(), &secrets, Arc::new(LocalBroker::new(clock))).unwrap()
}

/// planes.md §3: own CA common.
#[tokio::test]
async fn a_site_with_its_own_authority_is_trusted_with_ca_file_only() {
    let clock = ManualClock::at(start());
    let (origin, root, token) = serve(&clock).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, root).unwrap();

    let plane = connect_to(&origin, json!(file), &token, &clock);
    assert!(plane.probe().await.unwrap().contains("deployments are readable"));
    let seen = plane.observe(&[check(1)]).await.remove(0).unwrap();
    assert_eq!(seen.assignments.unwrap().here.len(), 1, "links of pages lead there too");

    let stranger = connect_to(&origin, Value::Null, &token, &clock);
    let fault = stranger.probe().await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }), "waiting does not help: {text}");
    assert!(text.contains("ca_file") && text.contains("certificate"), "{text}");
}
