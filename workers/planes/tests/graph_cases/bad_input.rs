//! A plane with a bad day (issue 3, "Bad input"). What cannot be believed is no drift.

use trueup_model::intent::{Install, Scope};
use trueup_model::{Action, Fault, Observed};
use trueup_planes::Plane;
use trueup_simulators::*;

use crate::rig::{Rig, TENANT, check, key, start, target};

fn app(n: usize) -> String {
    app_id(TENANT, n)
}

fn group(n: usize) -> Scope {
    Scope::Group(group_id(n))
}

fn assign(n: usize, to: Scope) -> Action {
    let (include, install) = ([to].into(), Install::Required);
    Action::Assign { app: app(n), install, include, exclude: Default::default(), remove: Default::default() }
}

impl Rig {
    fn happens(&self, what: Mischief) {
        self.sim.mischief(&what).unwrap();
    }

    /// All thirty applications, after what was known is too old to serve.
    async fn sweep(&self) -> Vec<Result<Observed, Fault>> {
        self.pass(4);
        let all: Vec<_> = (0..30).map(check).collect();
        self.observe(&all).await
    }

    /// A sweep that finds everything in order.
    async fn fine(&self) {
        for seen in self.sweep().await {
            let seen = seen.unwrap();
            assert_eq!((seen.assignments.unwrap().here.len(), seen.compliance.unwrap().devices), (1, 4));
        }
    }

    /// A sweep that is not believed, with these words.
    async fn not_believed(&self, words: &str) {
        for answer in self.sweep().await {
            let fault = answer.unwrap_err();
            assert!(matches!(fault, Fault::Transient { .. }) && fault.to_string().contains(words), "{fault}");
        }
    }
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_a_sweep_say_where_and_what_to_do() {
    let rig = Rig::new().await;
    rig.look(1).await.unwrap();
    rig.sim.rotate_secret();
    let fault = rig.look(2).await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }), "{text}");
    for word in ["connection 'c'", "AADSTS7000215", "check client_id, client_secret", "has not expired"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains(&client_secret(TENANT)) && !text.contains("sim."), "a secret: {text}");
    assert!(rig.look(1).await.is_ok(), "what is known still serves");
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_list_is_not_noticed() {
    let rig = Rig::new().await;
    let once = Planned { times: Some(1), only: Some("mobileApps?".into()), ..Trouble::Unauthorized.into() };
    rig.sim.trouble(once);
    rig.fine().await;
    assert_eq!(rig.sim.counts().tokens, 2);
}

#[tokio::test]
async fn a_clock_of_tomorrow_is_no_check_in() {
    let rig = Rig::new().await;
    rig.happens(Mischief::ClockAhead { app: app(1), devices: 1, seconds: 86_400 });
    rig.happens(Mischief::ClockAhead { app: app(3), devices: 4, seconds: 86_400 });
    let one = rig.look(1).await.unwrap();
    let reported = one.versions.unwrap()[0].reported.unwrap();
    assert!(reported <= start(), "the others tell when: {reported}");
    let all = rig.look(3).await.unwrap();
    assert_eq!((all.versions.unwrap()[0].reported, all.compliance.unwrap().reported), (None, None));
}

#[tokio::test]
async fn a_group_deleted_under_an_assignment_of_others_stays_as_it_is() {
    let rig = Rig::new().await;
    rig.happens(Mischief::AddGroup { app: app(1), group: group_id(77) });
    rig.happens(Mischief::DeleteGroup { group: group_id(77) });
    assert!(rig.plane.apply(&target(1), &assign(1, group(5)), &key()).await.unwrap().changed);
    let seen = rig.look(1).await.unwrap().assignments.unwrap();
    let scopes: Vec<_> = seen.here.into_iter().map(|a| a.scope).collect();
    assert!([1, 5, 77].iter().all(|n| scopes.contains(&group(*n))) && scopes.len() == 3, "{scopes:?}");
}

#[tokio::test]
async fn a_deleted_group_of_ours_is_named() {
    let rig = Rig::new().await;
    rig.happens(Mischief::DeleteGroup { group: group_id(5) });
    let fault = rig.plane.apply(&target(1), &assign(1, group(5)), &key()).await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }) && text.contains("answered 400"), "{text}");
    assert!(text.contains(&format!("check that these groups exist: {}", group_id(5))), "{text}");
    assert!(rig.sim.writes().is_empty());
}

#[tokio::test]
async fn an_empty_fleet_is_not_believed() {
    for (list, words) in [
        (List::Applications, "an empty fleet: 0 applications, 60 at 2026-11-21 10:04:00Z; not believed"),
        (
            List::DetectedApps,
            "an empty fleet: 0 detected applications, 30 at 2026-11-21 10:04:00Z; not believed",
        ),
        (List::ManagedDevices, "an empty fleet: 0 devices, 40 at 2026-11-21 10:08:00Z; not believed"),
    ] {
        let rig = Rig::new().await;
        rig.fine().await;
        if list == List::ManagedDevices {
            rig.fine().await;
        }
        rig.happens(Mischief::Hide { list, keep: 0 });
        rig.not_believed(words).await;
        let asked = rig.sim.counts().requests;
        assert!(rig.look(1).await.is_err());
        assert_eq!(rig.sim.counts().requests, asked, "{list:?}: it is not asked again at once");
        rig.not_believed(words).await;
        rig.pass(60);
        rig.not_believed(words).await;
        rig.happens(Mischief::Show);
        rig.fine().await;
    }
}

