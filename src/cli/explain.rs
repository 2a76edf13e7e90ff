//! `latchkey explain`.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};

use super::operator::{ConfigArgument, Operator};
use super::{UsageError, output, prompt};
use crate::auth::{Explanation, MissingStore, Outcome, StepTaken, Trial, TrialDoor};
use crate::config::{Listener, ListenerProtocol};
use crate::model::{ClientIp, Recognised, Service, UserName};
use crate::telemetry::{KeptRefusal, RequestId};

/// Gateways write refusals once a second; so long a missing one is waited for.
const PATIENCE: Duration = Duration::from_millis(2_500);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Tell which rule refused a request, or would decide about one, step by step
///
/// Refused requests are kept for 24 hours under the id that the client was told (X-Request-Id, or requestId in the
/// body). An IsProxy client is told no id: its session's is `request_id` of its lines in the access log.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey explain 9f86d081884c7d65\n\
                  Example: latchkey explain --dry-run --user acme/alex --service api --from 192.0.2.7\n\
                  Example: latchkey explain --dry-run --key-stdin --service isproxy --from 192.0.2.7 < ci.key")]
pub(super) struct ExplainArguments {
    /// The request's id
    #[arg(value_name = "REQUEST_ID", required_unless_present = "dry_run", conflicts_with = "dry_run")]
    id: Option<RequestId>,
    /// Judge an attempt that nobody makes
    #[arg(long, requires_all = ["credential", "service", "from"])]
    dry_run: bool,
    #[command(flatten)]
    credential: CredentialArguments,
    /// At this door: api or isproxy
    #[arg(long, requires = "dry_run")]
    service: Option<Service>,
    /// As a client at this address
    #[arg(long, value_name = "ADDRESS", requires = "dry_run")]
    from: Option<std::net::IpAddr>,
    /// Through this listener; needed where several serve the door
    #[arg(long, value_name = "NAME", requires = "dry_run")]
    listener: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Args, Debug)]
#[group(id = "credential", multiple = false)]
struct CredentialArguments {
    /// By the password and the keys of this user: CUSTOMER/LOGIN
    #[arg(long, value_name = "U", requires = "dry_run")]
    user: Option<UserName>,
    /// By the key that comes on stdin
    #[arg(long, requires = "dry_run")]
    key_stdin: bool,
}

pub(super) fn run(arguments: &ExplainArguments) -> Result<()> {
    let listeners = arguments.config.load()?.listeners;
    let operator = Operator::open(&arguments.config, MissingStore::Refuse)?;
    match (arguments.id, arguments.service, arguments.from) {
        (Some(id), ..) => explain(&operator, id, &listeners, arguments.json),
        (None, Some(service), Some(from)) => {
            let listener = listener_for(&listeners, service, arguments.listener.as_deref())?;
            let door = TrialDoor { service, from: ClientIp::new(from), listener };
            dry_run(&operator, &arguments.credential, &door, arguments.json)
        }
        // clap asks for them.
        _ => Err(UsageError(String::from("--dry-run needs --service and --from")).into()),
    }
}

fn explain(operator: &Operator, id: RequestId, listeners: &[Listener], json: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let explained = loop {
        let explained = operator.run(operator.control.explain(id, listeners))?;
        if !explained.is_empty() || Instant::now() >= deadline {
            break explained;
        }
        operator.run(async { tokio::time::sleep(LOOK_AGAIN_AFTER).await });
    };
    if explained.is_empty() {
        return Err(anyhow!(
            "no refusal is kept under {id}: what was let in is in the access log alone; a refusal is kept for 24 hours, \
             unless there were more than 200 in its second (`latchkey_unkept_refusals_total` counts those)"
        ));
    }
    if json {
        let told: Value = explained.iter().map(explanation_as_json).collect();
        return output::data(&in_ascii(&json!({ "request_id": id.to_string(), "refusals": told })));
    }
    for (number, explanation) in explained.iter().enumerate() {
        if number > 0 {
            output::data("")?;
        }
        tell_explanation(explanation)?;
    }
    Ok(())
}

fn dry_run(
    operator: &Operator,
    credential: &CredentialArguments,
    door: &TrialDoor<'_>,
    json: bool,
) -> Result<()> {
    let (trials, left_out) = if let Some(name) = &credential.user {
        operator.run(operator.control.try_user(name, door))?
    } else {
        let text = prompt::read_key()?;
        (vec![operator.run(operator.control.try_key(&text, door))?], 0)
    };
    if json {
        let told: Value = trials.iter().map(trial_as_json).collect();
        output::data(&in_ascii(&json!({ "attempts": told })))?;
    } else {
        for (number, trial) in trials.iter().enumerate() {
            if number > 0 {
                output::data("")?;
            }
            output::data(&format!("{}, at {} from {}", heading(trial), door.service, door.from))?;
            tell_steps(&trial.steps)?;
            tell_hints(&trial.steps)?;
            output::data(&verdict(trial))?;
        }
    }
    if left_out > 0 {
        output::note(&format!("{} more of the user were not tried", output::count(left_out, "key")));
    }
    Ok(())
}

