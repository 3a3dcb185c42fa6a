//! API keys.

use trueup_engine::credentials::{Credential, Grant, KeyChange, Role, SecretHash};
use trueup_engine::store::Store;
use trueup_model::{Duration, EventKind, Time};

use super::Fresh;
use super::given::{P, by, t};

fn made(id: &str, grants: &[&str]) -> Credential {
    Credential {
        id: id.into(),
        label: format!("for {id}"),
        grants: grants.iter().map(|g| g.parse().unwrap()).collect(),
        created_at: t(0),
        created_by: "tester".into(),
        expires_at: Some(t(1000)),
        rotated_at: None,
        revoked_at: None,
        secret: SecretHash([7; 32]),
        previous: None,
        last_used_at: None,
    }
}

async fn create(store: &dyn Store, credential: &Credential) -> bool {
    store.credentials().create_credential(credential, &by("tester")).await.unwrap()
}

async fn find(store: &dyn Store, id: &str) -> Option<Credential> {
    store.credentials().credential(id).await.unwrap()
}

async fn change(store: &dyn Store, id: &str, change: KeyChange, now: Time) -> Option<Credential> {
    let by = trueup_engine::store::By { now, ..by("tester") };
    store.credentials().change_credential(id, &change, &by).await.unwrap()
}

fn rotation(byte: u8, grace_until: Option<Time>) -> KeyChange {
    KeyChange::Rotate { secret: SecretHash([byte; 32]), grace_until, expires_at: Some(t(2000)) }
}

pub(crate) async fn a_key_is_kept_as_it_was_made(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let (a, b) = (made("a1", &["acme:viewer", "*:admin"]), made("b2", &["globex:operator"]));
    assert!(create(&*store, &b).await && create(&*store, &a).await);
    assert_eq!(find(&*store, "a1").await, Some(a.clone()));
    assert_eq!(find(&*store, "c3").await, None);
    assert_eq!(store.credentials().all_credentials().await.unwrap(), [a, b]);
}

pub(crate) async fn an_id_is_taken_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    assert!(create(&*store, &made("a1", &["acme:viewer"])).await);
    assert!(!create(&*store, &made("a1", &["*:admin"])).await);
    let kept = find(&*store, "a1").await.unwrap();
    assert_eq!(kept.grants, ["acme:viewer".parse::<Grant>().unwrap()]);
    let events = store.events(&Default::default(), &Default::default(), 10).await.unwrap();
    assert_eq!(events.len(), 1, "what was refused leaves no event");
}

pub(crate) async fn rotation_keeps_the_secret_before_for_a_while(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    create(&*store, &made("a1", &["acme:viewer"])).await;
    let once = change(&*store, "a1", rotation(8, Some(t(60))), t(10)).await.unwrap();
    assert_eq!(once.secret, SecretHash([8; 32]));
    assert_eq!(once.previous, Some((SecretHash([7; 32]), t(60))));
    assert_eq!((once.rotated_at, once.expires_at), (Some(t(10)), Some(t(2000))));
    assert_eq!(find(&*store, "a1").await, Some(once));
    let twice = change(&*store, "a1", rotation(9, None), t(20)).await.unwrap();
    assert_eq!(twice.previous, None, "without grace the one before ends at once");
}

pub(crate) async fn what_has_ended_stays_ended(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    create(&*store, &made("a1", &["acme:viewer"])).await;
    create(&*store, &made("b2", &["acme:viewer"])).await;
    change(&*store, "a1", rotation(8, Some(t(500))), t(10)).await.unwrap();
    let revoked = change(&*store, "a1", KeyChange::Revoke, t(20)).await.unwrap();
    assert_eq!((revoked.revoked_at, revoked.previous), (Some(t(20)), None));
    for (id, now) in [("a1", t(30)), ("b2", t(1000)), ("c3", t(0))] {
        assert_eq!(change(&*store, id, rotation(9, None), now).await, None, "{id}");
        assert_eq!(change(&*store, id, KeyChange::Revoke, now).await, None, "{id}");
    }
}

pub(crate) async fn each_change_leaves_an_event_without_the_secret(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    create(&*store, &made("a1", &["acme:viewer", "acme:operator"])).await;
    change(&*store, "a1", rotation(8, Some(t(60))), t(10)).await.unwrap();
    change(&*store, "a1", KeyChange::Revoke, t(20)).await.unwrap();
    create(&*store, &made("b2", &["acme:viewer", "globex:viewer"])).await;
    let events = store.events(&Default::default(), &Default::default(), 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|(p, e)| (*p, e.event_type, e.tenant.as_str())).collect();
    let expected = [
        (P, EventKind::KeyCreated, "acme"),
        (P, EventKind::KeyRotated, "acme"),
        (P, EventKind::KeyRevoked, "acme"),
        // It concerns more than one tenant: the fleet.
        (P, EventKind::KeyCreated, ""),
    ];
    assert_eq!(kinds, expected);
    for (_, event) in &events {
        assert_eq!(event.actor, by("tester").actor);
        let about = event.event_data.as_object().unwrap();
        assert!(about["key"].is_string() && !about.contains_key("secret") && !about.contains_key("previous"));
    }
}

pub(crate) async fn the_last_use_is_remembered(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    create(&*store, &made("a1", &["acme:viewer"])).await;
    store.credentials().credential_used("a1", t(5)).await.unwrap();
    change(&*store, "a1", rotation(8, None), t(10)).await.unwrap();
    assert_eq!(find(&*store, "a1").await.unwrap().last_used_at, Some(t(5)));
    assert_eq!(store.credentials().all_credentials().await.unwrap()[0].last_used_at, Some(t(5)));
}

pub(crate) async fn what_ended_long_ago_is_forgotten_when_another_is_made(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    create(&*store, &made("a1", &["acme:viewer"])).await;
    store.credentials().credential_used("a1", t(5)).await.unwrap();
    let later = t(1000) + Duration::days(31);
    let by = trueup_engine::store::By { now: later, ..by("tester") };
    let b = Credential { expires_at: None, ..made("b2", &["acme:viewer"]) };
    assert!(store.credentials().create_credential(&b, &by).await.unwrap());
    assert_eq!(store.credentials().all_credentials().await.unwrap(), [b]);
}

pub(crate) async fn malformed_keys_are_refused(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let fine = made("a1", &["acme:viewer"]);
    let viewer = Grant { tenant: Some("acme".into()), role: Role::Viewer };
    for wrong in [
        Credential { id: String::new(), ..fine.clone() },
        Credential { id: "a b".into(), ..fine.clone() },
        Credential { label: "x".repeat(101), ..fine.clone() },
        Credential { grants: vec![], ..fine.clone() },
        Credential { grants: vec![viewer; 65], ..fine.clone() },
    ] {
        assert!(store.credentials().create_credential(&wrong, &by("tester")).await.is_err(), "{wrong:?}");
    }
    assert!(store.credentials().all_credentials().await.unwrap().is_empty());
}
