//! What a Jamf Pro, a proxy before it, or fate may answer, and what comes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod jamf_rig;

use jamf_rig::{Rig, Setup, check, group, start, versions};
use trueup_model::job::Check;
use trueup_model::{Duration, Fault, Observed};
use trueup_planes::Plane;
use trueup_simulators::jamf::{JamfMischief, JamfSeed, JamfTrouble, group_id, policy_id};

const POLICY: &str = "/JSSResource/policies/id/1";
const GROUP: &str = "/JSSResource/computergroups/id/";
const INVENTORY: &str = "/computers-inventory";

fn page(status: u16, body: &str) -> JamfTrouble {
    JamfTrouble::Answer { status, content_type: "text/html".into(), body: body.into() }
}

fn kind(answer: &Result<Observed, Fault>) -> &'static str {
    match answer {
        Ok(_) => "seen",
        Err(Fault::Transient { .. }) => "transient",
        Err(Fault::Throttled { .. } | Fault::Away { .. }) => "throttled",
        Err(Fault::Permanent { .. }) => "permanent",
        Err(Fault::Bug { .. }) => "bug",
    }
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE p [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]><policy><general><id>&b;</id></general></policy>";
    let deep = "<a>".repeat(200_000);
    let many = format!("<policy>{}</policy>", "<x/>".repeat(600_000));
    let login =
        "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.<br></body></html>";
    let cases: Vec<(&str, JamfTrouble, &str, &str)> = vec![
        (POLICY, page(200, bomb), "transient", "DOCTYPE"),
        (POLICY, page(200, &deep), "transient", "elements inside each other"),
        (POLICY, page(200, &many), "transient", "more than 500000 elements"),
        (POLICY, page(200, login), "transient", "not the XML of a Jamf Pro"),
        (POLICY, page(200, ""), "transient", "no element"),
        (
            POLICY,
            page(200, "<policy><general/></policy>"),
            "permanent",
            "XML of an unexpected shape: <general><id>",
        ),
        (POLICY, page(200, "<computer/>"), "permanent", "<computer> where <policy> was expected"),
        (POLICY, JamfTrouble::Half, "transient", "not the XML"),
        (POLICY, JamfTrouble::Drop, "transient", "no answer"),
        (POLICY, JamfTrouble::Big(50_000_000), "permanent", "the answer has more than 16777216 bytes"),
        (POLICY, page(401, login), "permanent", "answered 401"),
        (POLICY, JamfTrouble::Status(401), "permanent", "check client_id and client_secret"),
        (POLICY, JamfTrouble::Status(403), "permanent", "check that the API role may read computers"),
        (POLICY, JamfTrouble::Status(404), "permanent", "there is no policy 1"),
        (POLICY, JamfTrouble::Status(409), "permanent", "answered 409"),
        (POLICY, JamfTrouble::Status(500), "transient", "answered 500"),
        (POLICY, JamfTrouble::Status(502), "transient", "answered 502"),
        (POLICY, page(302, ""), "permanent", "redirects are not followed"),
        (GROUP, page(200, bomb), "transient", "DOCTYPE"),
        (GROUP, page(200, "<computer_group><id>1</id></computer_group>"), "permanent", "no <is_smart>"),
        (GROUP, JamfTrouble::Status(404), "permanent", "correct target.compliance.failing_group"),
        (INVENTORY, page(200, login), "transient", "something that is not JSON"),
        (INVENTORY, page(200, "[]"), "permanent", "JSON of an unexpected shape"),
        (INVENTORY, page(200, "{\"totalCount\":\"1\",\"results\":[]}"), "permanent", "unexpected shape"),
        (
            INVENTORY,
            page(200, "{\"totalCount\":1,\"results\":[{\"id\":1}]}"),
            "permanent",
            "unexpected shape",
        ),
        (
            INVENTORY,
            page(200, "{\"totalCount\":1,\"results\":[{\"id\":\"../1\"}]}"),
            "transient",
            "with the id '../1'",
        ),
        (INVENTORY, page(200, "{\"totalCount\":7,\"results\":[]}"), "transient", "page 0 is empty"),
        (
            INVENTORY,
            page(200, "{\"totalCount\":7,\"results\":[{\"id\":\"1\"}]}"),
            "transient",
            "says that there are 7",
        ),
        (INVENTORY, JamfTrouble::Half, "transient", "not JSON"),
        (INVENTORY, JamfTrouble::Drop, "transient", "no answer"),
        (INVENTORY, JamfTrouble::Big(50_000_000), "permanent", "lower page_size of the connection (now 100)"),
        (INVENTORY, JamfTrouble::Status(404), "permanent", "Jamf Pro 11.30 or later"),
        (INVENTORY, JamfTrouble::Status(503), "transient", "answered 503"),
    ];
    // All at once: most of the time goes into waiting before the next try.
    futures::future::join_all(cases.into_iter().map(|(only, trouble, expected, text)| async move {
        let rig = Rig::new().await;
        let name = format!("{only}: {:.80}", format!("{trouble:?}"));
        rig.trouble(trouble, None, only);
        let answer = rig.look(0).await;
        assert_eq!(kind(&answer), expected, "{name}: {answer:?}");
        let fault = answer.unwrap_err().to_string();
        assert!(fault.starts_with("connection 'c': ") && fault.contains(text), "{name}: {fault}");
        assert!(fault.len() < 500 && !fault.contains('\n'), "{name}: {fault}");
        // And when it is over, it is over.
        rig.sim.no_more_trouble();
        rig.pass(10);
        assert!(rig.look(0).await.is_ok(), "{name}");
    }))
    .await;
}