/// The listener of that name, or the only one that serves the door; `None` where there are several.
fn listener_for<'a>(
    listeners: &'a [Listener],
    service: Service,
    name: Option<&str>,
) -> Result<Option<&'a Listener>, UsageError> {
    let serves = |listener: &&Listener| match listener.protocol {
        ListenerProtocol::Http(_) | ListenerProtocol::ForwardAuth(_) => service == Service::Api,
        ListenerProtocol::IsProxy(_) => service == Service::IsProxy,
        ListenerProtocol::Console(_) | ListenerProtocol::Ops => false,
    };
    let mut serving = listeners.iter().filter(serves);
    let Some(name) = name else {
        return Ok(match (serving.next(), serving.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        });
    };
    let names: Vec<&str> = listeners.iter().filter(serves).map(|listener| listener.name.as_str()).collect();
    serving.find(|listener| listener.name == name).map(Some).ok_or_else(|| {
        UsageError(format!("no listener `{name}` serves {service}; those that do: {}", names.join(", ")))
    })
}

fn tell_explanation(explanation: &Explanation) -> Result<()> {
    let refusal = &explanation.refusal;
    let via = refusal.via.map_or_else(String::new, |via| format!(" through {via}"));
    // What a peer sent must not disturb a terminal.
    let asked = format!("{} {}", refusal.method, refusal.target).escape_debug().to_string();
    output::data(&format!(
        "request   {}\nrefused   {} at {} (listener {}), from {}{via}\nasked     {}\nanswered  {}\nreason    {}\nwho       {}",
        refusal.request_id,
        refusal.at,
        refusal.service,
        refusal.listener,
        refusal.client_ip,
        asked.trim_end(),
        answered(refusal),
        reason_in_words(explanation),
        who(explanation),
    ))?;
    if let Some(hint) = explanation.steps.last().and_then(|decided| decided.hint.as_ref()) {
        output::data(&format!("to do     {hint}"))?;
    }
    tell_steps(&explanation.steps)?;
    match &explanation.now {
        Some(trial) => output::data(&format!("now       {}: {}", trial.credential, verdict(trial))),
        None => output::data("now       not to be told, as it is not known whose credential it was"),
    }
}

/// The name that logs and metrics have, and what it means.
fn reason_in_words(explanation: &Explanation) -> String {
    let name = &explanation.refusal.reason;
    explanation.steps.last().map_or_else(|| name.clone(), |decided| format!("{name}: {}", decided.note))
}

fn answered(refusal: &KeptRefusal) -> String {
    match (refusal.status, refusal.reason.as_str()) {
        (0, _) => String::from("not at all, the connection was closed"),
        (100, _) => String::from("not at all, the session was let in and closed later"),
        // These are answered so by themselves.
        (429, "too_many_failures" | "user_throttled" | "too_many_requests") => String::from("429"),
        (429, reason) if reason.starts_with("quota_exhausted") => String::from("429"),
        (429, _) => String::from("429, because there had been too many failed credentials from this address"),
        (status, _) => status.to_string(),
    }
}

fn who(explanation: &Explanation) -> String {
    let user = explanation.user.as_ref().map(ToString::to_string);
    match (explanation.refusal.recognised, user) {
        (None, _) => String::from("not known"),
        (Some(Recognised::Key(id)), Some(user)) => format!("{user}, by {id}"),
        (Some(Recognised::Key(id)), None) => format!("{id}, deleted since"),
        (Some(Recognised::Password(_)), Some(user)) => format!("{user}, by password"),
        (Some(Recognised::Password(_)), None) => String::from("a user deleted since, by password"),
        (Some(Recognised::Session(_)), Some(user)) => format!("{user}, by API session"),
        (Some(Recognised::Session(_)), None) => String::from("a user deleted since, by API session"),
    }
}

fn tell_steps(steps: &[StepTaken]) -> Result<()> {
    if steps.is_empty() {
        return output::data("the reason is of another version of Latchkey");
    }
    let rows = steps.iter().map(|taken| {
        let name = taken.step.as_str().replace('_', " ");
        [name, taken.outcome.as_str().to_owned(), taken.note.clone()]
    });
    output::table(["STEP", "VERDICT", "WHY"], rows.collect())
}

/// What can be done about each step that failed.
fn tell_hints(steps: &[StepTaken]) -> Result<()> {
    let hints = steps.iter().filter_map(|taken| Some((taken.step, taken.hint.as_ref()?)));
    hints.into_iter().try_for_each(|(step, hint)| {
        output::data(&format!("to pass {}: {hint}", step.as_str().replace('_', " ")))
    })
}

fn heading(trial: &Trial) -> String {
    match &trial.user {
        Some(user) => format!("{user} by {}", trial.credential),
        None => trial.credential.clone(),
    }
}

