//! Finds what this engine cannot run before a message does: E4X, the XML syntax of old engines, and
//! Java classes.

/// Something in a script that cannot run here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Line, from 1.
    pub line: usize,
    /// What it is.
    pub what: &'static str,
}

const LITERAL: &str = "an XML literal (E4X)";
const DESCENDANTS: &str = "the E4X operator \"..\"";
const ATTRIBUTE: &str = "an E4X attribute name (\"@\")";
const NAMESPACE: &str = "an E4X name (\"::\" or \".*\")";
const DEFAULT: &str = "\"default xml namespace\" (E4X)";
const EACH: &str = "\"for each\" (E4X)";
const CONSTRUCTOR: &str = "the E4X type XML";
const JAVA: &str = "a Java class";

/// Words after which a value begins.
const BEFORE_VALUE: &[&str] = &[
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "else",
    "do",
    "instanceof",
    "yield",
    "await",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// A number, string, template or regular expression.
    Value,
    Sign(char),
}

/// The first thing in a script that cannot run here.
pub(super) fn find(text: &str) -> Option<Finding> {
    let mut scanner = Scanner {
        text,
        at: 0,
        line: 1,
        last: [Token::Sign(';'); 3],
        templates: Vec::new(),
    };
    while scanner.at < text.len() {
        if let Some(what) = scanner.step() {
            return Some(Finding {
                line: scanner.line,
                what,
            });
        }
    }
    None
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// The last tokens, newest first.
    last: [Token<'a>; 3],
    /// Open braces inside each `${…}` that is open.
    templates: Vec<usize>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, token: Token<'a>) {
        self.last = [token, self.last[0], self.last[1]];
    }

    fn skip(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        let passed = self.text.get(self.at..end).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.at = end;
    }

    /// Whether a value may begin here.
    fn value_begins(&self) -> bool {
        match self.last[0] {
            Token::Word(word) => BEFORE_VALUE.contains(&word) && self.last[1] != Token::Sign('.'),
            Token::Value => false,
            Token::Sign(sign) => !matches!(sign, ')' | ']'),
        }
    }

    fn step(&mut self) -> Option<&'static str> {
        let rest = self.rest();
        let c = rest.chars().next()?;
        if c.is_whitespace() {
            self.skip(c.len_utf8());
            return None;
        }
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
            return None;
        }
        if rest.starts_with("/*") {
            let end = rest.get(2..).and_then(|r| r.find("*/"));
            self.skip(end.map_or(rest.len(), |end| end + 4));
            return None;
        }
        match c {
            '"' | '\'' => self.string(c),
            '`' => {
                self.skip(1);
                self.template();
            }
            '/' if self.value_begins() => self.regex(),
            '<' if self.value_begins() && is_literal(rest) => return Some(LITERAL),
            '0'..='9' => {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
                    .unwrap_or(rest.len());
                // `1..toString()` has one dot in the number.
                let end = rest.find("..").map_or(end, |dots| end.min(dots + 1));
                self.skip(end);
                self.push(Token::Value);
            }
            c if is_name(c) => return self.word(),
            '@' => return Some(ATTRIBUTE),
            '.' if rest.starts_with("...") => {
                self.skip(3);
                self.push(Token::Sign(','));
            }
            '.' if rest.starts_with("..") => return Some(DESCENDANTS),
            '.' if rest.starts_with(".*") => return Some(NAMESPACE),
            ':' if rest.starts_with("::") => return Some(NAMESPACE),
            '+' | '-' if rest.starts_with("++") || rest.starts_with("--") => {
                // Behind a value they end it, before one they begin it: both ways what comes next
                // is what it would be without them.
                self.skip(2);
            }
            '{' => {
                if let Some(open) = self.templates.last_mut() {
                    *open += 1;
                }
                self.sign(c);
            }
            '}' => match self.templates.last_mut() {
                Some(0) => {
                    self.templates.pop();
                    self.skip(1);
                    self.template();
                }
                Some(open) => {
                    *open -= 1;
                    self.sign(c);
                }
                None => self.sign(c),
            },
            c => self.sign(c),
        }
        None
    }

    fn sign(&mut self, c: char) {
        self.skip(c.len_utf8());
        self.push(Token::Sign(c));
    }

    fn word(&mut self) -> Option<&'static str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let after = rest.get(end..).unwrap_or_default().trim_start();
        let member = self.last[0] == Token::Sign('.');
        let [last, before, _] = self.last;
        let found = match word {
            _ if member => None,
            "XML" | "XMLList" if after.starts_with('(') => Some(CONSTRUCTOR),
            "namespace" if last == Token::Word("xml") && before == Token::Word("default") => {
                Some(DEFAULT)
            }
            "each" if last == Token::Word("for") => Some(EACH),
            "importPackage" | "importClass" | "JavaImporter" | "JavaAdapter"
                if after.starts_with('(') =>
            {
                Some(JAVA)
            }
            "Java" | "Packages" if after.starts_with('.') => Some(JAVA),
            "java" | "javax" | "org" | "com" if is_package(word, after) => Some(JAVA),
            _ => None,
        };
        if found.is_none() {
            self.skip(end);
            self.push(Token::Word(word));
        }
        found
    }

    fn string(&mut self, quote: char) {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| {
                if escaped {
                    escaped = false;
                    return false;
                }
                escaped = *c == '\\';
                *c == quote || *c == '\n'
            })
            .map_or(rest.len(), |(at, c)| at + c.len_utf8());
        self.skip(end);
        self.push(Token::Value);
    }

    /// The text of a template up to its end or to the next `${`.
    fn template(&mut self) {
        let rest = self.rest();
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '`' => {
                    self.skip(at + 1);
                    self.push(Token::Value);
                    return;
                }
                '$' if chars.peek().is_some_and(|(_, c)| *c == '{') => {
                    self.skip(at + 2);
                    self.push(Token::Sign('('));
                    self.templates.push(0);
                    return;
                }
                _ => {}
            }
        }
        self.skip(rest.len());
    }

    fn regex(&mut self) {
        let rest = self.rest();
        let (mut class, mut escaped) = (false, false);
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| {
                if escaped {
                    escaped = false;
                    return false;
                }
                match c {
                    '\\' => escaped = true,
                    '[' => class = true,
                    ']' => class = false,
                    _ => {}
                }
                (*c == '/' && !class) || *c == '\n'
            })
            .map_or(rest.len(), |(at, c)| at + c.len_utf8());
        self.skip(end);
        let flags = self.rest();
        let end = flags.find(|c: char| !is_name(c)).unwrap_or(flags.len());
        self.skip(end);
        self.push(Token::Value);
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn is_literal(rest: &str) -> bool {
    rest.chars()
        .nth(1)
        .is_some_and(|c| is_name(c) || matches!(c, '>' | '!' | '?' | '{'))
}

