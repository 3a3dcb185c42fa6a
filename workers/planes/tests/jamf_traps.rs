//! Every trap of `planes.md` that concerns Jamf Pro, each a test named after it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod jamf_rig;

use std::sync::Arc;

use jamf_rig::{Rig, Setup, TENANT, assign, brief, check, config, connect, group, start};
use trueup_model::intent::Scope;
use trueup_model::{Action, Duration, EffectKey, JobId, ManualClock};
use trueup_planes::Plane;
use trueup_simulators::jamf::{
    JamfMischief, JamfOptions, JamfSeed, JamfSimulator, JamfTrouble, client_secret, group_id, policy_id,
};

#[tokio::test]
async fn inventory_v1_to_v3_are_deprecated_so_v4_is_read() {
    let rig = Rig::new().await;
    // The simulator has no older version; and were there one, nothing of ours would ask for it.
    for version in 1..=3 {
        rig.trouble(JamfTrouble::Drop, None, &format!("/api/v{version}/computers-inventory"));
    }
    assert!(rig.look(0).await.is_ok());
}

#[tokio::test]
async fn put_is_partial_by_element_but_a_list_replaces() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::AddGroup { policy: policy_id(0), group: group_id(5) });
    rig.mischief(&JamfMischief::ExcludeGroup { policy: policy_id(0), group: group_id(6) });
    rig.assign(0, &[group(0), group(3)]).await.unwrap();
    let seen = rig.look(0).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "group:4", "group:6", "not group:7"], "everybody else's stay");
    let body = &rig.sim.writes()[0].body;
    for other in ["general", "self_service", "package", "account"] {
        assert!(!body.contains(other), "{other} was not asked for: {body}");
    }
}

#[tokio::test]
async fn a_scope_that_is_sent_replaces_the_whole_scope_so_limitations_are_sent_back() {
    let rig = Rig::new().await;
    rig.assign(0, &[group(0), group(1)]).await.unwrap();
    let body = &rig.sim.writes()[0].body;
    for kept in
        ["<limitations><users><user><name>ada</name>", "<user_group><name>Staff</name>", "<name>guest</name>"]
    {
        assert!(body.contains(kept), "{kept} would be lost: {body}");
    }
}

#[tokio::test]
async fn a_limitation_that_a_write_lost_is_a_fault() {
    let rig = Rig::new().await;
    let now = "<policy><general><id>1</id><enabled>true</enabled></general><scope><all_computers>false</all_computers>\
        <computer_groups><computer_group><id>1</id></computer_group><computer_group><id>2</id></computer_group></computer_groups></scope></policy>";
    // Read to be changed, then read again.
    rig.trouble(JamfTrouble::Delay(0), Some(1), "GET /JSSResource/policies/id/1");
    let body = now.to_owned();
    let answer = JamfTrouble::Answer { status: 200, content_type: "application/xml".into(), body };
    rig.trouble(answer, Some(1), "GET /JSSResource/policies/id/1");
    let fault = rig.assign(0, &[group(0), group(1)]).await.unwrap_err().to_string();
    assert!(
        fault.contains("did not keep all that was sent: exclusions users: guest, limitations user_groups: Staff, limitations users: ada"),
        "{fault}"
    );
}

#[tokio::test]
async fn an_entry_that_another_process_undid_is_written_again() {
    let rig = Rig::new().await;
    // What another process wrote a moment after us, from what it had read before: with all limitations, without our entry.
    let now = "<policy><general><id>1</id><enabled>true</enabled></general><scope><all_computers>false</all_computers>\
        <computer_groups><computer_group><id>1</id></computer_group></computer_groups>\
        <limitations><users><user><name>ada</name></user></users>\
        <user_groups><user_group><name>Staff</name></user_group></user_groups></limitations>\
        <exclusions><users><user><name>guest</name></user></users></exclusions></scope></policy>";
    rig.trouble(JamfTrouble::Delay(0), Some(1), "GET /JSSResource/policies/id/1");
    let body = now.to_owned();
    let answer = JamfTrouble::Answer { status: 200, content_type: "application/xml".into(), body };
    // Read again after the write, and before the next try.
    rig.trouble(answer, Some(2), "GET /JSSResource/policies/id/1");
    rig.assign(0, &[group(0), group(1)]).await.unwrap();
    assert_eq!(rig.sim.writes().len(), 2);
    let seen = rig.look(0).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "group:2"]);
}

