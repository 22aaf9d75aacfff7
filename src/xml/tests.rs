//! Tables of cases for reading, and what the other tests share.

mod bytes;
mod editing;
mod model;
mod properties;

use super::document::{NONE, Node};
use super::*;
use ::bytes::Bytes;
use std::cmp::Ordering;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";

fn parse(text: &str) -> Result<Document, XmlError> {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

#[track_caller]
fn document(text: &str) -> Document {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn root(document: &Document) -> NodeId {
    document.root_element().expect("a root element")
}

/// The first element with this local name.
#[track_caller]
fn find(document: &Document, local: &str) -> NodeId {
    let mut all = document.descendants(document.document_node());
    all.find(|&n| document.kind(n) == NodeKind::Element && document.local_name(n) == local)
        .expect(local)
}

fn unlimited() -> Limits {
    Limits {
        max_depth: usize::MAX,
        max_attributes: usize::MAX,
        max_namespaces: usize::MAX,
        max_nodes: usize::MAX,
        ..Limits::default()
    }
}

#[test]
fn refuses_what_is_not_well_formed() {
    use Problem::*;
    let cases: &[(&str, Problem)] = &[
        ("", Truncated),
        ("  \n ", Truncated),
        ("<!-- only -->", Truncated),
        ("<a/><b/>", Syntax),
        ("<a></a><a></a>", Syntax),
        ("<a/>text", Syntax),
        ("<a/>&amp;", Syntax),
        ("text<a/>", Syntax),
        ("<a/><![CDATA[x]]>", Syntax),
        ("<a/></a>", Syntax),
        ("</a>", Syntax),
        ("<a>", Truncated),
        ("<a", Truncated),
        ("<", Truncated),
        ("<a><b></b>", Truncated),
        ("<a b", Truncated),
        ("<a b=", Truncated),
        ("<a b='", Truncated),
        ("<a b='c'", Truncated),
        ("<a>text", Truncated),
        ("<a>&am", Truncated),
        ("<a></", Truncated),
        ("<a></a", Truncated),
        ("<a><!-- ", Truncated),
        ("<a><!", Truncated),
        ("<a><!-", Truncated),
        ("<a><![CDATA[ ]]", Truncated),
        ("<a><![CDA", Truncated),
        ("<a><?pi ", Truncated),
        ("<a></b>", Syntax),
        ("<a><b></a></b>", Syntax),
        ("<a></A>", Syntax),
        ("<a></a b='c'>", Syntax),
        ("<1a/>", Name),
        ("<-a/>", Name),
        ("< a/>", Name),
        ("<a!/>", Syntax),
        ("<\u{D7}a/>", Name),
        ("<a\u{D7}/>", Name),
        ("<a \u{2190}='b'/>", Name),
        ("<:a/>", Name),
        ("<a:/>", Name),
        ("<a:b:c xmlns:a='u'/>", Name),
        ("<a:1 xmlns:a='u'/>", Name),
        ("<a 1b='c'/>", Name),
        ("<a b=c/>", Syntax),
        ("<a b/>", Syntax),
        ("<a b='<'/>", Syntax),
        ("<a b='c'd='e'/>", Syntax),
        ("<a b='c''d'/>", Syntax),
        ("<a b='1' b='2'/>", DuplicateAttribute),
        ("<a xmlns:p='u' xmlns:p='u'/>", DuplicateAttribute),
        ("<a xmlns='u' xmlns='v'/>", DuplicateAttribute),
        (
            "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
            DuplicateAttribute,
        ),
        ("<p:a/>", Namespace),
        ("<a p:b='c'/>", Namespace),
        ("<a xmlns:p='u'/><!-- --><p:b/>", Syntax),
        ("<a><b xmlns:p='u'/><p:c/></a>", Namespace),
        ("<a xmlns:xmlns='u'/>", Namespace),
        ("<a xmlns:xml='u'/>", Namespace),
        (
            "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
            Namespace,
        ),
        (
            "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            Namespace,
        ),
        ("<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", Namespace),
        ("<a xmlns='http://www.w3.org/2000/xmlns/'/>", Namespace),
        ("<a xmlns:p=''/>", Namespace),
        ("<xmlns:a/>", Namespace),
        ("<a>]]></a>", Syntax),
        ("<a>x]]>y</a>", Syntax),
        ("<a>]]]></a>", Syntax),
        ("<a><!-- -- --></a>", Syntax),
        ("<a><!-- ---></a>", Syntax),
        ("<!-- -- --><a/>", Syntax),
        ("<a>\u{0}</a>", Character),
        ("<a>\u{1}</a>", Character),
        ("<a>\u{1F}</a>", Character),
        ("<a>\u{FFFE}</a>", Character),
        ("<a>\u{FFFF}</a>", Character),
        ("<a b='\u{1}'/>", Character),
        ("<a b='\u{FFFF}'/>", Character),
        ("<a><!--\u{1}--></a>", Character),
        ("<a><![CDATA[\u{1}]]></a>", Character),
        ("<a><?b \u{1}?></a>", Character),
        ("<a/>\u{1}", Character),
        ("<a>&#0;</a>", Entity),
        ("<a>&#x0;</a>", Entity),
        ("<a>&#1;</a>", Entity),
        ("<a>&#xD800;</a>", Entity),
        ("<a>&#xFFFE;</a>", Entity),
        ("<a>&#x110000;</a>", Entity),
        ("<a>&#99999999999;</a>", Entity),
        ("<a>&#;</a>", Entity),
        ("<a>&#x;</a>", Entity),
        ("<a>&#X41;</a>", Entity),
        ("<a>&#+5;</a>", Entity),
        ("<a>&nbsp;</a>", Entity),
        ("<a>&AMP;</a>", Entity),
        ("<a>&;</a>", Entity),
        ("<a>& </a>", Entity),
        ("<a>a & b</a>", Entity),
        ("<a b='&#0;'/>", Entity),
        ("<a b='&x;'/>", Entity),
        ("<a b='&'/>", Entity),
        ("<!DOCTYPE a><a/>", Doctype),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", Doctype),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", Doctype),
        ("<?xml version='1.0'?><!DOCTYPE a><a/>", Doctype),
        ("<!ELEMENT a><a/>", Syntax),
        ("<a><!doctype a></a>", Syntax),
        ("<?xml?><a/>", Syntax),
        (" <?xml version='1.0'?><a/>", Syntax),
        ("<a/><?xml version='1.0'?>", Syntax),
        ("<a><?XML b?></a>", Syntax),
        ("<?xml version='2.0'?><a/>", Syntax),
        ("<?xml encoding='UTF-8'?><a/>", Syntax),
        ("<?xml version='1.0' standalone='maybe'?><a/>", Syntax),
        ("<?xml version='1.0'encoding='UTF-8'?><a/>", Syntax),
        ("<?xml version='1.0' encoding='1'?><a/>", Syntax),
        (
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?><a/>",
            Syntax,
        ),
        ("<?xml version='1.0' ><a/>", Syntax),
        ("<?p:q r?><a/>", Name),
        ("<? p?><a/>", Name),
        ("<a><?b*?></a>", Syntax),
    ];
    let mut wrong = Vec::new();
    for (text, problem) in cases {
        match parse(text) {
            Ok(_) => wrong.push(format!("{text:?} was accepted")),
            Err(error) if error.problem != *problem => {
                wrong.push(format!("{text:?}: {:?} {error}", error.problem))
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn accepts_what_is_well_formed() {
    for text in [
        "<a/>",
        "\u{FEFF}<a/>",
        "<?xml version='1.0'?><a/>",
        "<?xml version = \"1.1\" encoding = 'UTF-8' standalone='yes' ?>\n<a/>\n",
        "<!-- a --><?b c?><a/><!-- d --><?e?>",
        "<a.b-c_d1/>",
        "<_/>",
        "<\u{E9}l\u{E9}ment \u{540D}='\u{503C}'/>",
        "<a xml:lang='de'/>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:space='preserve'/>",
        "<xml:a/>",
        "<a xmlns=''/>",
        "<a xmlns='u'><b xmlns=''/></a>",
        "<a xmlns:p='u' b='1' p:b='2'/>",
        "<p:a xmlns:p='u' p:b='2' c='d' ></p:a >",
        "<a b = 'c'\n\td=\"e\"/>",
        "<a b='>' c=\"'\" d='\"'/>",
        "<a>></a>",
        "<a>]]</a>",
        "<a>]] ></a>",
        "<a><!----></a>",
        "<a><!-- - --></a>",
        "<a><![CDATA[]]></a>",
        "<a><![CDATA[<>&]]]]></a>",
        "<a><?b?><?c   d ? > ?></a>",
        "<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x41;&#x10FFFF;&#0000000000065;</a>",
        "<a>\u{FFFD}\u{FF5E}\u{10FFFF}\u{7F}\u{85}</a>",
    ] {
        document(text);
    }
}

#[test]
fn errors_say_where() {
    let cases: &[(&str, &str)] = &[
        (
            "<a>\n <\u{E9}>&nbsp;",
            "2:5: the entity `&nbsp;` is not one of the five predefined ones",
        ),
        (
            "<!DOCTYPE a>",
            "1:1: a document type declaration (DOCTYPE) is not allowed",
        ),
        ("<a>\n</b>", "2:1: end tag `b` does not match start tag `a`"),
        ("<p:a/>", "1:2: the namespace prefix `p` is not declared"),
        (
            "<a b='\u{2}'/>",
            "1:7: the character U+0002 is not allowed in XML",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(parse(text).unwrap_err().to_string(), *message);
    }
    let error =
        Document::parse(Bytes::from_static(b"<a>\xFF</a>"), &Limits::default()).unwrap_err();
    assert_eq!((error.problem, error.offset), (Problem::Encoding, 3));
}

#[test]
fn limits_are_kept() {
    let small = Limits {
        max_depth: 3,
        max_attributes: 2,
        max_name_bytes: 5,
        max_namespaces: 1,
        max_nodes: 5,
        max_bytes: 60,
    };
    let cases: &[(&str, bool)] = &[
        ("<a><b><c/></b></a>", true),
        ("<a><b><c><d/></c></b></a>", false),
        ("<a b='1' c='2'/>", true),
        ("<a b='1' c='2' d='3'/>", false),
        ("<abcde/>", true),
        ("<abcdef/>", false),
        ("<a abcdef='1'/>", false),
        ("<a><?abcdef?></a>", false),
        ("<a xmlns='u' b='1'/>", true),
        ("<a xmlns='u' xmlns:b='1'/>", false),
        ("<a>1<b/>2<c/></a>", true),
        ("<a>1<b/>2<c/>3</a>", false),
        (
            "<a>12345678901234567890123456789012345678901234567890123</a>",
            true,
        ),
        (
            "<a>123456789012345678901234567890123456789012345678901234</a>",
            false,
        ),
    ];
    for (text, accepted) in cases {
        let result = Document::parse(Bytes::copy_from_slice(text.as_bytes()), &small);
        match result {
            Ok(_) => assert!(accepted, "{text}"),
            Err(error) => {
                assert!(!accepted, "{text}: {error}");
                assert_eq!(error.problem, Problem::Limit, "{text}");
            }
        }
    }
}

#[test]
fn defaults_refuse_attacks_at_once() {
    let attributes: String = (0..100_000).map(|i| format!(" a{i}='1'")).collect();
    let namespaces: String = (0..5_000).map(|i| format!(" xmlns:a{i}='1'")).collect();
    for text in [
        "<a>".repeat(1_000_000),
        format!("<a{attributes}/>"),
        format!("<a{namespaces}/>"),
        format!("<{}/>", "a".repeat(5000)),
        "<".repeat(1_000_000),
        "<a>&".repeat(100_000),
    ] {
        assert!(parse(&text).is_err());
    }
}

#[test]
fn large_shapes_stay_linear() {
    // Each of these takes minutes when something is quadratic.
    let attributes: String = (0..100_000).map(|i| format!(" a{i}=\"1\"")).collect();
    let text = format!("<a{attributes}/>");
    let wide = Document::parse(Bytes::from(text.clone()), &unlimited()).unwrap();
    assert_eq!(wide.attributes(root(&wide)).count(), 100_000);
    assert_eq!(wide.to_xml(wide.document_node()), text);

    let twice = format!("<a{attributes} a99999=\"2\"/>");
    let error = Document::parse(Bytes::from(twice), &unlimited()).unwrap_err();
    assert_eq!(error.problem, Problem::DuplicateAttribute);

    // Many bindings in scope, and every element changes one of them.
    let declarations: String = (0..256).map(|i| format!(" xmlns:p{i}='u{i}'")).collect();
    let nested = format!("<a{declarations}>").repeat(200)
        + &(0..100_000)
            .map(|i| format!("<p0:b xmlns:q='{i}'/>"))
            .collect::<String>()
        + &"</a>".repeat(200);
    let many = Document::parse(Bytes::from(nested), &Limits::default()).unwrap();
    assert!(many.to_xml(many.document_node()).len() > 100_000);
}

#[test]
fn depth_needs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let text = format!("{}x{}", "<a>".repeat(DEPTH), "</a>".repeat(DEPTH));
    let mut deep = Document::parse(Bytes::from(text.clone()), &unlimited()).unwrap();
    let top = root(&deep);
    assert_eq!(deep.string_value(top), "x");
    assert_eq!(deep.descendants(top).count(), DEPTH);
    assert_eq!(deep.to_xml(top), text);
    let mut other = Document::new();
    let copy = other.import(&deep, top);
    assert_eq!(other.to_xml(copy), text);
    let copy = deep.duplicate(top);
    assert_eq!(deep.to_xml(copy), text);
    let clone = deep.clone();
    deep.detach(top);
    drop(deep);
    drop(clone);
}

#[test]
fn text_is_normalised() {
    let cases: &[(&str, &str, &str)] = &[
        // document, text, attribute b
        ("<a b='x'>y</a>", "y", "x"),
        (
            "<a b='1\n2\t3\r\n4\r5'>1\n2\t3\r\n4\r5</a>",
            "1\n2\t3\n4\n5",
            "1 2 3 4 5",
        ),
        (
            "<a b='&#10;&#9;&#13;&#32;'>&#10;&#9;&#13;</a>",
            "\n\t\r",
            "\n\t\r ",
        ),
        (
            "<a b='&lt;&amp;&gt;&quot;&apos;'>&lt;&amp;&gt;&quot;&apos;</a>",
            "<&>\"'",
            "<&>\"'",
        ),
        ("<a b='&amp;lt;'>&amp;lt;</a>", "&lt;", "&lt;"),
        ("<a b='\"'>\r\r\n\n</a>", "\n\n\n", "\""),
        ("<a b=''><![CDATA[&lt;\r\n]]>x</a>", "&lt;\nx", ""),
        (
            "<a b='\u{20AC}&#x20AC;'>\u{20AC}&#x20AC;</a>",
            "\u{20AC}\u{20AC}",
            "\u{20AC}\u{20AC}",
        ),
    ];
    for (text, value, attribute) in cases {
        let document = document(text);
        let a = root(&document);
        assert_eq!(document.string_value(a), *value, "{text}");
        assert_eq!(document.attribute(a, "", "b"), Some(*attribute), "{text}");
    }
}

#[test]
fn the_tree_keeps_everything() {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n<!--c--><?p d?>\
                <s:a xmlns:s=\"u\" x=\"1\" xmlns=\"v\" s:y=\"2\">t<b/><![CDATA[d]]><!--e--></s:a>\n";
    let document = document(text);
    let declaration = document.declaration().unwrap();
    assert_eq!(declaration.version, "1.0");
    assert_eq!(declaration.encoding.as_deref(), Some("UTF-8"));
    assert_eq!(declaration.standalone, Some(false));
    let usual = self::document("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a/>");
    let usual = usual.declaration().unwrap();
    assert_eq!(
        (&*usual.version, usual.encoding.as_deref()),
        ("1.0", Some("UTF-8"))
    );
    assert_eq!(
        document.source().map(|source| &source[..]),
        Some(text.as_bytes())
    );
    assert!(!document.is_modified());
    let top: Vec<_> = document
        .children(document.document_node())
        .map(|n| document.kind(n))
        .collect();
    assert_eq!(
        top,
        [
            NodeKind::Comment,
            NodeKind::ProcessingInstruction,
            NodeKind::Element
        ]
    );
    let a = root(&document);
    assert_eq!(
        (
            document.prefix(a),
            document.namespace(a),
            document.local_name(a)
        ),
        ("s", "u", "a")
    );
    assert!(document.is_element(a, "u", "a") && !document.is_element(a, "", "a"));
    let declared: Vec<_> = document.namespace_declarations(a).collect();
    assert_eq!(declared, [("s", "u"), ("", "v")]);
    let attributes: Vec<_> = document
        .attributes(a)
        .map(|at| (at.index, at.prefix, at.namespace, at.local, at.value))
        .collect();
    assert_eq!(attributes, [(0, "", "", "x", "1"), (1, "s", "u", "y", "2")]);
    assert_eq!(document.attribute_at(a, 1).map(|at| at.value), Some("2"));
    assert_eq!(document.attribute_at(a, 2), None);
    let kinds: Vec<_> = document.children(a).map(|n| document.kind(n)).collect();
    assert_eq!(
        kinds,
        [
            NodeKind::Text,
            NodeKind::Element,
            NodeKind::CData,
            NodeKind::Comment
        ]
    );
    let b = document.child_element(a, "v", "b").unwrap();
    assert_eq!(document.child_elements(a).collect::<Vec<_>>(), [b]);
    assert_eq!(document.lookup_namespace(b, "s"), Some("u"));
    assert_eq!(document.lookup_namespace(b, ""), Some("v"));
    assert_eq!(document.lookup_namespace(b, "xml"), Some(XML_NAMESPACE));
    assert_eq!(document.lookup_namespace(b, "nope"), None);
    assert_eq!(document.string_value(a), "td");
    assert!(matches!(
        document.string_value(find(&document, "b")),
        std::borrow::Cow::Borrowed("")
    ));
    assert_eq!(
        document.name_id("v", "b"),
        Some(document.element_name_id(b))
    );
    assert_eq!(document.name_id("w", "b"), None);
    assert_eq!(document.prev_sibling(b), document.first_child(a));
    assert_eq!(
        document.prev_sibling(document.first_child(a).unwrap()),
        None
    );
    let instruction = document.children(document.document_node()).nth(1).unwrap();
    assert_eq!(
        (document.local_name(instruction), document.text(instruction)),
        ("p", "d")
    );
    assert_eq!(document.namespace(instruction), "");
}

#[test]
fn own_text_is_direct_text() {
    let document = document("<a>x<b>y</b><![CDATA[z]]><!--c--></a>");
    assert_eq!(document.own_text(root(&document)), "xz");
    assert_eq!(document.string_value(root(&document)), "xyz");
}

/// The same document without any permission to copy source bytes.
fn slow(document: &Document) -> Document {
    let mut slow = document.clone();
    for node in &mut slow.nodes {
        node.flags &= !Node::CLEAN;
    }
    slow
}

#[track_caller]
fn same_tree(left: &Document, a: NodeId, right: &Document, b: NodeId) {
    assert_eq!(shape(left, a), shape(right, b));
}

/// Everything that must survive writing and parsing; neighbouring texts count as one, empty ones as none.
fn shape(document: &Document, top: NodeId) -> Vec<String> {
    let mut shape: Vec<String> = Vec::new();
    let depth_of = |n: NodeId| std::iter::successors(Some(n), |&at| document.parent(at)).count();
    let base = depth_of(top);
    let mut joins = false;
    for n in std::iter::once(top).chain(document.descendants(top)) {
        let depth = depth_of(n) - base;
        let text = document.text(n);
        match document.kind(n) {
            NodeKind::Document => {}
            NodeKind::Text if text.is_empty() => continue,
            NodeKind::Text if joins && document.prev_sibling(n).is_some() => {
                shape.last_mut().unwrap().push_str(text);
                continue;
            }
            NodeKind::Element => {
                let mut attributes: Vec<_> = document
                    .attributes(n)
                    .map(|at| format!("{{{}}}{}={:?}", at.namespace, at.local, at.value))
                    .collect();
                attributes.sort();
                shape.push(format!(
                    "{depth} {}:{{{}}}{} {attributes:?}",
                    document.prefix(n),
                    document.namespace(n),
                    document.local_name(n)
                ));
            }
            kind => shape.push(format!(
                "{depth} {kind:?} {} {text}",
                document.local_name(n)
            )),
        }
        joins = document.kind(n) == NodeKind::Text;
    }
    shape
}

#[test]
fn a_tree_is_at_most_four_times_its_source() {
    let order = |n: usize| {
        format!(
            "<m0:order id=\"{n}\" currency=\"USD\"><m0:symbol>IBM</m0:symbol><m0:buyer>Customer {n}</m0:buyer>\
             <m0:price>101.25</m0:price><m0:quantity>5</m0:quantity></m0:order>"
        )
    };
    for orders in [60, 600, 6000] {
        let orders: String = (0..orders).map(order).collect();
        let text = format!("<m0:orders xmlns:m0='http://services.samples'>{orders}</m0:orders>");
        let used = parse(&text).unwrap().memory();
        assert!(used <= 4 * text.len(), "{used} for {}", text.len());
        assert!(used > 2 * text.len(), "{used} for {}", text.len());
    }
}

/// What one document taught about names must not be believed of the next one where it is not true.
#[test]
fn documents_of_one_thread_have_nothing_to_do_with_each_other() {
    let names = |text: &str| {
        let document = parse(text).map_err(|error| error.problem);
        document.map(|document| {
            let all = document.descendants(document.document_node());
            let name = |n| {
                let attributes = document.attributes(n);
                let attributes = attributes.map(|a| format!(" {}|{}", a.namespace, a.local));
                let attributes: String = attributes.collect();
                format!(
                    "{}|{}{attributes}",
                    document.namespace(n),
                    document.local_name(n)
                )
            };
            all.map(name).collect::<Vec<_>>().join(",")
        })
    };
    let texts = [
        "<p:a xmlns:p='u'><p:b p:c='1'/></p:a>",
        "<p:a xmlns:p='v'><p:b p:c='1'/></p:a>",
        "<a><b c='1'/></a>",
        "<a xmlns='u'><b c='1'/></a>",
        "<p:a><p:b/></p:a>",
        "<p:a xmlns:p='u'><p:new p:c='1' p:c='2'/></p:a>",
        "<p:new xmlns:p='u'><p:other</p:new>",
        "<p:other xmlns:p='u' d='1'/>",
        "<a><p:b xmlns:p='u'><q:b xmlns:q='u' p:c='1' q:d='2'/></p:b><p:b xmlns:p='v'/></a>",
        "<q:a xmlns:q='u'><q:b q:c='1'/></q:a>",
        "<a><b c='1' d='1' c='1'/></a>",
        "<r xmlns:p='u' xmlns:q='u'><a p:c='1' q:c='2'/></r>",
        "<r xmlns:p='u' xmlns:q='v'><a p:c='1' q:c='2'/></r>",
        "<a:a xmlns:a='u'><a:b xmlns:a='v'/><a:b/></a:a>",
    ];
    // More names than have room, so that they take each other's place.
    let crowd = |from: usize| {
        let inner: String = (from..from + 400)
            .map(|n| format!("<n{n} m{n}='1'/>"))
            .collect();
        format!("<r xmlns='crowd'>{inner}</r>")
    };
    let alone = |text: &str| {
        let text = text.to_owned();
        std::thread::spawn(move || names(&text)).join().unwrap()
    };
    let expected: Vec<_> = texts.iter().map(|text| alone(text)).collect();
    for step in [1, 3, 5, 9, 11, 13] {
        for round in 0..4 * texts.len() {
            let index = round * step % texts.len();
            assert_eq!(names(texts[index]), expected[index], "{}", texts[index]);
            if round % 7 == 0 {
                let crowd = crowd(round);
                assert_eq!(names(&crowd), alone(&crowd));
            }
        }
    }
}

#[test]
fn limits_of_one_document_do_not_hold_for_another() {
    let text = "<abcdef><abcdef/></abcdef>";
    let strict = Limits {
        max_name_bytes: 3,
        ..Limits::default()
    };
    for _ in 0..3 {
        assert!(parse(text).is_ok());
        let refused = Document::parse(Bytes::from(text), &strict);
        assert_eq!(refused.unwrap_err().problem, Problem::Limit);
    }
}

#[test]
fn documents_that_share_names_do_not_change_each_other() {
    let text = "<a xmlns='u'><b/></a>";
    let first = document(text);
    let mut second = document(text);
    let mut third = second.clone();
    let element = second.create_element("x", "new", "c");
    second.append_child(root(&second), element);
    let element = third.create_element("y", "newer", "d");
    third.append_child(root(&third), element);
    assert_eq!(second.name_id("newer", "d"), None);
    let names = |document: &Document| {
        let all = document.descendants(document.document_node());
        let names = all.map(|n| {
            (
                document.prefix(n),
                document.namespace(n),
                document.local_name(n),
            )
        });
        names.map(|name| format!("{name:?}")).collect::<String>()
    };
    assert!(!names(&first).contains("new"));
    assert!(names(&second).ends_with("(\"x\", \"new\", \"c\")"));
    assert!(names(&third).ends_with("(\"y\", \"newer\", \"d\")"));
    // What was read later has names that were added, and those only.
    let mut outer = Document::new();
    let envelope = outer.create_element("x", "new", "c");
    outer.append_child(outer.document_node(), envelope);
    outer
        .parse_into(
            envelope,
            Bytes::from("<y:d xmlns:y='newer'/>"),
            &Limits::default(),
        )
        .unwrap();
    let inner = outer.first_child(envelope).unwrap();
    assert!(outer.is_element(inner, "newer", "d"));
}

fn check_links(document: &Document) {
    for index in 0..document.nodes.len() as u32 {
        let n = NodeId(index);
        let forward: Vec<_> = document.children(n).collect();
        let backward: Vec<_> =
            std::iter::successors(document.last_child(n), |&at| document.prev_sibling(at))
                .collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        assert!(
            forward
                .iter()
                .all(|&child| document.parent(child) == Some(n))
        );
        if document.node(n).unwrap().is(Node::CLEAN) {
            assert!(document.descendants(n).all(|below| {
                document.kind(below) != NodeKind::Element
                    || document.node(below).unwrap().is(Node::CLEAN)
            }));
        }
    }
    let roots = document.nodes.iter().filter(|node| node.parent == NONE);
    assert_eq!(roots.count(), document.loose + 1);
    for index in 0..document.nodes.len() as u32 {
        let n = NodeId(index);
        let names: std::collections::HashSet<u32> = document
            .descendants(n)
            .map(|below| document.element_name_id(below))
            .collect();
        for name in names.into_iter().filter(|&name| name != NONE) {
            let all = document.descendants(n);
            let wanted = all.filter(|&below| document.element_name_id(below) == name);
            assert!(wanted.eq(document.elements_named(n, name).map(|(n, _)| n)));
        }
    }
    let all: Vec<_> = document.descendants(document.document_node()).collect();
    for pair in all.windows(2) {
        assert_eq!(document.compare_order(pair[0], pair[1]), Ordering::Less);
        assert_eq!(document.compare_order(pair[1], pair[0]), Ordering::Greater);
    }
}
