//! Tree against schema: unknown and missing keys, wrong types, values out of range, each with its place.
//!
//! Walks the very schema that `latchkey schema` prints, so the two cannot disagree. What passes becomes JSON for
//! [`super::raw`]; what does not is left out there (or stands as `null` where [`super::raw::Required`] expects it),
//! so that the sound rest can be checked for its meaning too and all faults are told at once.

use serde_json::{Map, Value as Json};

use super::faults::{Fault, FaultList, KeyPath, closest, shown};
use super::other_names;
use super::tree::{Entry, Node, Origin, Scalar, Value};

/// Checks `root` against `schema`, adding to `faults`; the sound part of it.
pub(super) fn check(root: &Node, schema: &Json, faults: &mut FaultList) -> Json {
    let mut checker = Checker { schema, faults };
    checker.value(root, schema, &KeyPath::default()).unwrap_or(Json::Null)
}

struct Checker<'a> {
    schema: &'a Json,
    faults: &'a mut FaultList,
}

/// What a plain schema asks for: one without references and alternatives.
type Plain<'a> = &'a Map<String, Json>;

impl<'a> Checker<'a> {
    /// The sound part of `node`; `None` where it is of no use, which has been told then.
    fn value(&mut self, node: &Node, schema: &'a Json, path: &KeyPath) -> Option<Json> {
        let mut allowed = Vec::new();
        self.flatten(schema, &mut allowed);
        let found = match &node.value {
            Value::Refused => return None,
            Value::Mapping(entries) => match allowed.iter().find(|schema| has_type(schema, "object")) {
                Some(schema) => return Some(self.mapping(node, entries, schema, path)),
                None => "a mapping",
            },
            Value::List(items) => match allowed.iter().find(|schema| has_type(schema, "array")) {
                Some(schema) => return Some(self.list(items, schema, path)),
                None => "a list",
            },
            Value::Scalar(scalar) => return self.scalar(scalar, node, &allowed, path),
        };
        self.wrong_type(node, &allowed, found, path)
    }

