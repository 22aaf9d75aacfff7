//! A message with an outline is in everything like one with a tree.

use super::*;
use crate::message::envelope::{SOAP11, SOAP12};
use crate::message::{Body, BodyLimits, Message};
use http::{HeaderMap, HeaderValue, Method, Uri};
use proptest::prelude::*;

const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";
const CLIENT: BlockName = BlockName {
    namespace: SYNAPSE,
    local: "ClientID",
};

/// How a message is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Tree,
    Outline,
}

/// What an endpoint does to a message.
#[derive(Clone, Copy, Debug)]
enum Act {
    Address(Version),
    /// The answer comes as a request of its own.
    Separate(Version),
    Strip,
    Write,
    /// Somebody asks for the tree, and does nothing to it.
    Look,
    Preserve,
}

fn read(
    content_type: &str,
    text: &[u8],
    way: Way,
    limits: &BodyLimits,
) -> (Message, Option<Fault>) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    headers.insert("soapaction", HeaderValue::from_static("\"urn:a&b<c>]]>\""));
    let body = Body::Bytes(Bytes::copy_from_slice(text));
    let uri = Uri::from_static("/services/P");
    let mut message = Message::request(Method::POST, uri, headers, body);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        match way {
            Way::Tree => message.build(limits).await.map(drop),
            Way::Outline => message.outline(Some(CLIENT), limits).await.map(drop),
        }
    });
    let fault = outcome.err();
    (message, fault)
}

fn has_outline(message: &Message) -> bool {
    matches!(&message.body, Body::Built(built) if built.outline().is_some())
}

/// Everything that can be seen of a message, after each act.
fn story(mut message: Message, acts: &[Act]) -> Vec<String> {
    // The same message ids in both ways.
    fastrand::seed(7);
    message.reply_to = Some(crate::message::ANONYMOUS.to_owned());
    message.from = Some("http://from/?a=1&b=\"2\"".to_owned());
    message.fault_to = Some(String::new());
    message.relates_to = Some(String::new());
    let client = message
        .header_block(CLIENT)
        .map(std::borrow::Cow::into_owned);
    let mut seen = vec![format!(
        "{client:?} {:?} {:?} {} {:?} {:?} {:?}",
        message.version,
        message.client_soap,
        message.rest,
        message.to,
        message.message_id,
        message.action(),
    )];
    if message.action().is_none() {
        message.set_action(Some("urn:x".to_owned()));
    }
    for act in acts {
        let said = match act {
            Act::Address(version) => {
                let id = message.write_addressing(*version, "http://b:1/x?a=1&b=2", None);
                id.unwrap()
            }
            Act::Separate(version) => {
                let id = message.write_addressing(*version, "http://b:1/", Some("http://me/"));
                id.unwrap()
            }
            Act::Strip => {
                message.strip_addressing();
                String::new()
            }
            Act::Write => match message.write_body() {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(fault) => fault.message,
            },
            Act::Look => message.envelope().unwrap().log_text(usize::MAX).unwrap(),
            Act::Preserve => {
                message.properties.set("PRESERVE_WS_ADDRESSING", "true");
                String::new()
            }
        };
        seen.push(format!("{act:?}: {said}"));
    }
    seen.push(message.envelope().unwrap().log_text(usize::MAX).unwrap());
    seen
}

/// One after another: attempts at endpoints with different ideas of addressing.
const ATTEMPTS: &[Act] = &[
    Act::Write,
    Act::Strip,
    Act::Address(Version::Final),
    Act::Write,
    Act::Strip,
    Act::Separate(Version::Submission),
    Act::Write,
    Act::Write,
    Act::Strip,
    Act::Address(Version::Final),
    Act::Write,
];

fn same(content_type: &str, text: &[u8], acts: &[Act]) -> bool {
    let limits = BodyLimits::default();
    let (tree, refused) = read(content_type, text, Way::Tree, &limits);
    let (outline, also) = read(content_type, text, Way::Outline, &limits);
    let shown = String::from_utf8_lossy(text);
    assert_eq!(format!("{refused:?}"), format!("{also:?}"), "{shown}");
    let outlined = has_outline(&outline);
    assert!(!outlined || refused.is_none(), "{shown}");
    if refused.is_none() {
        let (tree, outline) = (story(tree, acts), story(outline, acts));
        for (tree, outline) in tree.iter().zip(&outline) {
            assert_eq!(tree, outline, "{shown}");
        }
        assert_eq!(tree.len(), outline.len());
    }
    outlined
}

