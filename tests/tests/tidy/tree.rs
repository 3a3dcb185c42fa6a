//! The shape of the tree: what stands at the top, how long a file may be, and what no file may tell.

use std::collections::BTreeSet;

/// Longest Rust file, in lines.
const LINES: usize = 400;

/// The top level, next to dotfiles.
const HOUSE: [&str; 16] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "api",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "shared",
    "tests",
    "workers",
    "workflows",
];

/// Directories that exist on one machine only. In two pieces, so that this file does not hold them.
const MACHINE: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/ho", "me/"),
    concat!("/tmp/tar", "get-"),
    concat!("C:\\Us", "ers\\"),
];

/// Settings that tie a build to one registry host.
const REGISTRY: [&str; 4] = [
    concat!("replace-", "with"),
    concat!("index-", "url"),
    concat!("[source", "."),
    concat!("[registries", "."),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn too_long(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    (lines > LINES).then(|| format!("{file}: {lines} lines, at most {LINES}; split it")).into_iter().collect()
}

pub(crate) fn strangers(files: &[String]) -> Vec<String> {
    let top: BTreeSet<&str> = files.iter().filter_map(|f| f.split('/').next()).collect();
    let stranger = |name: &&str| !name.starts_with('.') && !HOUSE.contains(name);
    top.into_iter().filter(stranger).map(|name| format!("{name} does not belong at the top level")).collect()
}

/// Recorded answers of real systems are left as they are.
pub(crate) fn machine_traces(file: &str, text: &str) -> Vec<String> {
    if file.contains("/fixtures/") {
        return Vec::new();
    }
    let complain = |(at, line): (usize, &str)| -> Option<String> {
        let path = MACHINE.iter().find(|p| starts_a_path(line, p));
        let setting = REGISTRY.iter().find(|s| line.contains(*s));
        let source = line.strip_prefix("source = \"").filter(|s| !s.starts_with(CRATES_IO));
        let source = source.filter(|_| file == "Cargo.lock");
        let what = path.or(setting).copied().or(source)?;
        Some(format!("{file}:{}: `{what}` is known to one machine only", at + 1))
    };
    text.lines().enumerate().filter_map(complain).collect()
}

/// `path` at the beginning of an absolute path, not in the middle of another one or of a URL.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}~*]".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_401_lines_is_too_long() {
        assert!(too_long("a.rs", &"x\n".repeat(400)).is_empty());
        assert_eq!(too_long("a.rs", &"x\n".repeat(401)).len(), 1);
    }

    #[test]
    fn a_new_top_level_entry_is_seen() {
        let files = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert!(strangers(&files(&["Cargo.toml", "api/cli/a.rs", ".ci/run", ".gitignore"])).is_empty());
        for bad in ["src/main.rs", "docs/a.md", "TODO.md", "crates/x/y.rs"] {
            assert_eq!(strangers(&files(&["Cargo.toml", bad])).len(), 1, "{bad}");
        }
    }

    #[test]
    fn traces_of_a_machine_are_seen() {
        let bad = |file: &str, line: &str| !machine_traces(file, &format!("ok\n{line}\n")).is_empty();
        for path in MACHINE {
            assert!(bad("a.md", &format!("see {path}x")), "{path}");
            assert!(bad("a.md", &format!("{path}x")), "{path}");
            assert!(!bad("a.md", &format!("https://example.org{path}x")), "{path}");
            assert!(!bad("tests/fixtures/a.json", path), "{path}");
        }
        for setting in REGISTRY {
            assert!(bad(".cargo/config.toml", &format!("{setting}x = 1")), "{setting}");
        }
        assert!(bad("Cargo.lock", "source = \"registry+https://mirror.example/index\""));
        assert!(!bad("Cargo.lock", &format!("source = \"{CRATES_IO}\"")));
        assert!(!bad("a.md", "the house stands"));
    }
}
