//! XPath answers recorded from Jaxen on Axiom, replayed; `tests/oracle/xpath/README.md` tells how they are made.

use myelin::expr::xpath::{Namespaces, Node, PropertyScope, PropertyValue, Scope, Value, XPath};
use myelin::xml::{Document, Limits, NodeId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tree behind `$ctx:om`, as in `Record.java`.
const OM: &str = "<r k=\"z\"><v>1</v><v>2</v>t<w><v>3</v></w></r>";

/// A recorded document with its nodes numbered in document order.
struct Tree {
    document: Document,
    has_document: bool,
    numbers: HashMap<NodeId, usize>,
}

impl Tree {
    fn new(xml: &str, has_document: bool) -> Tree {
        let document = Document::parse(xml.to_owned().into(), &Limits::default())
            .unwrap_or_else(|e| panic!("{xml}: {e}"));
        let top = document.document_node();
        let numbers = if has_document {
            let below = document.descendants(top).filter(|&n| n != top);
            std::iter::once(top).chain(below).zip(0..).collect()
        } else {
            let root = document.root_element().expect("a root element");
            let below = document.descendants(root).filter(|&n| n != root);
            std::iter::once(root).chain(below).zip(1..).collect()
        };
        Tree {
            document,
            has_document,
            numbers,
        }
    }

    fn root(&self) -> NodeId {
        self.document.root_element().expect("a root element")
    }
}

/// What an expression sees: a tree as the envelope, and the variables of `Record.java`.
struct Message<'a> {
    tree: &'a Tree,
    om: &'a Tree,
}

impl Message<'_> {
    fn show(&self, node: Node<'_>) -> String {
        let (mark, tree) = match std::ptr::eq(node.document, &raw const self.om.document) {
            true => ("o", self.om),
            false => ("", self.tree),
        };
        let number = tree.numbers.get(&node.node).copied();
        let number = number.map_or_else(|| "?".to_owned(), |n| format!("{mark}{n}"));
        let Some(index) = node.attribute else {
            return number;
        };
        match node.document.attribute_at(node.node, index) {
            Some(a) if a.namespace.is_empty() => format!("{number}@{}", a.local),
            Some(a) => format!("{number}@{{{}}}{}", a.namespace, a.local),
            None => format!("{number}#{}", node.string_value()),
        }
    }
}

impl Scope for Message<'_> {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.tree.document, self.tree.root()))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn has_document_root(&self) -> bool {
        self.tree.has_document
    }
    fn property(&self, _: PropertyScope, name: &str) -> PropertyValue<'_> {
        match name {
            "str" => PropertyValue::String("10".into()),
            "txt" => PropertyValue::String("abc".into()),
            "blank" => PropertyValue::String("".into()),
            "num" => PropertyValue::Double(2.0),
            "half" => PropertyValue::Double(2.5),
            "nan" => PropertyValue::Double(f64::NAN),
            "yes" => PropertyValue::Boolean(true),
            "no" => PropertyValue::Boolean(false),
            "int" => PropertyValue::Integer(2),
            "om" => PropertyValue::Xml(&self.om.document, self.om.root()),
            _ => PropertyValue::Null,
        }
    }
    fn local_entry(&self, _: &str) -> PropertyValue<'_> {
        PropertyValue::Null
    }
    fn well_known(&self, _: &str) -> Option<PropertyValue<'_>> {
        None
    }
    fn to(&self) -> Option<&str> {
        None
    }
    fn now_millis(&self) -> i64 {
        0
    }
}

/// The recording; `MYELIN_ORACLE` names another one, made from another seed.
fn folder() -> PathBuf {
    let recorded = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/xpath");
    std::env::var_os("MYELIN_ORACLE").map_or_else(recorded, PathBuf::from)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                other => other.unwrap_or(c),
            },
            other => other,
        });
    }
    out
}

fn namespaces() -> Namespaces {
    let bound = ["p", "q", "d"].map(|p| (p.to_owned(), format!("urn:{p}")));
    Namespaces(bound.to_vec())
}

/// The answer in the words of the recording.
fn answer(expression: &str, namespaces: &Namespaces, message: &Message<'_>) -> String {
    let Ok(xpath) = XPath::compile(expression, namespaces) else {
        return "C".to_owned();
    };
    match xpath.evaluate(message) {
        Err(_) => "E".to_owned(),
        Ok(Value::Null) => "0".to_owned(),
        Ok(Value::Boolean(b)) => format!("b{b}"),
        Ok(Value::Number(n)) => format!("n{n:?}"),
        Ok(Value::String(s)) => format!("s{s}"),
        Ok(Value::Property(PropertyValue::Integer(i))) => format!("i{i}"),
        Ok(Value::Property(other)) => format!("{other:?}"),
        Ok(Value::Nodes(nodes)) => {
            let shown: Vec<String> = nodes.into_iter().map(|n| message.show(n)).collect();
            format!("N{}", shown.join(" "))
        }
    }
}

