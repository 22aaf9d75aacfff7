//! What holds for all documents: nothing panics, writing and reading agree, edits keep the tree sound, and another
//! parser accepts the same texts and sees the same trees.

use super::super::document::Node;
use super::super::*;
use super::{check_links, document, parse, root, shape, slow};
use bytes::Bytes;
use proptest::prelude::*;

/// Pieces that form documents often enough, and near-documents otherwise.
fn fragments() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<a>",
        "</a>",
        "<b x='1'>",
        "</b>",
        "<p:c xmlns:p='u'>",
        "</p:c>",
        "<p:c>",
        "<a/>",
        "<p:d p:x=\"2\"/>",
        "<a xmlns='v'>",
        "<b xmlns:p=\"w\" p:y='&lt;' y='\n'>",
        "<a xmlns=''/>",
        "text",
        " ",
        "\r\n",
        "&amp;",
        "&#13;",
        "]]&gt;",
        "]]",
        ">",
        "<![CDATA[x<]]>",
        "<!-- c -->",
        "<?pi d?>",
        "<?pi  d ?>",
        "\u{E9}",
        "&nbsp;",
        "'",
        "\"",
        "=",
        "<",
        "&",
        "<!--",
        "-->",
        "<a b='1' b='2'>",
        "<a  b = '1' c=\"&quot;\" >",
        "<a b=\"1\">",
        "x='y'",
        "\u{1}",
        "<xml:e/>",
        "<!DOCTYPE a>",
        "<q:r>",
        "\u{FFFF}",
        "<\u{540D}/>",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// A well-formed document with all kinds of nodes.
fn documents() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "text",
        " \n",
        "&lt;&#13;",
        "]]&gt;",
        "<![CDATA[]]>",
        "<![CDATA[<&\r]]>",
        "<!--c-->",
        "<?p q?>",
        "<e/>",
        "<f></f>",
        "<g h='\"' i=\"&#9;\"/>",
        "\u{20AC}",
        "&gt;",
        "<k xmlns='z'/>",
        "<k xmlns=''/>",
        "\r\n",
    ])
    .prop_map(str::to_owned);
    let tags = prop::sample::select(vec![
        ("<a>", "</a>"),
        ("<p:b>", "</p:b>"),
        ("<p:b xmlns:p=\"v\" p:x=\"1\">", "</p:b>"),
        ("<c xmlns=\"w\" y=\"2\">", "</c>"),
        ("<c xmlns='' >", "</c >"),
        ("<q:d p:x='3' q:x='4' x='5'>", "</q:d>"),
    ]);
    let inner = leaf.prop_recursive(5, 60, 5, move |inner| {
        (tags.clone(), prop::collection::vec(inner, 0..5))
            .prop_map(|((start, end), children)| format!("{start}{}{end}", children.concat()))
    });
    prop::collection::vec(inner, 0..5)
        .prop_map(|children| format!("<r xmlns:p=\"u\" xmlns:q='x'>{}</r>", children.concat()))
}

/// One step of a random edit: operation, two nodes, a choice of names and texts.
type Step = (u8, usize, usize, usize);

fn apply(document: &mut Document, (operation, first, second, choice): Step) {
    let texts = ["", "t", "<&>\r\"", "]]>", "]", ">", "--", "?>"];
    let names = [
        ("", "", "n"),
        ("p", "u", "n"),
        ("p", "v", "n"),
        ("", "w", "m"),
        ("q", "x", "m"),
        ("", "z", "o"),
        ("s", "", "l"),
    ];
    let pick = |index: usize| NodeId((index % document.nodes.len()) as u32);
    let (a, b) = (pick(first), pick(second));
    let text = texts[choice % texts.len()];
    let (prefix, namespace, local) = names[choice % names.len()];
    match operation % 16 {
        0 => document.append_child(a, b),
        1 => document.prepend_child(a, b),
        2 => document.insert_before(a, b),
        3 => document.insert_after(a, b),
        4 => document.detach(a),
        5 => document.replace(a, b),
        6 => document.set_attribute(a, prefix, namespace, local, text),
        7 => document.declare_namespace(a, prefix, namespace),
        8 => document.set_text(a, text),
        9 => {
            let new = document.create_element(prefix, namespace, local);
            document.append_child(a, new);
        }
        10 => {
            let new = document.create_text(text);
            document.insert_before(a, new);
        }
        11 => {
            let new = match choice % 3 {
                0 => document.create_cdata(text),
                1 => document.create_comment(text),
                _ => document.create_pi("t", text),
            };
            document.append_child(a, new);
        }
        12 => {
            let copy = document.duplicate(a);
            document.append_child(b, copy);
        }
        13 => {
            let other = document.clone();
            let copy = document.import(&other, a);
            document.insert_after(b, copy);
        }
        14 => {
            document.remove_attribute(a, namespace, local);
        }
        _ => {
            let _ = document.parse_into(
                a,
                Bytes::from_static(b"<i xmlns:p='k'><p:j/><j/></i>"),
                &Limits::default(),
            );
        }
    }
}

