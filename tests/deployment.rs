//! `Dockerfile`, `.dockerignore`, `deploy/` and `docs/metrics.md` stay true to the package.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end in a panic; what it reads is this package"
)]

#[path = "deployment/forward_auth.rs"]
mod forward_auth;
#[path = "deployment/observing.rs"]
mod observing;
#[path = "deployment/packages.rs"]
mod packages;
#[path = "deployment/several_gateways.rs"]
mod several_gateways;
#[path = "deployment/yaml.rs"]
mod yaml;

use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_images_compiler_is_no_older_than_the_package_asks_for() {
    let version = |text: &str| -> (u32, u32) {
        let (major, minor) = text.split_once('.').unwrap();
        let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
        (major.parse().unwrap(), digits.parse().unwrap())
    };
    let dockerfile = read("Dockerfile");
    let used = dockerfile.lines().find_map(|line| line.strip_prefix("ARG BUILDER_IMAGE=rust:")).unwrap();
    assert!(version(used) >= version(env!("CARGO_PKG_RUST_VERSION")), "{used}");
    assert!(dockerfile.contains("cargo build --locked"));
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_tells_its_health() {
    let dockerfile = read("Dockerfile");
    let runtime = dockerfile.rsplit_once("\nFROM ").unwrap().1;
    for line in [
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        "VOLUME [\"/etc/latchkey\", \"/var/lib/latchkey\"]",
        "ENTRYPOINT [\"latchkey\"]",
        "CMD [\"serve\"]",
    ] {
        assert!(runtime.lines().any(|known| known == line), "{line}");
    }
    assert!(runtime.contains("HEALTHCHECK") && runtime.contains("[\"latchkey\", \"healthcheck\"]"));
}

#[test]
fn nothing_but_the_sources_goes_into_an_image() {
    let text = read(".dockerignore");
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let sources = [
        ".cargo/config.toml",
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "askama.toml",
        "templates",
        "assets",
        "config",
        "benches",
    ];
    let allowed: Vec<String> = sources.iter().map(|source| format!("!{source}")).collect();
    assert_eq!((rules[0], &rules[1..]), ("*", &allowed.iter().map(String::as_str).collect::<Vec<_>>()[..]));
    // Whatever the program is made of is within them.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![manifest.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap_or_default();
            // Tests are built elsewhere.
            let text = text.split("#[cfg(test)]").next().unwrap();
            for included in
                ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|verb| text.split(verb).skip(1))
            {
                let path = entry.parent().unwrap().join(included.split('"').next().unwrap());
                let path = path
                    .canonicalize()
                    .unwrap_or_else(|_| panic!("{} of {}", path.display(), entry.display()));
                let of_package = path.strip_prefix(manifest).unwrap();
                assert!(
                    sources.iter().any(|source| of_package.starts_with(source)),
                    "{}",
                    of_package.display()
                );
            }
        }
    }
}

#[test]
fn the_service_is_given_more_time_to_stop_than_draining_takes() {
    let unit = read("deploy/systemd/latchkey.service");
    let setting = |name: &str| -> u64 {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
        line.parse().unwrap()
    };
    let schema = latchkey::config::schema();
    let default = |limit: &str| {
        schema.pointer(&format!("/properties/limits/properties/{limit}/default")).unwrap().as_u64().unwrap()
    };
    assert!(setting("TimeoutStopSec") > default("drain_seconds"));
    // A connection has a socket of its own, and one to the upstream.
    assert!(setting("LimitNOFILE") > 2 * default("connections"));
    // A sign of life is due four times within it, and a thread shows itself five times a second.
    assert!(setting("WatchdogSec") >= 2);
    assert!(unit.lines().any(|line| line == "Type=notify"));
    for hardening in ["NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryDenyWriteExecute=yes"] {
        assert!(unit.lines().any(|line| line == hardening), "{hardening}");
    }
}

#[test]
fn systemds_sockets_are_at_addresses_of_the_annotated_configuration() {
    let sockets = read("deploy/systemd/latchkey.socket");
    let config = read("config/latchkey.yaml");
    let streams: Vec<&str> = sockets.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert!(!streams.is_empty());
    for address in streams {
        assert!(config.contains(&format!("address: {address}")), "{address}");
    }
}

#[test]
fn one_tls_stack_is_built_and_the_same_advisories_are_passed_over_everywhere() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = read(lock);
        for other in ["openssl", "openssl-sys", "native-tls", "boring", "s2n-tls"] {
            assert!(!lock.contains(&format!("name = \"{other}\"\n")), "{other}");
        }
    }
    let ids = |text: &str| -> Vec<String> {
        let parts = text.split("RUSTSEC-").skip(1);
        parts.map(|part| part.chars().take_while(|letter| *letter != '"').collect()).collect()
    };
    let passed_over = ids(&read("deny.toml"));
    assert!(!passed_over.is_empty());
    assert_eq!(passed_over, ids(&read(".cargo/audit.toml")));
}
