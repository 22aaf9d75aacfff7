//! Where placeholders take their values from.

use std::collections::BTreeMap;

use super::Properties;

/// Where `$env{}` and `$sys{}` take their values from.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Option<BTreeMap<String, String>>,
    pub(super) system: Properties,
}

impl Environment {
    /// The environment of this process, without system properties.
    pub fn of_process() -> Self {
        Self::default()
    }

    /// A fixed set of variables instead of those of the process.
    pub fn fixed<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Self {
            variables: Some(variables),
            system: Properties::default(),
        }
    }

    /// Adds a system property, as `-Dname=value` on the command line does.
    #[must_use]
    pub fn with_system_property(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.system.insert(name, value);
        self
    }

    /// `Err` when the variable is there but not text.
    pub(super) fn variable(&self, name: &str) -> Result<Option<String>, ()> {
        match &self.variables {
            Some(fixed) => Ok(fixed.get(name).cloned()),
            None => match std::env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => Err(()),
            },
        }
    }

    pub(super) fn system_property(&self, name: &str) -> Option<&str> {
        self.system.get(name)
    }
}
