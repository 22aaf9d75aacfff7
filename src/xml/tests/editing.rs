//! Writing and editing.

use super::super::document::NONE;
use super::super::*;
use super::{SOAP11, check_links, document, find, parse, root, same_tree, slow};
use bytes::Bytes;
use std::cmp::Ordering;

#[test]
fn writes_by_the_rules() {
    let cases: &[(&str, &str)] = &[
        ("<a></a>", "<a/>"),
        ("<a />", "<a/>"),
        ("<a b='c'  d = \"e\" ></a >", "<a b=\"c\" d=\"e\"/>"),
        ("<a>&gt;&quot;&apos;&#65;</a>", "<a>>\"'A</a>"),
        ("<a>&amp;&lt;</a>", "<a>&amp;&lt;</a>"),
        ("<a>]]&gt;x&gt;</a>", "<a>]]&gt;x></a>"),
        ("<a>&#13;\r\n</a>", "<a>&#xd;\n</a>"),
        ("<a>\n\t\"'\u{E9}></a>", "<a>\n\t\"'\u{E9}></a>"),
        (
            "<a b='\"' c='&apos;' d='>'/>",
            "<a b=\"&quot;\" c=\"'\" d=\">\"/>",
        ),
        (
            "<a b='&#10;&#9;&#13;\n&lt;&amp;'/>",
            "<a b=\"&#xa;&#x9;&#xd; &lt;&amp;\"/>",
        ),
        (
            "<a><![CDATA[<]]><!-- - --><?b  c ?><?d ?></a>",
            "<a><![CDATA[<]]><!-- - --><?b c ?><?d?></a>",
        ),
        (
            "<a xmlns='u' b='1' xmlns:p='v'><p:c/><d xmlns=''/></a>",
            "<a xmlns=\"u\" b=\"1\" xmlns:p=\"v\"><p:c/><d xmlns=\"\"/></a>",
        ),
        (
            "<a xmlns:p='a&amp;&quot;'/>",
            "<a xmlns:p=\"a&amp;&quot;\"/>",
        ),
        ("<?xml version='1.0'?>\n<!--x-->\n<a/>\n", "<!--x--><a/>"),
    ];
    for (text, written) in cases {
        let document = document(text);
        assert_eq!(
            document.to_xml(document.document_node()),
            *written,
            "{text}"
        );
        assert_eq!(
            slow(&document).to_xml(document.document_node()),
            *written,
            "{text}"
        );
    }
}

#[test]
fn writing_an_inner_element_adds_what_it_needs() {
    let text = "<e:E xmlns:e=\"env\" xmlns:p=\"u\" xmlns:q=\"v\" xmlns:xsd=\"schema\" \
                xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"d\">\
                <p:a><p:b/><c x=\"1\"/></p:a><p:f xmlns:p=\"w\"><q:g/></p:f><h q:k=\"1\" i:type=\"xsd:int\"/>\
                <n xmlns=\"\"><m/></n></e:E>";
    let document = document(text);
    let cases: &[(&str, &str)] = &[
        (
            "a",
            "<p:a xmlns:p=\"u\" xmlns=\"d\"><p:b/><c x=\"1\"/></p:a>",
        ),
        ("b", "<p:b xmlns:p=\"u\"/>"),
        ("c", "<c xmlns=\"d\" x=\"1\"/>"),
        ("f", "<p:f xmlns:q=\"v\" xmlns:p=\"w\"><q:g/></p:f>"),
        (
            "h",
            "<h xmlns=\"d\" xmlns:q=\"v\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"schema\" q:k=\"1\" i:type=\"xsd:int\"/>",
        ),
        ("n", "<n xmlns=\"\"><m/></n>"),
        ("m", "<m/>"),
        ("E", text),
    ];
    for (local, written) in cases {
        let n = find(&document, local);
        assert_eq!(document.to_xml(n), *written);
        assert_eq!(slow(&document).to_xml(n), *written);
        let mut other = Document::new();
        let copy = other.import(&document, n);
        same_tree(&document, n, &other, copy);
        assert_eq!(
            &parse(&other.to_xml(copy)).unwrap().to_xml(NodeId(1)).len(),
            &written.len()
        );
        let mut itself = document.clone();
        let copy = itself.duplicate(n);
        same_tree(&document, n, &itself, copy);
    }
}