fn both(text: &str) -> bool {
    same("text/xml", text.as_bytes(), ATTEMPTS)
}

fn soap(header: &str, body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{SOAP11}\">{header}<s:Body>{body}</s:Body></s:Envelope>")
}

#[test]
fn what_an_endpoint_writes_is_what_the_tree_writes() {
    let id = format!("<y:ClientID xmlns:y=\"{SYNAPSE}\"> 7<!--c-->8<i>9</i></y:ClientID>");
    for (what, text) in [
        ("no header", soap("", "<a/>")),
        ("an empty tag", soap("<s:Header/>", "<a/>")),
        (
            "an empty pair of tags",
            soap("<s:Header></s:Header>", "<a/>"),
        ),
        ("only text", soap("<s:Header>a > b</s:Header>", "<a/>")),
        (
            "only text, with an attribute",
            soap("<s:Header a=\"1\">b</s:Header>", "<a/>"),
        ),
        (
            "white space",
            soap("\n <s:Header> \n </s:Header>\n ", " <a>1</a>\n "),
        ),
        (
            "a block",
            soap(&format!("<s:Header>{id}<b c=\"1\"/></s:Header>"), "<a/>"),
        ),
        (
            "blocks of one name",
            soap(
                &format!(
                    "<s:Header><b/>{id}<y:ClientID xmlns:y=\"{SYNAPSE}\">2</y:ClientID></s:Header>"
                ),
                "<a/>",
            ),
        ),
        (
            "a block of that name below",
            soap(&format!("<s:Header><b>{id}</b></s:Header>"), "<a/>"),
        ),
        (
            "an attribute",
            soap("<s:Header a=\"xmlns:b='1'>/>\"/>", "<a/>"),
        ),
        (
            "declarations",
            soap(
                "<s:Header xmlns:n=\"u\" n:a=\"1\" xmlns=\"v\" b=\"&amp;&#xa;\"><c/></s:Header>",
                "<n/>",
            ),
        ),
        (
            "nothing in the body",
            format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/></s:Envelope>"),
        ),
        (
            "a fault",
            soap("", "<s:Fault><faultcode>s:Client</faultcode></s:Fault>"),
        ),
        (
            "the default namespace",
            format!(
                "<Envelope xmlns=\"{SOAP12}\"><Header><b xmlns=\"\"/></Header><Body><a xmlns=\"\">1</a></Body></Envelope>"
            ),
        ),
        (
            "the default namespace, no header",
            format!("<Envelope xmlns=\"{SOAP11}\" a=\"1\"><Body>x</Body></Envelope>"),
        ),
        (
            "the prefix below",
            soap(
                "<s:Header><b><wsa:c xmlns:wsa=\"u\" wsa:d=\"1\"/></b></s:Header>",
                "<wsa:a xmlns:wsa=\"v\"/>",
            ),
        ),
        (
            "comments and instructions",
            soap(
                "<!--- c--><s:Header><!--d--><?e f?></s:Header><?g?>",
                "<?h i?><!--j-->",
            ),
        ),
        (
            "around the root",
            format!(
                "\u{FEFF}<?xml version='1.0' encoding='utf-8' ?>\n<!-- c -->\n<?p  q ?>{}\n<!--d-->\n",
                soap("", "<a/>")
            ),
        ),
        ("a CDATA section", soap("", "<a><![CDATA[<&]]]]></a>")),
        (
            "entities",
            soap(
                "",
                "<a b=\"&lt;&quot;&amp;&#x9;\">&amp;&lt;]]&gt;&#xd; x>y]</a>",
            ),
        ),
        (
            "quotes in an attribute",
            soap("", "<a b=\"it's\">it's \"so\"</a>"),
        ),
        (
            "other characters",
            soap(
                "<s:Header><é>ü</é></s:Header>",
                "<a b=\"\u{20AC}\">\u{1F600}</a>",
            ),
        ),
        ("an envelope within", soap("", &soap("<s:Header/>", "1"))),
        (
            "long names",
            soap(
                "",
                "<a-name-of-many-letters><another-name-of-many-letters x-attribute-of-many-letters=\"1\">2</another-name-of-many-letters></a-name-of-many-letters>",
            ),
        ),
        (
            "long texts",
            soap("", &format!("<a b=\"{0}\">{0}</a>", "word ".repeat(100))),
        ),
    ] {
        assert!(both(&text), "{what}: {text}");
    }
    let text =
        format!("<e:Envelope xmlns:e=\"{SOAP12}\"><e:Header>{id}</e:Header><e:Body/></e:Envelope>");
    let soap12 = "application/soap+xml; charset=UTF-8; action=\"urn:q\"";
    assert!(same(soap12, text.as_bytes(), ATTEMPTS));
    let latin = soap("<s:Header a=\"\u{E9}\"/>", "<a>\u{FC}</a>");
    let latin: Vec<u8> = latin.chars().map(|c| c as u8).collect();
    assert!(same("text/xml; charset=iso-8859-1", &latin, ATTEMPTS));
}

