//! The README's story, word for word, in the shells that people paste it into.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{run, wait_for};

/// The demo in a folder that looks like the package's after a release build.
struct RunningDemo {
    child: Child,
    folder: TempDir,
    /// What it printed once it was ready.
    printed: Value,
}

impl RunningDemo {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let built = folder.path().join("target/release");
        fs::create_dir_all(&built).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_latchkey"), built.join("latchkey")).unwrap();
        let output = folder.path().join("demo.json");
        let mut command = Command::new("target/release/latchkey");
        command.args(["demo", "--json", "--port-base", if usual_ports_are_free() { "8700" } else { "0" }]);
        command.current_dir(folder.path()).env_remove("LATCHKEY_CONFIG").env_remove("LATCHKEY_MASTER_KEY");
        let stderr = File::create(folder.path().join("demo.log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut demo = Self { child, folder, printed: Value::Null };
        demo.printed = wait_for("the demo", || {
            let ended = demo.child.try_wait().unwrap();
            assert!(ended.is_none(), "the demo ended: {ended:?}\n{}", demo.read("demo.log"));
            serde_json::from_str(&demo.read("demo.json")).ok()
        });
        demo
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn port(&self, service: &str) -> &str {
        self.printed[service].as_str().unwrap().rsplit(':').next().unwrap()
    }

    /// The story with this demo's ports, should the usual ones be taken.
    fn story(&self) -> String {
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        let (_, rest) = readme.split_once("<!-- story:").expect("a story");
        let (story, _) = rest.split_once("<!-- end of story -->").expect("its end");
        let (_, lines) = story.split_once("```sh\n").unwrap();
        let lines = lines.trim_end().strip_suffix("```").unwrap();
        assert!(
            lines.contains(":8700/") && lines.contains(":8702 "),
            "other ports than the demo's:\n{lines}"
        );
        let api = format!(":{}/", self.port("api"));
        lines.replace(":8700/", &api).replace(":8702 ", &format!(":{} ", self.port("isproxy")))
    }
}

impl Drop for RunningDemo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Are the seven ports free that `demo` takes unless told otherwise?
fn usual_ports_are_free() -> bool {
    (8_700..8_707).map(|port| TcpListener::bind(("127.0.0.1", port))).all(|bound| bound.is_ok())
}

/// Runs a shell in the demo's folder.
fn shell(demo: &RunningDemo, program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(demo.folder.path());
    command.env_remove("LATCHKEY_CONFIG").env_remove("LATCHKEY_MASTER_KEY").env("NO_COLOR", "1");
    run(&mut command, input.as_bytes()).expect_success()
}

/// What the reader of the README sees: the API's answer, two of `IsProxy` in any order, and the refusal.
fn assert_told(shell: &str, stdout: &str) {
    let before = stdout.split("HTTP/1.1 401 ").next().unwrap();
    let after = stdout.strip_prefix(before).unwrap();
    let mut replies: Vec<&str> =
        before.strip_prefix("{\"available\":true}").unwrap_or(before).lines().collect();
    replies.sort_unstable();
    assert_eq!(replies, ["example.com available", "taken.com not available"], "{shell}:\n{stdout}");
    assert!(before.starts_with("{\"available\":true}"), "{shell}:\n{stdout}");
    assert!(after.contains("\"type\":\"AuthenticationError\""), "{shell}:\n{stdout}");
}

#[test]
fn the_readmes_story_works_word_for_word() {
    let demo = RunningDemo::start();
    let story = demo.story();
    fs::write(demo.folder.path().join("story.sh"), &story).unwrap();
    for program in ["sh", "bash"] {
        assert_told(program, &shell(&demo, program, &["-e", "story.sh"], ""));
    }
    // Pasted: the shell reads the lines as they come, and so must no command in between.
    let pasted = shell(&demo, "sh", &["-e"], &story);
    assert_told("sh from stdin", &pasted);
}
