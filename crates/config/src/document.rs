//! YAML as a tree of JSON values that remembers where each stood, with references to the
//! environment and included files put in their place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use crate::fault::Fault;

/// Deepest nesting of a file.
const MAX_DEPTH: usize = 64;
/// Largest file, in bytes.
const MAX_FILE: u64 = 4 << 20;

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
    referenced: HashMap<String, ()>,
    pub(crate) faults: Vec<Fault>,
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
        self.referenced.contains_key(path)
    }

    /// Reads a file and those it includes.
    pub(crate) fn read(path: &Path, environment: &Environment<'_>) -> Self {
        let mut document = Self { value: Value::Object(Map::new()), ..Self::default() };
        document.include(path, environment, &mut Vec::new());
        document
    }

    /// Reads `text`, which may not include files.
    pub(crate) fn parse(name: &str, text: &str, environment: &Environment<'_>) -> Self {
        let mut document = Self { files: vec![PathBuf::from(name)], ..Self::default() };
        document.value = document.tree(name, text, environment);
        if document.value.get("include").is_some() {
            let fault = document.fault_at("include", "`include` needs a file; use load()");
            document.faults.push(fault);
        }
        document
    }

    fn include(&mut self, path: &Path, environment: &Environment<'_>, open: &mut Vec<PathBuf>) {
        let name = shown(path);
        let file_fault = |message: String| Fault {
            file: name.clone(),
            line: 0,
            column: 0,
            path: String::new(),
            message,
        };
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if open.contains(&canonical) {
            self.faults.push(file_fault("this file includes itself; remove the `include`".into()));
            return;
        }
        self.files.push(path.to_owned());
        let too_large = path.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE);
        let text = match std::fs::read_to_string(path) {
            Ok(_) if too_large => {
                self.faults.push(file_fault("the file is larger than 4 MiB".into()));
                return;
            }
            Ok(text) => text,
            Err(error) => {
                self.faults.push(file_fault(format!(
                    "the file cannot be read: {error}; name another with --config"
                )));
                return;
            }
        };
        let mut tree = self.tree(&name, &text, environment);
        let included = tree.as_object_mut().and_then(|members| members.remove("include"));
        self.merge(tree);
        let Some(included) = included else { return };
        let names: Option<Vec<&str>> =
            included.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
        let Some(names) = names else {
            let fault = self.fault_at("include", "`include` must be a list of file names");
            self.faults.push(fault);
            return;
        };
        open.push(canonical);
        let folder = path.parent().unwrap_or(Path::new("."));
        for name in names {
            self.include(&folder.join(name), environment, open);
        }
        open.pop();
    }

    /// Adds an included tree: maps are joined, lists appended; what stands twice is a fault.
    fn merge(&mut self, tree: Value) {
        let Value::Object(added) = tree else { return };
        for (key, value) in added {
            let existing = self.value.as_object_mut().and_then(|members| members.get_mut(&key));
            match (existing, value) {
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                (Some(Value::Object(members)), Value::Object(more)) => {
                    let twice: Vec<String> = more
                        .iter()
                        .filter(|(name, _)| members.contains_key(*name))
                        .map(|(name, _)| format!("{key}.{name}"))
                        .collect();
                    members.extend(more);
                    for path in twice {
                        let message = "this key stands in two files; keep one of them";
                        let fault = self.fault_at(&path, message);
                        self.faults.push(fault);
                    }
                }
                (Some(_), _) => {
                    let fault = self.fault_at(&key, "this key stands in two files; keep one");
                    self.faults.push(fault);
                }
                (None, value) => {
                    if let Some(members) = self.value.as_object_mut() {
                        members.insert(key, value);
                    }
                }
            }
        }
    }

    fn tree(&mut self, file: &str, text: &str, environment: &Environment<'_>) -> Value {
        let documents = match MarkedYaml::load_from_str(text) {
            Ok(documents) => documents,
            Err(error) => {
                let message = error.to_string();
                let (line, column) = position_in(&message);
                self.faults.push(Fault {
                    file: file.to_owned(),
                    line,
                    column,
                    path: String::new(),
                    message: format!("this is not YAML: {message}"),
                });
                return Value::Object(Map::new());
            }
        };
        let mut reader = Reader { document: self, file, environment };
        match documents.as_slice() {
            [] => Value::Object(Map::new()),
            [only] => match reader.value(only, "", 0) {
                Value::Null => Value::Object(Map::new()),
                value @ Value::Object(_) => value,
                _ => {
                    let fault = self.fault_at("", "the configuration must be a map of keys");
                    self.faults.push(fault);
                    Value::Object(Map::new())
                }
            },
            _ => {
                self.faults.push(Fault {
                    file: file.to_owned(),
                    line: 0,
                    column: 0,
                    path: String::new(),
                    message: "the file holds several YAML documents; keep one".to_owned(),
                });
                Value::Object(Map::new())
            }
        }
    }
}