#[tokio::test]
async fn limitations_user_groups_is_a_mirror_and_is_not_compared() {
    // Policy 0 is limited to a directory group, and says so twice; policy 1 is not.
    let rig = Rig::new().await;
    for n in [0, 1] {
        let seen = rig.look(n).await.unwrap().assignments.unwrap();
        assert_eq!(brief(&seen.here), [format!("group:{}", group_id(n))]);
    }
    assert!(!rig.assign(0, &[group(0)]).await.unwrap().changed);
    rig.assign(0, &[group(0), group(1)]).await.unwrap();
    let body = &rig.sim.writes()[0].body;
    assert!(
        !body.contains("limit_to_users"),
        "the simulator, like real ones, refuses what it cannot look up: {body}"
    );
}

#[tokio::test]
async fn masked_passwords_are_never_written_back() {
    let rig = Rig::new().await;
    rig.assign(0, &[group(0), group(1)]).await.unwrap();
    rig.mischief(&JamfMischief::Disable { policy: policy_id(2) });
    rig.assign(2, &[group(2)]).await.unwrap();
    assert_eq!(rig.sim.writes().len(), 2);
    assert!(rig.sim.writes().iter().all(|w| !w.body.contains('*')));
    assert!(!rig.sim.is_spoiled());
}

#[tokio::test]
async fn the_doubled_notification_is_no_drift() {
    // Every policy of the simulator answers with two, and with different values.
    let rig = Rig::new().await;
    assert_eq!(
        rig.look(0).await,
        rig.look(0)
            .await
            .map(|seen| trueup_model::Observed { at: start() + Duration::milliseconds(1), ..seen })
    );
    assert!(!rig.assign(0, &[group(0)]).await.unwrap().changed);
    rig.mischief(&JamfMischief::SelfService { policy: policy_id(0) });
    rig.assign(0, &[group(0)]).await.unwrap();
    assert!(!rig.sim.writes()[0].body.contains("notification"));
}