/// Without what cannot survive: characters a comment or an instruction cannot hold, carriage returns outside of text,
/// the borders of split CDATA sections.
fn comparable(shape: Vec<String>) -> Vec<String> {
    let mut comparable: Vec<String> = Vec::new();
    for line in shape {
        let line = line.replace(['-', '?', ' '], "").replace('\r', "\n");
        let digits = line
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(0);
        let (depth, rest) = line.split_at(digits);
        match (comparable.last_mut(), rest.strip_prefix("CData")) {
            (Some(last), Some(text)) if last.starts_with(&format!("{depth}CData")) => {
                last.push_str(text)
            }
            _ => comparable.push(line),
        }
    }
    comparable
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        for input in [bytes, format!("<a>{text}</a>").into_bytes(), format!("<a b='{text}'/>").into_bytes()] {
            let _ = Document::parse(Bytes::from(input.clone()), &Limits::default());
            let _ = root_name(&input);
            for charset in [None, Some("utf-16"), Some("gbk")] {
                let _ = decode(Bytes::from(input.clone()), charset);
            }
        }
    }

    #[test]
    fn agrees_with_roxmltree_on_near_documents(text in fragments()) {
        agree(&text)?;
        agree(&format!("<r xmlns:p='u'>{text}</r>"))?;
    }

    #[test]
    fn agrees_with_roxmltree_on_damaged_documents(text in documents(), at in any::<prop::sample::Index>(), to in ".") {
        agree(&text)?;
        let characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        let (before, after) = (characters[..at].iter(), characters[at + 1..].iter());
        agree(&before.clone().chain(after.clone()).collect::<String>())?;
        let changed: String = before.copied().chain(to.chars()).chain(after.copied()).collect();
        agree(&changed)?;
    }

    #[test]
    fn writing_and_reading_again_changes_nothing(text in documents()) {
        let first = document(&text);
        check_links(&first);
        let written = first.to_xml(first.document_node());
        prop_assert_eq!(&slow(&first).to_xml(first.document_node()), &written);
        let second = document(&written);
        prop_assert_eq!(shape(&first, root(&first)), shape(&second, root(&second)));
        prop_assert_eq!(&second.to_xml(second.document_node()), &written);
        prop_assert!(second.node(root(&second)).unwrap().is(Node::CLEAN), "written text is in written form: {}", written);
        for n in first.descendants(first.document_node()) {
            if first.kind(n) == NodeKind::Element {
                let written = first.to_xml(n);
                prop_assert_eq!(&slow(&first).to_xml(n), &written);
                let alone = parse(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
                prop_assert_eq!(shape(&first, n), shape(&alone, root(&alone)));
                let mut other = Document::new();
                let copy = other.import(&first, n);
                prop_assert_eq!(shape(&first, n), shape(&other, copy));
                let written = other.to_xml(copy);
                let alone = parse(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
                prop_assert_eq!(shape(&first, n), shape(&alone, root(&alone)));
            }
        }
    }

    #[test]
    fn edits_keep_the_tree_sound(
        text in documents(),
        steps in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 1..12),
        embedded in any::<bool>(),
    ) {
        let mut tree = if embedded {
            let mut tree = Document::new();
            let top = tree.create_element("", "w", "top");
            tree.append_child(tree.document_node(), top);
            tree.parse_into(top, Bytes::from(text), &Limits::default()).unwrap();
            tree
        } else {
            document(&text)
        };
        for step in steps {
            apply(&mut tree, step);
        }
        check_links(&tree);
        let roots = (0..tree.nodes.len() as u32).map(NodeId).filter(|&n| tree.kind(n) == NodeKind::Element);
        for n in roots {
            let written = tree.to_xml(n);
            prop_assert_eq!(&slow(&tree).to_xml(n), &written);
            let again = parse(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
            prop_assert_eq!(comparable(shape(&tree, n)), comparable(shape(&again, root(&again))), "{}", written);
            // The bound that needs no writing is one, and what is above it is measured.
            for most in [0, 1, written.len() / 2, written.len() - 1, written.len(), written.len() + 1, 10_000] {
                prop_assert_eq!(tree.is_longer_than(n, most), written.len() > most, "{} {}", most, written);
                let within = tree.xml_within(n, most);
                prop_assert_eq!(within.as_deref().ok(), (written.len() <= most).then_some(&*written));
            }
        }
    }
}

/// Both parsers accept the text and see the same tree, or both refuse it.
fn agree(text: &str) -> Result<(), TestCaseError> {
    let ours = parse(text);
    let theirs = roxmltree::Document::parse(text);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            // The other parser does not normalise all line ends.
            let unified = |tree: Vec<String>| match text.contains('\r') {
                true => tree
                    .iter()
                    .map(|line| line.replace(['\r', '\n'], ""))
                    .collect(),
                false => tree,
            };
            prop_assert_eq!(
                unified(flat(&ours)),
                unified(flat_oracle(&theirs)),
                "{}",
                text
            );
        }
        (Err(_), Err(_)) => {}
        // Known gaps of the other parser.
        (Err(ours), Ok(_)) if ours.message.contains("bound to the empty namespace") => {}
        (Err(ours), Ok(_))
            if text
                .get(ours.offset..)
                .is_some_and(|rest| rest.trim_start_matches('<').starts_with(':')) => {}
        (Err(ours), Ok(_))
            if ours.message.contains("a processing instruction")
                && ours.problem != Problem::Truncated => {}
        (Ok(_), Err(roxmltree::Error::UnknownNamespace(prefix, _))) if prefix == "xml" => {}
        (ours, theirs) => {
            let message = format!("{text:?}: ours {:?}, theirs {:?}", ours.err(), theirs.err());
            return Err(TestCaseError::fail(message));
        }
    }
    Ok(())
}

