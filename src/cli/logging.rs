//! Log lines in MI's console pattern: `[date time] LEVEL {Logger} - text` (spec 04 §13.4).

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging to standard output. `MYELIN_LOG` filters as `RUST_LOG` does elsewhere.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("MYELIN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A complaint about an output that is closed would go to standard error, and panic when that is
        // closed too.
        .log_internal_errors(false)
        .event_format(Pattern)
        .try_init();
}

/// Writes a line for people to standard error.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes text to standard output. A closed pipe is no error: the reader has seen enough.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

struct Pattern;

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

impl<S, N> FormatEvent<S, N> for Pattern
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _cx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
        let stamp = crate::clock::iso(wall).replace('T', " ").replace('.', ",");
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => " WARN",
            Level::INFO => " INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        let target = event.metadata().target();
        let logger = target.rsplit("::").next().unwrap_or(target);
        let mut text = Text::default();
        event.record(&mut text);
        writeln!(
            writer,
            "[{}] {level} {{{logger}}} - {}",
            stamp.trim_end_matches('Z'),
            Shown(&text.0)
        )
    }
}

/// Text of a line. What a message brought cannot begin a line that looks like another record, nor
/// steer a terminal.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut begins = false;
        for c in self.0.chars() {
            if begins && c == '[' {
                f.write_char(' ')?;
            }
            begins = c == '\n';
            match c {
                '\n' | '\t' => f.write_char(c)?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn messages_forge_no_lines() {
        for (text, shown) in [
            ("a\n[2026-01-01] ERROR", "a\n [2026-01-01] ERROR"),
            ("a\r[2026", "a\\r[2026"),
            ("\u{1b}[2Jx\0", "\\u{1b}[2Jx\\u{0}"),
            ("<a>\n\t<b/>\n</a> ü", "<a>\n\t<b/>\n</a> ü"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
    }
}