#[test]
fn what_the_writer_would_change_is_left_to_the_tree() {
    let final_to = format!("<w:To xmlns:w=\"{FINAL}\">x</w:To>");
    let other_to = format!("<To xmlns=\"{SUBMISSION}\">x</To>");
    for (what, text) in [
        (
            "addressing headers",
            soap(&format!("<s:Header><b/>{final_to}</s:Header>"), ""),
        ),
        (
            "others of these",
            soap(&format!("<s:Header>{other_to}</s:Header>"), ""),
        ),
        (
            "the prefix at the root",
            format!(
                "<s:Envelope xmlns:s=\"{SOAP11}\" xmlns:wsa=\"{FINAL}\"><s:Body/></s:Envelope>"
            ),
        ),
        (
            "the prefix at the root for something else",
            format!("<wsa:Envelope xmlns:wsa=\"{SOAP11}\"><wsa:Body/></wsa:Envelope>"),
        ),
        (
            "the prefix at the header",
            soap(&format!("<s:Header xmlns:wsa=\"{SUBMISSION}\"/>"), ""),
        ),
        ("single quotes", soap("", "<a b='1'/>")),
        ("single quotes at the header", soap("<s:Header b='1'/>", "")),
        (
            "single quotes at the root",
            format!("<s:Envelope xmlns:s='{SOAP11}'><s:Body/></s:Envelope>"),
        ),
        ("an empty element", soap("", "<a></a>")),
        (
            "an empty element among others",
            soap("", "<a>1</a><b></b><a>1</a><b></b>"),
        ),
        (
            "an empty element with attributes",
            soap("", "<a b=\"1\">1</a><a b=\"2\"></a>"),
        ),
        ("an empty body", soap("", "")),
        (
            "an empty block",
            soap("<s:Header><b></b></s:Header>", "<a/>"),
        ),
        ("a reference", soap("", "<a>&gt;</a>")),
        ("a character reference", soap("", "<a>&#65;</a>")),
        (
            "a line feed in an attribute",
            soap("", "<a b=\"1\"/><a b=\"\n\"/><a b=\"1\t\"/>"),
        ),
        ("a carriage return", soap("", "<a>\r\n</a>")),
        ("white space in tags", soap("", "<a />")),
        ("white space in an end tag", soap("", "<a>1</a >")),
        ("two headers", soap("<s:Header/><s:Header/>", "<a/>")),
        ("a header of no namespace", soap("<Header/>", "<a/>")),
        (
            "elements before the header",
            soap("<a/><s:Header/>", "<a/>"),
        ),
        (
            "a header behind",
            soap("", "<a/></s:Body><s:Header/><s:Body>"),
        ),
        (
            "an element behind the body",
            soap("", "<a/></s:Body><a/><s:Body>"),
        ),
        (
            "versions mixed",
            format!(
                "<s:Envelope xmlns:s=\"{SOAP11}\" xmlns:t=\"{SOAP12}\"><t:Header/><s:Body/></s:Envelope>"
            ),
        ),
        (
            "no body",
            format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Header/></s:Envelope>"),
        ),
        ("nothing", format!("<s:Envelope xmlns:s=\"{SOAP11}\"/>")),
        ("no envelope", "<a>1</a>".to_owned()),
        (
            "an envelope of no namespace",
            "<Envelope><Body/></Envelope>".to_owned(),
        ),
        (
            "an envelope of another namespace",
            "<Envelope xmlns=\"u\"><Body/></Envelope>".to_owned(),
        ),
        (
            "a document type",
            format!("<!DOCTYPE a>{}", soap("", "<a/>")),
        ),
        ("no document", String::new()),
    ] {
        assert!(!both(&text), "{what}: {text}");
    }
    // Envelopes of the other version where the content type says which one it is.
    assert!(!same(
        "application/soap+xml",
        soap("", "<a/>").as_bytes(),
        ATTEMPTS
    ));
}

