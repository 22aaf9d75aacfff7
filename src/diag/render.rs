//! The text and JSON forms.

use super::{Diagnostic, Place};
use serde::Serialize;
use std::fmt::Write;

/// Lines longer than this are cut around the place.
const MAX_LINE: usize = 160;

/// For people: header, place, source line with a caret, hint. Ends with a newline.
pub fn to_text(d: &Diagnostic) -> String {
    let mut out = format!("{}[{}]: {}\n", d.severity, d.code, visible(&d.message));
    if let Some(place) = &d.place {
        excerpt(&mut out, place);
    }
    if let Some(help) = &d.help {
        let _ = writeln!(out, "  = help: {}", visible(help));
    }
    out
}

fn excerpt(out: &mut String, place: &Place) {
    let (line, column) = place.line_column();
    let number = line.to_string();
    let pad = " ".repeat(number.len());
    let _ = writeln!(out, "{pad}--> {place}");
    let text = place.source.line(line);
    let length = text.chars().count();
    let first = (column - 1).min(length);
    let from = if length > MAX_LINE {
        first.saturating_sub(MAX_LINE / 2)
    } else {
        0
    };
    let shown: Vec<char> = text.chars().skip(from).take(MAX_LINE).collect();
    if shown.iter().all(|c| c.is_whitespace()) {
        return;
    }
    let end = place.source.line_column(place.span.end);
    let width = if end.0 == line {
        end.1.saturating_sub(column)
    } else {
        length - first
    };
    let width = width.clamp(1, shown.len().saturating_sub(first - from).max(1));
    let lead: String = shown
        .iter()
        .take(first - from)
        .map(|c| if *c == '\t' { '\t' } else { ' ' })
        .collect();
    let shown: String = shown.into_iter().collect();
    let _ = writeln!(out, "{pad} |");
    let _ = writeln!(out, "{number} | {}", visible(&shown));
    let _ = writeln!(out, "{pad} | {lead}{}", "^".repeat(width));
}

/// Control and invisible characters are shown as escapes: days were lost to them elsewhere.
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let odd = (c.is_control() && c != '\t')
                || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}');
            let escaped: Box<dyn Iterator<Item = char>> = if odd {
                Box::new(c.escape_unicode())
            } else {
                Box::new(std::iter::once(c))
            };
            escaped
        })
        .collect()
}

#[derive(Serialize)]
struct Row<'a> {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    code: String,
    severity: String,
    message: &'a str,
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct Rows<'a> {
    diagnostics: Vec<Row<'a>>,
}

/// For tools: one object with the key `diagnostics`. Ends with a newline.
pub fn to_json(diagnostics: &[Diagnostic]) -> String {
    let rows = Rows {
        diagnostics: diagnostics
            .iter()
            .map(|d| {
                let at = d.place.as_ref().map(Place::line_column);
                Row {
                    file: d
                        .place
                        .as_ref()
                        .map(|p| p.source.path().display().to_string()),
                    line: at.map(|a| a.0),
                    column: at.map(|a| a.1),
                    code: d.code.to_string(),
                    severity: d.severity.to_string(),
                    message: &d.message,
                    help: d.help.as_deref(),
                }
            })
            .collect(),
    };
    let mut text = serde_json::to_string_pretty(&rows).unwrap_or_else(|_| "{}".to_owned());
    text.push('\n');
    text
}