fn push_text(flat: &mut Vec<String>, text: &str, parent: usize) {
    let tag = format!("text {parent} ");
    match flat.last_mut() {
        Some(last) if last.starts_with(&tag) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => flat.push(tag + text),
    }
}

fn flat(document: &Document) -> Vec<String> {
    let mut flat = Vec::new();
    let depth_of = |n: NodeId| std::iter::successors(Some(n), |&at| document.parent(at)).count();
    for n in document.descendants(document.document_node()) {
        match document.kind(n) {
            NodeKind::Text | NodeKind::CData => push_text(&mut flat, document.text(n), depth_of(n)),
            NodeKind::Comment => flat.push(format!("comment {}", document.text(n))),
            NodeKind::ProcessingInstruction => {
                flat.push(format!(
                    "pi {} {}",
                    document.local_name(n),
                    document.text(n)
                ));
            }
            NodeKind::Element => {
                flat.push(format!(
                    "element {} {}",
                    document.namespace(n),
                    document.local_name(n)
                ));
                flat.extend(
                    document
                        .attributes(n)
                        .map(|at| format!("@{} {} {}", at.namespace, at.local, at.value)),
                );
            }
            NodeKind::Document => {}
        }
    }
    flat
}

fn flat_oracle(document: &roxmltree::Document<'_>) -> Vec<String> {
    let mut flat = Vec::new();
    for n in document.root().descendants().skip(1) {
        if n.is_text() {
            push_text(
                &mut flat,
                n.text().unwrap_or_default(),
                n.ancestors().count(),
            );
        } else if n.is_comment() {
            flat.push(format!("comment {}", n.text().unwrap_or_default()));
        } else if let Some(pi) = n.pi() {
            flat.push(format!("pi {} {}", pi.target, pi.value.unwrap_or_default()));
        } else {
            flat.push(format!(
                "element {} {}",
                n.tag_name().namespace().unwrap_or_default(),
                n.tag_name().name()
            ));
            flat.extend(n.attributes().map(|at| {
                format!(
                    "@{} {} {}",
                    at.namespace().unwrap_or_default(),
                    at.name(),
                    at.value()
                )
            }));
        }
    }
    flat
}
