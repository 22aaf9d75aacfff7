use super::*;
use crate::message::charset::Charset;
use crate::xml::Document;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes())
}

#[test]
fn parts_have_their_headers_and_exact_bytes() {
    let raw = bytes(
        "preamble\n--xyz\nContent-Disposition: form-data; name=\"a\"\n\none\n--xyz  \nContent-Disposition:\n form-data; name=\"b;c\"; filename=\"C:\\x \\\"q\\\".txt\"\n\n--xyzz\n\n--xyz\n\n--xyz--\nepilogue",
    );
    let parts = parse(&raw, "multipart/form-data; boundary=xyz", Limits::default()).unwrap();
    let shown: Vec<_> = parts
        .iter()
        .map(|p| {
            (
                p.disposition("name"),
                p.disposition("filename"),
                p.body.to_vec(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (Some("a".to_owned()), None, b"one".to_vec()),
            (
                Some("b;c".to_owned()),
                Some("C:\\x \"q\".txt".to_owned()),
                b"--xyzz\r\n".to_vec()
            ),
            (None, None, b"".to_vec()),
        ]
    );
    // Bare line feeds are understood too.
    let raw = Bytes::from_static(b"--b\nA: 1\n\nx\n--b--");
    let parts = parse(&raw, "multipart/related; boundary=\"b\"", Limits::default()).unwrap();
    assert_eq!(parts[0].header("a"), Some("1"));
    assert_eq!(parts[0].body, "x");
}

/// Headers of parts may hold any bytes, names of files above all: they go on as they came.
#[test]
fn bytes_of_headers_are_kept() {
    let head = b"Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n filename=\"M\xFCll\\\"er.pdf\"\r\nX-Note:\xE9\r\n\r\n";
    let raw = [b"--b\r\n".as_slice(), head, b"body\r\n--b--"].concat();
    let parts = parse(
        &raw.into(),
        "multipart/related; boundary=b",
        Limits::default(),
    )
    .unwrap();
    let mut out = Vec::new();
    parts[0].write(&mut out);
    assert_eq!(out, [head.as_slice(), b"body"].concat());
    assert_eq!(
        parts[0].disposition_bytes("filename").as_deref(),
        Some(b"M\xFCll\"er.pdf".as_slice())
    );
    assert_eq!(
        parts[0].disposition("filename").as_deref(),
        Some("M\u{FFFD}ll\"er.pdf")
    );
    // A part that is all headers stays one that is closed.
    let raw = Bytes::from_static(b"--b\r\nA: 1\r\n--b--");
    let parts = parse(&raw, "multipart/related; boundary=b", Limits::default()).unwrap();
    let mut out = Vec::new();
    parts[0].write(&mut out);
    assert_eq!(out, b"A: 1\r\n\r\n");
}

#[test]
fn a_file_of_a_form_keeps_the_bytes_of_its_name() {
    let raw = b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\xFC.txt\"\r\nContent-Type: text/x; n=\xE9\r\n\r\nx\r\n--b--".to_vec();
    let parts = parse(
        &raw.into(),
        "multipart/form-data; boundary=b",
        Limits::default(),
    )
    .unwrap();
    let mut document = Document::new();
    let top = document.document_node();
    append_form(&mut document, top, &parts, Charset::UTF_8).unwrap();
    let root = document.root_element().unwrap();
    let mut out = Vec::new();
    write_form(&document, root, &parts, "n", Charset::UTF_8, &mut out).unwrap();
    let expected = b"--n\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\xFC.txt\"\r\nContent-Type: text/x; n=\xE9\r\n\r\nx\r\n--n--\r\n";
    assert_eq!(out, expected);
}

#[test]
fn broken_and_oversized_bodies_are_faults() {
    let small = Limits {
        max_parts: 2,
        max_header_bytes: 20,
    };
    for (content_type, body) in [
        ("multipart/form-data", "--b\n\nx\n--b--"),
        ("multipart/form-data; boundary=b", ""),
        ("multipart/form-data; boundary=b", "no boundary"),
        ("multipart/form-data; boundary=b", "--b\n\nnever closed"),
        (
            "multipart/form-data; boundary=b",
            "--b\nno header\n\nx\n--b--",
        ),
        (
            "multipart/form-data; boundary=b",
            "--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--",
        ),
        (
            "multipart/form-data; boundary=b",
            "--b\nX-Long: 0123456789012345678901234567890123456789\n\nx\n--b--",
        ),
    ] {
        let fault = parse(&bytes(body), content_type, small).unwrap_err();
        assert_eq!(fault.code, 0, "{body}");
    }
}

#[test]
fn transfer_encodings_are_undone() {
    let part = |encoding: &str, body: &'static str| Part {
        headers: vec![Header {
            name: "Content-Transfer-Encoding".to_owned(),
            value: encoding.to_owned(),
            raw: encoding.as_bytes().to_vec(),
        }],
        head: Bytes::new(),
        body: Bytes::from_static(body.as_bytes()),
    };
    assert_eq!(part("base64", "aGVs\r\nbG8=").decoded().unwrap(), "hello");
    assert_eq!(
        part("Quoted-Printable", "a=3Db=\r\nc=").decoded().unwrap(),
        "a=bc="
    );
    assert_eq!(part("8bit", "x=3D").decoded().unwrap(), "x=3D");
    assert!(part("base64", "***").decoded().is_err());
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(body in proptest::collection::vec(proptest::sample::select(b"-b\r\n:x ".to_vec()), 0..80)) {
        let raw = Bytes::from(body);
        let _ = parse(&raw, "multipart/form-data; boundary=b", Limits::default());
    }
}
