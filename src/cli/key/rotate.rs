//! `latchkey key rotate`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::cli::operator::Operator;
use crate::cli::output;
use crate::model::KeyId;

#[derive(Args, Debug)]
pub(super) struct RotateArguments {
    /// The id of the key to replace
    id: KeyId,
    /// How long the old key goes on, in s, m, h or d; 0s: it ends at once
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: Overlap,
    /// As JSON: {"id","key",…,"replaces"}
    #[arg(long)]
    json: bool,
}

/// How long two keys stand side by side, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overlap(u32);

impl std::str::FromStr for Overlap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
        let seconds = units.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(*unit)?;
            // `parse` takes a sign, too.
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u32>().ok().filter(|_| is_number)?.checked_mul(*seconds)
        });
        seconds.map(Self).ok_or_else(|| format!("`{text}` is no time; write 24h, or 0s for none"))
    }
}

pub(super) fn rotate(operator: &Operator, arguments: &RotateArguments) -> Result<()> {
    let RotateArguments { id: old, overlap, json } = arguments;
    let rotated = operator.run(operator.control.rotate_key(*old, overlap.0))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_a_number_with_its_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(Overlap(seconds)));
        }
        for text in ["", "h", "24", "24 h", "-1h", "+1h", "1.5h", "1w", "24H", "4294967296s", "49711d"] {
            assert!(text.parse::<Overlap>().unwrap_err().contains("24h"), "{text}");
        }
    }
}
