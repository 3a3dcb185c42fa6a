//! The ConfigMgr plane when the site, the network or the configuration is not as it should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "the rig serves several tests")]

mod configmgr_rig;

use std::sync::Arc;

use configmgr_rig::*;
use serde_json::{Value, json};
use trueup_model::{Duration, Fault, ManualClock, SharedClock};
use trueup_planes::configmgr::{ConfigMgr, ConfigMgrConfig};
use trueup_planes::{LocalBroker, Plane};
use trueup_simulators::{ConfigMgrMischief as M, *};

/// planes.md §3: 401 and 403 say nothing, so we say what to check.
#[tokio::test]
async fn refusals_with_empty_bodies_say_what_to_check() {
    for (status, said) in [(401, "check auth of the connection"), (403, "administrative user of the site")] {
        let rig = Rig::new().await;
        rig.sim.trouble(Trouble::Status(status));
        let fault = rig.look(1).await.unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, Fault::Permanent { .. }) && text.contains(said), "{text}");
        assert!(text.contains("(empty)") && text.contains("connection 'site'"), "{text}");
        assert!(!text.contains("sim-cm."), "no token in an error: {text}");
    }
}

/// planes.md §3: `{error:{code,message}}`.
#[tokio::test]
async fn an_error_is_quoted_in_the_sites_words() {
    let rig = Rig::new().await;
    let body = json!({"error": {"code": "", "message": "The server is too busy."}}).to_string();
    rig.sim.answer_instead("SMS_Collection?", 500, body);
    let fault = rig.look(1).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Transient { what } if what.contains("The server is too busy.")),
        "{fault}"
    );
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_a_sweep_are_renewed() {
    let rig = Rig::new().await;
    for round in 1..4 {
        rig.look(1).await.unwrap();
        assert_eq!(rig.sim.counts().tokens, round);
        rig.sim.revoke_tokens();
        rig.pass(1);
    }
    rig.look(1).await.unwrap();
    rig.pass(56);
    rig.look(1).await.unwrap();
    assert_eq!(rig.sim.counts().tokens, 5, "before it ends");
}

#[tokio::test]
async fn a_token_from_a_file_is_read_again_when_it_is_refused() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", rig.sim.issue_token().0)).unwrap();
    let plane = connect(&rig.origin, json!({"token": {"token_file": file}}), &rig.clock, "-");
    plane.probe().await.unwrap();
    rig.sim.revoke_tokens();
    let fault = plane.probe().await.unwrap_err().to_string();
    assert!(fault.contains("401") && fault.contains("has not expired"), "{fault}");
    std::fs::write(&file, rig.sim.issue_token().0).unwrap();
    plane.probe().await.unwrap();
    let tokens = rig.sim.counts().tokens;
    assert_eq!(tokens, 2, "nobody logged in");
}

#[tokio::test]
async fn a_wrong_secret_says_what_to_check() {
    let rig = Rig::new().await;
    let plane = connect(&rig.origin, entra(&rig.origin), &rig.clock, "not-the-secret");
    let text = plane.probe().await.unwrap_err().to_string();
    assert!(text.contains("AADSTS7000215") && !text.contains("not-the-secret"), "{text}");
}

#[tokio::test]
async fn wrong_answers_are_clear_faults() {
    for (trouble, said) in [
        (Trouble::Html, "not JSON: '<!DOCTYPE html>"),
        (Trouble::Empty, "not JSON: (empty)"),
        (Trouble::HalfJson, "not JSON: '{"),
        (Trouble::Status(502), "answered 502: An error has occurred."),
        (Trouble::Drop, "no answer from 127.0.0.1"),
    ] {
        let rig = Rig::new().await;
        rig.sim.trouble(Planned { times: Some(1), ..trouble.clone().into() });
        assert!(rig.look(1).await.is_ok(), "once is not noticed: {trouble:?}");
        rig.pass(1);
        rig.sim.trouble(Planned { only: Some("SMS_ApplicationAssignment".into()), ..trouble.clone().into() });
        let fault = rig.look(1).await.unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, Fault::Transient { .. }), "{trouble:?}: {text}");
        assert!(
            text.contains(said) && text.contains("GET /wmi/SMS_ApplicationAssignment"),
            "{trouble:?}: {text}"
        );
    }
}

#[tokio::test]
async fn json_of_an_unexpected_shape_is_named() {
    for (body, said) in [
        (json!([]), "unexpected shape"),
        (json!({"Value": []}), "unexpected shape"),
        (json!({"value": {}}), "unexpected shape"),
        (json!({"value": [{}]}), "a row of an unexpected shape: missing field `AssignmentID`"),
        (
            json!({"value": [{"AssignmentID": "7", "TargetCollectionID": "ABC00001", "DesiredConfigType": 1}]}),
            "invalid type: string",
        ),
        (json!({"value": [null]}), "a row of an unexpected shape"),
    ] {
        let rig = Rig::new().await;
        rig.sim.answer_instead("SMS_ApplicationAssignment?", 200, body.to_string());
        let fault = rig.look(1).await.unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, Fault::Permanent { .. }), "{body}: {text}");
        assert!(text.contains(said) && text.contains("/wmi/SMS_ApplicationAssignment"), "{body}: {text}");
    }
}

