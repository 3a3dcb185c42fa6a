//! A Redis that is not there, not ours, or does not let us in: the error names the place and what to do, and never the
//! password.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trueup_boot::embedded::{Listen, Options, Redis};
use trueup_engine::{EngineError, RedisOptions, RedisStore};
use trueup_model::SystemClock;

const PASSWORD: &str = "open-sesame";

async fn refused(url: &str) -> EngineError {
    let connecting = RedisStore::connect(RedisOptions::new(url, Arc::new(SystemClock)));
    let connected = tokio::time::timeout(std::time::Duration::from_secs(30), connecting).await;
    let error = connected.expect("an answer in time").expect_err(url);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(PASSWORD), "the password is shown: {shown}");
    error
}

#[tokio::test]
async fn no_redis_url() {
    for url in ["", "localhost", "http://127.0.0.1:6379", "redis://:open-sesame@", "redis://host:port"] {
        let error = refused(url).await;
        assert!(matches!(error, EngineError::Refused(_)), "{url}: {error:?}");
        assert!(error.to_string().contains("write redis://HOST:PORT"), "{url}: {error}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let error = refused(&format!("redis://:{PASSWORD}@{free}")).await;
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    let error = refused("redis+unix:///nowhere/redis.sock").await;
    assert!(error.to_string().contains("/nowhere/redis.sock"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_and_none() {
    let options =
        Options { listen: Listen::Tcp, password: Some("the-right-one".into()), ..Options::default() };
    let redis = Redis::temporary(options).await.expect("a private Redis");
    let place = redis.url().rsplit('@').next().map(str::to_owned).expect("an address");
    for url in [format!("redis://:{PASSWORD}@{place}"), format!("redis://somebody:{PASSWORD}@{place}")] {
        let error = refused(&url).await;
        assert!(matches!(error, EngineError::Refused(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(&place) && said.contains("check the user and password"), "{said}");
        assert!(!said.contains("the-right-one"), "{said}");
    }
    let error = refused(&format!("redis://{place}")).await;
    assert!(matches!(error, EngineError::Refused(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("asks for a password") && said.contains(&place), "{said}");
    RedisStore::connect(RedisOptions::new(redis.url(), Arc::new(SystemClock))).await.expect("the right one");
}

#[tokio::test]
async fn somebody_else_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = listener.local_addr().expect("an address");
    let web = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut some = [0; 64];
            // Whatever is asked, the answer of a web server; an error means that the other side has gone.
            let _ = socket.read(&mut some).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let error = refused(&format!("redis://:{PASSWORD}@{place}")).await;
    assert!(error.to_string().contains(&place.to_string()), "{error}");
    web.abort();
}
