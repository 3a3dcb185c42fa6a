use super::*;

fn who(grants: &[&str]) -> Principal {
    Principal::new(Kind::Key, "k1", grants.iter().map(|g| g.parse().unwrap()).collect(), None)
}

fn with(extra: &str) -> Result<Policies, String> {
    Policies::of(&[("policies.cedar".into(), SHIPPED.into()), ("extra.cedar".into(), extra.into())])
}

/// What each role permits in its tenant; fleet permissions where the role is everywhere.
#[test]
fn roles_permit_what_the_documentation_says() {
    use Permission::*;
    let table = [
        (Role::Viewer, vec![Read], vec![ReadFleet]),
        (Role::Operator, vec![Read, WriteIntents, Reconcile], vec![ReadFleet, Operate]),
        (Role::Approver, vec![Read, Decide, Rearm], vec![ReadFleet]),
        (
            Role::Admin,
            vec![Read, WriteIntents, Reconcile, Decide, Rearm, Administer],
            vec![ReadFleet, Operate],
        ),
    ];
    let policies = Policies::shipped();
    for (role, in_tenant, in_fleet) in table {
        let one = who(&[&format!("acme:{role}")]);
        let all = who(&[&format!("*:{role}")]);
        for permission in Permission::ALL {
            let permitted = |w: &Principal, t| policies.decide(w, permission, t) == Verdict::Permitted;
            let fleet = permission.is_of_fleet();
            let expected = in_tenant.contains(&permission) || in_fleet.contains(&permission);
            if !fleet {
                assert_eq!(permitted(&one, Some("acme")), expected, "acme:{role} {permission} in acme");
            }
            assert!(!permitted(&one, Some("globex")), "acme:{role} {permission} in globex");
            assert!(!permitted(&one, None), "acme:{role} {permission} in the fleet");
            assert_eq!(permitted(&all, Some("globex")), expected, "*:{role} {permission} in globex");
            assert_eq!(permitted(&all, None), expected, "*:{role} {permission} in the fleet");
        }
    }
}

#[test]
fn nobody_is_permitted_nothing_and_local_everything() {
    let policies = Policies::shipped();
    for permission in Permission::ALL {
        for tenant in [None, Some("acme")] {
            assert_eq!(policies.decide(&who(&[]), permission, tenant), Verdict::NotPermitted);
            assert_eq!(policies.decide(&Principal::local(), permission, tenant), Verdict::Permitted);
        }
    }
    // A tenant cannot be called like the fleet.
    assert_eq!(policies.decide(&who(&["acme:admin"]), Permission::Read, Some("*")), Verdict::NotPermitted);
}

#[test]
fn denials_name_the_roles_that_would_do() {
    let policies = Policies::shipped();
    assert_eq!(policies.roles_with(Permission::WriteIntents, Some("acme")), [Role::Operator, Role::Admin]);
    assert_eq!(policies.roles_with(Permission::Decide, Some("acme")), [Role::Approver, Role::Admin]);
    assert_eq!(policies.roles_with(Permission::Operate, None), [Role::Operator, Role::Admin]);
}

#[test]
fn what_operators_add_can_permit_and_a_forbid_wins() {
    let policies = with(
        r#"
        @id("ci applies everywhere")
        permit (principal == Caller::"key:k1", action == Action::"write-intents", resource);
        @id("prod is frozen")
        forbid (principal, action == Action::"write-intents", resource == Tenant::"prod");
        "#,
    )
    .unwrap();
    let write =
        |grants: &[&str], tenant| policies.decide(&who(grants), Permission::WriteIntents, Some(tenant));
    assert_eq!(write(&[], "acme"), Verdict::Permitted);
    assert_eq!(write(&["*:admin"], "prod"), Verdict::Forbidden(vec!["prod is frozen".into()]));
    assert!(policies.roles_with(Permission::WriteIntents, Some("prod")).is_empty());
}

#[test]
fn flaws_stop_the_start_with_file_and_line() {
    let table = [
        ("permit (principal, action, resource", "extra.cedar:1:"),
        ("\n\npermit (principal, action == Action::\"raed\", resource);", "extra.cedar:3:"),
        ("\npermit (principal, action, resource)\nwhen { principal.colour == \"red\" };", "extra.cedar:3:"),
        ("permit (principal == ?principal, action, resource);", "extra.cedar: templates"),
        ("@id(\"viewers read\")\nforbid (principal, action, resource);", "extra.cedar: "),
    ];
    for (extra, expected) in table {
        let flaw = with(extra).unwrap_err();
        assert!(flaw.starts_with(expected), "{extra}: {flaw}");
    }
}

/// Overflow passes the check against the schema; it must not make a forbid vanish.
#[test]
fn a_policy_that_fails_denies() {
    let policies = with(
        r#"forbid (principal, action == Action::"read", resource)
           when { 9223372036854775807 + 1 == 3 };"#,
    )
    .unwrap();
    let verdict = policies.decide(&who(&["*:admin"]), Permission::Read, Some("acme"));
    assert!(matches!(verdict, Verdict::Forbidden(_)), "{verdict:?}");
}

#[test]
fn folders_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = Policies::load(Some(dir.path())).unwrap_err();
    assert!(empty.contains("holds no *.cedar file"), "{empty}");
    std::fs::write(dir.path().join("a.cedar"), "forbid (principal, action, resource);").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a policy").unwrap();
    let policies = Policies::load(Some(dir.path())).unwrap();
    let verdict = policies.decide(&Principal::local(), Permission::Read, None);
    assert!(matches!(verdict, Verdict::Forbidden(ids) if ids[0].contains("a.cedar")));
    assert!(Policies::load(Some(&dir.path().join("nowhere"))).is_err());
}

#[test]
fn the_example_in_deploy_is_sound() {
    let policies = with(include_str!("../../../../../deploy/serve/policies/prod.cedar")).unwrap();
    let write = |grants: &[&str]| policies.decide(&who(grants), Permission::WriteIntents, Some("prod"));
    assert_eq!(write(&["*:admin"]), Verdict::Permitted);
    assert!(matches!(write(&["prod:admin"]), Verdict::Forbidden(_)));
}
