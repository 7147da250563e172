//! YAML as a tree of JSON values that remembers where each stood, with references to the
//! environment and included files put in their place.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};

use crate::fault::Fault;
use crate::yaml::{self, Data, Node, Position};

/// Largest file, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Most files of a configuration, each counted as often as it is included.
const MAX_FILES: usize = 100;

/// Looks up a variable of the environment.
pub type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A configuration as it was written.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Where each value stood, by its path (`models[0].name`).
    places: HashMap<String, Place>,
    /// Paths whose text came from the environment, and may stand for a number.
    referenced: HashSet<String>,
    pub(crate) faults: Vec<Fault>,
    /// Something could not be read at all, so that what is missing says nothing.
    pub(crate) unreadable: bool,
    /// All files that it was read from.
    pub(crate) files: Vec<PathBuf>,
}

impl Document {
    /// A fault at `path`, or at the nearest value above it that has a place.
    pub(crate) fn fault_at(&self, path: &str, message: impl Into<String>) -> Fault {
        let mut upward = path;
        let place = loop {
            if let Some(place) = self.places.get(upward) {
                break Some(place);
            }
            match upward.rfind(['.', '[']) {
                Some(at) => upward = &upward[..at],
                None if upward.is_empty() => break None,
                None => upward = "",
            }
        };
        let (file, line, column) = match place {
            Some(place) => (place.file.clone(), place.line, place.column),
            None => (self.files.first().map(|file| shown(file)).unwrap_or_default(), 0, 0),
        };
        Fault { file, line, column, path: path.to_owned(), message: message.into() }
    }

    pub(crate) fn is_referenced(&self, path: &str) -> bool {
        self.referenced.contains(path)
    }

    /// Reads a file and those it includes.
    pub(crate) fn read(path: &Path, environment: &Environment<'_>) -> Self {
        let mut document = Self { value: Value::Object(Map::new()), ..Self::default() };
        document.include(path, None, environment, &mut Vec::new());
        document
    }

    /// Reads `text`, which may not include files.
    pub(crate) fn parse(name: &str, text: &str, environment: &Environment<'_>) -> Self {
        let mut document = Self {
            value: Value::Object(Map::new()),
            files: vec![PathBuf::from(name)],
            ..Self::default()
        };
        let tree = document.tree(name, text, environment);
        if tree.contains_key("include") {
            let fault = document.fault_at("include", "this text is not in a file; remove it");
            document.faults.push(fault);
        }
        document.value = Value::Object(tree);
        document
    }

    /// Reads a file that stands at `named` in another.
    fn include(
        &mut self,
        path: &Path,
        named: Option<Place>,
        environment: &Environment<'_>,
        open: &mut Vec<PathBuf>,
    ) {
        let name = shown(path);
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let refusal = if open.contains(&canonical) {
            Some(format!("{name} includes itself; remove it from the list"))
        } else if self.files.len() >= MAX_FILES {
            Some(format!("more than {MAX_FILES} files are included; join some"))
        } else {
            None
        };
        let text = match refusal.map_or_else(|| bounded_text(path), Err) {
            Ok(text) => text,
            Err(message) => {
                self.unreadable = true;
                let fault = match named {
                    Some(Place { file, line, column }) => {
                        Fault { file, line, column, path: "include".to_owned(), message }
                    }
                    None => Fault {
                        file: name,
                        line: 0,
                        column: 0,
                        path: String::new(),
                        message: format!("{message}; name another with --config"),
                    },
                };
                self.files.push(path.to_owned());
                self.faults.push(fault);
                return;
            }
        };
        self.files.push(path.to_owned());
        let mut tree = self.tree(&name, &text, environment);
        let included = tree.remove("include");
        let places: Vec<Option<Place>> = included
            .as_ref()
            .and_then(Value::as_array)
            .map(|names| {
                let place = |number| self.places.get(&format!("include[{number}]")).cloned();
                (0..names.len()).map(place).collect()
            })
            .unwrap_or_default();
        let names: Option<Vec<&str>> = match &included {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
            Some(_) => None,
        };
        if names.is_none() {
            let message = "must be a list of file names, such as [models.yaml]";
            let fault = self.fault_at("include", message);
            self.faults.push(fault);
        }
        let mut whole = std::mem::take(&mut self.value);
        if let Value::Object(members) = &mut whole {
            self.merge(members, tree, "");
        }
        self.value = whole;
        open.push(canonical);
        let folder = path.parent().unwrap_or(Path::new("."));
        for (name, place) in names.into_iter().flatten().zip(places) {
            self.include(&folder.join(name), place, environment, open);
        }
        open.pop();
    }

