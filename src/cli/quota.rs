//! `latchkey quota`: how many requests customers, users and keys may make.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operator::{ConfigArgument, Operator};
use super::{UsageError, output};
use crate::auth::{Holder, MissingStore, QuotaState};
use crate::model::{CustomerHandle, QuotaPeriod, QuotaTerms};

/// Say how many requests a customer, a user or a key may make
///
/// Days and months are those of UTC. A request counts for its key, its user and its customer; where one of them has
/// nothing left, the API answers 429 and IsProxy `error`.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey quota set user:acme/alex --day 10000 --month 200000")]
pub(super) struct QuotaArguments {
    #[command(subcommand)]
    command: QuotaCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum QuotaCommand {
    /// Give a quota in the place of the present one; what is not named is not limited
    #[command(after_help = "Example: latchkey quota set customer:acme --month 1000000")]
    Set {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        holder: Holder,
        /// Requests a day
        #[arg(long, value_name = "N", required_unless_present = "month")]
        day: Option<u64>,
        /// Requests a month
        #[arg(long, value_name = "N")]
        month: Option<u64>,
    },
    /// Take a quota away; what was used up is open at once
    #[command(after_help = "Example: latchkey quota remove key:key_0c1x8n4t7q2vz")]
    Remove {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        holder: Holder,
    },
    /// List quotas with what is used of them; figures are seconds old
    #[command(after_help = "Example: latchkey quota list acme --json")]
    List {
        /// A customer; without one, all
        customer: Option<CustomerHandle>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: QuotaArguments) -> Result<()> {
    let QuotaArguments { command, config } = arguments;
    match command {
        QuotaCommand::Set { holder, day, month } => {
            let terms = QuotaTerms::new(day, month).map_err(|error| UsageError(error.to_string()))?;
            set(&config, &holder, Some(terms))
        }
        QuotaCommand::Remove { holder } => set(&config, &holder, None),
        QuotaCommand::List { customer, json } => {
            let operator = Operator::open(&config, MissingStore::Refuse)?;
            let quotas = operator.run(operator.control.quotas(customer.as_ref()))?;
            if json {
                return output::data(&quotas.iter().map(as_json).collect::<Value>().to_string());
            }
            if quotas.is_empty() {
                output::note("there is no quota: everybody may make as many requests as they like");
                return Ok(());
            }
            output::table(["OF", "USER", "DAY", "MONTH"], quotas.iter().map(as_row).collect())
        }
    }
}

fn set(config: &ConfigArgument, holder: &Holder, terms: Option<QuotaTerms>) -> Result<()> {
    let operator = Operator::open(config, MissingStore::Refuse)?;
    let revision = operator.run(operator.control.set_quota(holder, terms))?;
    operator.announce(&describe(holder, terms), revision)
}

fn describe(holder: &Holder, terms: Option<QuotaTerms>) -> String {
    match terms {
        Some(terms) => format!("{holder} may make so many requests: {terms}"),
        None => format!("{holder} may make as many requests as it likes"),
    }
}

fn as_row(state: &QuotaState) -> [String; 4] {
    let of = |period| {
        let found = state.uses.iter().find(|used| used.period == period);
        found.map_or_else(|| String::from("-"), |used| format!("{} of {}", used.used, used.limit))
    };
    let user = state.user.as_ref().map(ToString::to_string).unwrap_or_default();
    [state.holder.to_string(), output::or_dash(&user), of(QuotaPeriod::Day), of(QuotaPeriod::Month)]
}

fn as_json(state: &QuotaState) -> Value {
    let of = |period| {
        let found = state.uses.iter().find(|used| used.period == period);
        found.map(
            |used| json!({ "limit": used.limit, "used": used.used, "ends_at": used.ends_at.to_string() }),
        )
    };
    json!({
        "of": state.holder.to_string(),
        "user": state.user.as_ref().map(ToString::to_string),
        "day": of(QuotaPeriod::Day),
        "month": of(QuotaPeriod::Month),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::QuotaUse;

    fn state() -> QuotaState {
        let ends_at = "2027-01-16".parse().unwrap();
        QuotaState {
            holder: "user:acme/alex".parse().unwrap(),
            user: Some("acme/alex".parse().unwrap()),
            description: None,
            terms: QuotaTerms::new(Some(10), None).unwrap(),
            uses: vec![QuotaUse { period: QuotaPeriod::Day, limit: 10, used: 3, ends_at }],
        }
    }

    #[test]
    fn a_quota_is_told_with_what_is_used_of_it() {
        assert_eq!(as_row(&state()), ["user:acme/alex", "acme/alex", "3 of 10", "-"]);
        assert_eq!(
            as_json(&state()),
            json!({
                "of": "user:acme/alex",
                "user": "acme/alex",
                "day": { "limit": 10, "used": 3, "ends_at": "2027-01-16T00:00:00Z" },
                "month": null,
            })
        );
        let holder = "key:key_0c1x8n4t7q2vz".parse().unwrap();
        assert_eq!(
            describe(&holder, QuotaTerms::new(Some(10), Some(20)).ok()),
            "key:key_0c1x8n4t7q2vz may make so many requests: 10 a day, 20 a month"
        );
    }
}
