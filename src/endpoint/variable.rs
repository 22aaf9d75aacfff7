//! Variables of the deployment in artifact values, filled in when the artifact is read
//! (spec 02 §2.2).

use crate::diag::{Diagnostic, Place, codes};
use crate::syntax::Reader;

/// The value of a text that may be a variable: `$SYSTEM:NAME` is an environment variable,
/// `$FILE:NAME` a property of `file.properties`, `${configs.NAME}` a configuration property. What
/// follows the name is lost, as in the reference; that is warned about. `None` after an error.
pub fn resolve(reader: &mut Reader, place: &Place, text: &str) -> Option<String> {
    resolve_with(reader, place, text, |name| std::env::var(name).ok())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn resolve_with(
    reader: &mut Reader,
    place: &Place,
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    if text.starts_with("$CUSTOM_") {
        reader.unsupported(
            place.clone(),
            format!("\"{text}\": custom resolvers are not supported: they are Java classes"),
            Some("use $SYSTEM:NAME and set the environment variable NAME"),
        );
        return None;
    }
    let split = |rest: &'_ str| rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let (name, lost, value, what, help);
    if let Some(rest) = text.strip_prefix("$SYSTEM:") {
        (name, lost) = rest.split_at(split(rest));
        value = environment(name);
        (what, help) = ("environment variable", "set it before the server starts");
    } else if let Some(rest) = text.strip_prefix("$FILE:") {
        (name, lost) = rest.split_at(split(rest));
        value = reader.variables.file.get(name).map(str::to_owned);
        (what, help) = (
            "file property",
            "set it in file.properties, next to deployment.toml",
        );
    } else if let Some(rest) = text.strip_prefix("${configs.") {
        let (found, after) = rest.split_at(split(rest));
        // What does not look like this is no variable (spec 04 §12.3).
        let Some(after) = after.strip_prefix('}').filter(|_| !found.is_empty()) else {
            return Some(text.to_owned());
        };
        (name, lost) = (found, after);
        value = reader.variables.config(name);
        (what, help) = (
            "configuration property",
            "set it as an environment variable, a system property or in file.properties",
        );
    } else {
        return Some(text.to_owned());
    }
    let Some(value) = value else {
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place.clone(),
                format!("the {what} {name} is not set"),
            )
            .help(help),
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
    use crate::settings::Variables;
    use std::sync::Arc;

    fn read(text: &str) -> (Option<String>, Vec<String>) {
        let source = Source::new("x.xml", text);
        let mut reader = Reader::new(&source);
        let mut variables = Variables::default();
        variables.file.insert("BACKEND", "http://b");
        variables.system.insert("PORT", "81");
        reader.variables = Arc::new(variables);
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
    fn properties_of_files_and_configurations_are_filled_in() {
        for (text, expected) in [
            ("$FILE:BACKEND", "http://b"),
            ("${configs.BACKEND}", "http://b"),
            ("${configs.PORT}", "81"),
            ("${configs.a-b}", "${configs.a-b}"),
            ("${configs.}", "${configs.}"),
            ("${payload.x}", "${payload.x}"),
        ] {
            assert_eq!(read(text), (Some(expected.into()), vec![]), "{text}");
        }
        let (value, found) = read("${configs.BACKEND}/x");
        assert_eq!(value.unwrap(), "http://b");
        assert!(found[0].contains("\"/x\" after the variable BACKEND is lost"));
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        for text in ["$SYSTEM:NONE", "$FILE:x", "$CUSTOM_X:y", "${configs.x_y}"] {
            let (value, found) = read(text);
            assert_eq!(value, None, "{text}");
            assert_eq!(found.len(), 1, "{text}");
        }
    }
}