/// `java.util.`, `org.apache.` and so on; not an own variable of that name.
fn is_package(word: &str, after: &str) -> bool {
    let names: &[&str] = match word {
        "java" => &[
            "lang", "util", "io", "net", "math", "text", "time", "security", "sql",
        ],
        "javax" => &["xml", "crypto", "script", "sql", "activation"],
        "org" => &["apache", "json", "wso2", "mozilla", "w3c"],
        _ => &["google", "sun", "fasterxml"],
    };
    after
        .strip_prefix('.')
        .is_some_and(|rest| names.iter().any(|n| rest.starts_with(&format!("{n}."))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4x_and_java_are_found() {
        for (text, line, what) in [
            ("var a = 1;\nvar x = <a>{b}</a>;", 2, LITERAL),
            ("f(<a/>)", 1, LITERAL),
            ("return <m:a xmlns:m='u'/>", 1, LITERAL),
            ("x = cond ? <a/> : <b/>", 1, LITERAL),
            ("var s = mc.getPayloadXML()..*::symbol;", 1, DESCENDANTS),
            ("\n\nmc.getPayloadXML()..symbol.toString()", 3, DESCENDANTS),
            ("var s = x.@id;", 1, ATTRIBUTE),
            ("var s = x.*::Code;", 1, NAMESPACE),
            ("x.m0::Code = 1;", 1, NAMESPACE),
            ("default xml namespace = 'u';", 1, DEFAULT),
            ("for each (var a in b) {}", 1, EACH),
            ("var x = new XML(s);", 1, CONSTRUCTOR),
            ("importPackage(Packages.org.apache.synapse);", 1, JAVA),
            ("var L = Java.type('java.util.List');", 1, JAVA),
            ("x = new java.util.ArrayList()", 1, JAVA),
            ("x = org.apache.synapse.Foo.bar()", 1, JAVA),
            ("`a ${ <b/> } c`", 1, LITERAL),
        ] {
            assert_eq!(find(text), Some(Finding { line, what }), "{text}");
        }
    }

    #[test]
    fn other_scripts_are_not() {
        for text in [
            "if (a < b && c > d) {}",
            "x = a <b>c;",
            "f(a[0] <b)",
            "(a) < b",
            "'<a/>' + \"..x\" + `<b/>${a < b ? '<c/>' : {d: 1}.d} .. @ ::`",
            "// <a/> ..x\n/* x.@y */ f(...list); 1..toString();",
            "s.replace(/<a..b>\\/[/]@/g, ''); a / b / c; a++ / 2; (a) / <=1",
            "var java = {}; java.x = 1; o.XML(1); cfg.org.apache.x; var each = 1; x ? y : z",
            "a <= b; a << b; i<n; for (var i=0;i<n;i++) {}",
            "var re = x => /@/; return /<a>/.test(s)",
            "'unended\nvar a = 1",
            "`unended ${ a",
            "/*/ <a/> */ x",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }
    proptest::proptest! {
        #[test]
        fn any_text_ends(text in "[a<>/*`${}'\".@: \n\\\\ü0(=+-]{0,60}") {
            if let Some(found) = find(&text) {
                proptest::prop_assert!(found.line <= text.matches('\n').count() + 1);
            }
        }
    }
}
