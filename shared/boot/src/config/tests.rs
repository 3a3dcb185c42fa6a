use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sample {
    redis_url: String,
    workers: u16,
    ratio: f64,
    strict: bool,
    note: Option<String>,
    planes: Vec<String>,
    limits: BTreeMap<String, u32>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            redis_url: "redis://localhost".into(),
            workers: 4,
            ratio: 0.5,
            strict: false,
            note: None,
            planes: vec![],
            limits: BTreeMap::new(),
        }
    }
}

fn parse(text: &str, env: &[(&str, &str)]) -> Result<Sample, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let got = load_from(Some(file.path()), ENV_PREFIX, |name| {
        env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    });
    got.map_err(|e| e.to_string().replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn values_come_from_defaults_then_file_then_environment() {
    let d = Sample::default;
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Sample);
    let cases: Vec<Case> = vec![
        ("", &[], d()),
        ("# only a comment\n---\n", &[], d()),
        ("workers: 7\n", &[], Sample { workers: 7, ..d() }),
        ("workers: 7", &[("TRUEUP_WORKERS", "9")], Sample { workers: 9, ..d() }),
        ("", &[("TRUEUP_WORKERS", "9")], Sample { workers: 9, ..d() }),
        (
            "",
            &[("TRUEUP_STRICT", "true"), ("TRUEUP_RATIO", "-1.5")],
            Sample { strict: true, ratio: -1.5, ..d() },
        ),
        (
            "",
            &[("TRUEUP_REDIS_URL", "redis://u:p#&@h:1/0: x")],
            Sample { redis_url: "redis://u:p#&@h:1/0: x".into(), ..d() },
        ),
        ("", &[("TRUEUP_REDIS_URL", "12345")], Sample { redis_url: "12345".into(), ..d() }),
        ("", &[("TRUEUP_REDIS_URL", "true")], Sample { redis_url: "true".into(), ..d() }),
        ("", &[("TRUEUP_REDIS_URL", "")], Sample { redis_url: String::new(), ..d() }),
        ("", &[("TRUEUP_NOTE", "a\nworkers: 1")], Sample { note: Some("a\nworkers: 1".into()), ..d() }),
        (
            "note: |\n  text\n",
            &[("TRUEUP_WORKERS", "9")],
            Sample { note: Some("text\n".into()), workers: 9, ..d() },
        ),
        // Not a field: none of ours.
        ("", &[("TRUEUP_FIXTURES", "x"), ("OTHER_WORKERS", "1")], d()),
        ("{workers: 3}", &[], Sample { workers: 3, ..d() }),
    ];
    for (text, env, want) in cases {
        assert_eq!(parse(text, env), Ok(want), "{text:?} {env:?}");
    }
}

#[test]
fn errors_name_the_place_the_field_and_the_remedy() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("workers: 1\nredis_ulr: x\n", &[], &["FILE:2:", "redis_ulr", "redis_url"]),
        ("workers: lots\n", &[], &["FILE:1:", "Correct the setting `workers`"]),
        ("workers: 70000\n", &[], &["FILE:1:", "`workers`"]),
        ("workers: 1\nworkers: 2\n", &[], &["FILE:2:", "workers"]),
        ("workers: 1\nworkers: 2\n", &[("TRUEUP_WORKERS", "3")], &["FILE:2:", "workers"]),
        ("planes: x\n", &[], &["FILE:1:", "`planes`"]),
        ("planes: [\n", &[], &["FILE:"]),
        ("- 1\n", &[], &["FILE:1:", "The settings are: redis_url"]),
        ("limits:\n  a: b\n", &[], &["FILE:2:", "`limits`"]),
        ("strict: true\n", &[("TRUEUP_WORKERS", "many")], &["environment variable TRUEUP_WORKERS", "unset"]),
        ("", &[("TRUEUP_PLANES", "a,b")], &["environment variable TRUEUP_PLANES", "in the file"]),
        ("{workers: 3}", &[("TRUEUP_WORKERS", "4")], &["FILE:1:1", "per line"]),
        ("a: 1\n---\nb: 2\n", &[], &["FILE:"]),
    ];
    for (text, env, wanted) in cases {
        let error = parse(text, env).expect_err(text);
        for want in *wanted {
            assert!(error.contains(want), "{text:?} {env:?}: {error:?} lacks {want:?}");
        }
    }
}

#[test]
fn errors_show_no_values() {
    for (text, env) in [
        ("workers: hunter2\n", &[][..]),
        ("strict: hunter2\n", &[]),
        ("redis_url: 'hunter2\n", &[]),
        ("redis_url: [hunter2]\n", &[]),
        ("limits: hunter2\n", &[]),
        ("", &[("TRUEUP_WORKERS", "hunter2")]),
        ("", &[("TRUEUP_PLANES", "hunter2:x")]),
    ] {
        let error = parse(text, env).expect_err(text);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_missing_or_huge_or_binary_file_is_a_clear_error() {
    let gone =
        load_from::<Sample>(Some(Path::new("/nonexistent/trueup.yaml")), ENV_PREFIX, |_| None).unwrap_err();
    assert!(gone.to_string().contains("/nonexistent/trueup.yaml: cannot read"), "{gone}");
    let huge = parse(&"#".repeat(MAX_BYTES as usize + 1), &[]).unwrap_err();
    assert!(huge.contains("larger than 1048576 bytes"), "{huge}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"note: \xff\xfe").unwrap();
    let error = load_from::<Sample>(Some(file.path()), ENV_PREFIX, |_| None).unwrap_err();
    assert!(matches!(error, ConfigError::NotText { .. }), "{error}");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (from, to) in
        ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        bomb.push_str(&format!(
            "{from}: &{from} [*{to}, *{to}, *{to}, *{to}, *{to}, *{to}, *{to}, *{to}, *{to}]\n"
        ));
    }
    assert!(parse(&bomb, &[]).is_err());
}
