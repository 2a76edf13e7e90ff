//! Invariants over the source: who may name whom, and who may print, read the time and draw random bytes.
//!
//! `ARCHITECTURE.md` states them with their reasons. An exception stands here, with its reason, or does not exist.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end in a panic; what it looks at is the source of this package"
)]

#[path = "layers/source.rs"]
mod source;

use std::fs;

use source::{Module, files_below, load_modules, names_of, package_folder};

/// May be named although it stands below: the module, what it names, and why.
const LAYER_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Files that may use the process's own output besides `cli`: file, name, why.
const OUTPUT_EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "src/telemetry/logging.rs",
    "stderr",
    "the log for people goes to stderr; nothing else is written there",
)];

/// The modules of `lib.rs` from top to bottom.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(package_folder().join("src/lib.rs")).unwrap();
    let file = syn::parse_file(&text).unwrap();
    let modules = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.collect()
}

/// One line for each of `modules`' names that `is_forbidden`.
fn offences(modules: &[Module], is_forbidden: impl Fn(&Module, &[String]) -> bool) -> Vec<String> {
    let offences = modules.iter().flat_map(|module| {
        let named = module.inner_names().filter(|name| is_forbidden(module, name));
        named.map(|name| format!("{} names {}", module.file.display(), name.join("::"))).collect::<Vec<_>>()
    });
    offences.collect()
}

fn starts_with(name: &[String], module: &str) -> bool {
    let mut parts = name.iter().map(String::as_str);
    module.split("::").all(|wanted| parts.next() == Some(wanted))
}

#[test]
fn a_module_names_only_the_modules_above_it() {
    let layers = layers();
    assert!(layers.len() >= 10, "lib.rs lists {layers:?}");
    let place = |layer: &str| layers.iter().position(|known| known == layer);
    let offences = offences(&load_modules(), |module, name| {
        let (Some(own), Some(named)) =
            (module.layer().and_then(place), name.first().and_then(|name| place(name)))
        else {
            return false;
        };
        let excepted = LAYER_EXCEPTIONS
            .iter()
            .any(|(within, names, _)| module.is_within(within) && starts_with(name, names));
        named > own && !excepted
    });
    assert!(offences.is_empty(), "a lower layer names a higher one:\n{}", offences.join("\n"));
}

#[test]
fn the_gateways_name_neither_store_nor_crypto() {
    let offences = offences(&load_modules(), |module, name| {
        module.is_within("gateway") && (starts_with(name, "store") || starts_with(name, "crypto"))
    });
    assert!(offences.is_empty(), "a gateway reaches past `auth`:\n{}", offences.join("\n"));
}

#[test]
fn the_console_names_neither_store_nor_crypto() {
    let offences = offences(&load_modules(), |module, name| {
        module.is_within("console") && (starts_with(name, "store") || starts_with(name, "crypto"))
    });
    assert!(offences.is_empty(), "the console reaches past `auth`:\n{}", offences.join("\n"));
}

#[test]
fn the_gateways_do_not_name_each_other() {
    let offences = offences(&load_modules(), |module, name| {
        (module.is_within("gateway::http") && starts_with(name, "gateway::isproxy"))
            || (module.is_within("gateway::isproxy") && starts_with(name, "gateway::http"))
    });
    assert!(offences.is_empty(), "one gateway names the other:\n{}", offences.join("\n"));
}

#[test]
fn main_names_only_the_command_line() {
    let text = fs::read_to_string(package_folder().join("src/main.rs")).unwrap();
    let (names, _) = names_of(&text, &[]).unwrap();
    let inner: Vec<_> = names.iter().filter(|name| name[0] == "latchkey").collect();
    assert!(
        inner.iter().all(|name| name.get(1).is_some_and(|module| module == "cli")),
        "main names {inner:?}"
    );
}

