//! An OIDC issuer on this host: discovery, keys of every allowed algorithm, tokens as one wishes.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// A part of a token.
pub fn part(value: &Value) -> String {
    B64.encode(value.to_string())
}

/// A token with a shared secret, as one who confuses algorithms would make it.
pub fn hmac_token(header: &str, claims: &str, secret: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let message = format!("{header}.{claims}");
    let tag = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", B64.encode(tag.as_ref()))
}

enum Pair {
    Rsa(RsaKeyPair, bool),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A private key of some algorithm.
#[derive(Clone)]
pub struct Signer(Arc<(String, Pair)>);

impl Signer {
    /// One for each allowed algorithm. RSA keys are made by `openssl`, since `ring` makes none.
    pub fn all(name: &str) -> Vec<Self> {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let ed =
            Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let mut pairs = vec![("ec", Pair::Ec(ec)), ("ed", Pair::Ed(ed))];
        let made = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
            .output()
            .expect("openssl, to make an RSA key");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for pss in [false, true] {
            // Which of the two forms it is depends on the version.
            let rsa =
                RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout)).unwrap();
            pairs.push((if pss { "ps" } else { "rs" }, Pair::Rsa(rsa, pss)));
        }
        pairs.into_iter().map(|(kind, pair)| Self(Arc::new((format!("{name}-{kind}"), pair)))).collect()
    }

    pub fn kid(&self) -> &str {
        &self.0.0
    }

    pub fn algorithm(&self) -> &'static str {
        match &self.0.1 {
            Pair::Rsa(_, false) => "RS256",
            Pair::Rsa(_, true) => "PS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// As everybody can see it.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.0.1 {
            Pair::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.0.1 {
            Pair::Rsa(pair, _) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": B64.encode(public.n), "e": B64.encode(public.e)})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": B64.encode(pair.public_key().as_ref())})
            }
        };
        for (name, value) in [("kid", self.kid()), ("alg", self.algorithm()), ("use", "sig")] {
            jwk[name] = value.into();
        }
        jwk
    }

    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": self.algorithm(), "kid": self.kid(), "typ": "JWT"}), claims)
    }

    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.0.1 {
            Pair::Rsa(pair, pss) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let bytes = message.as_bytes();
                match pss {
                    true => pair.sign(&RSA_PSS_SHA256, &random, bytes, &mut signature).unwrap(),
                    false => pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap(),
                }
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", B64.encode(signature))
    }
}

struct Shared {
    url: String,
    signers: Mutex<Vec<Signer>>,
    away: AtomicBool,
    hangs: AtomicBool,
    asked: AtomicUsize,
}

/// Serves until it is dropped with its runtime.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            signers: Mutex::new(Signer::all("k1")),
            away: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub fn signers(&self) -> Vec<Signer> {
        self.shared.signers.lock().unwrap().clone()
    }
    pub fn rotate(&self, name: &str) {
        *self.shared.signers.lock().unwrap() = Signer::all(name);
    }
    pub fn go_away(&self) {
        self.shared.away.store(true, Ordering::SeqCst);
    }
    /// From now on it takes connections and answers nothing.
    pub fn hang(&self) {
        self.shared.hangs.store(true, Ordering::SeqCst);
    }
    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, StatusCode> {
    if shared.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if shared.away.load(Ordering::SeqCst) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Json(json!({"issuer": shared.url, "jwks_uri": format!("{}/keys", shared.url)})))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let mut keys: Vec<Value> = shared.signers.lock().unwrap().iter().map(Signer::jwk).collect();
    // What real issuers have beside: keys for encryption, and of other kinds.
    keys.push(json!({"kty": "RSA", "use": "enc", "kid": "enc", "n": "AQAB", "e": "AQAB"}));
    keys.push(json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}));
    keys.push(json!({"kty": "unheard-of"}));
    Json(json!({"keys": keys}))
}
