//! YAML as a tree that knows where each value stood. Built from the parser's events without
//! recursion, so that depth, size and the expansion of aliases are bounded before they cost
//! anything, and every duplicate key is reported rather than the first.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// Deepest nesting of a file.
const MAX_DEPTH: usize = 64;
/// Most values in a file, those that aliases repeat included.
const MAX_NODES: usize = 100_000;

/// A position, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: Position,
}

/// What is wrong with the text as YAML.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) at: Position,
    pub(crate) message: String,
}

/// Reads one document. Problems with single values leave the rest readable; text that is not YAML
/// gives no tree.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let outcome = match event {
            Ok((event, span)) => {
                let at = Position { line: span.start.line(), column: span.start.col() + 1 };
                builder.take(event, at).map_err(|message| Problem { at, message: message.into() })
            }
            Err(error) => {
                let marker = error.marker();
                let at = Position { line: marker.line(), column: marker.col() + 1 };
                Err(Problem { at, message: format!("this is not YAML: {}", error.info()) })
            }
        };
        if let Err(fatal) = outcome {
            builder.problems.push(fatal);
            return (None, builder.problems);
        }
    }
    (builder.root, builder.problems)
}

/// A list or a map that is not closed yet.
struct Open {
    anchor: usize,
    at: Position,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, names: HashSet<String>, merged: Vec<Node>, key: NextKey },
}

/// What the next value of a map is.
enum NextKey {
    /// It is the key itself.
    Wanted,
    Named(Key),
    /// It belongs to `<<`.
    Merge,
    /// Its key could not be used; it is left out.
    Unusable,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl Builder {
    /// Takes an event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("the file holds several YAML documents; keep one");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let data = self.scalar(&text, plain, tag.as_deref(), at);
                return self.complete(Node { at, data }, anchor, Some(&text));
            }
            Event::SequenceStart(anchor, tag) => {
                self.foreign_tag(tag.as_deref(), at);
                self.begin(Open { anchor, at, content: Content::List(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.foreign_tag(tag.as_deref(), at);
                let content = Content::Map {
                    entries: Vec::new(),
                    names: HashSet::new(),
                    merged: Vec::new(),
                    key: NextKey::Wanted,
                };
                self.begin(Open { anchor, at, content })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, at, content }) = self.open.pop() {
                    let data = match content {
                        Content::List(items) => Data::List(items),
                        Content::Map { entries, names, merged, .. } => {
                            self.merge(entries, names, merged)
                        }
                    };
                    return self.complete(Node { at, data }, anchor, None);
                }
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err("this alias names no anchor that is complete; write the value");
                };
                if self.nodes + size > MAX_NODES || self.open.len() + depth(node) > MAX_DEPTH {
                    return Err("aliases make this too large; write the values themselves");
                }
                self.nodes += size;
                let node = node.clone();
                return self.complete(node, 0, None);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn problem(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem { at, message: message.into() });
    }

    fn begin(&mut self, open: Open) -> Result<(), &'static str> {
        if self.open.len() >= MAX_DEPTH {
            return Err("this is nested too deeply; 64 levels are the most");
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a finished value where it belongs. `text` is a scalar as it was written.
    fn complete(
        &mut self,
        node: Node,
        anchor: usize,
        text: Option<&str>,
    ) -> Result<(), &'static str> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err("the file holds more than 100000 values");
        }
        if anchor != 0 {
            // The copy counts too: anchors within anchors would keep one for each level.
            let size = size(&node);
            self.nodes += size;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, names, merged, key } => {
                match std::mem::replace(key, NextKey::Wanted) {
                    NextKey::Wanted if text == Some("<<") => *key = NextKey::Merge,
                    NextKey::Wanted => {
                        let name = match &node.data {
                            Data::Text(name) => Some(name.as_str()),
                            _ => text,
                        };
                        let problem = match name {
                            Some(name) if names.insert(name.to_owned()) => {
                                *key = NextKey::Named(Key { name: name.to_owned(), at: node.at });
                                return Ok(());
                            }
                            Some(name) => format!("the key `{name}` stands twice; keep one"),
                            None => "a key must be a text".to_owned(),
                        };
                        *key = NextKey::Unusable;
                        self.problem(node.at, problem);
                    }
                    NextKey::Named(key) => entries.push((key, node)),
                    NextKey::Merge => merged.push(node),
                    NextKey::Unusable => {}
                }
            }
        }
        Ok(())
    }

    /// Adds what `<<` names; keys of the map itself and of earlier maps go first.
    fn merge(
        &mut self,
        mut entries: Vec<(Key, Node)>,
        mut names: HashSet<String>,
        merged: Vec<Node>,
    ) -> Data {
        let sources = merged.into_iter().flat_map(|node| match node.data {
            Data::List(nodes) => nodes,
            data => vec![Node { at: node.at, data }],
        });
        for source in sources {
            let Data::Map(more) = source.data else {
                self.problem(source.at, "`<<` takes a map, or a list of maps");
                continue;
            };
            for (key, value) in more {
                if names.insert(key.name.clone()) {
                    entries.push((key, value));
                }
            }
        }
        Data::Map(entries)
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&Tag>, at: Position) -> Data {
        let core = tag.filter(|tag| tag.is_yaml_core_schema());
        if core.is_none() {
            self.foreign_tag(tag, at);
        }
        let kept = core.is_some_and(|tag| tag.suffix == "str");
        if plain && !kept { plain_scalar(text) } else { Data::Text(text.to_owned()) }
    }

    fn foreign_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            self.problem(at, "tags (`!name`) have no meaning here; remove it");
        }
    }
}

