//! Tables of good and bad manifests.

use std::path::PathBuf;

use super::*;

const GOOD: &str = "\
id: firefox
tenant: acme
plane: intune
target: {app_id: 0177548a-548a-0177-8a54-77018a547701, app_name: Firefox}
desired:
  version: 1.10
  assignment:
    include: [{group: lab}, all_users]
criticality: high
ring: lab
";

/// The manifests of one file with this name.
fn load_text(name: &str, text: &[u8]) -> Result<Vec<Loaded>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let short = |flaw: Flaw| flaw.to_string().replace(&format!("{}/", folder.path().display()), "");
    load(&[path]).map_err(|flaws| flaws.into_iter().map(short).collect())
}

fn names(loaded: &[Loaded]) -> Vec<String> {
    loaded.iter().map(|l| l.intent.key.to_string()).collect()
}

#[test]
fn good_manifests_in_every_form() {
    let json = r#"{"id":"b","tenant":"acme","plane":"ansible","target":{"playbook":"site.yml","inventory":"hosts"},
        "desired":{"compliant":true},"criticality":"low","ring":"global"}"#;
    let line = json.replace('\n', " ");
    let two = format!("# a comment\n---\n{GOOD}---\n---\n{}", GOOD.replace("firefox", "other"));
    let table: [(&str, String, &[&str]); 7] = [
        ("a.yaml", GOOD.into(), &["acme/firefox"]),
        ("a.yml", two, &["acme/firefox", "acme/other"]),
        ("a.json", json.into(), &["acme/b"]),
        ("a.json", format!("[{json}]"), &["acme/b"]),
        ("a.ndjson", format!("\n{line}\n{}\n", line.replace("\"b\"", "\"c\"")), &["acme/b", "acme/c"]),
        ("noextension", GOOD.into(), &["acme/firefox"]),
        ("noextension", format!("{line}\n"), &["acme/b"]),
    ];
    for (name, text, expected) in table {
        let loaded = load_text(name, text.as_bytes()).unwrap();
        assert_eq!(names(&loaded), expected, "{name}: {text}");
    }
    let loaded = load_text("a.yaml", GOOD.as_bytes()).unwrap();
    assert_eq!(
        loaded[0].intent.desired.version.as_deref(),
        Some("1.10"),
        "an unquoted version stays what it looks like"
    );
}

