use super::*;
use crate::expr::{Namespaces, Need};
use crate::message::stream::{BodyStream, StreamError};
use crate::message::{Body, ClientFormat, PayloadKind};
use crate::settings::Settings;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body::Frame;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Frames that are there at once; without `ends` the rest never comes.
struct Pieces {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match (self.frames.pop_front(), self.ends) {
            (Some(frame), _) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

fn message(media: &str, body: Body) -> Message {
    let header =
        |name: &str, value: &str| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
    let headers = [
        header("content-type", media),
        header("accept", "application/json"),
    ];
    let headers: HeaderMap = headers.into_iter().collect();
    let mut message = Message::request(Method::POST, Uri::from_static("/s"), headers, body);
    message.properties.set("n", "1");
    message
}

fn pieces(text: &str, size: usize, ends: bool) -> Body {
    let frames = text.as_bytes().chunks(size.max(1));
    let frames = frames.map(Bytes::copy_from_slice).collect();
    Body::Stream(BodyStream::boxed(Pieces { frames, ends }, None))
}

fn whole(text: &str) -> Body {
    Body::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn expr(text: &str) -> Expr {
    let bind = |p: &str, u: &str| (p.to_owned(), u.to_owned());
    let namespaces = Namespaces(vec![bind("p", "u"), bind("s", SOAP11), bind("t", SOAP12)]);
    Expr::compile(text, &namespaces).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(20), future)
                .await
                .expect("the look waits for bytes that it does not need")
        })
}

struct World {
    exchange: Exchange,
    entries: LocalEntries,
    clock: Clock,
    settings: Settings,
}

impl World {
    fn new() -> World {
        let address = "127.0.0.1:1".parse().unwrap();
        World {
            exchange: Exchange::new(address, address, false, ClientFormat::Soap11),
            entries: LocalEntries::new(),
            clock: Clock::default(),
            settings: Settings::default(),
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            exchange: &self.exchange,
            entries: &self.entries,
            clock: &self.clock,
            settings: &self.settings,
        }
    }

    /// What a look says, and the message after it.
    fn look(&self, expr: &Expr, wanted: Wanted, mut message: Message) -> (Option<Answer>, Message) {
        let limits = BodyLimits::default();
        let answer = run(expr.look(
            wanted,
            Effects::AsBuilt,
            self.around(),
            &mut message,
            &limits,
        ));
        (answer.expect("the body can be received"), message)
    }

    /// What the tree says.
    fn tree(&self, expr: &Expr, wanted: Wanted, mut message: Message) -> Option<(Answer, Message)> {
        run(message.build(&BodyLimits::default())).ok()?;
        let around = self.around();
        let scope = around.scope(&message);
        let answer = match wanted {
            Wanted::Boolean => expr.boolean(&scope).map(Answer::Boolean),
            Wanted::Text => expr.string(&scope).map(Answer::Text),
        };
        let answer = answer.unwrap_or_else(|fault| Answer::Error(fault.detail.unwrap_or_default()));
        Some((answer, message))
    }
}

fn soap(header: &str, body: &str) -> String {
    format!(
        "<?xml version='1.0'?>\n<s:Envelope xmlns:s='{SOAP11}' xmlns:p='u'>{header}\
         <s:Body>{body}</s:Body></s:Envelope>\n"
    )
}