/// What an unquoted text stands for: YAML 1.2, core schema.
fn plain_scalar(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        i64::from_str_radix(digits, radix).ok()
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok()) {
        return Data::Integer(number);
    }
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && text.bytes().any(|b| b.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Data::Float(number),
        _ => Data::Text(text.to_owned()),
    }
}

fn depth(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Data::Map(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}

fn size(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let (root, problems) = parse(text);
        assert_eq!(problems, []);
        root.expect("a tree")
    }

    fn problems(text: &str) -> Vec<String> {
        let (_, problems) = parse(text);
        problems
            .into_iter()
            .map(|problem| format!("{}:{} {}", problem.at.line, problem.at.column, problem.message))
            .collect()
    }

    fn member<'n>(node: &'n Node, name: &str) -> &'n Node {
        let Data::Map(entries) = &node.data else { panic!("not a map: {node:?}") };
        &entries.iter().find(|(key, _)| key.name == name).expect("the key").1
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let root = tree(
            "{a: 1, b: 0x10, c: -2.5, d: 'true', e: true, f: ~, g: 1.2.3, h: yes, i: !!str 5, \
             j: 99999999999999999999, k: inf, l: \"\\u041f\\ud83d\\ude00\"}"
                .replace("\\ud83d\\ude00", "\\U0001F600")
                .as_str(),
        );
        let data = |name: &str| member(&root, name).data.clone();
        let text = |text: &str| Data::Text(text.to_owned());
        assert_eq!(data("a"), Data::Integer(1));
        assert_eq!(data("b"), Data::Integer(16));
        assert_eq!(data("c"), Data::Float(-2.5));
        assert_eq!(data("d"), text("true"));
        assert_eq!(data("e"), Data::Bool(true));
        assert_eq!(data("f"), Data::Null);
        assert_eq!(data("g"), text("1.2.3"));
        assert_eq!(data("h"), text("yes"));
        assert_eq!(data("i"), text("5"));
        assert_eq!(data("j"), Data::Float(1e20));
        assert_eq!(data("k"), text("inf"));
        assert_eq!(data("l"), text("П😀"));
    }

    #[test]
    fn each_duplicate_key_is_named_and_the_first_value_kept() {
        let text = "a: 1\nb: 2\na: 3\nc: {d: 4, d: 5}\n";
        assert_eq!(
            problems(text),
            ["3:1 the key `a` stands twice; keep one", "4:11 the key `d` stands twice; keep one"]
        );
        let (root, _) = parse(text);
        assert_eq!(member(&root.expect("a tree"), "a").data, Data::Integer(1));
    }

    #[test]
    fn aliases_and_merge_keys_stand_for_their_values() {
        let root = tree("base: &b {x: 1, y: 2}\nuser:\n  <<: *b\n  y: 3\nsame: *b\n");
        let user = member(&root, "user");
        assert_eq!(member(user, "x").data, Data::Integer(1));
        assert_eq!(member(user, "y").data, Data::Integer(3));
        assert_eq!(member(&root, "same"), member(&root, "base"));
    }

    #[test]
    fn what_would_explode_is_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
        }
        assert!(problems(&laughs)[0].contains("aliases make this too large"));
        assert!(problems(&"[".repeat(70))[0].contains("nested too deeply"));
        assert_eq!(problems(&"[".repeat(1_000_000)).len(), 1);
        assert!(problems("a: &a [*a]")[0].contains("alias"));
        assert!(problems(&"- 1\n".repeat(200_000))[0].contains("more than 100000 values"));
    }

    #[test]
    fn other_documents_tags_and_keys_are_faults() {
        assert!(problems("a: 1\n---\nb: 2\n")[0].contains("several YAML documents"));
        assert_eq!(
            problems("a: !vault x\n"),
            ["1:4 tags (`!name`) have no meaning here; remove it"]
        );
        assert_eq!(problems("[a, b]: 1\n"), ["1:1 a key must be a text"]);
        assert!(problems("a: [1\nb: 2\n")[0].contains("this is not YAML"));
        assert_eq!(parse(""), (None, vec![]));
        assert_eq!(parse("\u{feff}# only a comment\n").1, vec![]);
    }
}
