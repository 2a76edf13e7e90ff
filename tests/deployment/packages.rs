//! What `deploy/package` builds: the assets, the scripts around installing, and the unit that they are for.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::read;

const SCRIPTS: [&str; 3] = ["deploy/debian/postinst", "deploy/debian/prerm", "deploy/debian/postrm"];

/// A key of `[package.metadata.deb]`, as cargo reads it.
fn of_metadata(key: &str) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    all.pointer(&format!("/packages/0/metadata/deb/{key}")).unwrap().clone()
}

/// From where, to where, and with which mode.
fn assets() -> Vec<[String; 3]> {
    let assets = of_metadata("assets");
    let assets = assets.as_array().unwrap().clone();
    assets.into_iter().map(|asset| serde_json::from_value(asset).unwrap()).collect()
}

/// The value of a key of the unit.
fn setting(name: &str) -> String {
    let unit = read("deploy/systemd/latchkey.service");
    let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("the unit has no {name}")).to_owned()
}

fn parses(shell: &str, script: &str) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    Command::new(shell).arg("-n").arg(script).status().unwrap().success()
}

#[test]
fn every_asset_is_in_the_repository_or_made_before_it_is_packed() {
    let script = read("deploy/package");
    let assets = assets();
    assert!(assets.len() > 8, "{assets:?}");
    for [source, target, mode] in assets {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&source);
        let is_made = match source.strip_prefix("target/packages/stage/") {
            // By its folder, or by its own name.
            Some(staged) => {
                let name = staged.strip_suffix("/*.1").unwrap_or(staged);
                script.contains(&format!("\"$stage/{name}\""))
            }
            None => source == "target/release/latchkey",
        };
        let is_there = match source.split_once("/*.") {
            Some((folder, extension)) => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
                folder.read_dir().is_ok_and(|mut entries| {
                    entries.any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == extension))
                })
            }
            None => path.is_file(),
        };
        assert!(is_made || is_there, "nothing makes {source}");
        assert!(!target.starts_with('/'), "{target} starts at the root already");
        assert_eq!(mode == "755", target == "usr/bin/", "{source} has mode {mode}");
    }
}

#[test]
fn no_configuration_is_shipped_that_a_start_would_take() {
    // What is in /etc is a conffile, which dpkg asks about and a purge removes.
    let in_etc: Vec<String> = assets()
        .into_iter()
        .map(|[_, target, _]| target)
        .filter(|target| target.starts_with("etc/"))
        .collect();
    assert_eq!(in_etc, ["etc/logrotate.d/latchkey"]);
    let scripts = SCRIPTS.map(read).join("\n");
    for starting in ["systemctl start", "systemctl enable", "restart latchkey\n", "latchkey init"] {
        assert!(!scripts.contains(starting), "{starting}");
    }
}

#[test]
fn the_scripts_around_installing_are_sound_shell() {
    assert_eq!(of_metadata("maintainer-scripts"), "deploy/debian");
    for script in SCRIPTS {
        let text = read(script);
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
        assert!(parses("sh", script), "{script}");
    }
    assert!(parses("bash", "deploy/package"));
    assert!(of_metadata("depends").as_str().unwrap().contains("passwd"), "useradd is in it");
}

#[test]
fn installing_makes_the_folders_that_the_unit_expects_and_a_purge_lets_go_of_empty_ones_only() {
    let [postinst, _, postrm] = SCRIPTS.map(read);
    let user = setting("User");
    assert_eq!(setting("Group"), user);
    assert!(postinst.contains(&format!("\nuser={user}\n")) && postrm.contains(&format!("\nuser={user}\n")));
    let states = setting("StateDirectory");
    let below = |root: &str, names: &str, mode: String| -> Vec<(String, String)> {
        names.split(' ').map(|name| (format!("{root}/{name}"), mode.clone())).collect()
    };
    let mut folders = below("/var/lib", &states, setting("StateDirectoryMode"));
    folders.extend(below("/var/log", &setting("LogsDirectory"), setting("LogsDirectoryMode")));
    for (folder, mode) in &folders {
        let made = format!("    folder {mode} \"$user\" \"$user\" {folder}\n");
        assert!(postinst.contains(&made), "postinst lacks {made}");
    }
    assert!(postinst.contains("    folder 0750 root \"$user\" /etc/latchkey\n"));
    let let_go = postrm.lines().find_map(|line| line.trim().strip_prefix("for folder in ")).unwrap();
    let let_go: Vec<&str> = let_go.trim_end_matches("; do").split(' ').collect();
    for (folder, _) in &folders {
        assert!(let_go.contains(&folder.as_str()), "postrm forgets {folder}");
    }
    assert!(postrm.contains("rmdir ") && !postrm.contains("rm -"), "a purge would take data");
}

#[test]
fn the_unit_of_a_package_calls_the_program_where_the_package_puts_it() {
    let unit = read("deploy/systemd/latchkey.service");
    let calls: Vec<&str> = unit.lines().filter(|line| line.starts_with("Exec")).collect();
    assert!(
        calls.iter().any(|line| line.starts_with("ExecStart=/usr/local/bin/latchkey serve ")),
        "{calls:?}"
    );
    // The folder of the tarball, which deploy/package replaces for the package.
    assert!(read("deploy/package").contains("s#/usr/local/bin/latchkey#/usr/bin/latchkey#g"));
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        let key = line.split_once('=').unwrap_or_else(|| panic!("{line} is no setting")).0;
        assert!(key.chars().all(|letter| letter.is_ascii_alphanumeric()), "{line}");
    }
    assert_eq!(setting("WantedBy"), "multi-user.target");
}

#[test]
fn what_the_page_for_operators_changes_in_the_configuration_is_there_to_be_changed() {
    let (page, config) = (read("docs/operations.md"), read("config/latchkey.yaml"));
    for (found, replaced) in [
        ("sqlite:data/latchkey.db", "sqlite:/var/lib/latchkey/latchkey.db"),
        ("^master_key_file: .*", "master_key_file: /var/lib/latchkey-key/master.key"),
        ("logs/access.jsonl", "/var/log/latchkey/access.jsonl"),
    ] {
        assert!(page.contains(&format!("s#{found}#{replaced}#")), "{found}");
        let literal = found.trim_start_matches('^').trim_end_matches(".*");
        let lines =
            config.lines().filter(|line| line.contains(literal) && !line.trim_start().starts_with('#'));
        assert_eq!(lines.count(), 1, "{found}");
    }
}
