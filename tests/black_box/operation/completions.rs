//! `latchkey completions`, in a real shell.

use std::fs;
use std::process::Command;

use crate::harness::{Installation, run};

#[test]
fn bash_completes_commands_and_options() {
    let installation = Installation::new();
    let script = run(installation.command().args(["completions", "bash"]), b"").expect_success();
    let file = installation.path("latchkey.bash");
    fs::write(&file, script).unwrap();
    for (words, completed) in [
        ("latchkey hea", "healthcheck"),
        ("latchkey key cre", "create"),
        ("latchkey key create --desc", "--description"),
    ] {
        let ask = format!(
            "source {} && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _latchkey latchkey \"${{COMP_WORDS[COMP_CWORD]}}\" \"\" && echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let output = run(Command::new("bash").args(["--norc", "-c", &ask]), b"").expect_success();
        assert_eq!(output.trim(), completed, "{words}");
    }
}

#[test]
fn an_unknown_shell_is_refused_with_those_that_are_known() {
    let output = run(Installation::new().command().args(["completions", "cmd"]), b"");
    let stderr = output.expect_failure(2);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(stderr.contains(shell), "{stderr}");
    }
}