#[tokio::test]
async fn one_bad_answer_is_asked_again() {
    let rig = Rig::new().await;
    for (only, trouble) in [
        (POLICY, page(200, "<html>")),
        (POLICY, JamfTrouble::Status(500)),
        (INVENTORY, JamfTrouble::Half),
        (GROUP, JamfTrouble::Drop),
        ("/api/oauth/token", JamfTrouble::Status(502)),
    ] {
        rig.trouble(trouble, Some(1), only);
        rig.sim.revoke_tokens();
        assert_eq!(versions(&rig.look(0).await.unwrap()), [("1.0.0", 4)], "{only}");
    }
}

#[tokio::test]
async fn the_next_page_never_ends() {
    let seed =
        JamfSeed { policies: 2, computers: 40, computers_per_policy: 4, older: true, ..JamfSeed::default() };
    let rig = Rig::with(Setup { seed, page_size: 10, ..Setup::default() }).await;
    for (lie, expected) in [
        (1, "page 4 is empty, after 40 computers of 41"),
        (100_000, "page 4 is empty, after 40 computers of 100040"),
        (10_000_000_000, "pages, more than 20000"),
    ] {
        rig.trouble(JamfTrouble::LyingTotal(lie), None, INVENTORY);
        let before = rig.sim.counts().requests;
        let fault = rig.look(0).await.unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
        assert!(rig.sim.counts().requests - before < 20, "given up at once");
        rig.sim.no_more_trouble();
    }
    assert!(rig.look(0).await.is_ok());
    // The same page for ever.
    let same = r#"{"totalCount": 5000, "results": [{"id": "1"}, {"id": "2"}]}"#;
    rig.trouble(page(200, same), None, INVENTORY);
    let fault = rig.look(0).await.unwrap_err().to_string();
    assert!(
        fault.contains("page 1 repeats computers of earlier pages, after 2 computers of 5000"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_computer_whose_clock_is_in_the_future() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::ClockAhead { policy: policy_id(0), computers: 4 });
    rig.mischief(&JamfMischief::BreakCompliance { policy: policy_id(0), computers: 2 });
    let seen = rig.look(0).await.unwrap();
    assert_eq!(seen.versions.unwrap()[0].reported, None, "it must not pass for a fresh report");
    assert_eq!(seen.compliance.unwrap().reported, None);
}

#[tokio::test]
async fn an_empty_fleet_is_the_plane_s_trouble() {
    let rig = Rig::new().await;
    rig.trouble(JamfTrouble::EmptyInventory, None, INVENTORY);
    let fault = rig.look(0).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault}");
    assert!(fault.to_string().contains("the plane reports an empty fleet: 0 computers"), "{fault}");
    rig.sim.no_more_trouble();
    rig.pass(5);
    assert!(rig.look(0).await.is_ok());
    rig.trouble(JamfTrouble::EmptyInventory, None, INVENTORY);
    for _ in 0..3 {
        rig.pass(5);
        let fault = rig.look(0).await.unwrap_err().to_string();
        assert!(fault.contains("an empty fleet: 0 computers, 40 at 2026-11-21"), "{fault}");
    }
}

#[tokio::test]
async fn a_fleet_that_lost_most_is_looked_at_twice() {
    let rig = Rig::new().await;
    assert!(rig.look(0).await.is_ok());
    for computer in 1..=30 {
        rig.mischief(&JamfMischief::DeleteComputer { computer });
    }
    let fault = rig.look(9).await.unwrap_err().to_string();
    assert!(fault.contains("a much smaller fleet: 10 computers, 40 at"), "{fault}");
    rig.pass(4);
    assert_eq!(rig.look(9).await.unwrap().compliance.unwrap().devices, 10);
}

