//! `latchkey key rotate`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::cli::operator::Operator;
use crate::cli::output;
use crate::model::{KeyId, TimeSpan};

#[derive(Args, Debug)]
pub(super) struct RotateArguments {
    /// The id of the key to replace
    id: KeyId,
    /// How long the old key goes on, in s, m, h or d; 0s: it ends at once
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: TimeSpan,
    /// As JSON: {"id","key",…,"replaces"}
    #[arg(long)]
    json: bool,
}

pub(super) fn rotate(operator: &Operator, arguments: &RotateArguments) -> Result<()> {
    let RotateArguments { id: old, overlap, json } = arguments;
    let rotated = operator.run(operator.control.rotate_key(*old, overlap.seconds()))?;
    let (order, text) = (&rotated.order, rotated.made.text.expose());
    output::data(&if *json {
        json!({
            "id": rotated.made.id.to_string(),
            "key": text,
            "user": order.user.to_string(),
            "description": order.description,
            "scope": order.scope.to_string(),
            "expires_at": order.expires_at.map(|end| end.to_string()),
            "replaces": { "id": old.to_string(), "expires_at": rotated.replaced_until.to_string() },
        })
        .to_string()
    } else {
        text.to_owned()
    })?;
    let end = order.expires_at.map_or_else(|| String::from("never expires"), |end| format!("expires {end}"));
    let done = format!(
        "made {new}, which {end}, in place of {old}, which expires {until}; the key is shown this once",
        new = rotated.made.id,
        until = rotated.replaced_until,
    );
    operator.announce(&done, rotated.revision)
}
