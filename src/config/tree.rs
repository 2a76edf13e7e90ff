//! YAML text → a tree in which every key and value knows its place.
//!
//! Reads the part of YAML that a configuration needs: one document of mappings, lists and scalars. Anchors, aliases,
//! merge keys, tags and directives are refused, so no text can grow beyond its own size. Types no scalar: what a
//! plain `8080` is depends on what is asked for, which [`super::structure`] knows.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use zeroize::Zeroizing;

use super::faults::{Fault, FaultList, KeyPath, Place, Step};

/// The largest configuration, in bytes.
pub(super) const TEXT_MAX_BYTES: usize = 1024 * 1024;

/// The deepest nesting; the schema needs six.
const NESTING_MAX: usize = 32;

/// A value and where it starts.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a value is.
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Refused with a fault of its own already.
    Refused,
}

/// A scalar's text, wiped when it goes: it may be a secret.
pub(super) struct Scalar {
    pub(super) text: Zeroizing<String>,
    pub(super) origin: Origin,
}

/// How a scalar came to its text, which decides what it can be and whether a fault may repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Written without quotes: typed by its look.
    Plain,
    /// Quoted or a block: text.
    Quoted,
    /// Came through `${…}`: typed by what is asked for, never shown.
    Interpolated,
}

/// A key and its value.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// The value of `key`, where this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value at `path`.
    pub(super) fn find(&self, path: &KeyPath) -> Option<&Self> {
        path.steps().iter().try_fold(self, Self::child)
    }

    /// Where the value at `path` stands, or the nearest thing above it.
    pub(super) fn place_of(&self, path: &KeyPath) -> Place {
        let mut node = self;
        for step in path.steps() {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.place
    }

    /// Is nothing written here, as after `key:`? The parser says `~` for it.
    fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { text, origin: Origin::Plain }) if ["", "~"].contains(&text.as_str()))
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), _) => self.entry(key).map(|entry| &entry.node),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        }
    }
}

/// Reads `text`, adding to `faults` what is refused on the way; a syntax error ends the reading.
pub(super) fn read(text: &str, faults: &mut FaultList) -> Result<Node, Fault> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(Fault::of_file(format!("larger than {TEXT_MAX_BYTES} bytes")));
    }
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: NESTING_MAX,
        block_nesting_limit: NESTING_MAX,
    };
    let mut reader = Reader { events: Parser::new_from_str_with_options(text, options), faults };
    match reader.read_document() {
        Ok(Some(root)) => Ok(root),
        Ok(None) => Err(Fault::new(Place { line: 1, column: 1 }, &KeyPath::default(), "the file is empty")
            .help("`config/latchkey.yaml` is an annotated configuration to start from")),
        Err(error) => Err(syntax_fault(text, &error)),
    }
}

/// Says what the parser met. Its messages repeat nothing of the file beyond one character.
fn syntax_fault(text: &str, error: &ScanError) -> Fault {
    let place = place_of(error.marker());
    let fault = Fault::new(place, &KeyPath::default(), format!("not valid YAML: {}", error.info()));
    let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    if line.contains("${") {
        fault.help("inside `[ ]` and `{ }` a value with `${…}` needs quotes")
    } else {
        fault
    }
}

