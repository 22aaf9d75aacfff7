//! What stands around a path in `json-eval(…)`.

/// What a path is applied to (spec 05 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'t> {
    /// The message body.
    Body,
    /// `$ctx:name…`: a property of the message.
    Context(&'t str),
    /// `$trp:name…`: a transport header.
    Transport(&'t str),
    /// `$axis2:name…`: a property of the Axis2 scope.
    Axis2(&'t str),
}

/// Takes `$ctx:name` and its like off the front and returns the source and the path to apply to it
/// (spec 05 §4.1). Names end at the first character outside `[A-Za-z0-9_-]`.
pub fn split_source(text: &str) -> (Source<'_>, String) {
    for prefix in ["$ctx:", "$trp:", "$axis2:"] {
        let Some(rest) = text.trim_start().strip_prefix(prefix) else {
            continue;
        };
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        let source = match prefix {
            _ if name.is_empty() => continue,
            "$ctx:" => Source::Context(name),
            "$trp:" => Source::Transport(name),
            _ => Source::Axis2(name),
        };
        return (source, format!("${path}"));
    }
    (Source::Body, text.to_owned())
}

/// A part of a path text with dynamic parts (spec 05 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text as it is.
    Literal(&'t str),
    /// The inside of `{…}`: an expression whose text replaces it for every message.
    Dynamic(&'t str),
}

/// Splits a path at its `{…}` parts: those without blanks, `"`, commas, and any of `<>]}` inside
/// (spec 05 §4.1). A path without such parts can be compiled once.
pub fn dynamic_pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut literal = 0;
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let inside = &text[open + 1..];
        let stop = inside
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | '<' | '>' | ']' | '}'));
        match stop {
            Some(length) if length > 0 && inside[length..].starts_with('}') => {
                if open > literal {
                    pieces.push(Piece::Literal(&text[literal..open]));
                }
                pieces.push(Piece::Dynamic(&inside[..length]));
                from = open + 1 + length + 1;
                literal = from;
            }
            _ => from = open + 1,
        }
    }
    if literal < text.len() {
        pieces.push(Piece::Literal(&text[literal..]));
    }
    pieces
}