#[tokio::test]
async fn an_empty_fleet_at_the_first_look() {
    let rig = Rig::new().await;
    rig.happens(Mischief::Hide { list: List::Applications, keep: 0 });
    rig.not_believed("0 applications, although intents name some").await;
    let rig = Rig::new().await;
    rig.happens(Mischief::Hide { list: List::DetectedApps, keep: 0 });
    for seen in rig.sweep().await {
        let seen = seen.unwrap();
        assert_eq!(
            (seen.versions.unwrap().len(), seen.compliance.unwrap().devices),
            (0, 0),
            "nothing reported"
        );
    }
}

#[tokio::test]
async fn most_of_a_fleet_is_gone_when_a_second_look_says_the_same() {
    let rig = Rig::new().await;
    rig.fine().await;
    rig.happens(Mischief::Hide { list: List::Applications, keep: 20 });
    rig.not_believed("a much smaller fleet: 20 applications, 60 at").await;
    let answers = rig.sweep().await;
    let gone = |a: &Result<_, _>| matches!(a, Err(Fault::Permanent { what }) if what.contains("there is no mobileApp"));
    assert_eq!(
        (answers.iter().filter(|a| a.is_ok()).count(), answers.iter().filter(|a| gone(a)).count()),
        (10, 20)
    );
    rig.happens(Mischief::Show);
    rig.fine().await;
}

#[tokio::test]
async fn no_assignment_anywhere_is_doubted_first() {
    let rig = Rig::new().await;
    rig.fine().await;
    rig.happens(Mischief::Hide { list: List::Assignments, keep: 0 });
    rig.not_believed("0 assignments, 30 at").await;
    for seen in rig.sweep().await {
        assert_eq!(seen.unwrap().assignments.unwrap().here, [], "the second look says the same");
    }
}

#[tokio::test]
async fn a_list_that_is_not_expanded_is_not_a_list_without_assignments() {
    let rig = Rig::new().await;
    rig.happens(Mischief::Hide { list: List::Expansion, keep: 0 });
    rig.fine().await;
}

#[tokio::test]
async fn a_page_of_50_mb_is_given_up() {
    let rig = Rig::new().await;
    let only = Some("mobileApps?".into());
    rig.sim.trouble(Planned { times: None, only, trouble: Trouble::Huge(50 << 20) });
    for answer in rig.sweep().await {
        let text = answer.unwrap_err().to_string();
        assert!(
            text.contains("GET /deviceAppManagement/mobileApps") && text.contains("16777216 bytes"),
            "{text}"
        );
    }
    let taken = rig.sim.huge_bytes();
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    rig.sim.no_more_trouble();
    rig.fine().await;
}

#[tokio::test]
async fn pages_that_lead_back_are_given_up() {
    let rig = Rig::new().await;
    for list in ["mobileApps?", "detectedApps?"] {
        rig.sim.trouble(Planned { times: None, only: Some(list.into()), trouble: Trouble::LoopingNextLink });
        let before = rig.sim.counts().requests;
        for answer in rig.sweep().await {
            let text = answer.unwrap_err().to_string();
            assert!(text.contains("leads back"), "{text}");
        }
        assert!(rig.sim.counts().requests - before < 20);
        rig.sim.no_more_trouble();
    }
}

#[tokio::test]
async fn unknown_members_of_enumerations_are_not_guessed() {
    let rig = Rig::new().await;
    rig.happens(Mischief::StrangeCompliance { app: app(1), devices: 2 });
    rig.happens(Mischief::StrangeIntent { app: app(2) });
    let answers = rig.sweep().await;
    let strange = answers[1].as_ref().unwrap().compliance.as_ref().unwrap();
    assert_eq!((strange.devices, strange.noncompliant, strange.unknown), (4, 0, 2));
    let fault = answers[2].as_ref().unwrap_err().to_string();
    assert!(fault.contains("unknown intent 'requiredLater'") && fault.contains(&app(2)), "{fault}");
    assert!(answers[3..].iter().all(Result::is_ok), "one is not another's trouble");
}

#[tokio::test]
async fn assignments_of_an_unknown_kind_are_written_as_they_came() {
    let rig = Rig::new().await;
    rig.happens(Mischief::StrangeTarget { app: app(1) });
    let strange = rig.sim.assigned(&app(1)).remove(1)["target"].clone();
    assert!(rig.plane.apply(&target(1), &assign(1, group(5)), &key()).await.unwrap().changed);
    let after = rig.sim.assigned(&app(1));
    assert_eq!(after.len(), 3);
    assert!(after.iter().any(|a| a["target"] == strange && a["intent"] == "available"), "{after:#?}");
}
