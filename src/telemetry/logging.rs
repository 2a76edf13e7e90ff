//! The log for people: lines on stderr.
//!
//! Not the access log, and not written per request: an event a request would cost a tenth of it. `app` calls
//! [`init_logging`] first of all. Texts that come from a peer are logged with `?`, which escapes line ends.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Names the variable that chooses what is logged.
const FILTER_VARIABLE: &str = "LATCHKEY_LOG";
const DEFAULT_LEVEL: &str = "info";

/// Starts logging to stderr. What is logged is chosen by `LATCHKEY_LOG`: a level for Latchkey (`debug`; the libraries
/// below it stay at `warn`), or whole directives (`warn,latchkey::net=debug`); `info` where it is not set. Optimised
/// builds hold nothing of the level `trace`.
///
/// A setting that cannot be read is named in the log and replaced by the default. A second call changes nothing.
pub fn init_logging() {
    let setting = std::env::var(FILTER_VARIABLE).ok();
    let directives = filter_directives(setting.as_deref());
    let (filter, fault) = match EnvFilter::try_new(&directives) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(filter_directives(None)), Some(error)),
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_target(false)
        .try_init();
    if let (Ok(()), Some(error)) = (started, fault) {
        tracing::warn!(?directives, %error, "{FILTER_VARIABLE} cannot be read; logging at `{DEFAULT_LEVEL}`");
    }
}

/// The directives that `setting` stands for.
fn filter_directives(setting: Option<&str>) -> String {
    match setting.map(str::trim).filter(|setting| !setting.is_empty()) {
        Some(directives) if directives.contains(['=', ',']) => directives.to_owned(),
        Some(level) => format!("warn,latchkey={level}"),
        None => format!("warn,latchkey={DEFAULT_LEVEL}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_meant_for_latchkey_and_directives_are_taken_as_they_are() {
        for (setting, directives) in [
            (None, "warn,latchkey=info"),
            (Some(""), "warn,latchkey=info"),
            (Some(" debug "), "warn,latchkey=debug"),
            (Some("off"), "warn,latchkey=off"),
            (Some("latchkey::net=trace"), "latchkey::net=trace"),
            (Some("info,hyper=debug"), "info,hyper=debug"),
        ] {
            assert_eq!(filter_directives(setting), directives, "{setting:?}");
            assert!(EnvFilter::try_new(directives).is_ok(), "{directives}");
        }
    }

    #[test]
    fn a_level_that_is_none_is_noticed() {
        assert!(EnvFilter::try_new(filter_directives(Some("loud"))).is_err());
    }

    #[test]
    fn logging_can_be_started_twice() {
        init_logging();
        init_logging();
        assert!(tracing::dispatcher::has_been_set());
    }
}
