//! YAML as JSON: what is needed to read files of Compose and Kubernetes, with anchors and merge keys. Parsed by what
//! configurations are parsed by; `latchkey::config` itself takes no anchors and keeps places instead.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// The documents of `text`.
pub fn documents(text: &str) -> Vec<Value> {
    let options = granit_parser::options! { emit_comments: false };
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, anchored: HashMap::new() };
    let mut documents = Vec::new();
    while let Some(event) = reader.event() {
        if event.is_node() {
            documents.push(reader.node(&event));
        }
    }
    documents
}

struct Reader<'text> {
    events: Parser<'text, StrInput<'text>>,
    anchored: HashMap<usize, Value>,
}

impl<'text> Reader<'text> {
    fn event(&mut self) -> Option<Event<'text>> {
        self.events.next_event().map(|next| next.unwrap().0)
    }

    /// The next event of a list or mapping; `None`: it ends here.
    fn member(&mut self) -> Option<Event<'text>> {
        self.event().filter(Event::is_node)
    }

    fn node(&mut self, event: &Event<'text>) -> Value {
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(text, *style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some(item) = self.member() {
                    items.push(self.node(&item));
                }
                Value::Array(items)
            }
            Event::MappingStart(..) => Value::Object(self.mapping()),
            Event::Alias(anchor) => self.anchored.get(anchor).unwrap().clone(),
            _ => Value::Null,
        };
        if let Some(anchor) = event.anchor_id() {
            self.anchored.insert(anchor, value.clone());
        }
        value
    }

    fn mapping(&mut self) -> Map<String, Value> {
        let mut entries = Map::new();
        while let Some(key) = self.member() {
            let key = key.scalar().unwrap().0.to_owned();
            let event = self.event().unwrap();
            let value = self.node(&event);
            if key == "<<" {
                // What stands beside it counts for more, before it or after.
                for (key, value) in value.as_object().unwrap() {
                    entries.entry(key.clone()).or_insert_with(|| value.clone());
                }
            } else {
                entries.insert(key, value);
            }
        }
        entries
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        _ if style != ScalarStyle::Plain => Value::from(text),
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

#[test]
fn anchors_and_merge_keys_are_followed_and_words_get_their_types() {
    let text = "a: &x {p: 1, q: two}\nb:\n  q: [*x, true, '3']\n  <<: *x\n---\n- ~\n";
    let expected = serde_json::json!({
        "a": {"p": 1, "q": "two"},
        "b": {"q": [{"p": 1, "q": "two"}, true, "3"], "p": 1},
    });
    assert_eq!(documents(text), [expected, serde_json::json!([null])]);
}
