//! The ansible plane: with the real program on a real folder, and with programs that misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::target::AnsibleTarget;
use trueup_model::{Action, EffectKey, Fault, IntentKey, JobId, Observed, RunId, SystemClock, Target};
use trueup_planes::Plane;
use trueup_planes::ansible::{Ansible, AnsibleConfig};
use trueup_planes::{FixedSecrets, HostSecrets, Secret};

/// The real program: `TRUEUP_ANSIBLE_PLAYBOOK`, else PATH, else the workspace's `.venv`.
fn ansible_playbook() -> PathBuf {
    if let Some(path) = std::env::var_os("TRUEUP_ANSIBLE_PLAYBOOK") {
        return path.into();
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).chain([venv]).map(|d| d.join("ansible-playbook")).find(|p| p.is_file());
    found.expect("no ansible-playbook: run `make tools`, or set TRUEUP_ANSIBLE_PLAYBOOK")
}

struct Project(tempfile::TempDir);

impl Project {
    fn new(tasks: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let dir = project.path().display().to_string();
        // The interpreter that runs Ansible: which others are on this host is not this test's business.
        let vars = "[lab:vars]\nansible_connection=local\nansible_python_interpreter=\"{{ ansible_playbook_python }}\"\n";
        project.write("hosts.ini", &format!("[lab]\nweb1\nweb2\n{vars}"));
        let play = format!(
            "- name: lab\n  hosts: lab\n  gather_facts: false\n  vars:\n    dir: {dir}\n  tasks:\n{tasks}"
        );
        project.write("site.yml", &play);
        project
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
    fn plane(&self, program: &Path, seconds: u32) -> Ansible {
        let config: AnsibleConfig = serde_json::from_value(serde_json::json!({
            "name": "lab", "tenant": "contoso", "project": self.path(), "ansible_playbook": program,
            "timeout_seconds": seconds, "redact_env": ["TOKEN"],
        }))
        .unwrap();
        let secrets = FixedSecrets([("TOKEN".to_owned(), Secret::new("hunter2hunter2"))].into());
        Ansible::new(&config, Arc::new(SystemClock), &secrets).unwrap()
    }
    /// A program that stands in for ansible-playbook.
    fn script(&self, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join("fake");
        self.write("fake", &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn target(playbook: &str, limit: Option<&str>) -> Target {
    let limit = limit.map(str::to_owned);
    Target::Ansible(AnsibleTarget { playbook: playbook.into(), inventory: "hosts.ini".into(), limit })
}

async fn look(plane: &Ansible, target: &Target) -> Result<Observed, Fault> {
    let check = Check {
        intent: IntentKey::new("contoso", "i"),
        run: RunId::derive(&["r"]),
        target: target.clone(),
        newer_than: None,
    };
    plane.observe(&[check]).await.remove(0)
}

fn key() -> EffectKey {
    EffectKey::of(&JobId::derive(&["j"]))
}

const TASKS: &str = "
    - name: motd
      ansible.builtin.copy: { content: \"hello hunter2hunter2\\n\", dest: \"{{ dir }}/{{ inventory_hostname }}.motd\", mode: '0644' }
    - name: secret
      ansible.builtin.copy: { content: \"token=1\\n\", dest: \"{{ dir }}/{{ inventory_hostname }}.secret\", mode: '0600' }
      no_log: true
    - name: never
      ansible.builtin.copy: { content: x, dest: \"{{ dir }}/never\", mode: '0644' }
      when: false
";

#[tokio::test]
async fn a_real_folder_drifts_is_mended_and_is_clean() {
    let project = Project::new(TASKS);
    let plane = project.plane(&ansible_playbook(), 120);
    assert!(plane.probe().await.unwrap().starts_with("ansible-playbook [core 2."));

    let site = target("site.yml", None);
    let seen = look(&plane, &site).await.unwrap();
    let compliance = seen.compliance.unwrap();
    assert_eq!(
        (compliance.devices, compliance.noncompliant, compliance.unknown),
        (2, 2, 0),
        "{compliance:?}"
    );
    assert_eq!(compliance.failing, ["web1", "web2"]);
    assert_eq!(compliance.reported, Some(seen.at));
    let dir = project.path().display();
    assert!(compliance.details.contains(&format!("web1: motd: {dir}/web1.motd")), "{:?}", compliance.details);
    assert!(compliance.details.contains(&"web2: secret".to_owned()), "{:?}", compliance.details);
    assert!(!project.path().join("web1.motd").exists(), "looking changes nothing");

    let comply = Action::Comply { devices: Vec::new() };
    let receipt = plane.apply(&site, &comply, &key()).await.unwrap();
    assert_eq!((receipt.note.as_str(), receipt.changed), ("site.yml changed 2 of 2 hosts", true));
    assert!(project.path().join("web1.motd").exists());
    let again = plane.apply(&site, &comply, &key()).await.unwrap();
    assert!(!again.changed, "{again:?}");
    let clean = look(&plane, &site).await.unwrap().compliance.unwrap();
    assert_eq!((clean.noncompliant, clean.unknown, clean.details.len()), (0, 0, 0), "{clean:?}");

    project.write("web2.motd", "tampered with\n");
    let one = look(&plane, &site).await.unwrap().compliance.unwrap();
    assert_eq!(one.failing, ["web2"]);
    let other = look(&plane, &target("site.yml", Some("web1"))).await.unwrap().compliance.unwrap();
    assert_eq!((other.devices, other.noncompliant), (1, 0), "--limit");
}

#[tokio::test]
async fn what_cannot_be_checked_is_not_in_sync() {
    let project = Project::new(
        "
    - name: restart
      ansible.builtin.command: /bin/true
    - name: raw
      ansible.builtin.raw: /bin/true
    - name: hidden
      ansible.builtin.shell: echo token
      no_log: true
    - name: looped
      ansible.builtin.command: \"/bin/true {{ item }}\"
      loop: [1, 2]
    - name: conditional
      ansible.builtin.command: /bin/true
      when: false
    - name: conditional and hidden
      ansible.builtin.file: { path: \"{{ dir }}\", state: directory }
      when: false
      no_log: true
    - name: conditional loop
      ansible.builtin.command: /bin/true
      loop: [1, 2]
      when: item > 2
    - name: empty loop
      ansible.builtin.command: /bin/true
      loop: []
    - name: strict
      ansible.builtin.assert: { that: \"inventory_hostname != 'web2'\" }
",
    );
    let plane = project.plane(&ansible_playbook(), 120);
    let seen = look(&plane, &target("site.yml", None)).await.unwrap().compliance.unwrap();
    assert_eq!((seen.devices, seen.noncompliant, seen.unknown), (2, 0, 2), "{seen:?}");
    let unverified: Vec<&str> = seen
        .details
        .iter()
        .filter_map(|d| d.strip_prefix("web1: ")?.strip_suffix(": not verified, cannot run in check mode"))
        .collect();
    assert_eq!(unverified, ["restart", "raw", "hidden", "looped"]);
    assert!(seen.details.iter().any(|d| d.starts_with("web2: strict: failed: ")), "{seen:?}");
    let fault = plane
        .apply(&target("site.yml", None), &Action::Comply { devices: Vec::new() }, &key())
        .await
        .unwrap_err();
    assert!(matches!(&fault, Fault::Permanent { what } if what.contains("web2: strict: failed")), "{fault}");
}

#[tokio::test]
async fn errors_of_the_real_program_are_clear() {
    let project = Project::new(TASKS);
    project.write("bad.yml", "- hosts: lab\n  tasks:\n    - nosuchmodule: {}\n");
    project.write("notyaml.yml", "{{{");
    let plane = project.plane(&ansible_playbook(), 120);
    for (target, said) in [
        (target("bad.yml", None), "nosuchmodule"),
        (target("notyaml.yml", None), "without a report"),
        (target("site.yml", Some("nobody")), "no hosts to target"),
    ] {
        let fault = look(&plane, &target).await.unwrap_err();
        assert!(matches!(&fault, Fault::Permanent { what } if what.contains(said)), "{said}: {fault}");
    }
}

#[tokio::test]
async fn nothing_outside_the_project_is_run() {
    let project = Project::new(TASKS);
    std::os::unix::fs::symlink("/etc/passwd", project.path().join("link.yml")).unwrap();
    let ran = project.path().join("ran");
    let plane = project.plane(&project.script(&format!("touch {}", ran.display())), 10);
    for (playbook, limit) in [
        ("../x.yml", None),
        ("/etc/passwd", None),
        ("", None),
        ("missing.yml", None),
        ("link.yml", None),
        ("site.yml", Some("-e@/etc/passwd")),
        ("site.yml", Some("@hosts.ini")),
    ] {
        let fault = look(&plane, &target(playbook, limit)).await.unwrap_err();
        assert!(matches!(fault, Fault::Permanent { .. }), "{playbook}: {fault}");
    }
    assert!(!ran.exists());
}

#[tokio::test]
async fn programs_that_misbehave() {
    let project = Project::new(TASKS);
    let site = target("site.yml", None);
    for (script, kind, said) in [
        ("sleep 600 & wait", 't', "ended after 1 s"),
        ("echo garbage hunter2hunter2", 'p', "no report: 'garbage [redacted]'"),
        (
            "echo '[ERROR]: it hurts: hunter2hunter2' >&2; exit 4",
            'p',
            "ended with 4 and without a report: [ERROR]: it hurts: [redacted]",
        ),
        ("exit 1", 'p', "it said nothing"),
        ("kill -9 $$", 't', "ended by a signal"),
        ("head -c 9000000 /dev/zero", 'p', "more than 8388608 bytes"),
    ] {
        let plane = project.plane(&project.script(script), 1);
        let fault = look(&plane, &site).await.unwrap_err();
        let got = match &fault {
            Fault::Transient { .. } => 't',
            Fault::Permanent { .. } => 'p',
            _ => '?',
        };
        assert_eq!(got, kind, "{script}: {fault}");
        assert!(fault.to_string().contains(said), "{script}: {fault}");
    }
}

#[tokio::test]
async fn a_missing_program_says_what_to_do() {
    let project = Project::new(TASKS);
    let plane = project.plane(Path::new("ansible-playbook-that-is-not-there"), 10);
    for fault in
        [look(&plane, &target("site.yml", None)).await.unwrap_err(), plane.probe().await.unwrap_err()]
    {
        let text = fault.to_string();
        assert!(text.contains("install ansible-core or set `ansible_playbook`"), "{text}");
    }
    let gone = project.plane(&project.script("true"), 10);
    std::fs::remove_dir_all(project.path()).unwrap();
    let fault = look(&gone, &target("site.yml", None)).await.unwrap_err();
    assert!(fault.to_string().contains("correct `project`"), "{fault}");
    let config =
        serde_json::json!({"name": "x", "tenant": "t", "project": ".", "redact_env": ["TRUEUP_NOT_SET"]});
    let config: AnsibleConfig = serde_json::from_value(config).unwrap();
    assert!(Ansible::new(&config, Arc::new(SystemClock), &HostSecrets).is_err());
}

#[tokio::test]
async fn equal_checks_share_a_run() {
    let project = Project::new(TASKS);
    let stats = r#"{"trueup":1,"event":"stats","hosts":{"web1":{"ok":1}}}"#;
    let plane = project.plane(&project.script(&format!("echo x >> runs; echo '{stats}'")), 10);
    let check = |id: &str, limit| Check {
        intent: IntentKey::new("contoso", id),
        run: RunId::derive(&[id]),
        target: target("site.yml", limit),
        newer_than: None,
    };
    let answers = plane.observe(&[check("a", None), check("b", None), check("c", Some("web1"))]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(std::fs::read_to_string(project.path().join("runs")).unwrap().lines().count(), 2);
}