#[test]
fn values_are_escaped() {
    for (text, in_text, in_attribute) in [
        ("", "", ""),
        (
            "a&b<c>d\"e'f",
            "a&amp;b&lt;c>d\"e'f",
            "a&amp;b&lt;c>d&quot;e'f",
        ),
        ("\r\n\t", "&#xd;\n\t", "&#xd;&#xa;&#x9;"),
        ("]]>]>>", "]]&gt;]>>", "]]>]>>"),
        ("]]]>", "]]]&gt;", "]]]>"),
    ] {
        let (mut as_text, mut as_attribute) = (Vec::new(), Vec::new());
        escape_text(text, &mut as_text);
        escape_attribute(text, &mut as_attribute);
        assert_eq!(String::from_utf8(as_text).unwrap(), in_text);
        assert_eq!(String::from_utf8(as_attribute).unwrap(), in_attribute);
    }
}

#[test]
fn what_edits_make_is_well_formed() {
    let mut made = Document::new();
    let a = made.create_element("", "", "a");
    made.append_child(made.document_node(), a);
    for text in ["]]", ">"] {
        let text = made.create_text(text);
        made.append_child(a, text);
    }
    let nodes = [
        made.create_cdata("x]]>y]]>"),
        made.create_comment("--a---"),
        made.create_pi("p", "q?>r"),
    ];
    for n in nodes {
        made.append_child(a, n);
    }
    let written = made.to_xml(a);
    assert_eq!(
        written,
        "<a>]]&gt;<![CDATA[x]]]]><![CDATA[>y]]]]><![CDATA[>]]><!--- -a- - - --><?p q? >r?></a>"
    );
    assert_eq!(document(&written).string_value(NodeId(1)), "]]>x]]>y]]>");
    let empty = made.create_element("", "", "b");
    let nothing = made.create_text("");
    made.append_child(empty, nothing);
    assert_eq!(made.to_xml(empty), "<b/>");
}

#[test]
fn declarations_follow_from_names() {
    let mut made = Document::new();
    let a = made.create_element("p", "u", "a");
    made.append_child(made.document_node(), a);
    let b = made.create_element("p", "u", "b");
    let c = made.create_element("p", "v", "c");
    let d = made.create_element("", "", "d");
    let e = made.create_element("", "w", "e");
    made.append_child(a, b);
    made.append_child(b, c);
    made.append_child(a, e);
    made.append_child(e, d);
    made.set_attribute(d, "p", "u", "x", "1");
    made.set_attribute(d, "p", "z", "y", "2");
    made.set_attribute(d, "", "z", "z", "3");
    made.set_attribute(d, "", XML_NAMESPACE, "lang", "de");
    let written = made.to_xml(made.document_node());
    assert_eq!(
        written,
        "<p:a xmlns:p=\"u\"><p:b><p:c xmlns:p=\"v\"/></p:b><e xmlns=\"w\"><d xmlns=\"\" xmlns:ns0=\"z\" \
         xmlns:ns1=\"z\" p:x=\"1\" ns0:y=\"2\" ns1:z=\"3\" xml:lang=\"de\"/></e></p:a>"
    );
    let again = document(&written);
    same_tree(&made, a, &again, root(&again));
    assert_eq!(made.lookup_namespace(c, "p"), Some("v"));
    assert_eq!(made.lookup_namespace(d, ""), Some(""));
}

