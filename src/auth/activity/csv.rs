//! Activity as CSV (RFC 4180). Pure.
//!
//! Spreadsheets take a field that begins with one of a few signs for a formula, also in quotes; such a field gets an
//! apostrophe in front, which they take for "this is text".

use super::ActivityRow;

const HEADER: &str = "sequence,time,actor,entrance,address,event,subject,result,description,details\r\n";

/// The table's head, with its line end.
pub const fn render_activity_csv_head() -> &'static str {
    HEADER
}

/// A line for each of `rows`, each with its line end.
pub fn render_activity_csv_lines<'a>(rows: impl IntoIterator<Item = &'a ActivityRow>) -> String {
    rows.into_iter().map(line).collect()
}

/// A whole file: head and lines.
pub fn render_activity_csv<'a>(rows: impl IntoIterator<Item = &'a ActivityRow>) -> String {
    format!("{HEADER}{}", render_activity_csv_lines(rows))
}

fn line(row: &ActivityRow) -> String {
    let details = serde_json::to_string(&row.details).unwrap_or_default();
    let fields = [
        &row.sequence.to_string(),
        &row.at.to_string(),
        &row.actor,
        &row.entrance,
        &row.client_ip,
        &row.event,
        &row.subject,
        row.result.as_str(),
        &row.sentence,
        &details,
    ];
    fields.map(field).join(",") + "\r\n"
}

fn field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::super::ActivityResult;
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_are_no_formulas() {
        let cases = [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM", "\"'@SUM\""),
            ("\tx", "\"'\tx\""),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
        ];
        for (text, expected) in cases {
            assert_eq!(field(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_row_is_a_line() {
        let row = ActivityRow {
            sequence: 7,
            at: Timestamp::from_unix_milliseconds(1_800_000_000_000),
            actor: "acme/admin".into(),
            entrance: "console".into(),
            client_ip: "192.0.2.7".into(),
            event: "key.created".into(),
            subject: "acme/alex".into(),
            details: [("description".to_owned(), "=1".to_owned())].into(),
            sentence: "created API key “=1” for alex".into(),
            result: ActivityResult::Done,
        };
        assert_eq!(
            render_activity_csv([&row]),
            "sequence,time,actor,entrance,address,event,subject,result,description,details\r\n\
             7,2027-01-15T08:00:00Z,acme/admin,console,192.0.2.7,key.created,acme/alex,done,\
             created API key “=1” for alex,\"{\"\"description\"\":\"\"=1\"\"}\"\r\n"
        );
    }
}
