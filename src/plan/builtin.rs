//! The sequences `main` and `fault` that every server has (spec 01 §0): paths that nobody claims
//! get 404 without a body, faults that nobody handles are logged.

use crate::artifact::{Definition, parse_file};
use crate::diag::Source;
use crate::mediator::SequenceDef;
use crate::settings::Unsupported;
use std::sync::{Arc, LazyLock};

const TEXT: &str = r#"<definitions xmlns="http://ws.apache.org/ns/synapse">
  <sequence name="main">
    <in>
      <log level="custom" category="DEBUG">
        <property name="main sequence executed for call to non-existent" expression="get-property('To')"/>
      </log>
      <property name="NO_ENTITY_BODY" scope="axis2" type="BOOLEAN" value="true"/>
      <property name="HTTP_SC" scope="axis2" value="404"/>
      <respond/>
    </in>
    <out>
      <send/>
    </out>
  </sequence>
  <sequence name="fault">
    <log level="custom" category="WARN">
      <property name="MESSAGE" value="Executing default 'fault' sequence"/>
      <property name="ERROR_CODE" expression="get-property('ERROR_CODE')"/>
      <property name="ERROR_MESSAGE" expression="get-property('ERROR_MESSAGE')"/>
    </log>
    <drop/>
  </sequence>
</definitions>"#;

static SEQUENCES: LazyLock<Vec<Arc<crate::artifact::Artifact>>> = LazyLock::new(|| {
    parse_file(
        &Source::new("built-in.xml", TEXT),
        Unsupported::Refuse,
        &Arc::default(),
    )
    .artifacts
});

/// The built-in sequences.
pub(super) fn sequences() -> impl Iterator<Item = &'static SequenceDef> {
    SEQUENCES.iter().filter_map(|a| match &a.definition {
        Definition::Sequence(def) => Some(def),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn main_and_fault_are_there() {
        let names: Vec<&str> = super::sequences().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["main", "fault"]);
    }
}