#[test]
fn attributes_are_edited_in_place() {
    let mut document = document("<a x=\"1\" xmlns:p=\"u\" p:y=\"2\"><b/></a>");
    let a = root(&document);
    document.set_attribute(a, "", "", "x", "one\"");
    document.set_attribute(a, "q", "u", "y", "two");
    document.set_attribute(a, "", "u", "z", "three");
    document.set_attribute(a, "", "", "w", "4");
    assert!(document.is_modified());
    assert_eq!(
        document.to_xml(a),
        "<a x=\"one&quot;\" xmlns:p=\"u\" p:y=\"two\" p:z=\"three\" w=\"4\"><b/></a>"
    );
    assert!(document.remove_attribute(a, "u", "y"));
    assert!(!document.remove_attribute(a, "u", "y"));
    assert!(!document.remove_attribute(find(&document, "b"), "", "x"));
    assert_eq!(
        document.to_xml(a),
        "<a x=\"one&quot;\" xmlns:p=\"u\" p:z=\"three\" w=\"4\"><b/></a>"
    );
}

#[test]
fn declarations_are_edited() {
    let mut document = document("<a b=\"1\" xmlns:p=\"u\"><p:c/><d/></a>");
    let a = root(&document);
    document.declare_namespace(a, "q", "v");
    document.declare_namespace(a, "p", "w");
    for (prefix, uri) in [
        ("", "x"),
        ("xml", "x"),
        ("xmlns", "x"),
        ("r", ""),
        ("r", XML_NAMESPACE),
    ] {
        document.declare_namespace(a, prefix, uri);
    }
    assert_eq!(
        document.to_xml(a),
        "<a b=\"1\" xmlns:p=\"w\" xmlns:q=\"v\"><p:c xmlns:p=\"u\"/><d/></a>"
    );
    document.set_attribute(a, "xmlns", XMLNS_NAMESPACE, "r", "y");
    assert_eq!(
        document.lookup_namespace(find(&document, "d"), "r"),
        Some("y")
    );
}

#[test]
fn moving_keeps_names() {
    let mut document =
        document("<a xmlns:p=\"u\"><b xmlns=\"d\" xmlns:p=\"v\"><p:c><e/></p:c></b><f/></a>");
    let (c, f) = (find(&document, "c"), find(&document, "f"));
    document.append_child(f, c);
    assert_eq!(
        document.to_xml(root(&document)),
        "<a xmlns:p=\"u\"><b xmlns=\"d\" xmlns:p=\"v\"/><f><p:c xmlns:p=\"v\"><e xmlns=\"d\"/></p:c></f></a>"
    );
}

#[test]
fn structure_is_edited() {
    // Each row: what to do with <a><b/><c/><d/></a>, and what comes out.
    type Edit = fn(&mut Document, [NodeId; 4]);
    let cases: &[(&str, Edit)] = &[
        ("<a><c/><d/><b/></a>", |t, [a, b, ..]| t.append_child(a, b)),
        ("<a><d/><b/><c/></a>", |t, [a, _, _, d]| {
            t.prepend_child(a, d)
        }),
        ("<a><b/><c/><d/></a>", |t, [a, b, ..]| t.prepend_child(a, b)),
        ("<a><b/><d/><c/></a>", |t, [_, _, c, d]| {
            t.insert_before(c, d)
        }),
        ("<a><b/><c/><d/></a>", |t, [_, b, c, _]| {
            t.insert_before(c, b)
        }),
        ("<a><c/><b/><d/></a>", |t, [_, b, c, _]| {
            t.insert_after(c, b)
        }),
        ("<a><c/><d/><b/></a>", |t, [_, b, _, d]| {
            t.insert_after(d, b)
        }),
        ("<a><b/><d/></a>", |t, [_, _, c, _]| t.detach(c)),
        ("<a><b/><c/></a>", |t, [_, _, _, d]| t.detach(d)),
        ("<a><d/><c/></a>", |t, [_, b, _, d]| t.replace(b, d)),
        ("<a><b/><c><d/></c></a>", |t, [_, _, c, d]| {
            t.append_child(c, d)
        }),
        ("<a><b/><c/><d/></a>", |t, [a, b, ..]| t.append_child(b, a)),
        ("<a><b/><c/><d/></a>", |t, [_, b, ..]| t.append_child(b, b)),
        ("<a><b/><c/><d/></a>", |t, [_, b, ..]| t.insert_after(b, b)),
        ("<a><b/><c/><d/></a>", |t, [a, b, ..]| t.replace(b, a)),
        ("<a><b/><c/><d/></a>", |t, [a, ..]| {
            t.append_child(a, t.document_node())
        }),
        ("<a><b/><c/><d/></a>", |t, [_, b, ..]| {
            t.append_child(NodeId(NONE), b)
        }),
        ("<a><b/><c/><d/></a>", |t, [a, ..]| {
            t.append_child(a, NodeId(4711))
        }),
        ("<a>x&lt;</a>", |t, [a, ..]| t.set_text(a, "x<")),
        ("<a/>", |t, [a, ..]| t.set_text(a, "")),
        ("<a>y</a>", |t, [a, ..]| {
            t.set_text(a, "x");
            t.set_text(a, "y")
        }),
        ("<a><b/>z<d/></a>", |t, [_, _, c, _]| {
            let text = t.create_text("q");
            t.set_text(text, "z");
            t.replace(c, text)
        }),
        ("<a><d/><c/></a>", |t, [_, b, _, d]| {
            t.append_child(b, d);
            t.replace(b, d)
        }),
    ];
    for (index, (expected, edit)) in cases.iter().enumerate() {
        let mut tree = document("<a><b/><c/><d/></a>");
        let nodes = ["a", "b", "c", "d"].map(|local| find(&tree, local));
        edit(&mut tree, nodes);
        assert_eq!(tree.to_xml(tree.document_node()), *expected, "row {index}");
        check_links(&tree);
    }
}