#[test]
fn asking_for_the_tree_at_any_time_changes_nothing() {
    let text = soap("<s:Header><b/></s:Header>", "<a/>");
    let address = Act::Address(Version::Final);
    let other = Act::Address(Version::Submission);
    for acts in [
        &[Act::Look, address, Act::Write][..],
        &[
            address,
            Act::Look,
            Act::Write,
            Act::Strip,
            other,
            Act::Write,
        ],
        &[
            address,
            Act::Strip,
            Act::Look,
            Act::Write,
            other,
            Act::Write,
        ],
        &[address, Act::Strip, Act::Write, other, Act::Write],
        &[address, Act::Preserve, Act::Strip, other, Act::Write],
        &[
            Act::Preserve,
            address,
            Act::Write,
            Act::Strip,
            other,
            Act::Write,
        ],
    ] {
        assert!(same("text/xml", text.as_bytes(), acts));
        // Nothing is left in the header once the blocks are away.
        let text = soap("<s:Header/>", "<a/>");
        assert!(same("text/xml", text.as_bytes(), acts));
        assert!(same("text/xml", soap("", "<a/>").as_bytes(), acts));
    }
}

#[test]
fn a_character_that_xml_has_not_is_a_fault() {
    let text = soap("", "<a/>");
    let mut messages = [Way::Tree, Way::Outline].map(|way| {
        let (mut message, fault) = read("text/xml", text.as_bytes(), way, &BodyLimits::default());
        assert!(fault.is_none());
        message.set_action(Some("urn:\u{1}".to_owned()));
        message
            .write_addressing(Version::Final, "http://b/", None)
            .unwrap();
        message.write_body().unwrap_err().message
    });
    assert_eq!(messages[0], "the character U+0001 cannot be written as XML");
    messages.sort();
    assert_eq!(messages[0], messages[1]);
}

#[test]
fn an_outline_keeps_the_limits_of_a_tree() {
    let text = soap("", "<a b=\"1\" c=\"2\"><d><e>1</e></d><d/><!--c--></a>");
    let most = xml::Limits::default();
    let nodes = (0..20).map(|n| xml::Limits {
        max_nodes: n,
        ..most.clone()
    });
    let depth = (0..8).map(|n| xml::Limits {
        max_depth: n,
        ..most.clone()
    });
    let attributes = (0..4).map(|n| xml::Limits {
        max_attributes: n,
        ..most.clone()
    });
    let names = (0..20).map(|n| xml::Limits {
        max_name_bytes: n,
        ..most.clone()
    });
    let bytes = (0..2).map(|n| xml::Limits {
        max_bytes: text.len() - n,
        ..most.clone()
    });
    let mut outcomes = [0, 0];
    for xml in nodes
        .chain(depth)
        .chain(attributes)
        .chain(names)
        .chain(bytes)
    {
        let limits = BodyLimits {
            xml,
            ..BodyLimits::default()
        };
        let (_, refused) = read("text/xml", text.as_bytes(), Way::Tree, &limits);
        let (outline, also) = read("text/xml", text.as_bytes(), Way::Outline, &limits);
        assert_eq!(format!("{refused:?}"), format!("{also:?}"), "{limits:?}");
        assert_eq!(has_outline(&outline), refused.is_none(), "{limits:?}");
        outcomes[usize::from(refused.is_none())] += 1;
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 10, "{outcomes:?}");
}

