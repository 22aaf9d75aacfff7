//! Decoding, and looking at the head of a document.

use super::super::*;
use bytes::Bytes;

#[test]
fn decodes() {
    let utf16 = |text: &str, little: bool, mark: bool| -> Vec<u8> {
        let units = mark
            .then_some(0xFEFF)
            .into_iter()
            .chain(text.encode_utf16());
        units
            .flat_map(|unit| {
                if little {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            })
            .collect()
    };
    let text = "<?xml version='1.0' encoding='UTF-16'?><a>\u{E9}\u{20AC}\u{1F600}</a>";
    let latin: &[u8] = b"<?xml version='1.0' encoding=\"ISO-8859-1\"?><a>\xE9\x80</a>";
    let windows: &[u8] = b"<?xml version='1.0' encoding='windows-1252'?><a>\xE9\x80</a>";
    let bare: &[u8] = b"<a>\xE9</a>";
    // input, charset of the content type, text or nothing for an error
    let cases: &[(&[u8], Option<&str>, Option<&str>)] = &[
        (b"<a/>", None, Some("<a/>")),
        (b"", None, Some("")),
        (b"\xEF\xBB\xBF<a/>", None, Some("<a/>")),
        (b"\xEF\xBB\xBF<a/>", Some("iso-8859-1"), Some("<a/>")),
        ("<a>\u{E9}</a>".as_bytes(), None, Some("<a>\u{E9}</a>")),
        (bare, None, None),
        (bare, Some("utf-8"), None),
        (bare, Some("ISO-8859-1"), Some("<a>\u{E9}</a>")),
        (bare, Some(" \"Latin1\" "), Some("<a>\u{E9}</a>")),
        (bare, Some("us-ascii"), None),
        (b"<a/>", Some("us-ascii"), Some("<a/>")),
        (b"<a/>", Some(""), Some("<a/>")),
        (b"<a/>", Some("klingon"), None),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", None, None),
        (
            latin,
            None,
            Some("<?xml version='1.0' encoding=\"ISO-8859-1\"?><a>\u{E9}\u{80}</a>"),
        ),
        (latin, Some("utf-8"), None),
        (
            windows,
            None,
            Some("<?xml version='1.0' encoding='windows-1252'?><a>\u{E9}\u{20AC}</a>"),
        ),
        (
            b"<?xml version='1.0' encoding='Shift_JIS'?><a>\x93\xFA</a>",
            None,
            Some("<?xml version='1.0' encoding='Shift_JIS'?><a>\u{65E5}</a>"),
        ),
        (
            b"<?xml version='1.0' encoding='Shift_JIS'?><a>\x93</a>",
            None,
            None,
        ),
        // The mark wins over the content type, the content type over the declaration.
        (bare, Some("windows-1252"), Some("<a>\u{E9}</a>")),
        (
            latin,
            Some("windows-1252"),
            Some("<?xml version='1.0' encoding=\"ISO-8859-1\"?><a>\u{E9}\u{20AC}</a>"),
        ),
        (
            windows,
            Some("iso-8859-1"),
            Some("<?xml version='1.0' encoding='windows-1252'?><a>\u{E9}\u{80}</a>"),
        ),
        (
            b"\xEF\xBB\xBF<?xml version='1.0' encoding='ISO-8859-1'?><a>\xC3\xA9</a>",
            Some("windows-1252"),
            Some("<?xml version='1.0' encoding='ISO-8859-1'?><a>\u{E9}</a>"),
        ),
        (b"\xFE\xFF\0<\0a\0/\0>", Some("utf-16le"), Some("<a/>")),
        (b"<\0a\0/\0>\0", Some("utf-16le"), Some("<a/>")),
        (b"\0<\0a\0/\0>", Some("utf-16be"), Some("<a/>")),
        (b"<\0a\0/\0>", None, None),
        (b"<?xml version='1.0' encoding='utf-32'?><a/>", None, None),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", None, None),
        (
            b"<?xml version='1.0' encoding='UTF-16'?><a/>",
            None,
            Some("<?xml version='1.0' encoding='UTF-16'?><a/>"),
        ),
        (&utf16(text, true, true), None, Some(text)),
        (&utf16(text, false, true), None, Some(text)),
        (&utf16(text, true, false), None, Some(text)),
        (&utf16(text, false, false), None, Some(text)),
        (&utf16(text, true, false), Some("utf-16"), Some(text)),
        (&utf16(text, false, false), Some("UTF-16"), Some(text)),
        (&utf16(text, true, true), Some("utf-8"), Some(text)),
        (b"\xFF\xFE<\0a\0\xD8", None, None),
        (b"\xFF\xFE<\0\0\xD8a\0", None, None),
        (b"\xFF\xFE\0\0<\0\0\0", None, None),
    ];
    for (index, (input, charset, expected)) in cases.iter().enumerate() {
        let decoded = decode(Bytes::copy_from_slice(input), *charset);
        match (decoded, expected) {
            (Ok(decoded), Some(expected)) => {
                assert_eq!(std::str::from_utf8(&decoded).unwrap(), *expected)
            }
            (Err(error), None) => assert_eq!(error.problem, Problem::Encoding),
            (other, _) => panic!("row {index}: {other:?}"),
        }
    }
    let input = Bytes::from_static(b"\xEF\xBB\xBF<a/>");
    assert_eq!(
        decode(input.clone(), None).unwrap().as_ptr(),
        input[3..].as_ptr()
    );
    let error = decode(Bytes::from_static(b"\xEF\xBB\xBF<a>\n\xFF"), None).unwrap_err();
    assert_eq!((error.offset, error.line), (7, 2));
}

#[test]
fn peeks_at_the_root() {
    let found = |namespace: &str, local: &str| RootName::Found {
        namespace: namespace.into(),
        local: local.into(),
    };
    for (text, expected) in [
        (
            "<?xml version='1.0'?><!--a--><?b?>\n<a ",
            RootName::Incomplete,
        ),
        ("<?xml version='1.0'?><!--a--><?b?>\n<a>", found("", "a")),
        ("<p:a xmlns:p='&amp;u'/>", found("&u", "a")),
        ("<a xmlns='u'>\u{1}", found("u", "a")),
        ("<p:a>", RootName::Malformed),
        ("x<a>", RootName::Malformed),
        ("", RootName::Incomplete),
    ] {
        assert_eq!(root_name(text.as_bytes()), expected, "{text}");
    }
}

/// Writes down what it is told, and checks that the marks of names are its own.
#[derive(Default)]
struct Told(String);

impl Told {
    fn fresh(element: &Opened<'_>) -> u64 {
        let name = format!("{}|{}", element.namespace(), element.local());
        name.bytes()
            .fold(7, |hash, byte| hash * 31 % 1_000_003 + u64::from(byte))
    }
}

impl Visit for Told {
    fn mark(&self, element: &Opened<'_>) -> u64 {
        Told::fresh(element)
    }
    fn open(&mut self, element: &Opened<'_>, mark: u64) -> Result<bool, Unreadable> {
        assert_eq!(mark, Told::fresh(element));
        let attribute = element.attribute("u", "c").unwrap_or_default();
        self.0 += &format!("<{}|{} {attribute}>", element.namespace(), element.local());
        Ok(false)
    }
    fn close(&mut self) -> Result<bool, Unreadable> {
        self.0 += "/";
        Ok(false)
    }
    fn text(&mut self, text: Text<'_>) -> Result<bool, Unreadable> {
        self.0 += &text.value();
        Ok(false)
    }
}

/// What one scan learned about names must not be believed of the next one where it is not true.
#[test]
fn scans_of_one_thread_have_nothing_to_do_with_each_other() {
    let scan = |text: &str| {
        let mut told = Told::default();
        let mut scanner = Scanner::new(&Limits::default(), true);
        // The first part ends somewhere, perhaps within a name.
        let first = text
            .as_bytes()
            .get(..text.len() * 2 / 3)
            .unwrap_or_default();
        let outcome = match scanner.run(first, false, &mut told) {
            Ok(Scan::Incomplete) => scanner.run(text.as_bytes(), true, &mut told),
            other => other,
        };
        (outcome.is_ok(), told.0)
    };
    let texts = [
        "<p:a xmlns:p='u'><p:b p:c='1'/>t</p:a>",
        "<p:a xmlns:p='v'><p:b p:c='1'/>t</p:a>",
        "<a><b c='1'/>t</a>",
        "<a xmlns='u'><b c='1'/><b c='2'>t</b></a>",
        "<p:a><p:b/></p:a>",
        "<p:new xmlns:p='u'><p:other</p:new>",
        "<p:other xmlns:p='u' d='1'/>",
        "<a><p:b xmlns:p='u'><q:b xmlns:q='u' p:c='1' q:d='2'/></p:b><p:b xmlns:p='v'>t</p:b></a>",
        "<a><b c='1' d='1' c='1'/></a>",
        "<a:a xmlns:a='u'><a:b xmlns:a='v'/><a:b/></a:a>",
        "<a><b>t</b><b>t</b><p:b/></a>",
    ];
    let crowd = |from: usize| {
        let inner: String = (from..from + 400)
            .map(|n| format!("<n{n} m{n}='1'/>"))
            .collect();
        format!("<r xmlns='crowd'>{inner}</r>")
    };
    let alone = |text: &str| {
        let text = text.to_owned();
        std::thread::spawn(move || scan(&text)).join().unwrap()
    };
    let expected: Vec<_> = texts.iter().map(|text| alone(text)).collect();
    for step in [1, 3, 5, 7, 9] {
        for round in 0..4 * texts.len() {
            let index = round * step % texts.len();
            // Another scan of the thread may not have ended.
            let mut open = Scanner::new(&Limits::default(), true);
            let _ = open.run(b"<p:a xmlns:p='w'><p:b/><b/>", false, &mut Told::default());
            assert_eq!(scan(texts[index]), expected[index], "{}", texts[index]);
            if round % 7 == 0 {
                assert_eq!(scan(&crowd(round)), alone(&crowd(round)));
            }
        }
    }
    let strict = Limits {
        max_name_bytes: 3,
        ..Limits::default()
    };
    for (limits, fits) in [
        (Limits::default(), true),
        (strict, false),
        (Limits::default(), true),
    ] {
        let outcome = Scanner::new(&limits, true).run(b"<abcdef/>", true, &mut Told::default());
        assert_eq!(outcome.is_ok(), fits);
    }
}