#[test]
fn unknown_nodes_read_as_nothing() {
    let mut tree = document("<a/>");
    for n in [NodeId(99), NodeId(NONE)] {
        assert_eq!(tree.kind(n), NodeKind::Text);
        assert_eq!(
            (
                tree.text(n),
                tree.local_name(n),
                tree.string_value(n).as_ref()
            ),
            ("", "", "")
        );
        assert_eq!(
            (tree.parent(n), tree.first_child(n), tree.next_sibling(n)),
            (None, None, None)
        );
        assert_eq!(tree.descendants(n).count() + tree.attributes(n).count(), 0);
        tree.set_text(n, "x");
        tree.set_attribute(n, "", "", "x", "y");
        tree.detach(n);
        assert_eq!(tree.to_xml(n), "");
        let copy = tree.duplicate(n);
        assert_eq!(tree.to_xml(copy), "");
    }
    assert_eq!(tree.to_xml(tree.document_node()), "<a/>");
}

#[test]
fn editing_the_same_place_reuses_memory() {
    let mut tree = document("<a b='c'>d</a>");
    let a = root(&tree);
    for round in 0..1000 {
        tree.set_text(a, &format!("{round}"));
        tree.set_attribute(a, "", "", "b", &format!("{round}"));
    }
    assert_eq!(tree.to_xml(a), "<a b=\"999\">999</a>");
    assert!(tree.side.len() < 100 && tree.owned.len() < 4 && tree.nodes.len() < 5);
}

