//! `trueup serve`: the API as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trueup_server::identity::{Bootstrap, Identity, Oidc, OidcOptions, Policies};
use trueup_server::{ApiState, Serving, Tls, TlsFiles};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::open;

const EXAMPLES: &str = "\
Examples:
  trueup serve
  trueup serve --redis-url redis://127.0.0.1:6379 --listen 127.0.0.1:7171
  TRUEUP_REDIS_URL=redis+unix:///run/redis.sock trueup serve
  trueup serve --listen 0.0.0.0:7171 --require-authentication --bootstrap-key-file first.key \\
    --tls-cert server.pem --tls-key server.key
  trueup serve --listen 0.0.0.0:7171 --require-authentication --plain-http \\
    --oidc-issuer https://login.example --oidc-audience trueup

On loopback, everybody on this host may do everything unless --require-authentication is given. On another address it must be,
with TLS (or --plain-http, behind a proxy that speaks it). The first key is made on loopback, or with the bootstrap key:
  trueup key create --label ops --grant '*:admin'
SIGHUP reads the certificate anew.";

/// Serve the API
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The Redis that holds the state
    #[arg(
        long,
        env = "TRUEUP_REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379",
        value_name = "URL"
    )]
    redis_url: String,
    /// Address and port; 0 takes a free one
    #[arg(long, env = "TRUEUP_LISTEN", default_value = "127.0.0.1:7171", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Show apalis's board, which only shows, at /board
    #[arg(long, env = "TRUEUP_APALIS_BOARD")]
    apalis_board: bool,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

/// Who may ask, and how it is kept from others.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// Everybody has to prove who they are, also on loopback
    #[arg(long, env = "TRUEUP_REQUIRE_AUTHENTICATION")]
    require_authentication: bool,
    /// A file with a key of at least 32 characters that may do everything, for the first requests
    #[arg(long, env = "TRUEUP_BOOTSTRAP_KEY_FILE", value_name = "FILE", requires = "require_authentication")]
    bootstrap_key_file: Option<PathBuf>,
    /// Accept bearer tokens of this OIDC issuer
    #[arg(long, env = "TRUEUP_OIDC_ISSUER", value_name = "URL", requires_all = ["require_authentication", "oidc_audience"])]
    oidc_issuer: Option<String>,
    /// The audience (aud) that tokens must be for
    #[arg(long, env = "TRUEUP_OIDC_AUDIENCE", value_name = "TEXT")]
    oidc_audience: Option<String>,
    /// The claim that holds a token's grants, like "acme:operator"; dots lead into objects
    #[arg(long, env = "TRUEUP_OIDC_GRANTS_CLAIM", value_name = "CLAIM", default_value = "trueup_grants")]
    oidc_grants_claim: String,
    /// More Cedar policies (*.cedar) beside those that ship; a forbid wins
    #[arg(long, env = "TRUEUP_AUTHORIZATION_POLICIES", value_name = "FOLDER")]
    authorization_policies: Option<PathBuf>,
    /// Certificate with its chain (PEM)
    #[arg(long, env = "TRUEUP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "TRUEUP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve other hosts without TLS: a proxy before this process speaks it
    #[arg(long, env = "TRUEUP_PLAIN_HTTP", conflicts_with = "tls_cert")]
    plain_http: bool,
    /// Connections at once; the next ones wait
    #[arg(long, env = "TRUEUP_MAX_CONNECTIONS", value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
}

fn wrong(why: impl Into<String>, place: &str) -> Failure {
    Failure::usage(why).at(place)
}

/// What stands in the file, if others cannot read it.
fn secret(path: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let at = |e: std::io::Error| wrong(format!("{}: {e}", path.display()), "--bootstrap-key-file");
    let mode = std::fs::metadata(path).map_err(at)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(wrong(
            format!("{} can be read by everybody on this host", path.display()),
            "--bootstrap-key-file",
        )
        .advise(format!("chmod 600 {}", path.display())));
    }
    std::fs::read_to_string(path).map_err(at)
}

impl AccessArgs {
    async fn identity(&self, cx: &Context) -> Result<Identity, Failure> {
        let folder = self.authorization_policies.as_deref();
        let policies = Policies::load(folder).map_err(|why| wrong(why, "--authorization-policies"))?;
        let policies = Arc::new(policies);
        if !self.require_authentication {
            return Ok(Identity::open(policies));
        }
        let bootstrap = match &self.bootstrap_key_file {
            Some(path) => {
                Some(Bootstrap::new(&secret(path)?).map_err(|why| wrong(why, "--bootstrap-key-file"))?)
            }
            None => None,
        };
        let oidc = match (&self.oidc_issuer, &self.oidc_audience) {
            (Some(issuer), Some(audience)) => {
                let options = OidcOptions {
                    issuer: issuer.clone(),
                    audience: audience.clone(),
                    grants_claim: self.oidc_grants_claim.clone(),
                };
                let oidc = Oidc::new(options).map_err(|why| wrong(why, "--oidc-issuer"))?;
                if let Err(why) = oidc.warm_up().await {
                    cx.note(&format!("warning: bearer tokens cannot be checked yet: {why}"));
                }
                Some(oidc)
            }
            _ => None,
        };
        Ok(Identity::required(policies).with_bootstrap(bootstrap).with_oidc(oidc))
    }

    fn serving(&self) -> Result<Serving, Failure> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
                Some(Tls::load(files).map_err(|why| wrong(why, "--tls-cert, --tls-key"))?)
            }
            _ => None,
        };
        let mut serving = Serving { tls, plain_http: self.plain_http, ..Serving::default() };
        serving.limits.connections = self.max_connections as usize;
        Ok(serving)
    }
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let access = &self.access;
        let tls = access.tls_cert.is_some();
        trueup_server::may_serve(self.listen, access.require_authentication, tls, access.plain_http)
            .map_err(|why| wrong(why, "--listen or TRUEUP_LISTEN"))?;
        let _telemetry = self.log.init("trueup-api")?;
        let (identity, serving) = (access.identity(cx).await?, access.serving()?);
        let opened = open::open_store(&self.redis_url, None, None).await?;
        for warning in &opened.warnings {
            cx.note(&format!("warning: {warning}"));
        }
        let listener = tokio::net::TcpListener::bind(self.listen).await.map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot listen: {e}"))
                .at(self.listen.to_string())
                .advise("see what listens there already (`ss -ltnp`), or take another port with --listen")
        })?;
        let shutdown = trueup_boot::shutdown::Shutdown::on_signal()
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        if let Ok(addr) = listener.local_addr() {
            let scheme = if tls { "https" } else { "http" };
            cx.note(&format!("serving on {scheme}://{addr}"));
        }
        let state = ApiState::new(opened.store, opened.clock)
            .with_warnings(opened.warnings)
            .with_identity(identity)
            .with_board(self.apalis_board);
        let ended =
            trueup_server::serve_with(listener, state, serving, async move { shutdown.requested().await })
                .await;
        ended.map_err(|e| {
            Failure::new(Exit::Failed, format!("serving ended: {e}")).at(self.listen.to_string())
        })?;
        Ok(Exit::Done)
    }
}