    /// Resolves references and alternatives of `schema` into plain schemas.
    fn flatten(&self, schema: &'a Json, plain: &mut Vec<Plain<'a>>) {
        let Some(object) = schema.as_object() else { return };
        if let Some(target) = object.get("$ref").and_then(Json::as_str) {
            if let Some(target) = target.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer)) {
                self.flatten(target, plain);
            }
        } else if let Some(choices) =
            object.get("anyOf").or_else(|| object.get("oneOf")).and_then(Json::as_array)
        {
            for choice in choices {
                self.flatten(choice, plain);
            }
        } else {
            plain.push(object);
        }
    }

    fn mapping(&mut self, node: &Node, entries: &[Entry], schema: Plain<'a>, path: &KeyPath) -> Json {
        let no_properties = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object);
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let mut sound = Map::new();
        for entry in entries {
            let below = path.key(&entry.key);
            let known = properties.and_then(|properties| properties.get(&entry.key));
            let further = schema.get("additionalProperties").filter(|further| further.is_object());
            let Some(schema) = known.or(further) else {
                let properties = properties.unwrap_or(&no_properties);
                self.unknown_key(entry, properties.keys().map(String::as_str).collect(), path);
                continue;
            };
            if let Some(value) = self.value(&entry.node, schema, &below) {
                sound.insert(entry.key.clone(), value);
            } else if required.contains(&entry.key.as_str()) {
                sound.insert(entry.key.clone(), Json::Null);
            }
        }
        for key in required.into_iter().filter(|key| node.entry(key).is_none()) {
            self.faults
                .push(Fault::new(node.place, path, format!("missing key `{key}`")).about(path.key(key)));
            sound.insert(key.to_owned(), Json::Null);
        }
        Json::Object(sound)
    }

    fn unknown_key(&mut self, entry: &Entry, known: Vec<&str>, path: &KeyPath) {
        let below = path.key(&entry.key);
        let named = shown(&entry.key).map(|key| format!(" `{key}`")).unwrap_or_default();
        let allowed = format!("allowed: {}", known.join(", "));
        let fault = if let Some(meant) =
            other_names::meant_by(&below.pattern()).or_else(|| closest(&entry.key, known))
        {
            Fault::new(entry.key_place, path, format!("unknown key{named}; did you mean `{meant}`?"))
        } else {
            Fault::new(entry.key_place, path, format!("unknown key{named}")).help(allowed)
        };
        self.faults.push(fault.about(below));
    }

    fn list(&mut self, items: &[Node], schema: Plain<'a>, path: &KeyPath) -> Json {
        let Some(each) = schema.get("items") else { return Json::Array(Vec::new()) };
        let sound = items
            .iter()
            .enumerate()
            .map(|(position, item)| self.value(item, each, &path.index(position)).unwrap_or(Json::Null));
        Json::Array(sound.collect())
    }

    fn scalar(
        &mut self,
        scalar: &Scalar,
        node: &Node,
        allowed: &[Plain<'a>],
        path: &KeyPath,
    ) -> Option<Json> {
        let of_type = |name| allowed.iter().find(|schema| has_type(schema, name));
        let words = words(allowed);
        let found = match look(scalar, allowed) {
            Look::Nothing if of_type("null").is_some() => return Some(Json::Null),
            Look::Nothing => "nothing",
            Look::Boolean(value) if of_type("boolean").is_some() => return Some(value.into()),
            Look::Boolean(_) => "true or false",
            Look::Integer(value) => match (of_type("integer"), of_type("number")) {
                (Some(schema), _) => return self.integer(value, node, schema, path),
                (None, Some(schema)) => return self.number(scalar, node, schema, path),
                (None, None) => "a number",
            },
            Look::Fraction => match of_type("number") {
                Some(schema) => return self.number(scalar, node, schema, path),
                None if of_type("integer").is_some() => "a number of another form",
                None => "a number",
            },
            Look::OtherNumber if of_type("integer").or_else(|| of_type("number")).is_some() => {
                "a number of another form"
            }
            Look::OtherNumber => "a number",
            Look::Text if !words.is_empty() => return self.word(scalar, node, &words, path),
            Look::Text if of_type("string").is_some() => return Some(scalar.text.as_str().into()),
            Look::Text => "text",
        };
        self.wrong_type(node, allowed, found, path)
    }

    fn integer(&mut self, value: i128, node: &Node, schema: Plain<'a>, path: &KeyPath) -> Option<Json> {
        let bound = |name, default| schema.get(name).and_then(Json::as_u64).unwrap_or(default);
        let (minimum, maximum) = (bound("minimum", 0), bound("maximum", u64::MAX));
        if let Some(value) = u64::try_from(value).ok().filter(|value| (minimum..=maximum).contains(value)) {
            return Some(value.into());
        }
        self.faults.push(Fault::new(node.place, path, format!("must be from {minimum} to {maximum}")));
        None
    }

    /// A whole number or a fraction, which `scalar` looks like.
    fn number(&mut self, scalar: &Scalar, node: &Node, schema: Plain<'a>, path: &KeyPath) -> Option<Json> {
        let bound = |name, default| schema.get(name).and_then(Json::as_f64).unwrap_or(default);
        let (minimum, maximum) = (bound("minimum", 0.0), bound("maximum", f64::MAX));
        let value = scalar.text.parse::<f64>().ok();
        if let Some(value) = value.filter(|value| (minimum..=maximum).contains(value)) {
            return Some(value.into());
        }
        self.faults.push(Fault::new(node.place, path, format!("must be from {minimum} to {maximum}")));
        None
    }

    fn word(&mut self, scalar: &Scalar, node: &Node, words: &[&str], path: &KeyPath) -> Option<Json> {
        let text = scalar.text.as_str();
        if words.contains(&text) {
            return Some(text.into());
        }
        let allowed = format!("allowed: {}", words.join(", "));
        let named = shown(text).filter(|_| scalar.origin != Origin::Interpolated);
        let message = match (named, closest(text, words.iter().copied())) {
            (Some(word), Some(meant)) => format!("unknown value `{word}`; did you mean `{meant}`? {allowed}"),
            (Some(word), None) => format!("unknown value `{word}`; {allowed}"),
            (None, _) => format!("unknown value; {allowed}"),
        };
        self.faults.push(Fault::new(node.place, path, message));
        None
    }

    fn wrong_type(
        &mut self,
        node: &Node,
        allowed: &[Plain<'a>],
        found: &str,
        path: &KeyPath,
    ) -> Option<Json> {
        let words = words(allowed);
        let mut wanted: Vec<&str> = ["object", "array", "boolean", "integer", "number", "string"]
            .into_iter()
            .filter(|name| allowed.iter().any(|schema| has_type(schema, name)))
            .map(type_in_words)
            .collect();
        let one_of = format!("one of {}", words.join(", "));
        if !words.is_empty() {
            wanted = vec![&one_of];
        }
        let fault = Fault::new(node.place, path, format!("must be {}, not {found}", wanted.join(" or ")));
        let is_scalar = matches!(node.value, Value::Scalar(_)) && found != "nothing";
        let quotes = is_scalar && wanted.contains(&"text");
        self.faults.push(if quotes { fault.help("put it in quotes") } else { fault });
        None
    }
}

/// Does a plain schema allow the JSON type `name`? A schema of fixed words is one of text.
fn has_type(schema: Plain<'_>, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// The fixed words that plain schemas allow.
fn words<'a>(allowed: &[Plain<'a>]) -> Vec<&'a str> {
    let several = |schema: &Plain<'a>| schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    let one = |schema: &Plain<'a>| schema.get("const").into_iter();
    allowed.iter().flat_map(|schema| several(schema).chain(one(schema))).filter_map(Json::as_str).collect()
}