fn verdict(trial: &Trial) -> String {
    match trial.refused {
        Some((reason, answer)) => format!("would be refused with {answer}: {}", reason.explanation()),
        None if trial.steps.iter().any(|taken| taken.outcome == Outcome::Unknown) => {
            String::from("would be let in, where the steps pass that cannot be judged here")
        }
        None => String::from("would be let in"),
    }
}

fn explanation_as_json(explanation: &Explanation) -> Value {
    let refusal = &explanation.refusal;
    let key = match refusal.recognised {
        Some(Recognised::Key(id)) => Some(id.to_string()),
        Some(Recognised::Password(_) | Recognised::Session(_)) | None => None,
    };
    json!({
        "time": refusal.at.to_string(),
        "service": refusal.service.as_str(),
        "listener": refusal.listener,
        "client_ip": refusal.client_ip.to_string(),
        "via": refusal.via.map(|via| via.to_string()),
        "method": refusal.method,
        "target": refusal.target,
        "status": refusal.status,
        "reason": refusal.reason,
        "user": explanation.user.as_ref().map(ToString::to_string),
        "key_id": key,
        "steps": steps_as_json(&explanation.steps),
        "now": explanation.now.as_ref().map(trial_as_json),
    })
}

fn trial_as_json(trial: &Trial) -> Value {
    json!({
        "credential": trial.credential,
        "user": trial.user.as_ref().map(ToString::to_string),
        "key_id": trial.key.map(|id| id.to_string()),
        "admitted": trial.refused.is_none(),
        "reason": trial.refused.map(|(reason, _)| reason.as_str()),
        "answer": trial.refused.map(|(_, answer)| answer),
        "steps": steps_as_json(&trial.steps),
    })
}

fn steps_as_json(steps: &[StepTaken]) -> Value {
    let told = steps.iter().map(|taken| {
        json!({
            "step": taken.step.as_str(),
            "verdict": taken.outcome.as_str().to_ascii_lowercase(),
            "why": taken.note,
            "hint": taken.hint,
        })
    });
    told.collect()
}

/// JSON without a letter that could disturb a terminal: all of a path that is not ASCII comes from a peer.
fn in_ascii(value: &Value) -> String {
    let mut text = String::new();
    for letter in value.to_string().chars() {
        if letter.is_ascii() && letter != '\u{7f}' {
            text.push(letter);
        } else {
            let units = letter.encode_utf16(&mut [0; 2]).to_vec();
            text.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientAddressRules, IsProxyListener, PlaintextCredentials};
    use crate::model::AllowList;

    fn listener(name: &str) -> Listener {
        let isproxy = IsProxyListener {
            tls: None,
            plaintext_credentials: PlaintextCredentials::Refuse,
            client_address: ClientAddressRules::default(),
            allow_list: AllowList::default(),
            upstream: "availability".into(),
        };
        Listener {
            name: name.to_owned(),
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: ListenerProtocol::IsProxy(isproxy),
        }
    }

    #[test]
    fn the_only_listener_of_a_door_needs_no_name() {
        let one = [listener("one")];
        let two = [listener("one"), listener("two")];
        let found = |listeners: &[Listener], service, name| {
            listener_for(listeners, service, name).map(|found| found.map(|listener| listener.name.clone()))
        };
        assert_eq!(found(&one, Service::IsProxy, None).unwrap().as_deref(), Some("one"));
        assert_eq!(found(&two, Service::IsProxy, None).unwrap(), None);
        assert_eq!(found(&one, Service::Api, None).unwrap(), None);
        assert_eq!(found(&two, Service::IsProxy, Some("two")).unwrap().as_deref(), Some("two"));
        let error = found(&two, Service::IsProxy, Some("three")).unwrap_err().to_string();
        assert_eq!(error, "no listener `three` serves isproxy; those that do: one, two");
        assert!(found(&two, Service::Api, Some("two")).is_err());
    }

    #[test]
    fn a_status_of_its_own_is_told_alone_and_429_for_the_failures_of_an_address_with_its_cause() {
        let refusal = |status, reason: &str| KeptRefusal {
            request_id: "9f86d081884c7d65".parse().unwrap(),
            at: "2027-01-31".parse().unwrap(),
            service: Service::Api,
            listener: "api".to_owned(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            via: None,
            method: "GET".to_owned(),
            target: "/".to_owned(),
            status,
            reason: reason.to_owned(),
            recognised: None,
        };
        for reason in ["too_many_failures", "user_throttled", "too_many_requests", "quota_exhausted_key_day"]
        {
            assert_eq!(answered(&refusal(429, reason)), "429", "{reason}");
        }
        assert!(answered(&refusal(429, "unknown_key")).contains("failed credentials from this address"));
        assert_eq!(answered(&refusal(401, "unknown_key")), "401");
        assert!(answered(&refusal(0, "address_outside_listener_list")).contains("closed"));
    }

    #[test]
    fn s87_json_that_holds_a_peers_letters_is_ascii() {
        let value = json!({ "target": "/\u{9b}2J\u{202e}\u{7f}ü\u{1f511}\n" });
        let text = in_ascii(&value);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