#[test]
fn only_the_command_line_prints() {
    let printing = ["println", "print", "eprintln", "eprint", "dbg"];
    let mut offences = Vec::new();
    for module in load_modules().iter().filter(|module| !module.is_within("cli")) {
        let file = module.file.to_str().unwrap();
        let called = module.macros.iter().filter(|name| printing.contains(&name.as_str())).cloned();
        let named = module
            .names
            .iter()
            .filter_map(|name| name.last())
            .filter(|name| ["stdout", "stderr", "Stdout", "Stderr"].contains(&name.as_str()));
        let excepted =
            |name: &String| OUTPUT_EXCEPTIONS.iter().any(|(within, what, _)| *within == file && what == name);
        offences.extend(
            called.chain(named.cloned()).filter(|name| !excepted(name)).map(|name| format!("{file}: {name}")),
        );
    }
    assert!(offences.is_empty(), "only `cli` prints:\n{}", offences.join("\n"));
}

#[test]
fn only_the_clock_reads_the_time() {
    let mut offences = Vec::new();
    for module in load_modules().iter().filter(|module| !module.is_within("clock")) {
        let read = module.names.iter().filter(|name| {
            let ends_in = |end: [&str; 2]| name.len() >= 2 && name[name.len() - 2..] == end;
            name.iter().any(|part| part == "SystemTime")
                || ends_in(["OffsetDateTime", "now_utc"])
                || ends_in(["OffsetDateTime", "now_local"])
                || ends_in(["UtcDateTime", "now"])
        });
        offences.extend(read.map(|name| format!("{}: {}", module.file.display(), name.join("::"))));
    }
    assert!(offences.is_empty(), "only `clock` reads the wall clock:\n{}", offences.join("\n"));
}

#[test]
fn only_one_module_draws_random_bytes() {
    let mut offences = Vec::new();
    for module in load_modules().iter().filter(|module| !module.is_within("crypto::random")) {
        let drawn = module.names.iter().filter(|name| {
            let parts: Vec<&str> = name.iter().map(String::as_str).collect();
            matches!(parts[..], ["getrandom" | "rand" | "fastrand", ..] | ["aws_lc_rs", "rand", ..])
                || parts.contains(&"OsRng")
                || parts.contains(&"RandomState")
        });
        offences.extend(drawn.map(|name| format!("{}: {}", module.file.display(), name.join("::"))));
    }
    assert!(offences.is_empty(), "only `crypto::random` draws bytes:\n{}", offences.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let folder = package_folder();
    let parts =
        ["src", "tests", "benches"].into_iter().map(|part| folder.join(part)).filter(|part| part.is_dir());
    let files: Vec<_> = parts.flat_map(|part| files_below(&part, "rs")).collect();
    assert!(files.len() > 50, "only {} files found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with `//!`", file.display());
    }
}

#[test]
fn the_exceptions_are_still_needed() {
    let modules = load_modules();
    for (file, name, _) in OUTPUT_EXCEPTIONS {
        let module = modules.iter().find(|module| module.file.to_str() == Some(file));
        let used = module.is_some_and(|module| {
            module.names.iter().any(|path| path.last().is_some_and(|last| last == name))
        });
        assert!(used, "{file} no longer names {name}: remove the exception");
    }
    for (within, names, _) in LAYER_EXCEPTIONS {
        let used = modules.iter().any(|module| {
            module.is_within(within) && module.inner_names().any(|name| starts_with(name, names))
        });
        assert!(used, "{within} no longer names {names}: remove the exception");
    }
}

#[test]
fn names_are_found_wherever_they_stand() {
    let text = "
        use super::super::store::{Store, index as other};
        mod inner { fn f() { super::super::g(); } }
        #[cfg(test)] mod tests { use crate::cli::X; }
        fn f(a: crate::auth::Permit) -> std::time::SystemTime {
            tokio::select! { _ = crate::ops::run(a, crate::net::B) => println!(\"{}\", std::io::stdout()) }
        }";
    let (names, macros) = names_of(text, &["gateway".to_owned(), "http".to_owned()]).unwrap();
    let names: Vec<String> = names.iter().map(|name| name.join("::")).collect();
    for expected in [
        "crate::store::Store",
        "crate::store::index",
        "crate::gateway::g",
        "crate::auth::Permit",
        "std::time::SystemTime",
        "crate::ops::run",
        "crate::net::B",
        "std::io::stdout",
    ] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("cli")), "a name of a test in {names:?}");
    assert!(macros.contains("select") && macros.contains("println"), "{macros:?}");
}
