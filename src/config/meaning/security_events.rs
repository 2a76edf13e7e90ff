//! `security_events:` what they mean.

use std::path::PathBuf;

use url::{Host, Url};

use super::Review;
use crate::config::faults::KeyPath;
use crate::config::raw::{RawSecurityEvents, Required};
use crate::config::{EventCommand, EventWebhook, SecurityEvents};
use crate::model::Secret;

/// So short a secret could be guessed by who has seen one signature.
const SECRET_MIN_BYTES: usize = 16;
/// What is told of an address that is not as [`is_private_address`] wants it.
pub(super) const PRIVATE_ADDRESS: &str =
    "must be an https URL, or an http one to this machine (127.0.0.1, [::1] or localhost)";

/// Whom to tell; `None` where it is unsound, which has been told.
pub(super) fn security_events(raw: RawSecurityEvents, review: &mut Review<'_>) -> Option<SecurityEvents> {
    let path = KeyPath::default().key("security_events");
    if raw.command.is_empty() && raw.webhook.is_none() && raw.secret_file.is_none() {
        let help = "write `command: [PROGRAM]` or `webhook: https://…`; leave the whole out to tell nobody";
        review.refuse(&path, "tells nobody: it has neither `command` nor `webhook`", Some(help));
        return None;
    }
    let command = if raw.command.is_empty() {
        Some(None)
    } else {
        command(raw.command, &path.key("command"), review).map(Some)
    };
    let webhook = match (raw.webhook, raw.secret_file) {
        (None, None) => Some(None),
        (None, Some(_)) => {
            review.refuse(&path.key("secret_file"), "signs nothing: there is no `webhook`", None);
            None
        }
        (Some(_), None) => {
            let what_for = "without it nobody could tell our events from forged ones";
            review.refuse_missing(&path, "secret_file", what_for);
            None
        }
        (Some(url), Some(file)) => webhook(url, file, &path, review).map(Some),
    };
    Some(SecurityEvents { command: command?, webhook: webhook? })
}

fn command(raw: Vec<Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> Option<EventCommand> {
    let mut words = Vec::new();
    for (position, word) in raw.into_iter().enumerate() {
        let word = word.0?;
        if word.contains('\0') || (position == 0 && word.trim().is_empty()) {
            review.refuse(&path.index(position), "must be the name or an argument of a program", None);
            return None;
        }
        words.push(word);
    }
    let mut words = words.into_iter();
    let program = words.next()?;
    let program = if program.contains('/') {
        let help = "the program must be there and readable; a name without `/` is looked up in PATH";
        review.existing_file(&path.index(0), Required(Some(program)), help)?
    } else {
        PathBuf::from(program)
    };
    Some(EventCommand { program, arguments: words.collect() })
}

fn webhook(
    url: Secret<String>,
    file: String,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<EventWebhook> {
    let is_sound = Url::parse(url.expose()).is_ok_and(|url| is_private_address(&url));
    if !is_sound {
        let help = "for example https://events.example/latchkey; no user, password or fragment";
        review.refuse(&path.key("webhook"), PRIVATE_ADDRESS, Some(help));
    }
    let help = "a file of mode 0600 with the secret that the receiver knows too";
    let secret = review.secret_text(file, &path.key("secret_file"), SECRET_MIN_BYTES, help);
    is_sound.then_some(())?;
    Some(EventWebhook { url, secret: secret? })
}

/// Can what is posted to `url`, and `url` itself, be read by nobody on the way? Without what nobody is sent, too: a user, a
/// password, a fragment.
pub(super) fn is_private_address(url: &Url) -> bool {
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_of_this_machine(url));
    url.has_host() && is_plain && is_private
}

/// Does `url` lead to this machine?
fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::testing::{BASE, TestFolder};

    const SECRET: &str = "hunter2-hunter2-hunter2";

    fn folder() -> TestFolder {
        let folder = TestFolder::new();
        for (name, text, mode) in [
            ("good", SECRET, 0o600),
            ("shown", SECRET, 0o644),
            ("short", "hunter2", 0o600),
            ("notify.sh", "", 0o755),
        ] {
            std::fs::set_permissions(folder.write(name, text), Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    fn parsed(setting: &str) -> Option<SecurityEvents> {
        let parsed = folder().parse(&format!("security_events: {setting}\n{BASE}"));
        parsed.unwrap_or_else(|faults| panic!("{faults}")).security_events
    }

    #[test]
    fn events_go_to_a_program_or_an_address_or_both() {
        let found = parsed("{ command: [logger, -t, latchkey] }").unwrap();
        let command = found.command.unwrap();
        assert_eq!(
            (command.program.to_str(), command.arguments),
            (Some("logger"), vec!["-t".into(), "latchkey".into()])
        );
        assert_eq!(found.webhook, None);
        let found =
            parsed("{ command: [./notify.sh], webhook: \"http://[::1]:99/x?y=hunter2\", secret_file: good }");
        let found = found.unwrap();
        assert!(found.command.as_ref().unwrap().program.ends_with("notify.sh"));
        assert_eq!(found.webhook.as_ref().map(|webhook| webhook.secret.expose().as_str()), Some(SECRET));
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        assert_eq!(folder().parse(BASE).unwrap().security_events, None);
    }

    #[test]
    fn what_tells_nobody_or_would_be_read_by_others_is_refused() {
        for (setting, expected) in [
            ("{}", "f.yaml:1:18  error  security_events: tells nobody"),
            ("{ command: [] }", "f.yaml:1:18  error  security_events: tells nobody"),
            ("{ command: [\"\", x] }", "f.yaml:1:30  error  security_events.command[0]: must be the name"),
            ("{ command: [./none] }", "security_events.command[0]: file not found: ./none"),
            ("{ secret_file: good }", "f.yaml:1:33  error  security_events.secret_file: signs nothing"),
            ("{ webhook: \"https://a.example\" }", "security_events: missing key `secret_file`"),
            ("{ webhook: \"http://a.example/hunter2\", secret_file: good }", "webhook: must be an https URL"),
            (
                "{ webhook: \"https://u:hunter2@a.example\", secret_file: good }",
                "webhook: must be an https URL",
            ),
            ("{ webhook: a.example, secret_file: good }", "webhook: must be an https URL"),
            ("{ webhook: \"https://a.example\", secret_file: none }", "secret_file: file not found: none"),
            (
                "{ webhook: \"https://a.example\", secret_file: short }",
                "the file must hold 16 to 256 visible",
            ),
            (
                "{ webhook: \"https://a.example\", secret_file: shown }",
                "others can read the file, its mode is 0644",
            ),
        ] {
            let told = folder().faults(&format!("security_events: {setting}\n{BASE}"));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{setting}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
