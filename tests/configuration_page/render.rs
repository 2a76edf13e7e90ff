//! The schema as a page of Markdown: a section a mapping, a row a key. Called by the test beside it only.

use std::fmt::Write;

use serde_json::{Map, Value};

/// What comes before the first table.
const HEAD: &str = "\
# Configuration

<!-- Generated from the code: src/config/raw.rs and what is beside it. Change it there, then run
     LATCHKEY_ACCEPT=1 cargo test --locked --test configuration_page -->

";
/// What no schema says.
const FOOT: &str = "
`latchkey check --config FILE` tells every fault at once, with its line; `latchkey schema` prints the JSON Schema of all
this, with which editors complete and check while you type. [config/latchkey.yaml](../config/latchkey.yaml) is the same
as an annotated file, and `latchkey init` writes it.
";

/// What separates a bound's description from what happens there.
const AT_THE_LIMIT: &str = "At the limit: ";

/// One key, as a row tells it.
pub struct Key {
    /// `limits.drain_seconds`, `listeners[].name`.
    pub path: String,
    /// In words.
    pub kind: String,
    /// Of numbers, read from the name.
    pub unit: &'static str,
    /// As YAML, or `required`.
    pub default: String,
    /// Of numbers, and the words of keys with fixed ones.
    pub range: String,
    /// What it is for.
    pub description: String,
    /// What happens there.
    pub at_the_limit: Option<String>,
}

/// A mapping: its place, what it is for, and its keys.
struct Section {
    path: String,
    description: String,
    keys: Vec<Key>,
}

/// All keys of `schema`, sections in their order.
pub fn keys_of(schema: &Value) -> Vec<Key> {
    sections_of(schema).into_iter().flat_map(|section| section.keys).collect()
}

/// The whole page.
pub fn render(schema: &Value) -> String {
    let mut page = HEAD.to_owned();
    for section in sections_of(schema) {
        if !section.path.is_empty() {
            writeln!(page, "\n## `{}`\n", section.path).unwrap();
        }
        writeln!(page, "{}\n", section.description).unwrap();
        page.push_str("| key | type | unit | default | range | meaning | at the limit |\n|---|---|---|---|---|---|---|\n");
        for key in section.keys {
            let at_the_limit = key.at_the_limit.as_deref().unwrap_or("–");
            let Key { path, kind, unit, default, range, description, .. } = key;
            writeln!(
                page,
                "| `{path}` | {kind} | {unit} | {default} | {range} | {description} | {at_the_limit} |"
            )
            .unwrap();
        }
    }
    page + FOOT
}

fn sections_of(schema: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    add_section(schema, schema, "", &mut sections);
    sections
}

fn add_section(mapping: &Value, root: &Value, path: &str, sections: &mut Vec<Section>) {
    let place = sections.len();
    sections.push(Section {
        path: path.to_owned(),
        description: text(mapping, "description"),
        keys: Vec::new(),
    });
    let required: Vec<&str> =
        mapping["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let no_keys = Map::new();
    for (name, schema) in mapping["properties"].as_object().unwrap_or(&no_keys) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let resolved = resolve(schema, root);
        let key = key_of(&path, name, &resolved, root, &required);
        if let Some(section) = sections.get_mut(place) {
            section.keys.push(key);
        }
        // What is below: the mapping itself, the items of a list, the values of a mapping with free keys.
        let items = resolve(&resolved["items"], root);
        let values = resolve(&resolved["additionalProperties"], root);
        let itself = alternatives(&resolved, root).into_iter().map(|one| (one, ""));
        for (below, suffix) in itself.chain([(items, "[]"), (values, ".NAME")]) {
            if below["properties"].is_object() {
                add_section(&below, root, &format!("{path}{suffix}"), sections);
            }
        }
    }
}