#[test]
fn needs() {
    let rows = [
        ("//p:a = 'IBM'", Need::Look, Need::Look),
        ("'IBM' != //p:a/b", Need::Look, Need::Look),
        ("//p:a/text()", Need::Look, Need::Look),
        ("$body/a/b", Need::Look, Need::Look),
        ("$header/p:id", Need::Look, Need::Look),
        ("/s:Envelope/s:Body/*[1]/@id", Need::Look, Need::Look),
        ("(//a)[1] = 'x'", Need::Look, Need::Look),
        ("boolean(//a/b) and not(//c)", Need::Look, Need::Look),
        ("count(//a) > 0", Need::Look, Need::Look),
        ("concat($ctx:n, //a)", Need::Look, Need::Look),
        ("contains(//a, 'x') or $ctx:n = '2'", Need::Look, Need::Look),
        ("//a = get-property('n')", Need::Look, Need::Look),
        ("$ctx:n = '2'", Need::Nothing, Need::Nothing),
        // `[last()]`, other axes and other predicates see more than what has been read.
        ("//a[last()]", Need::Tree, Need::Tree),
        ("//a[b]", Need::Tree, Need::Tree),
        ("//a[2]", Need::Tree, Need::Tree),
        ("//a/..", Need::Tree, Need::Tree),
        ("//a = //b", Need::Tree, Need::Tree),
        ("//a | //b", Need::Tree, Need::Tree),
        ("name(//a)", Need::Tree, Need::Tree),
        ("sum(//a)", Need::Tree, Need::Tree),
        ("$body", Need::Tree, Need::Tree),
        ("//a/node()", Need::Tree, Need::Tree),
        ("//q:a", Need::Tree, Need::Tree),
        // The message knows these only once the body is built.
        (
            "//a = get-property('MESSAGE_FORMAT')",
            Need::Tree,
            Need::Tree,
        ),
        ("get-property('FAULT')", Need::Tree, Need::Tree),
        ("json-eval($.a)", Need::Tree, Need::Tree),
    ];
    for (text, boolean, string) in rows {
        let expr = expr(text);
        let needs = (expr.need(Wanted::Boolean), expr.need(Wanted::Text));
        assert_eq!(needs, (boolean, string), "{text}");
    }
}

#[test]
fn answers_come_as_early_as_they_can() {
    let world = World::new();
    let start = soap(
        "<s:Header><p:id> 7 </p:id><p:id>8</p:id></s:Header>",
        "<p:o n='5'><p:a>IBM</p:a><p:a>SUN</p:a><p:b/>",
    );
    let (start, _) = start.split_once("</s:Body>").unwrap();
    let yes = Some(Answer::Boolean(true));
    let no = Some(Answer::Boolean(false));
    let text = |text: &str| Some(Answer::Text(Some(text.to_owned())));
    let rows = [
        ("//p:a = 'IBM'", Wanted::Boolean, yes.clone()),
        ("//p:a = 'SUN'", Wanted::Boolean, yes.clone()),
        ("//p:a != 'IBM'", Wanted::Boolean, yes.clone()),
        ("$body/p:o/p:b", Wanted::Boolean, yes.clone()),
        ("not(//p:b)", Wanted::Boolean, no.clone()),
        ("//@n > 4", Wanted::Boolean, yes.clone()),
        ("count(//p:b) = 0", Wanted::Boolean, no.clone()),
        ("count(//p:b) >= 1", Wanted::Text, text("true")),
        ("//x = '1' or //p:a = 'IBM'", Wanted::Boolean, yes.clone()),
        ("//p:a = 'IBM' and //p:b", Wanted::Boolean, yes.clone()),
        ("$ctx:n = '2' and //x", Wanted::Boolean, no.clone()),
        ("$header/x", Wanted::Boolean, no.clone()),
        ("$header/p:id = '8'", Wanted::Boolean, yes.clone()),
        ("string(//p:a)", Wanted::Text, text("IBM")),
        ("(//p:a)[1]", Wanted::Text, text("IBM")),
        ("(//p:a)[1] = 'SUN'", Wanted::Boolean, no.clone()),
        ("concat(//p:a, '-', $ctx:n)", Wanted::Text, text("IBM-1")),
        ("normalize-space(//p:id)", Wanted::Text, text("7")),
        ("number(//p:id) + 1", Wanted::Text, text("8.0")),
        ("count($header/p:id)", Wanted::Text, text("2.0")),
        ("(//p:o/@n)[1]", Wanted::Text, text("5")),
    ];
    for (expression, wanted, want) in rows {
        for size in [1, 7, 1000] {
            // The rest of the document does not come before the answer.
            let message = message("text/xml", pieces(start, size, false));
            let (answer, message) = world.look(&expr(expression), wanted, message);
            assert_eq!(answer, want, "{expression}");
            assert_eq!(message.looked, Some(PayloadKind::Soap));
            assert!(matches!(message.body, Body::Stream(_)), "{expression}");
        }
    }
}

