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