/// Numbers compare as numbers, node-sets as lists in which the namespaces of one element have no order.
fn same(ours: &str, theirs: &str) -> bool {
    match (ours.strip_prefix('n'), theirs.strip_prefix('n')) {
        (Some(a), Some(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            _ => false,
        },
        _ if ours == theirs => true,
        _ if ours.starts_with('N') && theirs.starts_with('N') => in_order(ours) == in_order(theirs),
        _ => false,
    }
}

/// The nodes of an answer, with runs of namespaces of one element sorted.
fn in_order(answer: &str) -> Vec<&str> {
    let owner = |node: &str| node.split_once('#').map(|(owner, _)| owner.to_owned());
    let mut nodes: Vec<&str> = answer[1..].split(' ').collect();
    let runs = nodes.chunk_by_mut(|a, b| owner(a).is_some() && owner(a) == owner(b));
    runs.for_each(<[&str]>::sort_unstable);
    nodes
}

/// `boolean()`, `count()` and `string()` of a path take shortcuts; they agree with its nodes all the same.
fn shortcuts(path: &str, namespaces: &Namespaces, message: &Message<'_>) -> Option<String> {
    let compile = |text: String| XPath::compile(&text, namespaces).expect("compiles as a part");
    let nodes = compile(path.to_owned()).nodes(message).ok()?;
    let found = [
        compile(format!("boolean({path})")).boolean(message) == Ok(!nodes.is_empty()),
        compile(format!("count({path})")).string_value_of(message)
            == Ok(Some(format!("{}.0", nodes.len()))),
        compile(format!("string({path})")).string_value_of(message)
            == Ok(Some(
                nodes
                    .first()
                    .map_or(String::new(), |n| n.string_value().into_owned()),
            )),
    ];
    found
        .contains(&false)
        .then(|| format!("{path}: boolean, count, string: {found:?}"))
}

#[test]
fn xpath_answers_as_recorded() {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).expect(name);
    let trees: Vec<Tree> = read("documents.txt")
        .lines()
        .map(|line| {
            let text = unescape(line);
            Tree::new(&text[1..], text.starts_with('/'))
        })
        .collect();
    let om = Tree::new(OM, false);
    let namespaces = namespaces();
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in read("cases.tsv").lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(tree), Some(expression), Some(theirs)) =
            (fields.next(), fields.next(), fields.next())
        else {
            panic!("three fields: {line}");
        };
        let tree = &trees[tree.parse::<usize>().expect("a number")];
        let message = Message { tree, om: &om };
        let ours = answer(&unescape(expression), &namespaces, &message);
        if !same(&ours, &unescape(theirs)) {
            wrong.push(format!("{line}\t{ours}"));
        }
        if ours.starts_with('N') {
            wrong.extend(shortcuts(&unescape(expression), &namespaces, &message));
        }
        count += 1;
    }
    assert!(count > 2500, "{count} cases");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Expands `{n*text}`, `{n..text#}` and escapes.
fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '\\']) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix('\\') {
            let (byte, length) = match tail.chars().next() {
                Some('t') => (b'\t', 1),
                Some('n') => (b'\n', 1),
                Some('r') => (b'\r', 1),
                _ => (u8::from_str_radix(&tail[1..3], 16).expect("\\xNN"), 3),
            };
            out.push(byte);
            rest = &tail[length..];
            continue;
        }
        let (inside, tail) = rest[1..].split_once('}').expect("a closing brace");
        rest = tail;
        match inside.split_once("..") {
            Some((count, text)) => {
                let count: usize = count.parse().expect("a number");
                out.extend((0..count).flat_map(|i| text.replace('#', &i.to_string()).into_bytes()));
            }
            None => {
                let (count, text) = inside.split_once('*').expect("n*text");
                out.extend_from_slice(text.repeat(count.parse().expect("a number")).as_bytes());
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

#[test]
fn nasty_documents() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/xml/nasty.tsv");
    let table = std::fs::read_to_string(table).expect("the table");
    let mut wrong = Vec::new();
    for line in table.lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(3, '\t').collect();
        let [verdict, other, document] = fields[..] else {
            panic!("three fields: {line}");
        };
        let bytes = expand(document);
        let ours = Document::parse(bytes.clone().into(), &Limits::default());
        let found = ours
            .as_ref()
            .map_or_else(|e| format!("{:?}", e.problem), |_| "ok".to_owned());
        if found != verdict {
            wrong.push(format!("{found} instead of {line}"));
        }
        let theirs = || {
            let text = std::str::from_utf8(&bytes).expect("text");
            roxmltree::Document::parse(text).is_ok()
        };
        let agrees = match other {
            "-" => true,
            "=" => theirs() == ours.is_ok(),
            _ => theirs() != ours.is_ok(),
        };
        if !agrees {
            wrong.push(format!("roxmltree is not '{other}': {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
