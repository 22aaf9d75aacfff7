//! Patterns of artifacts: regular expressions that have to match a whole text, as Java's do.

use crate::message::Fault;
use regex::Regex;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Takes linear time.
    Linear(Regex),
    /// Has look-around, back-references or the like, and goes back and forth within limits.
    Wide(Box<fancy_regex::Regex>),
}

/// How large a compiled pattern may be, in bytes.
const SIZE: usize = 1 << 20;

/// How often a wide pattern may go back.
const STEPS: usize = 100_000;

/// The longest text for a wide pattern, in bytes: looking ahead takes time for each place of the text.
const LONGEST: usize = 16 << 10;

impl Pattern {
    /// Compiles a pattern; what is wrong with it otherwise.
    ///
    /// # Errors
    /// The cause, on one line.
    pub(super) fn whole(text: &str) -> Result<Pattern, String> {
        let linear = |text: &str| regex::RegexBuilder::new(text).size_limit(SIZE).build();
        // By itself first: a parenthesis too many must not end the group around it.
        let cause = match linear(text).and_then(|_| linear(&format!("^(?:{text})$"))) {
            Ok(regex) => return Ok(Pattern::Linear(regex)),
            Err(cause) => cause.to_string(),
        };
        let wide = |text: &str| {
            fancy_regex::RegexBuilder::new(text)
                .backtrack_limit(STEPS)
                .delegate_size_limit(SIZE)
                .build()
        };
        match wide(text).and_then(|_| wide(&format!("\\A(?:{text})\\z"))) {
            Ok(regex) => Ok(Pattern::Wide(Box::new(regex))),
            Err(_) => {
                let cause = cause.lines().last().unwrap_or_default();
                Err(cause.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Whether it matches all of a text.
    ///
    /// # Errors
    /// When a wide pattern reaches a limit.
    pub(super) fn is_match(&self, text: &str) -> Result<bool, Fault> {
        match self {
            Pattern::Linear(regex) => Ok(regex.is_match(text)),
            Pattern::Wide(regex) => {
                short(text)?;
                regex.is_match(text).map_err(|_| limit())
            }
        }
    }

    /// What a group of it has of a text; `None` when the text does not match, or has no such group.
    ///
    /// # Errors
    /// As [`Pattern::is_match`].
    pub(super) fn group(&self, text: &str, group: usize) -> Result<Option<String>, Fault> {
        match self {
            Pattern::Linear(regex) => Ok(regex
                .captures(text)
                .and_then(|found| Some(found.get(group)?.as_str().to_owned()))),
            Pattern::Wide(regex) => {
                short(text)?;
                let found = regex.captures(text).map_err(|_| limit())?;
                Ok(found.and_then(|found| Some(found.get(group)?.as_str().to_owned())))
            }
        }
    }
}

fn short(text: &str) -> Result<(), Fault> {
    match text.len() <= LONGEST {
        true => Ok(()),
        false => Err(Fault::mediation(format!(
            "A text of {} bytes is too long for a pattern with look-around or back-references: at most {LONGEST} are",
            text.len()
        ))),
    }
}

fn limit() -> Fault {
    Fault::mediation(
        "The pattern goes back and forth in the text too often; write it without look-around or back-references",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_has_to_match() {
        for (pattern, text, expected) in [
            ("IB", "IBM", false),
            ("IB|IBM", "IBM", true),
            ("(?i)ibm", "IBM", true),
            ("a.b", "a\nb", false),
            ("a", "a\n", false),
            // Look-around and back-references.
            (r"^(?!\s*$).+", " x", true),
            (r"^(?!\s*$).+", "  ", false),
            (r"(?=.*\d).{4,}", "abc1", true),
            (r"(?=.*\d).{4,}", "abcd", false),
            (r"(a|b)\1", "aa", true),
            (r"(a|b)\1", "ab", false),
            (r"(?!x)a", "a\n", false),
            ("a++b", "aab", true),
        ] {
            let compiled = Pattern::whole(pattern).unwrap();
            assert_eq!(
                compiled.is_match(text).unwrap(),
                expected,
                "{pattern} on {text:?}"
            );
        }
        for pattern in ["(", "a)|(b", "(?!a)|(?!b))(", "[z-a]"] {
            assert!(Pattern::whole(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn groups() {
        for (pattern, group, expected) in [
            (r"(\d+)-(\w+)", 2, Some("b")),
            (r"(\d+)-(\w+)", 0, Some("1-b")),
            (r"(\d+)-(\w+)", 3, None),
            (r"(?!x)(\d+)-(\w+)", 1, Some("1")),
            (r"(?!1)(\d+)-(\w+)", 1, None),
        ] {
            let found = Pattern::whole(pattern)
                .unwrap()
                .group("1-b", group)
                .unwrap();
            assert_eq!(found.as_deref(), expected, "{pattern} {group}");
        }
    }

    /// What would never end in the reference ends here.
    #[test]
    fn wide_patterns_are_bounded() {
        let text = "a".repeat(40);
        let fault = Pattern::whole(r"(a|aa)+\1b").unwrap().is_match(&text);
        assert!(
            fault
                .unwrap_err()
                .message
                .starts_with("The pattern goes back")
        );
        let long = "a".repeat(LONGEST + 1);
        let fault = Pattern::whole("(?!x)a*").unwrap().is_match(&long);
        assert!(
            fault
                .unwrap_err()
                .message
                .starts_with("A text of 16385 bytes")
        );
        assert!(Pattern::whole("a*").unwrap().is_match(&long).unwrap());
    }
}
