//! The command line beside a running gateway, and the customers, users and keys that stories start with.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::run;
use super::{Installation, basic};

/// A password that is long enough to be the only factor.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Output {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Output {
    /// It must have ended with 0; answers its stdout.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// It must have ended with `code`; answers its stderr.
    #[track_caller]
    pub fn expect_failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }

    /// Its stdout as JSON, from a run that ended with 0.
    #[track_caller]
    pub fn json(self) -> Value {
        let stdout = self.expect_success();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout:?}"))
    }
}

/// A key, as it was shown when it was made.
#[derive(Clone, Debug)]
pub struct Key {
    /// What opens the doors.
    pub text: String,
    /// Its public name.
    pub id: String,
}

impl Key {
    /// The value of `Authorization`.
    pub fn authorization(&self) -> String {
        format!("ApiKey {}", self.text)
    }

    /// The line that logs in at `IsProxy`.
    pub fn login(&self) -> String {
        format!("LOGIN {}", self.text)
    }
}

/// A user with the password [`PASSWORD`].
#[derive(Clone, Debug)]
pub struct User {
    /// `customer/login`.
    pub name: String,
}

impl User {
    /// The value of `Authorization`.
    pub fn authorization(&self) -> String {
        basic(&self.name, PASSWORD)
    }

    /// The line that logs in at `IsProxy`.
    pub fn login(&self) -> String {
        format!("LOGIN {} {PASSWORD}", self.name)
    }
}

impl Installation {
    /// Runs `latchkey ARGUMENTS --config FILE`.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, "")
    }

    /// Runs it with text on stdin.
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        let output = run(command.args(arguments).arg("--config").arg(self.config_file()), input.as_bytes());
        let place = format!("what latchkey {} says", arguments.join(" "));
        self.secrets().search(&place, format!("{}\n{}", output.stdout, output.stderr).as_bytes());
        output
    }

    /// The binary, with an environment that changes nothing.
    pub fn command(&self) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_latchkey")))
    }

    /// The binary by another path, likewise.
    pub fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder());
        command.env_remove("LATCHKEY_CONFIG").env_remove("LATCHKEY_MASTER_KEY").env("NO_COLOR", "1");
        command
    }

    /// Makes a customer whose users need no MFA, and its administrator with a password.
    #[track_caller]
    pub fn create_customer(&self, handle: &str) -> User {
        let arguments = ["customer", "create", handle, "--mfa", "optional", "--password-file", "-"];
        self.cli_with_input(&arguments, PASSWORD).expect_success();
        User { name: format!("{handle}/admin") }
    }

    /// Makes a user with a password.
    #[track_caller]
    pub fn create_user(&self, name: &str) -> User {
        self.create_user_with(name, &[])
    }

    /// Makes a user with a password and further arguments.
    #[track_caller]
    pub fn create_user_with(&self, name: &str, arguments: &[&str]) -> User {
        let all = [&["user", "create", name, "--password-file", "-"], arguments].concat();
        self.cli_with_input(&all, PASSWORD).expect_success();
        User { name: name.to_owned() }
    }

    /// Makes a key for both doors.
    #[track_caller]
    pub fn create_key(&self, user: &str) -> Key {
        self.create_key_with(user, &["--scope", "api,isproxy"])
    }

    /// Makes a key of a scope.
    #[track_caller]
    pub fn create_key_of(&self, user: &str, scope: &str) -> Key {
        self.create_key_with(user, &["--scope", scope])
    }

    /// Makes a key with these arguments.
    #[track_caller]
    pub fn create_key_with(&self, user: &str, arguments: &[&str]) -> Key {
        let front = ["key", "create", user, "--description", "for a test", "--yes", "--json"];
        let made = self.cli(&[&front, arguments].concat()).json();
        let text =
            |member: &str| made[member].as_str().unwrap_or_else(|| panic!("no {member}: {made}")).to_owned();
        self.secrets().note("key", &text("key"));
        Key { text: text("key"), id: text("id") }
    }

    /// Deletes a key.
    #[track_caller]
    pub fn delete_key(&self, key: &Key) {
        self.cli(&["key", "delete", &key.id, "--yes"]).expect_success();
    }
}
