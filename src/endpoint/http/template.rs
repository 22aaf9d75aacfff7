//! URI templates of `http` endpoints: RFC 6570 with the reference's deviations (spec 02 §5.2).
//! A template is compiled when the artifact is read; expanding it is one walk over its parts.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters.
const SIMPLE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What reserved expansion encodes; `%` is looked at by [`encode_reserved`] itself.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'<')
    .add(b'>')
    .add(b'"')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// What the reference's re-quoting in legacy mode encodes; letters beyond ASCII stay there and are
/// encoded when the request line is written.
const LEGACY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Why a template cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte offset in the template.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// The operator of an expression: how its values are joined and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Simple,
    Reserved,
    Fragment,
    Label,
    Path,
    Parameter,
    Query,
    Continuation,
}

impl Operator {
    fn first(self) -> &'static str {
        match self {
            Operator::Simple | Operator::Reserved => "",
            Operator::Fragment => "#",
            Operator::Label => ".",
            Operator::Path => "/",
            Operator::Parameter => ";",
            Operator::Query => "?",
            Operator::Continuation => "&",
        }
    }

    fn separator(self) -> &'static str {
        match self {
            Operator::Simple | Operator::Reserved | Operator::Fragment => ",",
            Operator::Query => "&",
            other => other.first(),
        }
    }

    fn named(self) -> bool {
        matches!(
            self,
            Operator::Parameter | Operator::Query | Operator::Continuation
        )
    }

    fn reserved(self) -> bool {
        matches!(self, Operator::Reserved | Operator::Fragment)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// Index into [`UriTemplate::names`].
    index: usize,
    /// `:n`, in characters.
    prefix: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expression(Operator, Vec<Variable>),
}

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    parts: Vec<Part>,
    names: Vec<String>,
    legacy: bool,
}

const LEGACY_PREFIX: &str = "legacy-encoding:";