#[test]
fn what_has_effects_is_left_to_the_tree() {
    let world = World::new();
    let wsa = format!("<s:Header><w:To xmlns:w='{FINAL}'>x</w:To></s:Header>");
    let plain = "<o><a>1</a></o>";
    let rows = [
        ("text/xml", soap(&wsa, "<a>1</a>")),
        (
            "text/xml",
            soap("<s:Header><a>1</a></s:Header>", "<s:Fault/>"),
        ),
        (
            "text/xml",
            "<s:Envelope xmlns:s='u'><a>1</b></s:Envelope>".to_owned(),
        ),
        ("text/xml", format!("<!DOCTYPE o>{plain}")),
        (
            "text/xml",
            format!("<?xml version='1.0' encoding='iso-8859-1'?>{plain}"),
        ),
        ("text/xml; charset=utf-16", plain.to_owned()),
        ("application/soap+xml", soap("", "<a>1</a>")),
        ("application/soap+xml", plain.to_owned()),
        ("application/json", "{\"a\":1}".to_owned()),
        (
            "text/xml",
            format!("<s:Envelope xmlns:s='{SOAP11}'><a>1</a></s:Envelope>"),
        ),
        ("text/xml", String::new()),
        (
            "text/xml",
            format!(
                "<o {}><a>1</a></o>",
                (0..20).map(|n| format!("a{n}='' ")).collect::<String>()
            ),
        ),
    ];
    for (media, text) in rows {
        let message = message(media, whole(&text));
        let (answer, message) = world.look(&expr("//a = '1'"), Wanted::Boolean, message);
        assert_eq!((answer, message.looked), (None, None), "{text}");
    }
    let mut packed = message("text/xml", whole(plain));
    packed
        .headers
        .insert("content-encoding", HeaderValue::from_static("gzip"));
    let (answer, _) = world.look(&expr("//a = '1'"), Wanted::Boolean, packed);
    assert_eq!(answer, None);
    // Limits hold: this is deeper than a tree may be.
    let deep = format!("{}<a>1</a>", "<b>".repeat(600));
    let (answer, _) = world.look(
        &expr("//a"),
        Wanted::Boolean,
        message("text/xml", whole(&deep)),
    );
    assert_eq!(answer, None);
}

#[test]
fn many_small_pieces_cost_no_more_than_their_bytes() {
    let world = World::new();
    // Reading everything again for every byte would take minutes.
    let text = format!("<o>{}<a/></o>", "x".repeat(300_000));
    let message = message("text/xml", pieces(&text, 1, true));
    let (answer, _) = world.look(&expr("//a"), Wanted::Boolean, message);
    assert_eq!(answer, Some(Answer::Boolean(true)));
}

#[test]
fn the_body_goes_on_as_it_came() {
    let world = World::new();
    let text = soap("", &format!("<a>1</a>{}", "<b>filling</b>".repeat(5000)));
    for size in [1, 100, 4096, 1 << 20] {
        let message = message("text/xml", pieces(&text, size, true));
        let (answer, mut message) = world.look(&expr("//a = '1'"), Wanted::Boolean, message);
        assert_eq!(answer, Some(Answer::Boolean(true)));
        let (again, after) = world.look(&expr("//b = 'filling'"), Wanted::Boolean, message);
        assert_eq!(again, Some(Answer::Boolean(true)));
        message = after;
        run(message.body.collect(1 << 20)).unwrap();
        assert_eq!(message.body.bytes().unwrap(), text.as_bytes(), "{size}");
    }
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let world = World::new();
    let limits = BodyLimits {
        max_bytes: 1000,
        ..BodyLimits::default()
    };
    let text = format!("<a>{}</a>", "<b/>".repeat(1000));
    let mut message = message("text/xml", pieces(&text, 100, true));
    let outcome = run(expr("//c").look(
        Wanted::Boolean,
        Effects::AsBuilt,
        world.around(),
        &mut message,
        &limits,
    ));
    assert_eq!(outcome.unwrap_err().status, Some(413));
    assert!(message.is_built());
}