#[test]
fn bad_manifests_name_file_document_line_and_field() {
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let second = |bad: &str| format!("{}---\n{bad}", GOOD.replace("firefox", "one"));
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a.yaml", with("  version", "  verson").into(), "a.yaml:6 (document 1): unknown field `verson`"),
        ("a.yaml", with("  version", "  verson").into(), "did you mean 'version'?"),
        (
            "a.yaml",
            with("criticality: high", "criticality: hihg").into(),
            "a.yaml:9 (document 1): criticality",
        ),
        ("a.yaml", with("criticality: high", "criticality: hihg").into(), "did you mean 'high'?"),
        (
            "a.yaml",
            with("plane: intune", "plane: intun").into(),
            "a.yaml:3 (document 1): plane: unknown plane 'intun'",
        ),
        ("a.yaml", with("plane: intune", "plane: intun").into(), "did you mean 'intune'?"),
        (
            "a.yaml",
            with("plane: intune", "plane: mainframe").into(),
            "(known: intune, jamf, configmgr, ansible)",
        ),
        ("a.yaml", second(&with("0177548a", "x")).into(), "a.yaml:15 (document 2): target: 'x-548a-0177"),
        ("a.yaml", second(&with("id: firefox", "id: Fire Fox")).into(), "a.yaml:12 (document 2): id"),
        ("a.yaml", with("id: firefox\n", "").into(), "missing field `id`"),
        ("a.yaml", with("ring: lab", "ring: lab\nring: pilot").into(), "duplicate"),
        ("a.yaml", with("{group: lab}, all_users", "").into(), "desired.assignment.include: empty"),
        ("a.yaml", b"id: a\n tenant: [\n".to_vec(), "a.yaml:2 (document 1)"),
        ("a.yaml", b"just words".to_vec(), "a.yaml:1 (document 1)"),
        (
            "a.yaml",
            second(GOOD).replace("one", "firefox").into(),
            "a.yaml:12 (document 2): id: acme/firefox stands at",
        ),
        ("a.yaml", b"".to_vec(), "a.yaml: empty; a manifest has id, tenant"),
        ("a.yaml", b" \n\n".to_vec(), "a.yaml: empty"),
        ("a.yaml", b"# only words\n---\n".to_vec(), "a.yaml: no manifest in it"),
        ("a.yaml", b"id: a\ntenant: \xff\xfe\n".to_vec(), "a.yaml:2: not UTF-8"),
        ("a.json", b"{\n \"id\": }".to_vec(), "a.json:2: not JSON"),
        ("a.json", b"[1]".to_vec(), "a.json (document 1): expected a manifest (an object), got a number"),
        ("a.ndjson", b"\n{\"id\": 7}".to_vec(), "a.ndjson:2 (document 1): id: invalid type"),
        ("a.yaml", vec![b'#'; MAX_FILE as usize + 1], "a.yaml: larger than 8 MiB"),
        ("a.yaml", vec![b' '; 10 * 1024 * 1024], "a.yaml: larger than 8 MiB"),
        ("a.yaml", [b"target: ".to_vec(), vec![b'['; 50_000]].concat(), "too deep"),
        ("a.json", vec![b'['; 50_000], "recursion limit"),
    ];
    for (name, text, expected) in table {
        let flaws = load_text(name, &text).map(|l| names(&l)).unwrap_err();
        let shown = String::from_utf8_lossy(&text[..text.len().min(400)]).into_owned();
        assert!(flaws.iter().any(|f| f.contains(expected)), "{expected:?} is not in {flaws:?} for\n{shown}");
    }
}

#[test]
fn all_flaws_are_told_at_once() {
    let bad = GOOD.replace("plane: intune", "plane: nope");
    let text = [bad.clone(), GOOD.replace("firefox", "fine"), bad.replace("firefox", "b")].join("---\n");
    let flaws = load_text("a.yaml", text.as_bytes()).map(|l| names(&l)).unwrap_err();
    assert_eq!(flaws.len(), 2, "{flaws:?}");
    assert!(flaws[1].starts_with("a.yaml:25 (document 3): plane"), "{flaws:?}");
}

#[test]
fn a_yaml_bomb_is_stopped() {
    let mut lines = vec!["    a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]".to_owned()];
    for (name, before) in ('b'..='k').zip('a'..) {
        lines.push(format!("    {name}: &{name} [{}]", vec![format!("*{before}"); 9].join(", ")));
    }
    let text = format!("id: a\ntenant: t\nplane: intune\ntarget:\n  x:\n{}\n", lines.join("\n"));
    let flaws = load_text("a.yaml", text.as_bytes()).map(|l| names(&l)).unwrap_err();
    assert!(flaws[0].contains("too much by its aliases"), "{flaws:?}");
}

#[test]
fn folders_are_read_in_order_and_ids_are_unique_across_files() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, id: &str| std::fs::write(folder.path().join(name), GOOD.replace("firefox", id)).unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    write("b.yaml", "second");
    write("a.yml", "first");
    write("sub/c.yaml", "third");
    write("ignored.txt", "ignored");
    write(".hidden.yaml", "hidden");
    let paths: &[PathBuf] = &[folder.path().into()];
    assert_eq!(names(&load(paths).unwrap()), ["acme/first", "acme/second", "acme/third"]);

    write("sub/d.yaml", "first");
    let flaws = load(paths).unwrap_err();
    let text = flaws[0].to_string();
    assert!(text.contains("sub/d.yaml:1") && text.contains("a.yml:1"), "both places are named: {text}");

    let none = tempfile::tempdir().unwrap();
    assert!(load(&[none.path().into()]).unwrap_err()[0].what.contains("no manifest in this folder"));
    assert!(load(&[none.path().join("missing.yaml")]).unwrap_err()[0].what.contains("cannot be read"));
}
