//! `$env{}`, `$sys{}`, `$ref{}` and `$secret{}` inside values of `deployment.toml`.
//!
//! MI replaces in passes over the text: secrets, system properties, environment, references. A
//! value that came in by an earlier pass is seen by the later ones, and only by those.

use super::environment::Environment;

/// Finds the value of another key as text; the second argument is the bookkeeping that stops cycles.
pub(super) trait References {
    /// The text of `key`, already resolved, or why there is none.
    fn text_of(&self, key: &str, guard: &mut Guard) -> Result<String, String>;
    /// The text of `system.parameter.NAME`, `None` when the file does not have it.
    fn system_parameter(&self, name: &str, guard: &mut Guard) -> Option<Result<String, String>>;
}

/// Stops references that lead back to themselves or multiply.
#[derive(Default)]
pub(super) struct Guard {
    path: Vec<String>,
    steps: usize,
}

const MAX_DEPTH: usize = 32;
const MAX_STEPS: usize = 10_000;
const MAX_LENGTH: usize = 64 * 1024;

impl Guard {
    /// Runs `inner` as the resolution of `key`.
    pub(super) fn enter<T>(
        &mut self,
        key: &str,
        inner: impl FnOnce(&mut Guard) -> Result<T, String>,
    ) -> Result<T, String> {
        self.steps += 1;
        if let Some(start) = self.path.iter().position(|k| k == key) {
            let mut cycle = self.path[start..].to_vec();
            cycle.push(key.to_owned());
            return Err(format!(
                "references go round in a circle: {}",
                cycle.join(" -> ")
            ));
        }
        if self.path.len() >= MAX_DEPTH || self.steps > MAX_STEPS {
            return Err(format!(
                "references are nested too deeply (at most {MAX_DEPTH} levels and {MAX_STEPS} in total)"
            ));
        }
        self.path.push(key.to_owned());
        let result = inner(self);
        self.path.pop();
        result
    }
}

/// The one place a value is taken from if it is nothing but `$ref{key}`, so that lists and numbers
/// keep their type.
pub(super) fn whole_reference(text: &str) -> Option<&str> {
    let key = text.strip_prefix("$ref{")?.strip_suffix('}')?;
    (!key.contains('}')).then_some(key)
}

/// Replaces all placeholders in `text`.
pub(super) fn inject(
    text: &str,
    environment: &Environment,
    references: &impl References,
    guard: &mut Guard,
) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let text = replace(text, "secret", &mut |alias| {
        Err(format!(
            "$secret{{{alias}}}: the secure vault is not supported; use $env{{NAME}} and set the \
             variable from your secret store"
        ))
    })?;
    let text = replace(&text, "sys", &mut |name| {
        let value = match environment.system_property(name) {
            Some(value) => Some(value.to_owned()),
            None => references.system_parameter(name, guard).transpose()?,
        };
        value.filter(|v| !v.is_empty()).ok_or_else(|| {
            format!(
                "$sys{{{name}}}: system property \"{name}\" is not set; start with -D{name}=VALUE \
                 or add it to [system.parameter]"
            )
        })
    })?;
    let text = replace(&text, "env", &mut |name| match environment.variable(name) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!(
            "$env{{{name}}}: environment variable \"{name}\" is not set"
        )),
        Err(()) => Err(format!(
            "$env{{{name}}}: environment variable \"{name}\" is not UTF-8 text"
        )),
    })?;
    replace(&text, "ref", &mut |key| references.text_of(key, guard))
}

/// Replaces each `$KIND{name}` by what `value_of` says.
fn replace(
    text: &str,
    kind: &str,
    value_of: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let start = format!("${kind}{{");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&start) {
        out.push_str(&rest[..at]);
        let after = &rest[at + start.len()..];
        let Some(end) = after.find('}') else {
            return Err(format!("\"{start}\" has no closing brace"));
        };
        out.push_str(&value_of(&after[..end])?);
        if out.len() > MAX_LENGTH {
            return Err(format!("the value is longer than {MAX_LENGTH} bytes"));
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}
