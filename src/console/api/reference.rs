//! The document as a page for people: read as plain JSON, so that the page shows what programs are told.
//!
//! Called by the handler of `/api-reference`.

use serde_json::Value;

use super::super::frame::Frame;
use super::super::pages::api_reference::{
    ApiReferencePage, Call, CallAnswer, CallArea, Kind, Member, Prose, Shape,
};
use super::BASE;

/// What every judged call can be answered, which the page says once.
const COMMON: [&str; 5] = ["401", "403", "429", "500", "503"];
const SCHEMAS: &str = "#/components/schemas/";

/// The page of `document`.
pub(in crate::console) fn page(frame: Frame, document: &Value) -> ApiReferencePage {
    let about = text(document, "/info/description");
    let calls: Vec<_> = members_of(&document["paths"])
        .flat_map(|(path, item)| members_of(item).map(move |(method, operation)| (path, method, operation)))
        .collect();
    let common = calls.iter().find(|(.., operation)| COMMON.iter().all(|status| has(operation, status)));
    let areas = document["tags"].as_array().into_iter().flatten();
    ApiReferencePage {
        frame,
        document: format!("{BASE}/openapi.json"),
        about: about.split("\n\n").map(Prose::parse).collect(),
        common_answers: common
            .map(|(.., operation)| answers(operation, |status| COMMON.contains(&status)))
            .unwrap_or_default(),
        areas: areas.map(|tag| area(tag, &calls)).collect(),
        shapes: members_of(document.pointer("/components/schemas").unwrap_or(&Value::Null))
            .map(|(name, schema)| shape(name, schema))
            .collect(),
    }
}

fn area(tag: &Value, calls: &[(&str, &str, &Value)]) -> CallArea {
    let name = text(tag, "/name");
    let is_in = |(.., operation): &&(&str, &str, &Value)| text(operation, "/tags/0") == name;
    CallArea {
        id: format!("area-{}", name.to_lowercase().replace(' ', "-")),
        name: name.to_owned(),
        about: Prose::parse(text(tag, "/description")),
        calls: calls
            .iter()
            .filter(is_in)
            .map(|(path, method, operation)| call(path, method, operation))
            .collect(),
    }
}

fn call(path: &str, method: &str, operation: &Value) -> Call {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let body = operation.pointer("/requestBody/content/application~1json/schema");
    Call {
        id: format!("call-{}", text(operation, "/operationId")),
        method: method.to_uppercase(),
        path: format!("{BASE}{path}"),
        summary: text(operation, "/summary").to_owned(),
        about: Prose::parse(text(operation, "/description")),
        parameters: parameters
            .map(|parameter| Member {
                name: text(parameter, "/name").to_owned(),
                place: text(parameter, "/in").to_owned(),
                kind: kind(&parameter["schema"]),
                required: parameter["required"] == true,
                about: Prose::parse(text(parameter, "/description")),
            })
            .collect(),
        body: body.map(kind),
        answers: answers(operation, |status| !COMMON.contains(&status)),
    }
}

fn has(operation: &Value, status: &str) -> bool {
    operation["responses"].get(status).is_some()
}

fn answers(operation: &Value, is_meant: impl Fn(&str) -> bool) -> Vec<CallAnswer> {
    let meant = members_of(&operation["responses"]).filter(|(status, _)| is_meant(status));
    let answers = meant.map(|(status, response)| {
        let body = response.pointer("/content/application~1json/schema").map(kind);
        CallAnswer {
            status: status.to_owned(),
            about: Prose::parse(text(response, "/description")),
            body: body.filter(|body| body.name != "Problem"),
        }
    });
    answers.collect()
}

fn shape(name: &str, schema: &Value) -> Shape {
    let required =
        |member: &str| schema["required"].as_array().into_iter().flatten().any(|required| required == member);
    let words = schema["enum"].as_array().into_iter().flatten();
    Shape {
        name: name.to_owned(),
        about: Prose::parse(text(schema, "/description")),
        words: words.filter_map(Value::as_str).map(str::to_owned).collect(),
        members: members_of(&schema["properties"])
            .map(|(member, schema)| Member {
                name: member.to_owned(),
                place: String::new(),
                kind: kind(schema),
                required: required(member),
                about: Prose::parse(text(schema, "/description")),
            })
            .collect(),
    }
}

/// What kind of value `schema` describes.
fn kind(schema: &Value) -> Kind {
    if let Some(name) = text(schema, "/$ref").strip_prefix(SCHEMAS) {
        return Kind { prefix: "", name: name.to_owned(), is_shape: true };
    }
    // Something, or null.
    if let Some(first) = schema.pointer("/oneOf/0") {
        return kind(first);
    }
    let word = match &schema["type"] {
        Value::Array(words) => words.first().and_then(Value::as_str).unwrap_or_default(),
        word => word.as_str().unwrap_or_default(),
    };
    match word {
        "array" => Kind { prefix: "list of ", ..kind(&schema["items"]) },
        _ if text(schema, "/format") == "date-time" => {
            Kind { prefix: "", name: String::from("time"), is_shape: false }
        }
        word => Kind { prefix: "", name: word.to_owned(), is_shape: false },
    }
}

fn members_of(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::api::Description;
    use crate::console::api::tests::document_of_the_api;
    use crate::console::testing::{check_page, sample_frame};
    use utoipa::OpenApi;

    #[tokio::test]
    async fn the_page_shows_every_call_and_every_shape_and_its_links_lead_somewhere() {
        let document = document_of_the_api().await;
        let html = check_page("api-reference", &page(sample_frame(), &document));
        for (path, item) in members_of(&document["paths"]) {
            assert!(html.contains(&format!("<code>{BASE}{path}</code>")), "{path}");
            for (_, operation) in members_of(item) {
                let id = text(operation, "/operationId");
                assert_eq!(html.matches(&format!(r#"<h3 id="call-{id}">"#)).count(), 1, "{id}");
            }
        }
        for link in html.split(r##"href="#"##).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!(r#"id="{link}""#)), "{link}");
        }
        assert!(html.contains("AuthenticationError") || html.contains("not accepted"));
    }

    #[test]
    fn an_empty_document_makes_an_empty_page() {
        let document = serde_json::to_value(Description::openapi()).unwrap();
        let page = page(sample_frame(), &document);
        assert!(page.common_answers.is_empty() && page.areas.iter().all(|area| area.calls.is_empty()));
    }
}