impl UriTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// For unbalanced braces, operators that RFC 6570 reserves, and names that are not allowed.
    pub fn compile(source: &str) -> Result<UriTemplate, TemplateError> {
        let (text, base, legacy) = match source.strip_prefix(LEGACY_PREFIX) {
            Some(rest) => (rest, LEGACY_PREFIX.len(), true),
            None => (source, 0, false),
        };
        let mut out = UriTemplate {
            text: source.to_owned(),
            parts: Vec::new(),
            names: Vec::new(),
            legacy,
        };
        let error = |at: usize, message: String| TemplateError {
            offset: base + at,
            message,
        };
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
            let open = rest.find('{').unwrap_or(rest.len());
            let literal = rest.get(..open).unwrap_or(rest);
            if let Some(close) = literal.find('}') {
                return Err(error(at + close, "\"}\" without \"{\"".to_owned()));
            }
            if !literal.is_empty() {
                out.parts.push(Part::Literal(literal.to_owned()));
            }
            at += open;
            let Some(inner) = rest.get(open + 1..) else {
                break;
            };
            let Some(close) = inner.find('}') else {
                return Err(error(at, "\"{\" without \"}\"".to_owned()));
            };
            let inner = inner.get(..close).unwrap_or_default();
            let expression = out
                .expression(inner, at == 0)
                .map_err(|message| error(at + 1, message))?;
            out.parts.push(expression);
            at += close + 2;
        }
        Ok(out)
    }

    /// One expression without its braces. A template that starts with a plain one is reserved
    /// there, so that `{uri.var.url}` can hold a whole URL.
    fn expression(&mut self, inner: &str, leads: bool) -> Result<Part, String> {
        let mut rest = inner;
        let operator = match inner.chars().next() {
            None => return Err("an expression without a variable".to_owned()),
            Some('+') => Operator::Reserved,
            Some('#') => Operator::Fragment,
            Some('.') => Operator::Label,
            Some('/') => Operator::Path,
            Some(';') => Operator::Parameter,
            Some('?') => Operator::Query,
            Some('&') => Operator::Continuation,
            Some(c @ ('=' | '!' | '|' | '@' | ',')) => {
                return Err(format!("the operator \"{c}\" is not supported"));
            }
            Some(_) => Operator::Simple,
        };
        if operator != Operator::Simple {
            rest = inner.get(1..).unwrap_or_default();
        } else if leads {
            let variables = self.variables(rest)?;
            return Ok(Part::Expression(Operator::Reserved, variables));
        }
        let variables = self.variables(rest)?;
        Ok(Part::Expression(operator, variables))
    }

    fn variables(&mut self, list: &str) -> Result<Vec<Variable>, String> {
        list.split(',')
            .map(|spec| {
                let spec = spec.trim();
                // Exploding has no effect on text values.
                let spec = spec.strip_suffix('*').unwrap_or(spec);
                let (name, prefix) = match spec.split_once(':') {
                    Some((name, length)) => match length.parse::<usize>() {
                        Ok(n) if n < 10_000 => (name, Some(n)),
                        _ => return Err(format!("\"{length}\" is not a prefix length")),
                    },
                    None => (spec, None),
                };
                if !is_name(name) {
                    return Err(format!(
                        "\"{name}\" is not a variable name: letters, digits, \"_\" and \".\" are allowed"
                    ));
                }
                let index = match self.names.iter().position(|n| n == name) {
                    Some(index) => index,
                    None => {
                        self.names.push(name.to_owned());
                        self.names.len() - 1
                    }
                };
                Ok(Variable { index, prefix })
            })
            .collect()
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its variables, each once.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The URI when nothing in it depends on the message.
    pub fn fixed(&self) -> Option<String> {
        if !self.names.is_empty() {
            return None;
        }
        Some(self.expand::<&str>(&[]))
    }

    /// The URI for values in the order of [`UriTemplate::names`]; a value that is not there, or
    /// `None`, is undefined and expands to nothing.
    pub fn expand<V: AsRef<str>>(&self, values: &[Option<V>]) -> String {
        if self.legacy {
            return self.expand_legacy(values);
        }
        self.walk(values, |part, reserved, out| {
            if reserved {
                encode_reserved(part, out);
            } else {
                out.extend(utf8_percent_encode(part, SIMPLE));
            }
        })
    }

    fn walk<V: AsRef<str>>(
        &self,
        values: &[Option<V>],
        encode: impl Fn(&str, bool, &mut String),
    ) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            let (operator, variables) = match part {
                Part::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Expression(operator, variables) => (*operator, variables),
            };
            let mut first = true;
            for variable in variables {
                let Some(Some(value)) = values.get(variable.index) else {
                    continue;
                };
                let value = value.as_ref();
                out.push_str(if first {
                    operator.first()
                } else {
                    operator.separator()
                });
                first = false;
                if operator.named() {
                    out.push_str(self.names.get(variable.index).map_or("", String::as_str));
                    if !(value.is_empty() && operator == Operator::Parameter) {
                        out.push('=');
                    }
                }
                let shown = match variable.prefix {
                    Some(length) => value
                        .char_indices()
                        .nth(length)
                        .map_or(value, |(end, _)| value.get(..end).unwrap_or(value)),
                    None => value,
                };
                encode(shown, operator.reserved(), &mut out);
            }
        }
        out
    }

    /// `legacy-encoding:`: values are form-decoded, the result is decoded again and quoted as a
    /// whole (spec 02 §5.2).
    fn expand_legacy<V: AsRef<str>>(&self, values: &[Option<V>]) -> String {
        let decoded: Vec<Option<String>> = values
            .iter()
            .map(|v| v.as_ref().map(|v| form_decode(v.as_ref())))
            .collect();
        let expanded = self.walk(&decoded, |part, reserved, out| {
            if reserved {
                encode_reserved(part, out);
            } else {
                out.extend(utf8_percent_encode(part, SIMPLE));
            }
        });
        let whole = form_decode(&expanded);
        let start = whole
            .find("://")
            .and_then(|at| {
                let after = at + 3;
                whole
                    .get(after..)
                    .map(|r| after + r.find(['/', '?', '#']).unwrap_or(r.len()))
            })
            .unwrap_or(0);
        let (authority, rest) = whole.split_at(start);
        let mut out = authority.to_owned();
        for c in rest.chars() {
            if c.is_ascii() {
                out.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), LEGACY));
            } else {
                out.push(c);
            }
        }
        out
    }
}