/// Pieces of content, most of them as the writer writes them.
fn content() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "word ",
        "]",
        ">",
        "]]",
        "&amp;",
        "&lt;",
        "&gt;",
        "&#xd;",
        "&#13;",
        "\n",
        "\r\n",
        "\t",
        "<![CDATA[]]>",
        "<![CDATA[x]]]]>",
        "<!--c-->",
        "<!---->",
        "<?i j?>",
        "<?i?>",
        "<?i  j?>",
        "<a/>",
        "<a></a>",
        "<a />",
        "<a>1</a>",
        "<b c=\"1\"/>",
        "<b c=\"1\">2</b>",
        "<b c='1'/>",
        "<b c=\"1\" d=\"2\"/>",
        "<b c=\"\n\"/>",
        "<b c=\"&#xa;\"/>",
        "<b c=\"it's > \"/>",
        "\u{20AC}",
        "<p:a/>",
        "<p:a p:b=\"1\"/>",
        "<a xmlns=\"u\"/>",
        "<p:a xmlns:p=\"v\"/>",
        "<wsa:a xmlns:wsa=\"w\"/>",
        "<y:ClientID xmlns:y=\"http://ws.apache.org/ns/synapse\">7</y:ClientID>",
        "<w:To xmlns:w=\"http://www.w3.org/2005/08/addressing\">1</w:To>",
    ])
    .prop_map(str::to_owned);
    let tags = prop::sample::select(vec![
        ("<a>", "</a>"),
        ("<p:b c=\"1\">", "</p:b>"),
        ("<a xmlns=\"u\">", "</a>"),
        ("<c xmlns:p=\"w\" p:d=\"2\">", "</c>"),
        ("<a-name-of-many-letters>", "</a-name-of-many-letters>"),
    ]);
    leaf.prop_recursive(3, 24, 5, move |inner| {
        (tags.clone(), prop::collection::vec(inner, 1..5))
            .prop_map(|((start, end), inside)| format!("{start}{}{end}", inside.concat()))
    })
}

fn documents() -> impl Strategy<Value = (&'static str, String)> {
    let parts = |most| prop::collection::vec(content(), 0..most).prop_map(|p| p.concat());
    let before = prop::sample::select(vec![
        "",
        "",
        "\u{FEFF}",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        "<?xml version='1.0'?>\n<!--c-->",
        "\n<?p?>",
    ]);
    let header = prop::sample::select(vec![
        ("", ""),
        ("<s:Header>", "</s:Header>"),
        ("<s:Header>", "</s:Header>\n"),
        ("\n<s:Header a=\"1\" xmlns:q=\"u\" b=\"2\">", "</s:Header>"),
        ("<s:Header xmlns=\"u\">", "</s:Header><!--c-->"),
    ]);
    let envelope = prop::sample::select(vec![
        ("text/xml", SOAP11),
        ("text/xml; charset=utf-8", SOAP12),
        ("application/soap+xml; action=\"urn:q\"", SOAP12),
    ]);
    let after = prop::sample::select(vec!["", "", "\n", "<!--c-->"]);
    (before, envelope, header, parts(4), parts(6), after).prop_map(
        |(before, (media, soap), (start, end), blocks, body, after)| {
            let blocks = if start.is_empty() {
                String::new()
            } else {
                blocks
            };
            let text = format!(
                "{before}<s:Envelope xmlns:s=\"{soap}\" xmlns:p=\"u\">{start}{blocks}{end}\
                 <s:Body>{body}</s:Body></s:Envelope>{after}"
            );
            (media, text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_outline_writes_what_the_tree_writes((media, text) in documents()) {
        same(media, text.as_bytes(), ATTEMPTS);
    }

    /// A byte lost, doubled or replaced anywhere: refused by both or by neither.
    #[test]
    fn broken_messages_are_refused_alike(
        (media, text) in documents(),
        at in any::<prop::sample::Index>(),
        what in prop::sample::select(vec![None, Some(b'<'), Some(b'>'), Some(b'&'), Some(b'"'), Some(b'/'), Some(b' '), Some(b':'), Some(0xC3), Some(1), Some(b'a')]),
        cut in any::<bool>(),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match (what, cut) {
            (None, true) => bytes.truncate(at),
            (None, false) => drop(bytes.remove(at)),
            (Some(byte), true) => bytes[at] = byte,
            (Some(byte), false) => bytes.insert(at, byte),
        }
        same(media, &bytes, ATTEMPTS);
    }
}
