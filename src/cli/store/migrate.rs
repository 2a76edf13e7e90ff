//! `latchkey store migrate`.

use anyhow::Result;
use serde_json::json;

use crate::cli::operator::Operator;
use crate::cli::output;
use crate::store::Schema;

pub(super) fn run(operator: &Operator, json: bool) -> Result<()> {
    let schema = operator.run(operator.control.store_schema())?;
    if json {
        return output::data(&json!({ "before": schema.before, "now": schema.now }).to_string());
    }
    output::note(&described(schema));
    Ok(())
}

fn described(Schema { before, now }: Schema) -> String {
    if before == now {
        format!("the schema is at version {now}; there was nothing to do")
    } else {
        format!("brought the schema from version {before} to {now}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_done() {
        assert_eq!(
            described(Schema { before: 9, now: 9 }),
            "the schema is at version 9; there was nothing to do"
        );
        assert_eq!(described(Schema { before: 9, now: 10 }), "brought the schema from version 9 to 10");
    }
}