#[tokio::test]
async fn the_classic_api_is_written_in_xml_only() {
    // JSON would be refused with 415.
    let rig = Rig::new().await;
    rig.assign(0, &[group(0), Scope::AllDevices]).await.unwrap();
    assert!(rig.sim.writes()[0].body.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><policy>"));
}

#[tokio::test]
async fn the_list_of_policies_has_no_scopes_so_each_is_read_once() {
    let rig = Rig::new().await;
    rig.trouble(JamfTrouble::Drop, None, "GET /JSSResource/policies?");
    rig.observe(&[check(0), check(0), check(0)]).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    // Two policies, one group, one page of computers.
    assert_eq!(rig.sim.counts().requests, 4);
}

#[tokio::test]
async fn a_token_may_live_for_sixty_seconds() {
    let rig = Rig::with(Setup { token_seconds: 60, ..Setup::default() }).await;
    for (seconds, tokens) in [(0, 1), (50, 1), (5, 2), (60, 3)] {
        rig.clock.advance(Duration::seconds(seconds));
        rig.plane.probe().await.unwrap();
        assert_eq!(rig.sim.counts().tokens, tokens, "after {seconds} s more");
    }
}

#[tokio::test]
async fn an_account_s_token_has_a_date_instead() {
    let rig = Rig::with(Setup { account: true, ..Setup::default() }).await;
    for (minutes, tokens) in [(0, 1), (27, 1), (2, 2)] {
        rig.pass(minutes);
        rig.plane.probe().await.unwrap();
        assert_eq!(rig.sim.counts().tokens, tokens, "after {minutes} min more");
    }
}

#[tokio::test]
async fn a_clock_that_differs_does_not_ask_for_a_token_each_time() {
    let server = ManualClock::at(start() - Duration::hours(3));
    let simulator = JamfSimulator::with(JamfOptions::new(Arc::new(server)));
    let sim = simulator.tenant(TENANT);
    let url = format!("{}/{TENANT}", simulator.start().await.unwrap());
    let account = config(&url, true, 100);
    let plane = connect(&account, &ManualClock::at(start()), trueup_simulators::jamf::password(TENANT));
    for _ in 0..3 {
        plane.probe().await.unwrap();
    }
    assert_eq!(sim.counts().tokens, 1);
}

#[tokio::test]
async fn at_most_five_connections_at_once() {
    let seed = JamfSeed { policies: 40, computers: 90, computers_per_policy: 2, ..JamfSeed::default() };
    let rig = Rig::with(Setup { seed, page_size: 10, ..Setup::default() }).await;
    rig.trouble(JamfTrouble::Delay(15), None, "/");
    let checks: Vec<_> = (0..40).map(check).collect();
    let write = assign(0, &[group(0), group(1)]);
    let key = EffectKey::of(&JobId::derive(&["j"]));
    let write_target = jamf_rig::target(0);
    let (seen, written) = tokio::join!(rig.observe(&checks), rig.plane.apply(&write_target, &write, &key));
    assert!(seen.iter().all(Result::is_ok) && written.is_ok(), "{written:?}");
    let counts = rig.sim.counts();
    assert_eq!(counts.refused, 0);
    assert_eq!(counts.most_at_once, 5, "all that is allowed is used, and no more");
}

#[tokio::test]
async fn cookies_are_sticky() {
    // Two nodes: on the other one a write is not seen for a minute. Three writes in a row build on one another.
    let rig = Rig::new().await;
    for n in 1..=3 {
        let scopes: Vec<_> = (0..=n).map(group).collect();
        rig.assign(0, &scopes).await.unwrap();
    }
    let seen = rig.look(0).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "group:2", "group:3", "group:4"]);
    assert_eq!(rig.sim.counts().without_cookie, 1, "the first call of all");
}

#[tokio::test]
async fn classic_errors_are_html_and_are_quoted_as_text() {
    let rig = Rig::new().await;
    let fault = rig.assign(0, &[Scope::Group("99999".into())]).await.unwrap_err().to_string();
    assert!(fault.contains("PUT /JSSResource/policies/id/{id} answered 409"), "{fault}");
    assert!(fault.contains("Problem with computer_groups") && !fault.contains('<'), "{fault}");
}

#[tokio::test]
async fn jamf_pro_api_errors_are_json_with_a_list() {
    let rig = Rig::with(Setup { secret: Some("wrong".into()), account: true, ..Setup::default() }).await;
    let fault = rig.plane.probe().await.unwrap_err().to_string();
    assert!(fault.contains("POST /api/v1/auth/token answered 401: INVALID_CREDENTIALS"), "{fault}");
    assert!(fault.contains("username and password"), "{fault}");
    assert!(!fault.contains(&client_secret(TENANT)));
}

#[tokio::test]
async fn group_deltas_leave_other_members_alone() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::BreakCompliance { policy: policy_id(1), computers: 3 });
    let failing = rig.look(1).await.unwrap().compliance.unwrap().failing;
    for some in [&failing[..1], &failing[..]] {
        rig.apply(1, &Action::Comply { devices: some.to_vec() }).await.unwrap();
    }
    let bodies: Vec<String> = rig.sim.writes().into_iter().map(|w| w.body).collect();
    assert!(
        bodies.iter().all(|b| b.contains("<computer_additions>") && !b.contains("<computers>")),
        "{bodies:?}"
    );
    assert_eq!(bodies[1].matches("<computer>").count(), 2, "who is a member is not sent again");
    rig.pass(16);
    assert_eq!(rig.look(1).await.unwrap().compliance.unwrap().noncompliant, 0);
}