/// Content of any kind, well-formed, with prefixes bound in different ways.
fn content() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2",
        "IBM",
        " x\r\n ",
        "<![CDATA[1]]>",
        "<!--c-->",
        "<?i j?>",
        "&#49;",
        "&lt;B",
        "<a/>",
        "<p:a>1</p:a>",
        "<a>IBM</a>",
        "<b id='1'/>",
        "<b p:id=\"2\" id='&#49;'>2</b>",
        "\u{A0}",
        "\u{20AC}",
        "<p:b>1<p:b>2</p:b></p:b>",
        "<a xmlns='u'>1</a>",
        "<p:a xmlns:p='v'>1</p:a>",
        "<q:a xmlns:q='u'>1</q:a>",
        "<a>1<!--c-->2</a>",
        "<a>1<![CDATA[2]]></a>",
    ])
    .prop_map(str::to_owned);
    let tags = prop::sample::select(vec![
        ("<a>", "</a>"),
        ("<p:a id='1'>", "</p:a>"),
        ("<b>", "</b >"),
        ("<p:b xmlns=\"u\">", "</p:b>"),
        ("<c xmlns:p='w' p:id='2'>", "</c>"),
        ("<a xmlns='u' >", "</a>"),
    ]);
    leaf.prop_recursive(4, 40, 5, move |inner| {
        (tags.clone(), prop::collection::vec(inner, 0..5))
            .prop_map(|((start, end), inside)| format!("{start}{}{end}", inside.concat()))
    })
}

fn documents() -> impl Strategy<Value = (&'static str, String)> {
    let parts = || prop::collection::vec(content(), 0..4);
    let form = prop::sample::select(vec![
        ("text/xml", 0),
        ("text/xml", 1),
        ("text/xml", 2),
        ("text/xml", 3),
        ("application/soap+xml", 1),
        ("application/xml", 0),
        ("application/xml", 2),
        ("text/xml; charset=utf-8", 4),
        ("text/xml", 5),
        ("application/x-own", 2),
    ]);
    (form, parts(), parts()).prop_map(|((media, form), header, body)| {
        let (header, body) = (header.concat(), body.concat());
        let text = match form {
            0 => soap(&format!("<s:Header>{header}</s:Header>"), &body),
            1 => format!(
                "<Envelope xmlns='{SOAP12}' xmlns:p='u'> <!--c-->{header}<Header xmlns:q='u'>{header}</Header>\
                 <Body><r xmlns=''>{body}</r></Body>{header}</Envelope>"
            ),
            2 => format!("\u{FEFF}<?xml version=\"1.0\" encoding='UTF-8'?><p:a xmlns:p='u'>{body}</p:a><!--c-->\n"),
            3 => soap("", &format!("{body}</s:Body><s:Header><a>1</a></s:Header><s:Body><a>2</a>")),
            4 => format!("<a xmlns='u' xmlns:p='u' id='1'>{header}<b>{body}</b></a>"),
            _ => soap(
                &format!("<s:Header><p:a xmlns:p='{FINAL}'>{header}</p:a></s:Header>"),
                &format!("<s:Fault>{body}</s:Fault>"),
            ),
        };
        (media, text)
    })
}

fn paths() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec![
        "//",
        "//",
        "//",
        "/",
        "",
        ".//",
        "$body/",
        "$body//",
        "$header/",
        "$header//",
        "$env/",
        "$env//",
        "/*/",
        "/s:Envelope/s:Body/",
        "//s:Body/",
        "descendant::p:a/",
    ]);
    let step = prop::sample::select(vec![
        "a",
        "p:a",
        "b",
        "p:b",
        "*",
        "p:*",
        "a[1]",
        "*[1]",
        "p:b[1]",
        "s:Body",
        "t:Body",
        ".",
        "descendant::b",
    ]);
    let link = prop::sample::select(vec!["/", "/", "//"]);
    let last = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        "/text()",
        "//text()",
        "/text()[1]",
        "/@id",
        "//@id",
        "/@p:id",
        "/.",
    ]);
    let more = prop::collection::vec((link, step.clone()), 0..3);
    (start, step, more, last).prop_map(|(start, step, more, last)| {
        let more: String = more
            .into_iter()
            .map(|(link, step)| format!("{link}{step}"))
            .collect();
        format!("{start}{step}{more}{last}")
    })
}