#[test]
fn a_plain_body_goes_into_an_envelope() {
    let body = Bytes::from_static(b"<?xml version=\"1.0\"?><!--x--><m a=\"1\"><n/>t</m>");
    let mut envelope = Document::new();
    let env = envelope.create_element("soapenv", SOAP11, "Envelope");
    let inside = envelope.create_element("soapenv", SOAP11, "Body");
    envelope.append_child(envelope.document_node(), env);
    envelope.append_child(env, inside);
    let root = envelope
        .parse_into(inside, body.clone(), &Limits::default())
        .unwrap();
    assert!(!envelope.is_modified());
    assert_eq!(
        envelope.source().map(|source| source.as_ptr()),
        Some(body.as_ptr())
    );
    assert_eq!(envelope.parent(root), Some(inside));
    assert_eq!(envelope.to_xml(root), "<m a=\"1\"><n/>t</m>");
    let whole = format!(
        "<soapenv:Envelope xmlns:soapenv=\"{SOAP11}\"><soapenv:Body><m a=\"1\"><n/>t</m></soapenv:Body></soapenv:Envelope>"
    );
    assert_eq!(envelope.to_xml(envelope.document_node()), whole);
    assert_eq!(envelope.compare_order(inside, root), Ordering::Less);
    assert!(envelope.ordered);

    // A default namespace outside must not reach the payload.
    let mut other = Document::new();
    let env = other.create_element("", SOAP11, "Envelope");
    other.append_child(other.document_node(), env);
    other
        .parse_into(env, body.clone(), &Limits::default())
        .unwrap();
    assert_eq!(
        other.to_xml(env),
        format!("<Envelope xmlns=\"{SOAP11}\"><m xmlns=\"\" a=\"1\"><n/>t</m></Envelope>")
    );

    // A second body is copied.
    let second = other
        .parse_into(
            env,
            Bytes::from_static(b"<p:z xmlns:p='u'>&lt;</p:z>"),
            &Limits::default(),
        )
        .unwrap();
    assert!(other.is_modified());
    assert_eq!(other.to_xml(second), "<p:z xmlns:p=\"u\">&lt;</p:z>");
    assert_eq!(other.children(env).count(), 2);

    // Nothing changes on error.
    let before = (envelope.nodes.len(), envelope.to_xml(env));
    assert!(
        envelope
            .parse_into(inside, Bytes::from_static(b"<a></b>"), &Limits::default())
            .is_err()
    );
    assert_eq!((envelope.nodes.len(), envelope.to_xml(env)), before);
    let mut fresh = Document::new();
    let top = fresh.create_element("", "", "top");
    assert!(
        fresh
            .parse_into(
                top,
                Bytes::from_static(b"<?xml version='1.0'?><a>&lt;</b>"),
                &Limits::default()
            )
            .is_err()
    );
    assert_eq!(
        (fresh.nodes.len(), fresh.attrs.len(), fresh.side.len()),
        (2, 0, 0)
    );
    assert!(fresh.source().is_none() && fresh.declaration().is_none());
    assert_eq!(fresh.to_xml(top), "<top/>");
}

#[test]
fn an_edited_payload_is_written_from_the_tree() {
    let mut document = document("<a xmlns:p='u'><b x='1'/><p:c>t</p:c></a>");
    let c = find(&document, "c");
    document.set_text(c, "new");
    assert_eq!(
        document.to_xml(root(&document)),
        "<a xmlns:p=\"u\"><b x=\"1\"/><p:c>new</p:c></a>"
    );
}