    /// Adds the tree of a further file: maps are joined, lists appended, and what else stands in
    /// two files is a fault.
    fn merge(&mut self, members: &mut Map<String, Value>, more: Map<String, Value>, path: &str) {
        for (key, value) in more {
            let inner = joined(path, &key);
            match (members.get_mut(&key), value) {
                (None | Some(Value::Null), value) => {
                    members.insert(key, value);
                }
                (Some(_), Value::Null) => {}
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                (Some(Value::Object(members)), Value::Object(more)) => {
                    self.merge(members, more, &inner);
                }
                (Some(_), _) => {
                    let message = "this key stands in two files; keep one of them";
                    let fault = self.fault_at(&inner, message);
                    self.faults.push(fault);
                }
            }
        }
    }

    fn tree(
        &mut self,
        file: &str,
        text: &str,
        environment: &Environment<'_>,
    ) -> Map<String, Value> {
        let (root, problems) = yaml::parse(text);
        self.unreadable |= root.is_none() && !problems.is_empty();
        for problem in problems {
            self.faults.push(Fault {
                file: file.to_owned(),
                line: problem.at.line,
                column: problem.at.column,
                path: String::new(),
                message: problem.message,
            });
        }
        let Some(root) = root else { return Map::new() };
        let whole = std::mem::take(&mut self.value);
        let mut reader = Reader { document: self, file, environment };
        let value = reader.value(root, "", Some(&whole));
        self.value = whole;
        match value {
            Value::Null => Map::new(),
            Value::Object(members) => members,
            _ => {
                self.unreadable = true;
                let fault = self.fault_at("", "the configuration must be a map of keys");
                self.faults.push(fault);
                Map::new()
            }
        }
    }
}

/// The text of a file, if it is one and not too large. Pipes and devices may have no end.
fn bounded_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", shown(path));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than 4 MiB", shown(path)));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", shown(path)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The path of a key below `path`.
pub(crate) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

struct Reader<'r> {
    document: &'r mut Document,
    file: &'r str,
    environment: &'r Environment<'r>,
}

impl Reader<'_> {
    /// `before` is what files read earlier have at the same path: lists go on where theirs end.
    fn value(&mut self, node: Node, path: &str, before: Option<&Value>) -> Value {
        self.stands(path, node.at);
        match node.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(value),
            Data::Integer(value) => Value::Number(value.into()),
            Data::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Data::Text(text) => self.text(&text, path),
            Data::List(items) => {
                let offset = before.and_then(Value::as_array).map_or(0, Vec::len);
                let items = items.into_iter().enumerate();
                items
                    .map(|(number, item)| {
                        self.value(item, &format!("{path}[{}]", offset + number), None)
                    })
                    .collect()
            }
            Data::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let inner = joined(path, &key.name);
                    let before = before.and_then(|before| before.get(&key.name));
                    let value = self.value(value, &inner, before);
                    self.stands(&inner, key.at);
                    map.insert(key.name, value);
                }
                Value::Object(map)
            }
        }
    }

    fn stands(&mut self, path: &str, at: Position) {
        let place = Place { file: self.file.to_owned(), line: at.line, column: at.column };
        self.document.places.insert(path.to_owned(), place);
    }

    fn fault(&mut self, path: &str, message: impl Into<String>) {
        let fault = self.document.fault_at(path, message);
        self.document.faults.push(fault);
    }

    /// Puts the environment's values in the place of `${NAME}`, `${NAME:-default}` and
    /// `os.environ/NAME`. `$${` stands for `${` itself.
    fn text(&mut self, text: &str, path: &str) -> Value {
        if let Some(name) = text.strip_prefix("os.environ/") {
            self.document.referenced.insert(path.to_owned());
            return Value::String(self.variable(name, None, path));
        }
        if !text.contains("${") {
            return Value::String(text.to_owned());
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                result.push_str(&rest[..at - 1]);
                result.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            result.push_str(&rest[..at]);
            let inner = &rest[at + 2..];
            let Some(end) = inner.find('}') else {
                self.fault(path, "`${` has no closing brace; write `$${` for the text itself");
                return Value::String(String::new());
            };
            let (name, default) = match inner[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&inner[..end], None),
            };
            self.document.referenced.insert(path.to_owned());
            result.push_str(&self.variable(name, default, path));
            rest = &inner[end + 1..];
        }
        result.push_str(rest);
        Value::String(result)
    }

    fn variable(&mut self, name: &str, default: Option<&str>, path: &str) -> String {
        let found = (self.environment)(name).filter(|value| !value.is_empty());
        match (found, default) {
            (Some(value), _) => value,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                self.fault(
                    path,
                    format!(
                        "the environment variable `{name}` is not set; set it, or write \
                             `${{{name}:-default}}`"
                    ),
                );
                String::new()
            }
        }
    }
}