fn expressions() -> impl Strategy<Value = String> {
    let shape = prop::sample::select(vec![
        "P",
        "P",
        "P",
        "(P)[1]",
        "string(P)",
        "P = '1'",
        "P = 'IBM'",
        "P != '1'",
        "'2' = P",
        "P = 1",
        "P != 2",
        "P < 2",
        "2 <= P",
        "P > '1'",
        "P = $ctx:n",
        "P = $ctx:none",
        "P = true()",
        "false() != P",
        "P < $ctx:none",
        "boolean(P)",
        "not(P)",
        "count(P)",
        "count(P) > 0",
        "count(P) = 0",
        "count(P) != 0",
        "1 <= count(P)",
        "count(P) = 2",
        "number(P)",
        "P + 1",
        "-P",
        "P = '1' or Q = '2'",
        "P and Q",
        "P and not(Q = '1')",
        "not(P) or $ctx:n = 1",
        "concat(P, '-', Q)",
        "contains(P, '1')",
        "starts-with(Q, P)",
        "normalize-space(P) = '1'",
        "string-length(P)",
        "string(P) = string(Q)",
        "(P)[1] = '1'",
        "(P)[1] > 1",
        "P or contains(Q, '1', '2')",
        "substring-before(P, Q) = ''",
        "round(P) > Q",
        "P = (1 div 0)",
        "boolean(P) = true()",
        "P = $nope:x or Q",
    ]);
    (shape, paths(), paths()).prop_map(|(shape, p, q)| {
        let mut out = String::new();
        for c in shape.chars() {
            match c {
                'P' => out.push_str(&p),
                'Q' => out.push_str(&q),
                c => out.push(c),
            }
        }
        out
    })
}

/// Messages as they mostly are: rows of the same few shapes, one after the other.
fn rows() -> impl Strategy<Value = String> {
    let row = prop::sample::select(vec![
        "<p:a id=\"1\" p:id=\"2\"><a>IBM</a><p:b>1</p:b><b>long text, longer than a few words, in fact</b></p:a>",
        "<p:a id=\"1\" p:id=\"2\"><a>SUN</a><p:b>2</p:b><b/></p:a>",
        "<p:a id=\"2\" p:id=\"a longer value than the one before\">\n  <p:b>1</p:b>\n</p:a>",
        "<p:a id=\"1\" p:id=\"2\"/>",
        "<p:a id=\"1\">2</p:a>",
        "<p:a p:id=\"2\" id=\"1\" b=\"\"><b>1</b></p:a>",
        "<p:a id=\"1\" p:id='2'><a>&#49;</a></p:a>",
        "<p:a id=\"&lt;\" p:id=\"&#50;\"><b>2</b></p:a>",
        "<p:a xmlns:p=\"v\" id=\"1\" p:id=\"2\"><p:b>1</p:b></p:a>",
        "<a xmlns=\"u\"><a>IBM</a><b>2</b></a>",
        "<a xmlns=\"u\" xmlns:p=\"w\"><a p:id=\"1\">IBM</a></a>",
        "<a><p:b>1</p:b><p:b>IBM<!--c--></p:b></a>",
        "<a><a>1</a><a>2</a><b >IBM</b ></a>",
        "<b>1</b>\n",
        "<b><b><b>2</b></b></b>",
        "text",
        "<![CDATA[<b>1</b>]]>",
    ]);
    (
        prop::collection::vec(row.clone(), 1..4),
        prop::collection::vec(row, 1..8),
        1usize..5,
    )
        .prop_map(|(before, again, times)| {
            let rows = format!("{}{}", before.concat(), again.concat().repeat(times));
            soap(
                "<s:Header/>",
                &format!("<p:r xmlns:p=\"u\" xmlns:q=\"u\">{rows}</p:r>"),
            )
        })
}