#[test]
fn flaws_are_found() {
    let mut tree = document("<a b='1'><c>t</c></a>");
    let top = root(&tree);
    assert_eq!(tree.flaw(tree.document_node()), None);
    type Make<'m> = &'m dyn Fn(&mut Document) -> NodeId;
    let cases: [(Make<'_>, &str); 8] = [
        (
            &|t| t.create_text("a\u{8}"),
            "the character U+0008 cannot be written as XML",
        ),
        (
            &|t| t.create_cdata("\u{FFFF}"),
            "the character U+FFFF cannot be written as XML",
        ),
        (
            &|t| t.create_comment("\u{1}"),
            "the character U+0001 cannot be written as XML",
        ),
        (
            &|t| t.create_element("", "", "x y"),
            "`x y` cannot be written as XML: it is no XML name",
        ),
        (
            &|t| t.create_element("", "", "x><y"),
            "`x><y` cannot be written as XML: it is no XML name",
        ),
        (
            &|t| t.create_element("", "", ""),
            "`` cannot be written as XML: it is no XML name",
        ),
        (
            &|t| t.create_pi("1p", "d"),
            "`1p` cannot be written as XML: it is no XML name",
        ),
        (
            &|t| {
                let n = t.create_element("", "", "e");
                t.set_attribute(n, "", "", "f", "\u{B}");
                n
            },
            "the character U+000B cannot be written as XML",
        ),
    ];
    for (make, expected) in cases {
        let n = make(&mut tree);
        let c = find(&tree, "c");
        tree.append_child(c, n);
        assert_eq!(
            tree.flaw(top).map(|f| f.to_string()).as_deref(),
            Some(expected)
        );
        assert!(parse(&tree.to_xml(top)).is_err(), "{expected}");
        tree.detach(n);
        assert_eq!(tree.flaw(top), None);
    }
    let good = tree.create_element("", "", "q");
    tree.append_child(top, good);
    tree.set_attribute(good, "", "", "\u{540D}", "\t\u{FFFD}");
    assert_eq!(tree.flaw(top), None);
}

#[test]
fn writing_gives_up_in_time() {
    let uri = "u".repeat(1000);
    let mut tree = document(&format!("<a xmlns:p='{uri}'><p:b/></a>"));
    let (top, b) = (root(&tree), find(&tree, "b"));
    for _ in 0..1000 {
        let copy = tree.duplicate(b);
        tree.append_child(top, copy);
    }
    let mut out = b"before".to_vec();
    assert!(!tree.write_up_to(top, &mut out, 100_000));
    assert!(out.len() < 110_000, "{}", out.len());
    let mut out = Vec::new();
    assert!(tree.write_up_to(top, &mut out, 2_000_000));
    assert_eq!(out, tree.to_xml(top).into_bytes());
}

/// What is not in the text of a small tree may be in that of its copies: texts, names and namespaces are shared.
#[test]
fn copies_that_share_are_measured() {
    let long = "u".repeat(10_000);
    for (text, most) in [
        (format!("<a><b>{long}</b></a>"), 5_000_000),
        (format!("<a xmlns:p='{long}'><p:b/></a>"), 5_000_000),
        (format!("<a><b c='{long}'/></a>"), 5_000_000),
    ] {
        let mut tree = document(&text);
        let (top, b) = (root(&tree), find(&tree, "b"));
        assert!(!tree.is_longer_than(top, most));
        let memory = tree.memory();
        for _ in 0..1000 {
            let copy = tree.duplicate(b);
            tree.append_child(top, copy);
        }
        assert!(tree.memory() < memory + 300_000, "they share");
        assert!(tree.is_longer_than(top, most));
        assert_eq!(tree.xml_within(top, most), Err(TooLong(most)));
        assert!(!tree.is_longer_than(top, 20_000_000));
    }
}

/// A namespace is looked at once, however many elements have it.
#[test]
fn looking_for_flaws_is_linear() {
    let uri = "u".repeat(1 << 20);
    let mut tree = document(&format!("<a xmlns='{uri}'>{}</a>", "<b />".repeat(50_000)));
    let top = root(&tree);
    tree.set_attribute(top, "", "", "x", "1");
    // Once for each element would be fifty thousand million bytes.
    assert_eq!(tree.flaw(top), None);
}

#[test]
fn names_with_colons_need_a_declaration() {
    let made = |name: &str, attributes: &[(&str, &str)]| {
        let mut tree = document("<a xmlns:known='u'/>");
        let top = root(&tree);
        let n = tree.create_element("", "", name);
        for (name, value) in attributes {
            tree.set_attribute(n, "", "", name, value);
        }
        tree.append_child(top, n);
        let flaw = tree.flaw(top).map(|flaw| flaw.to_string());
        assert_eq!(flaw.is_none(), parse(&tree.to_xml(top)).is_ok(), "{name}");
        flaw
    };
    let why = |what: &str| {
        Some(format!(
            "names with a colon cannot be written as XML here: {what}"
        ))
    };
    let undeclared = why("the namespace prefix `p` is not declared");
    assert_eq!(made("p:q", &[]), undeclared);
    assert_eq!(made("q", &[("p:x", "1")]), undeclared);
    assert_eq!(made("p:q", &[("xmlns:p", "u")]), None);
    assert_eq!(made("q", &[("p:x", "1"), ("xmlns:p", "u")]), None);
    assert_eq!(made("known:q", &[]), None);
    assert_eq!(made("xml:q", &[]), None);
    assert!(made("p:q:r", &[("xmlns:p", "u")]).is_some());
    assert!(made("q", &[("xmlns:p", "")]).is_some());
    assert!(made("q", &[("xmlns:p", "u"), ("p:x", "1"), ("known:x", "2")]).is_some());
}