/// Follows a reference, and the one alternative besides `null`; a description at hand outranks the one behind it.
fn resolve(schema: &Value, root: &Value) -> Value {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let mut others = alternatives.filter(|alternative| alternative["type"] != "null");
    let target = match (schema["$ref"].as_str(), others.next(), others.next()) {
        (Some(reference), _, _) => root.pointer(reference.trim_start_matches('#')),
        (None, Some(only), None) => Some(only),
        _ => None,
    };
    let Some(target) = target else { return schema.clone() };
    let mut resolved = resolve(target, root);
    for name in ["description", "default"] {
        if let (Some(members), Some(own)) = (resolved.as_object_mut(), schema.get(name)) {
            members.insert(name.to_owned(), own.clone());
        }
    }
    resolved
}

/// What a resolved schema allows besides `null`: several things, or the one that it is.
fn alternatives(schema: &Value, root: &Value) -> Vec<Value> {
    match schema["anyOf"].as_array() {
        Some(several) => {
            several.iter().filter(|one| one["type"] != "null").map(|one| resolve(one, root)).collect()
        }
        None => vec![schema.clone()],
    }
}

fn key_of(path: &str, name: &str, schema: &Value, root: &Value, required: &[&str]) -> Key {
    let kind = kind_of(schema, root);
    let (description, at_the_limit) = match text(schema, "description").split_once(AT_THE_LIMIT) {
        Some((before, behind)) => (before.trim().to_owned(), Some(capitalised(behind))),
        None => (text(schema, "description"), None),
    };
    let words: Vec<String> = alternatives(schema, root)
        .iter()
        .flat_map(words_of)
        .map(|(word, meaning)| format!("`{word}`: {meaning}"))
        .collect();
    let range = match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
        _ if !words.is_empty() => words.join(" "),
        _ => "–".to_owned(),
    };
    Key {
        path: path.to_owned(),
        unit: unit_of(name, &kind),
        default: if required.contains(&name) { "required".to_owned() } else { default_of(schema) },
        kind,
        range,
        description,
        at_the_limit,
    }
}

fn unit_of(name: &str, kind: &str) -> &'static str {
    match name.rsplit('_').next() {
        _ if kind != "whole number" => "–",
        Some("seconds") => "s",
        Some("milliseconds") => "ms",
        Some("bytes") => "bytes",
        _ => "count",
    }
}

fn kind_of(schema: &Value, root: &Value) -> String {
    if schema["anyOf"].is_array() {
        let kinds: Vec<String> = alternatives(schema, root).iter().map(|one| kind_of(one, root)).collect();
        return kinds.join(" or ");
    }
    if !words_of(schema).is_empty() {
        let is_list = schema["type"] == "array";
        return if is_list { "list of words".to_owned() } else { "word".to_owned() };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let kind = match types.iter().find(|kind| **kind != "null") {
        Some(&"string") => "text".to_owned(),
        Some(&"integer") => "whole number".to_owned(),
        Some(&"number") => "number".to_owned(),
        Some(&"boolean") => "true or false".to_owned(),
        Some(&"array") => match kind_of(&resolve(&schema["items"], root), root).as_str() {
            "whole number" => "list of whole numbers".to_owned(),
            kind => format!("list of {kind}s"),
        },
        Some(&"object") => "mapping".to_owned(),
        other => panic!("what is {other:?} for people? {schema}"),
    };
    // A default that `null` switches off; elsewhere `null` is as good as nothing.
    if types.contains(&"null") && schema.get("default").is_some() {
        format!("{kind}, or `null`")
    } else {
        kind
    }
}

/// Fixed words with their meanings, also those of a list's items.
fn words_of(schema: &Value) -> Vec<(String, String)> {
    let items = schema.get("items").filter(|items| items["oneOf"].is_array()).unwrap_or(schema);
    let choices = items["oneOf"].as_array().into_iter().flatten();
    choices.map(|choice| (text(choice, "const"), text(choice, "description"))).collect()
}

fn default_of(schema: &Value) -> String {
    let is_free = schema["additionalProperties"].is_object();
    match schema.get("default") {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(other) => format!("`{other}`"),
        None if schema["type"] == "array" => "`[]`".to_owned(),
        None if is_free => "`{}`".to_owned(),
        // A mapping whose own keys have defaults, unless it may be missing.
        None if schema["type"] == "object" => "its keys'".to_owned(),
        None => "left out".to_owned(),
    }
}

/// A text of the schema in one line.
fn text(schema: &Value, name: &str) -> String {
    schema[name].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