fn type_in_words(name: &str) -> &'static str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "text",
    }
}

/// What a scalar is.
enum Look {
    Nothing,
    Boolean(bool),
    Integer(i128),
    /// With a point or an exponent.
    Fraction,
    /// A spelling that readers of YAML disagree about, like `010`.
    OtherNumber,
    Text,
}

/// YAML 1.2.2 §10.3.2 for plain scalars, strict: `yes` is text, and so is `True`. What came through `${…}`, which
/// may have needed quotes to stand in a flow mapping, is what is asked for if it can be.
fn look(scalar: &Scalar, allowed: &[Plain<'_>]) -> Look {
    let text = scalar.text.as_str();
    let asked = |name| allowed.iter().any(|schema| has_type(schema, name));
    match scalar.origin {
        Origin::Quoted => Look::Text,
        Origin::Interpolated if asked("string") => Look::Text,
        Origin::Plain | Origin::Interpolated => match text {
            "" | "~" | "null" => Look::Nothing,
            "true" => Look::Boolean(true),
            "false" => Look::Boolean(false),
            _ => number(text).unwrap_or(Look::Text),
        },
    }
}

fn number(text: &str) -> Option<Look> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits_only = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if digits_only && (unsigned == "0" || !unsigned.starts_with('0')) {
        return Some(Look::Integer(text.parse().unwrap_or(i128::MAX)));
    }
    let based = unsigned.starts_with("0x") || unsigned.starts_with("0o");
    let grouped = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if based || grouped {
        return Some(Look::OtherNumber);
    }
    let has_one_reading = unsigned.starts_with("0.") || !unsigned.starts_with('0');
    let look = if has_one_reading { Look::Fraction } else { Look::OtherNumber };
    text.parse::<f64>().is_ok().then_some(look)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::schema;
    use crate::config::testing::{BASE, TestFolder};

    /// The first fault of the smallest sound configuration with `setting` before it.
    fn first_fault_with(setting: &str) -> String {
        let told = TestFolder::new().faults(&format!("{setting}\n{BASE}"));
        told.lines().next().unwrap_or_default().replace("  error  ", " ")
    }

    #[test]
    fn values_of_a_wrong_type_are_told_with_what_is_allowed() {
        for (setting, expected) in [
            ("threads: two", "f.yaml:1:10 threads: must be a whole number, not text"),
            ("threads: '2'", "f.yaml:1:10 threads: must be a whole number, not text"),
            ("threads: \"${SECRET}\"", "f.yaml:1:10 threads: must be a whole number, not text"),
            ("threads: 1.5", "f.yaml:1:10 threads: must be a whole number, not a number of another form"),
            ("threads: 010", "f.yaml:1:10 threads: must be a whole number, not a number of another form"),
            ("threads: 0x10", "f.yaml:1:10 threads: must be a whole number, not a number of another form"),
            ("threads: 1_000", "f.yaml:1:10 threads: must be a whole number, not a number of another form"),
            ("threads: true", "f.yaml:1:10 threads: must be a whole number, not true or false"),
            ("threads: [1]", "f.yaml:1:10 threads: must be a whole number, not a list"),
            ("threads: {}", "f.yaml:1:10 threads: must be a whole number, not a mapping"),
            ("threads:", "f.yaml:1:8 threads: must be a whole number, not nothing"),
            (
                "access_log: { path: l, sample: { allowed: half } }",
                "f.yaml:1:43 access_log.sample.allowed: must be a number, not text",
            ),
            (
                "access_log: { path: l, sample: { allowed: 0x1 } }",
                "f.yaml:1:43 access_log.sample.allowed: must be a number, not a number of another form",
            ),
            ("store: x", "f.yaml:1:8 store: must be a mapping, not text"),
            ("store: { url: 7 }", "f.yaml:1:15 store.url: must be text, not a number"),
            ("master_key: 0123456789", "f.yaml:1:13 master_key: must be text, not a number"),
            ("access_log: yes", "f.yaml:1:13 access_log: must be a mapping, not text"),
            (
                "policy: { mfa_required: true }",
                "f.yaml:1:25 policy.mfa_required: must be one of all, new_customers, none, not true or false",
            ),
        ] {
            assert_eq!(first_fault_with(setting), expected, "{setting}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        for (setting, expected) in [
            ("threads: -1", "f.yaml:1:10 threads: must be from 0 to 1024"),
            ("threads: 1025", "f.yaml:1:10 threads: must be from 0 to 1024"),
            (
                "threads: 99999999999999999999999999999999999999999999",
                "f.yaml:1:10 threads: must be from 0 to 1024",
            ),
            ("limits: { drain_seconds: 3601 }", "f.yaml:1:26 limits.drain_seconds: must be from 0 to 3600"),
            (
                "access_log: { path: l, sample: { allowed: 1.01 } }",
                "f.yaml:1:43 access_log.sample.allowed: must be from 0 to 1",
            ),
            (
                "access_log: { path: l, sample: { allowed: -1 } }",
                "f.yaml:1:43 access_log.sample.allowed: must be from 0 to 1",
            ),
            (
                "access_log: { path: l, sample: { allowed: 1e999 } }",
                "f.yaml:1:43 access_log.sample.allowed: must be from 0 to 1",
            ),
            (
                "limits: { http_header_bytes: 1 }",
                "f.yaml:1:30 limits.http_header_bytes: must be from 8192 to 1048576",
            ),
        ] {
            assert_eq!(first_fault_with(setting), expected, "{setting}");
        }
        let config =
            TestFolder::new().parse(&format!("limits: {{ http_body_bytes: 9007199254740991 }}\n{BASE}"));
        assert_eq!(config.unwrap().limits.http_body_bytes, 9_007_199_254_740_991);
    }

    #[test]
    fn nothing_is_the_default_where_a_value_may_be_left_out() {
        let config =
            TestFolder::new().parse(&format!("access_log:\nmaster_key_file: ~\nmaster_key: null\n{BASE}"));
        assert!(config.unwrap().access_log.is_none());
    }

    #[test]
    fn unknown_and_missing_keys_are_told() {
        for (setting, expected) in [
            ("thread: 1", "f.yaml:1:1 unknown key `thread`; did you mean `threads`?"),
            (
                "rate_limit: 5",
                "f.yaml:1:1 unknown key `rate_limit`; did you mean `limits.requests_per_second_per_key`?",
            ),
            (
                "limits: { rate_limit: 5 }",
                "f.yaml:1:11 limits: unknown key `rate_limit`; did you mean `requests_per_second_per_key`?",
            ),
            ("Threads: 1", "f.yaml:1:1 unknown key `Threads`; did you mean `threads`?"),
            ("colour: red", "f.yaml:1:1 unknown key `colour`"),
            ("lk1_0123456789abcdef0123456789abcdef01234567: 1", "f.yaml:1:1 unknown key"),
            (
                "limits: { conections: 1 }",
                "f.yaml:1:11 limits: unknown key `conections`; did you mean `connections`?",
            ),
            ("access_log: {}", "f.yaml:1:13 access_log: missing key `path`"),
        ] {
            assert_eq!(first_fault_with(setting), expected, "{setting}");
        }
        let told = TestFolder::new().faults("threads: 1\n");
        assert_eq!(told, "f.yaml:1:1  error  missing key `listeners`\n1 error");
        let told = TestFolder::new().faults("just text\n");
        assert_eq!(told, "f.yaml:1:1  error  must be a mapping, not text\n1 error");
    }

    #[test]
    fn one_broken_element_leaves_the_others_checked() {
        let told = TestFolder::new().faults(
            "listeners:\n  - 7\n  - {name: 1, protocol: ops, address: nowhere}\nupstreams: {}\nthreads: 1\n",
        );
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("  error  ")).collect();
        assert_eq!(
            lines,
            [
                "f.yaml:2:5   error  listeners[0]: must be a mapping, not a number",
                "f.yaml:3:12  error  listeners[1].name: must be text, not a number",
                "f.yaml:3:39  error  listeners[1].address: must be ADDRESS:PORT",
                "f.yaml:4:12  error  upstreams: must be a list, not a mapping",
            ]
        );
    }

    #[test]
    fn the_schema_says_nothing_that_this_check_does_not_hold() {
        fn keywords(schema: &Json, found: &mut BTreeSet<String>) {
            let Json::Object(object) = schema else { return };
            for (keyword, below) in object {
                found.insert(keyword.clone());
                match (keyword.as_str(), below) {
                    ("properties" | "$defs", Json::Object(schemas)) => {
                        for schema in schemas.values() {
                            keywords(schema, found);
                        }
                    }
                    ("oneOf" | "anyOf", Json::Array(schemas)) => {
                        for schema in schemas {
                            keywords(schema, found);
                        }
                    }
                    ("items" | "additionalProperties", _) => keywords(below, found),
                    _ => {}
                }
            }
            if object.get("type").is_some_and(|of| of == "integer" || of == "number") {
                assert!(object.contains_key("minimum") && object.contains_key("maximum"), "{schema}");
            }
        }
        let held = [
            "$ref",
            "additionalProperties",
            "anyOf",
            "const",
            "items",
            "maximum",
            "minimum",
            "oneOf",
            "properties",
            "required",
            "type",
        ];
        let notes = ["$defs", "$schema", "default", "description", "format", "title"];
        let mut found = BTreeSet::new();
        keywords(&schema(), &mut found);
        let known: BTreeSet<String> = held.into_iter().chain(notes).map(str::to_owned).collect();
        assert_eq!(found, known);
    }
}
