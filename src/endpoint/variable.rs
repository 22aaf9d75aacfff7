//! Variables of the deployment in artifact values, filled in when the artifact is read
//! (spec 02 §2.2).

use crate::diag::{Diagnostic, Place, codes};
use crate::syntax::Reader;

/// The value of a text that may be a variable: `$SYSTEM:NAME` is an environment variable. What
/// follows the name is lost, as in the reference; that is warned about. `None` after an error.
pub fn resolve(reader: &mut Reader, place: &Place, text: &str) -> Option<String> {
    resolve_with(reader, place, text, |name| std::env::var(name).ok())
}

fn resolve_with(
    reader: &mut Reader,
    place: &Place,
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    for (prefix, what) in [
        ("$FILE:", "file properties"),
        ("$CUSTOM_", "custom resolvers"),
        ("${configs.", "configuration properties"),
    ] {
        if text.starts_with(prefix) {
            reader.unsupported(
                place.clone(),
                format!("\"{text}\": {what} are not supported yet"),
                Some("use $SYSTEM:NAME and set the environment variable NAME"),
            );
            return None;
        }
    }
    let Some(rest) = text.strip_prefix("$SYSTEM:") else {
        return Some(text.to_owned());
    };
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let (name, lost) = rest.split_at(end);
    let Some(value) = variable(name) else {
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place.clone(),
                format!("the environment variable {name} is not set"),
            )
            .help("set it before the server starts"),
        );
        return None;
    };
    if !lost.is_empty() {
        reader.report(
            Diagnostic::warning(
                codes::INVALID_VALUE,
                place.clone(),
                format!("\"{lost}\" after the variable {name} is lost, as in the reference"),
            )
            .help("put the whole value into the variable"),
        );
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn read(text: &str) -> (Option<String>, Vec<String>) {
        let source = Source::new("x.xml", text);
        let mut reader = Reader::new(&source);
        let place = Place::new(&source, 0..text.len());
        let value = resolve_with(&mut reader, &place, text, |name| {
            (name == "HOST").then(|| "http://h".to_owned())
        });
        let found = reader.into_diagnostics();
        (value, found.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn only_a_variable_at_the_start_is_filled_in() {
        assert_eq!(
            read("http://x/$SYSTEM:HOST").0.unwrap(),
            "http://x/$SYSTEM:HOST"
        );
        assert_eq!(read("$SYSTEM:HOST"), (Some("http://h".into()), vec![]));
        let (value, found) = read("$SYSTEM:HOST/path");
        assert_eq!(value.unwrap(), "http://h");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("\"/path\" after the variable HOST is lost"));
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        for text in ["$SYSTEM:NONE", "$FILE:x", "$CUSTOM_X:y", "${configs.x}"] {
            let (value, found) = read(text);
            assert_eq!(value, None, "{text}");
            assert_eq!(found.len(), 1, "{text}");
        }
    }
}