/// Names share the few numbers that they are remembered by.
#[test]
fn a_start_tag_in_pieces_is_no_other_element() {
    let world = World::new();
    let text = format!(
        "\n<s:Envelope xmlns:s='{SOAP11}' xmlns:p='u'><s:Body><a><p:a id='1'/></a></s:Body></s:Envelope>"
    );
    let names = (0..300).map(|n| format!("p:n{n}"));
    for name in names.chain(["p:a".to_owned()]) {
        let text = text.replace("p:a", &name);
        let expr = expr(&format!("//{name}"));
        for size in [2, 3, 5, 7, 11] {
            let body = pieces(&text, size, true);
            let (answer, _) = world.look(&expr, Wanted::Boolean, message("text/xml", body));
            assert_eq!(answer, Some(Answer::Boolean(true)), "{name} {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_look_says_what_the_tree_says(
        (media, text) in documents(),
        expressions in prop::collection::vec(expressions(), 1..6),
        size in 1usize..400,
    ) {
        let world = World::new();
        for expression in expressions {
            let expr = expr(&expression);
            for wanted in [Wanted::Boolean, Wanted::Text] {
                let (answer, looked) = world.look(&expr, wanted, message(media, pieces(&text, size, true)));
                let Some((want, built)) = world.tree(&expr, wanted, message(media, whole(&text))) else {
                    prop_assert_eq!(answer, None, "{} on {}", expression, text);
                    continue;
                };
                if let Some(answer) = answer {
                    match (&answer, &want) {
                        (Answer::Error(a), Answer::Error(b)) => prop_assert!(b.ends_with(a.as_str()), "{} {}", a, b),
                        _ => prop_assert_eq!(&answer, &want, "{:?} {} on {}", wanted, expression, text),
                    }
                    let effects = |m: &Message| {
                        let action = m.action().map(|a| a.into_owned());
                        (m.rest, m.version, m.to.clone(), action, m.message_type.clone(), m.client_soap)
                    };
                    prop_assert_eq!(effects(&looked), effects(&built));
                } else if wanted == Wanted::Boolean && expr.need(wanted) == Need::Look {
                    // Only what has effects may need the tree.
                    let effects = text.contains(FINAL) || text.contains("Fault");
                    prop_assert!(effects || expression.contains("$nope"), "{} on {}", expression, text);
                }
                let mut body = looked.body;
                run(body.collect(1 << 20)).unwrap();
                prop_assert_eq!(body.bytes().unwrap(), text.as_bytes());
            }
        }
    }

    #[test]
    fn broken_documents_are_never_read_to_the_end(
        (media, text) in documents(),
        path in paths(),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec!["", "<", "&", "</a>", "<z:a/>", "\u{1}", "]]>", "<a b='1' b='2'/>", "<a p:id='' q:id='' xmlns:q='u'/>", "<!DOCTYPE a>"]),
    ) {
        let at = at.index(text.len());
        let Some((before, after)) = text.split_at_checked(at) else { return Ok(()) };
        let after = if with.is_empty() { "" } else { after };
        let broken = format!("{before}{with}{after}");
        let world = World::new();
        // Whether there is such an element is only certain at the end.
        let expr = expr(&format!("count({path}) = 77"));
        let (answer, _) = world.look(&expr, Wanted::Boolean, message(media, whole(&broken)));
        if world.tree(&expr, Wanted::Boolean, message(media, whole(&broken))).is_none() {
            // What is neither in the header nor in the body need not be read for these.
            prop_assert!(answer.is_none() || path.starts_with(['$']), "{} on {}", path, broken);
        }
    }

    #[test]
    fn rows_are_read_as_the_tree_reads_them(
        text in rows(),
        expressions in prop::collection::vec(expressions(), 1..6),
        size in 1usize..2000,
    ) {
        let world = World::new();
        for expression in expressions {
            let expr = expr(&expression);
            for wanted in [Wanted::Boolean, Wanted::Text] {
                let (answer, _) = world.look(&expr, wanted, message("text/xml", pieces(&text, size, true)));
                let Some((want, _)) = world.tree(&expr, wanted, message("text/xml", whole(&text))) else {
                    return Err(TestCaseError::fail(format!("{text} is no document")));
                };
                match (&answer, &want) {
                    (None, _) => {}
                    (Some(Answer::Error(a)), Answer::Error(b)) => prop_assert!(b.ends_with(a.as_str()), "{} {}", a, b),
                    (Some(answer), _) => prop_assert_eq!(answer, &want, "{:?} {} on {}", wanted, expression, text),
                }
            }
        }
    }

    #[test]
    fn rows_that_are_broken_are_not_read_to_the_end(
        text in rows(),
        path in paths(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(b"<>/=\"'& :abpq1!?-]\n\t\x01\xC3".to_vec()), 0u8..3),
            1..3,
        ),
    ) {
        let mut bytes = text.into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let world = World::new();
        let body = || Body::Bytes(Bytes::from(bytes.clone()));
        let expr = expr(&format!("count({path}) = 77"));
        let (answer, _) = world.look(&expr, Wanted::Boolean, message("text/xml", body()));
        let tree = world.tree(&expr, Wanted::Boolean, message("text/xml", body()));
        let text = String::from_utf8_lossy(&bytes);
        match (answer, tree) {
            (None, _) => {}
            // What is neither in the header nor in the body need not be read for these.
            (Some(_), None) => prop_assert!(path.starts_with('$'), "{} on {}", path, text),
            (Some(answer), Some((want, _))) => prop_assert_eq!(answer, want, "{} on {}", path, text),
        }
    }
}