fn place_of(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

struct Reader<'text, 'faults> {
    events: Parser<'text, StrInput<'text>>,
    faults: &'faults mut FaultList,
}

impl<'text> Reader<'text, '_> {
    fn next_event(&mut self) -> Result<Option<(Event<'text>, Place)>, ScanError> {
        let next = self.events.next_event().transpose()?;
        Ok(next.map(|(event, span)| (event, place_of(&span.start))))
    }

    fn read_document(&mut self) -> Result<Option<Node>, ScanError> {
        let mut root: Option<Node> = None;
        while let Some((event, place)) = self.next_event()? {
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    self.refuse(place, &KeyPath::default(), "a second document: a configuration is one");
                    break;
                }
                event if event.is_node() => root = Some(self.node(&event, place, &KeyPath::default())?),
                _ => {}
            }
        }
        Ok(root.filter(|node| !node.is_nothing()))
    }

    /// Reads the value that `event` starts. The parser's limit of nesting bounds the recursion.
    fn node(&mut self, event: &Event<'text>, place: Place, path: &KeyPath) -> Result<Node, ScanError> {
        if event.anchor_id().is_some() {
            self.refuse(place, path, "anchors (`&name`) are not used here; write the value out");
        }
        if event.tag().is_some() {
            self.refuse(place, path, "tags (`!name`) are not used here");
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let origin = if *style == ScalarStyle::Plain { Origin::Plain } else { Origin::Quoted };
                Value::Scalar(Scalar { text: Zeroizing::new(text.to_string()), origin })
            }
            Event::SequenceStart(..) => Value::List(self.list(path)?),
            Event::MappingStart(..) => Value::Mapping(self.mapping(path)?),
            _ => {
                self.refuse(place, path, "aliases (`*name`) are not used here; write the value out");
                Value::Refused
            }
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, path: &KeyPath) -> Result<Vec<Node>, ScanError> {
        let mut items = Vec::new();
        while let Some((event, place)) = self.next_event()?.filter(|(event, _)| event.is_node()) {
            let item = self.node(&event, place, &path.index(items.len()))?;
            items.push(item);
        }
        Ok(items)
    }

    fn mapping(&mut self, path: &KeyPath) -> Result<Vec<Entry>, ScanError> {
        let mut entries = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        while let Some((event, key_place)) = self.next_event()?.filter(|(event, _)| event.is_node()) {
            let key = self.key(&event, key_place, path)?;
            let below = path.key(key.as_deref().unwrap_or_default());
            let Some((event, place)) = self.next_event()? else { break };
            let node = self.node(&event, place, &below)?;
            let Some(key) = key else { continue };
            if let Some(line) = lines.get(&key) {
                self.refuse(key_place, &below, format!("the key stands in line {line} already"));
            } else {
                lines.insert(key.clone(), key_place.line);
                entries.push(Entry { key, key_place, node });
            }
        }
        Ok(entries)
    }

    /// A key's text; `None` where it was refused, after all of it is read.
    fn key(
        &mut self,
        event: &Event<'text>,
        place: Place,
        path: &KeyPath,
    ) -> Result<Option<String>, ScanError> {
        match self.node(event, place, path)?.value {
            Value::Scalar(scalar) if scalar.text.as_str() == "<<" => {
                self.refuse(place, path, "merge keys (`<<`) are not used here; write the keys out");
                Ok(None)
            }
            Value::Scalar(scalar) => Ok(Some(scalar.text.as_str().to_owned())),
            Value::List(_) | Value::Mapping(_) => {
                self.refuse(place, path, "a key must be a word");
                Ok(None)
            }
            Value::Refused => Ok(None),
        }
    }

    fn refuse(&mut self, place: Place, path: &KeyPath, message: impl Into<String>) {
        self.faults.push(Fault::new(place, path, message));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The faults of reading `text`, a syntax error being one.
    fn faults_of(text: &str) -> String {
        let mut faults = FaultList::default();
        if let Err(fault) = read(text, &mut faults) {
            faults.push(fault);
        }
        faults.into_faults("f").map_or_else(String::new, |faults| faults.to_string())
    }

    fn tree(text: &str) -> Node {
        let mut faults = FaultList::default();
        let tree = read(text, &mut faults).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert!(faults.into_faults("f").is_none());
        tree
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let tree = tree("# first\na:\n  - b: 1\n    c: [x, \"ÿ\", z]\n");
        let items = KeyPath::default().key("a");
        let c = items.index(0).key("c");
        assert_eq!(tree.place_of(&items), Place { line: 3, column: 3 });
        assert_eq!(tree.place_of(&c), Place { line: 4, column: 8 });
        assert_eq!(tree.place_of(&c.index(2)), Place { line: 4, column: 17 }, "columns count characters");
        assert_eq!(
            tree.place_of(&c.index(9)),
            tree.place_of(&c),
            "what is missing is shown at what holds it"
        );
        assert_eq!(
            tree.find(&items.index(0)).unwrap().entry("c").unwrap().key_place,
            Place { line: 4, column: 5 }
        );
        assert!(tree.find(&c.key("d")).is_none());
    }

    #[test]
    fn quotes_are_remembered() {
        let tree = tree("a: 1\nb: '1'\nc: \"1\"\nd: |\n  1\n");
        let origin = |key| match &tree.entry(key).unwrap().node.value {
            Value::Scalar(scalar) => scalar.origin,
            _ => panic!("no scalar"),
        };
        assert_eq!(origin("a"), Origin::Plain);
        for key in ["b", "c", "d"] {
            assert_eq!(origin(key), Origin::Quoted, "{key}");
        }
    }

    #[test]
    fn what_a_configuration_does_not_need_is_refused_at_its_place() {
        for (text, expected) in [
            ("a: &x 1\n", "f:1:7  error  a: anchors"),
            ("a: *x\n", "f:1:4  error  a: aliases"),
            ("a: {}\n<<: {}\n", "f:2:1  error  merge keys"),
            ("a: !!str 1\n", "f:1:10  error  a: tags"),
            ("a: 1\n---\nb: 2\n", "f:2:1  error  a second document"),
            ("a: 1\nb: 2\na: 3\n", "f:3:1  error  a: the key stands in line 1 already"),
            ("[a, b]: 1\n", "f:1:1  error  a key must be a word"),
            ("%YAML 1.1\n---\na: 1\n", "f:1:1  error  not valid YAML: "),
            ("a: [1\n", "f:1:4  error  not valid YAML: unclosed"),
            ("a:\n\tb: 2\n", "f:2:"),
            ("", "f:1:1  error  the file is empty"),
            ("# only this\n---\n", "f:1:1  error  the file is empty"),
        ] {
            let told = faults_of(text);
            assert!(told.starts_with(expected), "{text:?}: {told}");
            assert!(told.ends_with("1 error"), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_value_to_insert_in_a_flow_mapping_is_told_to_take_quotes() {
        assert!(faults_of("a: { b: ${NAME} }\n").contains("help   inside `[ ]` and `{ }`"));
    }

    #[test]
    fn bombs_of_any_kind_are_refused_quickly() {
        let laughs = (1..40).fold(String::from("a0: &a0 [x, x]\n"), |text, level| {
            let below = level - 1;
            format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n")
        });
        let deep_flow = "[".repeat(100_000);
        let deep_block =
            (0..500).fold(String::new(), |text, level| format!("{text}{}a:\n", " ".repeat(level)));
        let many = (0..60_000).fold(String::new(), |text, number| format!("{text}k{number}: 1\n"));
        let anchors = "- &x *x\n".repeat(50_000);
        let large = "a".repeat(TEXT_MAX_BYTES + 1);
        for text in [laughs, deep_flow, deep_block, anchors, large] {
            // One that went off would take hours, or all memory; a busy machine takes seconds for the rest.
            let start = Instant::now();
            assert!(!faults_of(&text).is_empty());
            assert!(start.elapsed().as_secs() < 60);
        }
        let start = Instant::now();
        assert!(faults_of(&many).is_empty());
        assert!(start.elapsed().as_secs() < 60);
    }
}
