//! `{{NAME}}` in texts: addresses of back-ends and of the server, saved values.

use std::collections::BTreeMap;

/// Names with their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars(BTreeMap<String, String>);

impl Vars {
    /// Sets a name.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Replaces every `{{NAME}}`. An unknown name is an error: it is a slip far more often than it
    /// is meant.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let after = &rest[at + 2..];
            let end = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(after.len());
            if end == 0 || !after[end..].starts_with("}}") {
                out.push_str(&rest[..at + 1]);
                rest = &rest[at + 1..];
                continue;
            }
            let name = &after[..end];
            let value = self.0.get(name).ok_or_else(|| {
                let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                format!(
                    "{{{{{name}}}}} is not known here; known are: {}",
                    known.join(", ")
                )
            })?;
            out.push_str(&rest[..at]);
            out.push_str(value);
            rest = &after[end + 2..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Replaces in every text of a TOML value, keys of tables excepted.
    pub(crate) fn fill_value(&self, value: &toml::Value) -> Result<toml::Value, String> {
        Ok(match value {
            toml::Value::String(text) => toml::Value::String(self.fill(text)?),
            toml::Value::Array(items) => toml::Value::Array(
                items
                    .iter()
                    .map(|v| self.fill_value(v))
                    .collect::<Result<_, _>>()?,
            ),
            toml::Value::Table(table) => toml::Value::Table(
                table
                    .iter()
                    .map(|(k, v)| Ok((k.clone(), self.fill_value(v)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }
}

#[test]
fn names_are_replaced_and_unknown_ones_are_errors() {
    let mut vars = Vars::default();
    vars.set("A", "127.0.0.1:1");
    assert_eq!(
        vars.fill("x{{A}}y{{A}}").as_deref(),
        Ok("x127.0.0.1:1y127.0.0.1:1")
    );
    assert_eq!(
        vars.fill("{{ not a name }}{{{A}}}").as_deref(),
        Ok("{{ not a name }}{127.0.0.1:1}")
    );
    assert!(
        vars.fill("{{B}}")
            .is_err_and(|e| e.contains("{{B}}") && e.contains('A'))
    );
}
