//! Local entries and registry resources by key (spec 04 §3).

pub use super::LocalEntries;
use crate::message::Value;
use std::borrow::Cow;

/// What the names of registry resources start with in the map; no key of a local entry does.
const REGISTRY: &str = "\u{0}";

/// The value of a key: the local entry of this name, else the registry resource (spec 04 §3.1).
pub fn find<'a>(entries: &'a LocalEntries, key: &str) -> Option<&'a Value> {
    entries
        .get(key)
        .or_else(|| entries.get(&registry_name(key)?))
}

/// The text of a registry resource as `registry()` gives it: what is neither XML nor text is read as
/// text (spec 05 §5.8).
pub fn resource_text<'a>(entries: &'a LocalEntries, key: &str) -> Option<Cow<'a, str>> {
    let name = registry_name(key)?;
    entries
        .get(&binary_name(&name))
        .or_else(|| entries.get(&name))
        .map(Value::text)
}

/// A property of a registry resource (spec 04 §3.2).
pub fn resource_property<'a>(
    entries: &'a LocalEntries,
    key: &str,
    property: &str,
) -> Option<&'a str> {
    match entries.get(&properties_name(&registry_name(key)?))? {
        Value::Map(pairs) => {
            let found = pairs.iter().find(|(name, _)| name == property);
            found.and_then(|(_, value)| value.as_str())
        }
        _ => None,
    }
}

/// Where the map has the properties of the resource of a name: those of its `FILE.properties`.
pub fn properties_name(name: &str) -> String {
    format!("{name}{REGISTRY}properties")
}

/// Where the map has a resource of a name that is not text, read as text.
pub fn binary_name(name: &str) -> String {
    format!("{name}{REGISTRY}text")
}

/// Whether a name of the map is that of a registry resource.
pub fn is_resource(name: &str) -> bool {
    name.starts_with(REGISTRY)
}

/// The name of the registry resource that a key such as `gov:/a/b.xsd` means, as it stands in the
/// map (spec 04 §3.2). `None` for a key that leads out of the registry.
pub fn registry_name(key: &str) -> Option<String> {
    let key = key.trim();
    let (root, path) = if let Some(path) = key.strip_prefix("conf:") {
        ("config", path)
    } else if let Some(path) = key.strip_prefix("local:") {
        ("local", path)
    } else if let Some(path) = key.strip_prefix("resources:") {
        ("governance/mi-resources", path)
    } else {
        ("governance", key.strip_prefix("gov:").unwrap_or(key))
    };
    let mut name = format!("{REGISTRY}{root}");
    let mut any = false;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => {
                name.push('/');
                name.push_str(part);
                any = true;
            }
        }
    }
    any.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_files_of_the_registry() {
        let named = |key| registry_name(key).map(|n| n.trim_start_matches(REGISTRY).to_owned());
        assert_eq!(named("gov:/a/b.xsd").as_deref(), Some("governance/a/b.xsd"));
        assert_eq!(named("gov:a//b").as_deref(), Some("governance/a/b"));
        assert_eq!(named("conf:/x").as_deref(), Some("config/x"));
        assert_eq!(named("local:/x").as_deref(), Some("local/x"));
        assert_eq!(named("/x").as_deref(), Some("governance/x"));
        assert_eq!(
            named("resources:s/x.json").as_deref(),
            Some("governance/mi-resources/s/x.json")
        );
        assert_eq!(named("gov:/a/../../../etc/passwd"), None);
        assert_eq!(named("gov:"), None);
    }

    #[test]
    fn a_local_entry_wins() {
        let mut entries = LocalEntries::new();
        entries.insert(registry_name("gov:/x").unwrap(), Value::from("file"));
        assert_eq!(
            find(&entries, "gov:/x").and_then(Value::as_str),
            Some("file")
        );
        assert_eq!(find(&entries, "x").and_then(Value::as_str), Some("file"));
        entries.insert("gov:/x".to_owned(), Value::from("entry"));
        assert_eq!(
            find(&entries, "gov:/x").and_then(Value::as_str),
            Some("entry")
        );
        assert_eq!(find(&entries, "gov:/y").and_then(Value::as_str), None);
    }
}
