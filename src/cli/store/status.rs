//! `latchkey store status`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{shown_seconds, shown_size};
use crate::cli::operator::Operator;
use crate::cli::output;
use crate::config::StoreLocation;
use crate::store::{FollowingGateway, StoreStatus};

pub(super) fn run(operator: &Operator, json: bool) -> Result<()> {
    let status = operator.run(operator.control.store_status())?;
    if json {
        return output::data(&as_json(&status).to_string());
    }
    output::data(&describe(&status))?;
    if status.gateways.is_empty() {
        return output::data("gateways      none");
    }
    output::data("")?;
    let rows = status.gateways.iter().map(|gateway| {
        [
            gateway.name.clone(),
            gateway.since.to_string(),
            gateway.applied.0.to_string(),
            gateway.behind.to_string(),
            gateway.heard_of.map_or_else(|| String::from("-"), |ago| format!("{} ago", shown_seconds(ago))),
        ]
    });
    output::table(["GATEWAY", "SINCE", "APPLIED", "BEHIND", "HEARD OF"], rows.collect())
}

fn describe(status: &StoreStatus) -> String {
    let master_key = if status.rotates_master_key {
        "\nmaster key    rotation half way: `latchkey store rotate-master-key --finish` ends it, or `--in-place` where that began it"
    } else {
        ""
    };
    let changes = if status.moved { "refused: it was copied to another store" } else { "taken" };
    format!(
        "store         {}\nengine        {}\nchanges       {changes}{master_key}\nrevision      {}\ncustomers     {}\nusers         {}\n\
         keys          {}\nAPI sessions  {}\nsize          {}",
        status.location,
        engine(status),
        status.revision.0,
        status.customers,
        status.users,
        status.keys,
        status.api_sessions,
        shown_size(status.size_bytes),
    )
}

fn as_json(status: &StoreStatus) -> Value {
    let gateway = |gateway: &FollowingGateway| {
        json!({
            "name": gateway.name,
            "since": gateway.since.to_string(),
            "applied_revision": gateway.applied.0,
            "behind": gateway.behind,
            "heard_of_ms_ago": gateway.heard_of.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        })
    };
    json!({
        "location": status.location.to_string(),
        "engine": engine(status),
        "moved": status.moved,
        "master_key_rotation": status.rotates_master_key,
        "revision": status.revision.0,
        "customers": status.customers,
        "users": status.users,
        "keys": status.keys,
        "api_sessions": status.api_sessions,
        "size_bytes": status.size_bytes,
        "gateways": status.gateways.iter().map(gateway).collect::<Value>(),
    })
}

const fn engine(status: &StoreStatus) -> &'static str {
    match status.location {
        StoreLocation::Sqlite(_) => "sqlite",
        StoreLocation::Postgres(_) => "postgres",
    }
}