/// Word characters, `.`, and percent-encoded triplets.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
        at += match byte {
            b'%' if hex(at + 1) && hex(at + 2) => 3,
            b'.' | b'_' => 1,
            b if b.is_ascii_alphanumeric() => 1,
            _ => return false,
        };
    }
    !bytes.is_empty()
}

/// Reserved expansion: a `%` that starts a triplet stays.
fn encode_reserved(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, _) in text.match_indices('%') {
        let hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
        out.extend(utf8_percent_encode(
            text.get(start..at).unwrap_or_default(),
            RESERVED,
        ));
        out.push_str(if hex(at + 1) && hex(at + 2) {
            "%"
        } else {
            "%25"
        });
        start = at + 1;
    }
    out.extend(utf8_percent_encode(
        text.get(start..).unwrap_or_default(),
        RESERVED,
    ));
}

/// `+` is a space, `%XX` a byte; a `%` that starts no triplet stays.
fn form_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, values: &[(&str, &str)]) -> String {
        let template = UriTemplate::compile(template).unwrap();
        let values: Vec<Option<String>> = template
            .names()
            .iter()
            .map(|name| {
                values
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, v)| (*v).to_owned())
            })
            .collect();
        template.expand(&values)
    }

    #[test]
    fn rows_of_the_specification() {
        // Spec 02 §5.2 and rows 83–86.
        let rows = [
            ("http://h/p/{uri.var.x}", "a b/c", "http://h/p/a%20b%2Fc"),
            ("http://h/p/{uri.var.x}", "a%20b", "http://h/p/a%2520b"),
            ("http://h/p/{uri.var.x}", "é", "http://h/p/%C3%A9"),
            ("http://h/p/{uri.var.x}", "100%", "http://h/p/100%25"),
            ("http://h/p/{uri.var.x}", "a$b", "http://h/p/a%24b"),
            ("http://h/p/{uri.var.x}", "-._~", "http://h/p/-._~"),
            (
                "http://h/p/{+uri.var.x}",
                "a b/c?d=1&e=2",
                "http://h/p/a%20b/c?d=1&e=2",
            ),
            ("http://h/p/{+uri.var.x}", "a%20b", "http://h/p/a%20b"),
            ("http://h/p/{+uri.var.x}", "[1]", "http://h/p/%5B1%5D"),
            ("http://h/p/{+uri.var.x}", "100%", "http://h/p/100%25"),
            ("http://h/p/{+uri.var.x}", "%zz%4", "http://h/p/%25zz%254"),
            ("http://h/p/{+uri.var.x}", "a$b$1", "http://h/p/a$b$1"),
            (
                "http://h/p/{+uri.var.x}",
                "é<>\"{}|\\^`",
                "http://h/p/%C3%A9%3C%3E%22%7B%7D%7C%5C%5E%60",
            ),
            (
                "{uri.var.x}",
                "http://h:80/p?q=1&r=2",
                "http://h:80/p?q=1&r=2",
            ),
            ("{+uri.var.x}", "http://h/a b", "http://h/a%20b"),
            ("http://h/e{?uri.var.x}", "v", "http://h/e?uri.var.x=v"),
            (
                "http://h/e?a=1{&uri.var.x}",
                "v w",
                "http://h/e?a=1&uri.var.x=v%20w",
            ),
            ("http://h/e{;uri.var.x}", "v", "http://h/e;uri.var.x=v"),
            ("http://h/e{;uri.var.x}", "", "http://h/e;uri.var.x"),
            ("http://h/e{?uri.var.x}", "", "http://h/e?uri.var.x="),
            ("http://h/{uri.var.x:2}", "abc", "http://h/ab"),
            ("http://h/{uri.var.x:2}", "éàü", "http://h/%C3%A9%C3%A0"),
            ("http://h/{uri.var.x*}", "a,b", "http://h/a%2Cb"),
            ("http://h{/uri.var.x}", "1", "http://h/1"),
            ("http://h/e{.uri.var.x}", "1", "http://h/e.1"),
            ("http://h/e{#uri.var.x}", "1/2", "http://h/e#1/2"),
        ];
        for (template, value, expected) in rows {
            assert_eq!(
                expand(template, &[("uri.var.x", value)]),
                expected,
                "{template} with {value}"
            );
        }
    }

    #[test]
    fn undefined_variables_leave_nothing() {
        let q = [("query.param.q", "1")];
        assert_eq!(
            expand("http://h/{uri.var.x}/z{?query.param.q}", &q),
            "http://h//z?query.param.q=1"
        );
        assert_eq!(expand("http://h/e{?uri.var.x,uri.var.y}", &q), "http://h/e");
        assert_eq!(
            expand(
                "http://h/{uri.var.x,uri.var.y}/e",
                &[("uri.var.x", "1"), ("uri.var.y", "2")]
            ),
            "http://h/1,2/e"
        );
        assert_eq!(expand("http://h/{uri.var.x}", &[]), "http://h/");
    }

    #[test]
    fn legacy_encoding_decodes_and_quotes_the_whole() {
        let x = |value| {
            expand(
                "legacy-encoding:http://h/p?user={uri.var.x}",
                &[("uri.var.x", value)],
            )
        };
        assert_eq!(x("john@G%C3%BCnter"), "http://h/p?user=john@Günter");
        assert_eq!(x("a+b"), "http://h/p?user=a%20b");
        assert_eq!(x("a%20b"), "http://h/p?user=a%20b");
        assert_eq!(
            expand(
                "legacy-encoding:{uri.var.x}",
                &[("uri.var.x", "http://h/a b")]
            ),
            "http://h/a%20b"
        );
    }

    #[test]
    fn fixed_templates_are_known_at_once() {
        let fixed = |t: &str| UriTemplate::compile(t).unwrap().fixed();
        assert_eq!(fixed("http://h/p?q=1").as_deref(), Some("http://h/p?q=1"));
        assert_eq!(
            fixed("legacy-encoding:http://h/a b").as_deref(),
            Some("http://h/a%20b")
        );
        assert_eq!(fixed("http://h/{uri.var.x}"), None);
    }

    #[test]
    fn mistakes_have_a_place() {
        let rows = [
            ("http://h/{a", 9, "\"{\" without \"}\""),
            ("http://h/a}b", 10, "\"}\" without \"{\""),
            ("http://h/{}", 10, "an expression without a variable"),
            ("http://h/{=a}", 10, "the operator \"=\" is not supported"),
            ("http://h/{!a}", 10, "the operator \"!\" is not supported"),
            ("http://h/{|a}", 10, "the operator \"|\" is not supported"),
            ("http://h/{@a}", 10, "the operator \"@\" is not supported"),
            ("http://h/{a:x}", 10, "\"x\" is not a prefix length"),
            (
                "legacy-encoding:{a-b}",
                17,
                "\"a-b\" is not a variable name: letters, digits, \"_\" and \".\" are allowed",
            ),
        ];
        for (template, offset, message) in rows {
            let error = UriTemplate::compile(template).unwrap_err();
            assert_eq!(
                (error.offset, error.message.as_str()),
                (offset, message),
                "{template}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn simple_expansion_decodes_to_the_value(value in ".*") {
            let whole = expand("http://h/{uri.var.x}", &[("uri.var.x", &value)]);
            let tail = whole.strip_prefix("http://h/").unwrap();
            proptest::prop_assert!(tail.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let back = percent_encoding::percent_decode_str(tail).decode_utf8().unwrap();
            proptest::prop_assert_eq!(back, value);
        }

        #[test]
        fn compiling_never_panics(text in ".*", value in ".*") {
            if let Ok(template) = UriTemplate::compile(&text) {
                let values = vec![Some(value); template.names().len()];
                template.expand(&values);
            }
        }
    }
}