#[tokio::test]
async fn a_page_of_50_mb_is_given_up() {
    let rig = Rig::new().await;
    rig.sim.trouble(Trouble::Huge(50 * 1024 * 1024));
    let fault = rig.look(1).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent { what } if what.contains("more than 16777216 bytes")),
        "{fault}"
    );
}

#[tokio::test]
async fn the_token_stays_with_its_server() {
    let rig = Rig::new().await;
    rig.sim.trouble(Trouble::ForeignNextLink);
    let text = rig.look(1).await.unwrap_err().to_string();
    assert!(text.contains("provider.example") && text.contains("not followed"), "{text}");
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    for trouble in [Trouble::CircularNextLink, Trouble::LoopingNextLink] {
        let rig = Rig::new().await;
        rig.sim.trouble(trouble.clone());
        let text = rig.look(1).await.unwrap_err().to_string();
        assert!(text.contains("leads back to one that was read"), "{trouble:?}: {text}");
        assert!(rig.sim.counts().requests < 60);
    }
    let rig = Rig::new().await;
    let row = json!({"AssignmentID": 7, "TargetCollectionID": "ABC00001", "DesiredConfigType": 1});
    let same: Vec<Value> = vec![row; 1000];
    rig.sim.answer_instead("SMS_ApplicationAssignment?", 200, json!({ "value": same }).to_string());
    let text = rig.look(1).await.unwrap_err().to_string();
    assert!(text.contains("1000 rows with the same AssignmentID"), "{text}");
}

#[tokio::test]
async fn clocks_of_the_future_tell_nothing() {
    let rig = Rig::new().await;
    rig.mischief(M::Ahead { ci: ci_id(1), devices: 4 });
    let versions = rig.look(1).await.unwrap().versions.unwrap();
    // What is left is when the row itself changed: it must not pass for a fresh report.
    assert_eq!(versions[0].reported, Some(start() - Duration::days(30)));
}

/// planes.md §3: no documented throttling; a 429 or a 503 with a time is obeyed all the same.
#[tokio::test]
async fn waits_as_long_as_it_is_told() {
    let rig = Rig::new().await;
    rig.sim
        .trouble(Planned { times: Some(1), ..Trouble::Throttle { retry_after: Some("90".into()) }.into() });
    let until = start() + Duration::seconds(90);
    for _ in 0..2 {
        let fault = rig.look(1).await.unwrap_err();
        assert!(matches!(&fault, Fault::Throttled { until: u, .. } if *u == until), "{fault}");
    }
    rig.clock.advance(Duration::seconds(90));
    assert!(rig.look(1).await.is_ok());
}

fn config(change: Value) -> Value {
    let mut config = json!({"name": "site", "tenant": TENANT, "url": "https://provider.example/AdminService",
        "auth": {"token": {"token_env": "S"}}});
    for (k, v) in change.as_object().unwrap() {
        config[k] = v.clone();
    }
    config
}

fn make(config: Value) -> Result<ConfigMgr, String> {
    let config: ConfigMgrConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
    let clock: SharedClock = Arc::new(ManualClock::at(start()));
    let broker = Arc::new(LocalBroker::new(clock.clone()));
    ConfigMgr::new(&config, clock, &secrets("sesame-sesame"), broker).map_err(|e| e.to_string())
}

#[test]
fn wrong_configurations_are_refused() {
    let entra = json!({"entra": {"directory_tenant": "a/../b", "client_id": "c", "client_secret_env": "S", "scope": "s"}});
    for (change, said) in [
        (json!({"url": "http://provider.example/AdminService"}), "use https"),
        (json!({"url": "https://provider.example"}), "must end with /AdminService"),
        (json!({"auth": {"negotiate": {}}}), "unknown variant `negotiate`"),
        (json!({"auth": {"token": {}}}), "exactly one of auth.token.token_file and auth.token.token_env"),
        (json!({"auth": {"token": {"token": "inline"}}}), "unknown field `token`"),
        (json!({"auth": {"token": {"token_env": "UNSET_IN_TESTS"}}}), "UNSET_IN_TESTS"),
        (json!({"auth": entra}), "auth.entra.directory_tenant"),
        (json!({"ca_file": "does/not/exist.pem"}), "ca_file: cannot read does/not/exist.pem"),
        (json!({"ca_file": "Cargo.toml"}), "ca_file"),
        (json!({"uri": "x"}), "unknown field `uri`"),
    ] {
        let error = make(config(change.clone())).err().unwrap_or_else(|| panic!("{change} was accepted"));
        assert!(error.contains(said), "{change}: {error}");
    }
    let made = make(config(json!({}))).unwrap();
    assert!(!format!("{made:?}").contains("sesame"), "a secret was printed");
}