#[tokio::test]
async fn a_group_deleted_under_a_scope() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::DeleteGroup { group: group_id(0) });
    assert_eq!(rig.look(0).await.unwrap().assignments.unwrap().here, [], "seen as it is");
    let fault = rig.assign(0, &[group(0)]).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent { what } if what.contains("policy 1") && what.contains("Problem with computer_groups")),
        "{fault}"
    );
    assert_eq!(rig.sim.writes(), []);
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_a_sweep() {
    let seed = JamfSeed { policies: 30, computers: 40, computers_per_policy: 1, ..JamfSeed::default() };
    let rig = Rig::with(Setup { seed, page_size: 10, ..Setup::default() }).await;
    let checks: Vec<Check> = (0..30).map(check).collect();
    // The first of the sweep's calls brings the token; the twentieth policy is refused it, as if it had been revoked.
    rig.trouble(JamfTrouble::Unauthorized, Some(1), "/policies/id/20");
    rig.trouble(JamfTrouble::Unauthorized, Some(1), "page=2");
    let answers = rig.observe(&checks).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|a| a.is_err()));
    let tokens = rig.sim.counts().tokens;
    assert!((2..=3).contains(&tokens), "renewed once for each refusal, not once per call: {tokens}");
    // Really gone, all of them.
    rig.sim.revoke_tokens();
    assert!(rig.look(3).await.is_ok());
    // And the credential itself.
    rig.sim.revoke_tokens();
    rig.trouble(JamfTrouble::Status(401), None, "/api/oauth/token");
    let fault = rig.look(4).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent { what } if what.contains("check client_id and client_secret")),
        "{fault}"
    );
}

#[tokio::test]
async fn asked_to_wait_we_wait() {
    for (status, retry_after) in [(429, Some("30")), (503, Some("30")), (429, None)] {
        let rig = Rig::new().await;
        rig.plane.probe().await.unwrap();
        let retry_after = retry_after.map(str::to_owned);
        rig.trouble(JamfTrouble::Throttle { status, retry_after: retry_after.clone() }, Some(1), POLICY);
        let fault = rig.look(0).await.unwrap_err();
        let Fault::Throttled { until, .. } = fault else { panic!("{status}: {fault}") };
        assert!(until > start(), "{until}");
        let asked = rig.sim.counts().requests;
        assert_eq!(kind(&rig.look(0).await), "throttled");
        assert_eq!(rig.sim.counts().requests, asked, "{status}: nothing is sent meanwhile");
        rig.clock.advance(until - start());
        assert!(rig.look(0).await.is_ok(), "{status} {retry_after:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_put_off_is_waited_for() {
    let rig = Rig::with(Setup { page_size: 10, ..Setup::default() }).await;
    let throttle = JamfTrouble::Throttle { status: 429, retry_after: Some("10".into()) };
    rig.trouble(throttle, Some(1), "page=2");
    let mut look = Box::pin(rig.look(0));
    let seen = loop {
        match tokio::time::timeout(std::time::Duration::from_millis(1), &mut look).await {
            Ok(seen) => break seen,
            Err(_) => rig.clock.advance(Duration::seconds(10)),
        }
    };
    assert_eq!(seen.unwrap().compliance.unwrap().devices, 40);
}

#[tokio::test]
async fn a_token_is_never_quoted() {
    let rig = Rig::new().await;
    for body in [
        r#"{"access_token":"sesame-sesame","expires_in":"#,
        r#"{"access_token":"sesame-sesame"}"#,
        "{}",
        "<html>",
    ] {
        rig.trouble(
            JamfTrouble::Answer { status: 200, content_type: "application/json".into(), body: body.into() },
            None,
            "/api/oauth/token",
        );
        let fault = rig.plane.probe().await.unwrap_err().to_string();
        assert!(
            !fault.contains("sesame") && fault.contains("POST /api/oauth/token answered 200 with"),
            "{fault}"
        );
        rig.sim.no_more_trouble();
        rig.pass(10);
    }
    assert!(!format!("{:?}", rig.plane).contains("sim-secret"));
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_done_once() {
    let rig = Rig::new().await;
    rig.trouble(JamfTrouble::Drop, Some(1), "PUT /JSSResource/policies");
    let receipt = rig.assign(0, &[group(0), group(1)]).await.unwrap();
    assert!(!receipt.changed, "read again, it was there: {receipt:?}");
    assert_eq!(rig.sim.writes().len(), 1);
}