/// The line and column that the parser's message names.
fn position_in(message: &str) -> (usize, usize) {
    let number_after = |word: &str| {
        let rest = &message[message.find(word)? + word.len()..];
        let digits: String =
            rest.chars().skip_while(|c| *c == ' ').take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    (number_after("line").unwrap_or(0), number_after("column").unwrap_or(0))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

struct Reader<'r> {
    document: &'r mut Document,
    file: &'r str,
    environment: &'r Environment<'r>,
}

impl Reader<'_> {
    fn value(&mut self, node: &MarkedYaml<'_>, path: &str, depth: usize) -> Value {
        let start = node.span.start;
        self.document.places.insert(
            path.to_owned(),
            Place { file: self.file.to_owned(), line: start.line(), column: start.col() + 1 },
        );
        if depth > MAX_DEPTH {
            self.fault(path, "this is nested too deeply");
            return Value::Null;
        }
        match &node.data {
            YamlData::Value(scalar) => self.scalar(scalar, path),
            YamlData::Representation(text, ..) => self.text(text, path),
            YamlData::Sequence(items) => {
                // A list of an included file goes on where the list of the files before it ends.
                let before = self.document.value.get(path).and_then(Value::as_array);
                let offset = before.map_or(0, Vec::len);
                items
                    .iter()
                    .enumerate()
                    .map(|(number, item)| {
                        let inner = format!("{path}[{}]", offset + number);
                        self.value(item, &inner, depth + 1)
                    })
                    .collect()
            }
            YamlData::Mapping(members) => {
                let mut map = Map::new();
                for (key, value) in members {
                    let name = match &key.data {
                        YamlData::Value(Scalar::String(name)) => name.to_string(),
                        YamlData::Representation(name, ..) => name.to_string(),
                        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
                        _ => {
                            self.fault(path, "a key must be a text");
                            continue;
                        }
                    };
                    let inner =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let value = self.value(value, &inner, depth + 1);
                    let start = key.span.start;
                    self.document.places.insert(
                        inner,
                        Place {
                            file: self.file.to_owned(),
                            line: start.line(),
                            column: start.col() + 1,
                        },
                    );
                    map.insert(name, value);
                }
                Value::Object(map)
            }
            YamlData::Tagged(_, inner) => self.value(inner, path, depth + 1),
            YamlData::Alias(_) | YamlData::BadValue => {
                self.fault(path, "this cannot be read; write the value itself");
                Value::Null
            }
        }
    }

    fn fault(&mut self, path: &str, message: impl Into<String>) {
        let fault = self.document.fault_at(path, message);
        self.document.faults.push(fault);
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, path: &str) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Number((*value).into()),
            Scalar::FloatingPoint(value) => {
                Number::from_f64(value.into_inner()).map_or(Value::Null, Value::Number)
            }
            Scalar::String(text) => self.text(text, path),
        }
    }

    /// Puts the environment's values in the place of `${NAME}`, `${NAME:-default}` and
    /// `os.environ/NAME`. `$${` stands for `${` itself.
    fn text(&mut self, text: &str, path: &str) -> Value {
        if let Some(name) = text.strip_prefix("os.environ/") {
            self.document.referenced.insert(path.to_owned(), ());
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
            self.document.referenced.insert(path.to_owned(), ());
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
                    format!("the environment variable `{name}` is not set; set it, or write \
                             `${{{name}:-default}}`"),
                );
                String::new()
            }
        }
    }
}
