//! `<propertyGroup>`: several properties, one after the other (spec 01 §1.7).

use super::property::ROOT as PROPERTY;
use super::{Context, Definition, Flow, Linker, Mediate, Need, Run, Spec};
use crate::diag::codes;
use crate::mediator::describe::{Area, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "propertyGroup",
    summary: "Sets or removes several properties.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator("propertyGroup", "Sets or removes several properties, in their order. Their attributes are those of [`<property>`](property.md).")
    .of(&[&PROPERTY]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &[],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut properties = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("property") => properties.extend(super::parse(reader, child)),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    if properties.is_empty() && reader.errors() == before {
        let place = reader.place(element);
        reader.warning(
            codes::MISSING_ELEMENT,
            place,
            "<propertyGroup> has no <property>; it has no effect",
        );
    }
    (reader.errors() == before).then(|| {
        let properties = properties.into_iter().map(|p| p.definition).collect();
        Arc::new(PropertyGroupDef(properties)) as Arc<dyn Definition>
    })
}

#[derive(Debug)]
struct PropertyGroupDef(Vec<Arc<dyn Definition>>);

impl Definition for PropertyGroupDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let linked = self.0.iter().filter_map(|p| match p.link(linker) {
            Run::Now(property) => Some(property),
            Run::Wait(_) => None,
        });
        Run::Now(Box::new(PropertyGroup(linked.collect())))
    }
}

#[derive(Debug)]
struct PropertyGroup(Vec<Box<dyn Mediate>>);

impl Mediate for PropertyGroup {
    fn need(&self) -> Need {
        // A look answers one question; there may be several here.
        match self.0.iter().any(|p| p.need() != Need::Nothing) {
            true => Need::Tree,
            false => Need::Nothing,
        }
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        for property in &self.0 {
            property.mediate(cx, message)?;
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use crate::mediator::testing::Bench;

    #[test]
    fn properties_are_set_in_order() {
        let mut bench = Bench::xml("<a>1</a>").property("gone", "x");
        let group = "<propertyGroup description='d'><property name='p' expression='//a'/><property name='q' expression=\"concat($ctx:p, '2')\"/><property name='gone' action='remove'/></propertyGroup>";
        bench.run(group).unwrap();
        assert_eq!(bench.text("q").as_deref(), Some("12"));
        assert_eq!(bench.text("gone"), None);
        assert_eq!(
            bench.give("<propertyGroup><log/></propertyGroup>"),
            "! deployment: <log> is not allowed in <propertyGroup>"
        );
        assert!(
            bench
                .give("<propertyGroup><property name='x'/></propertyGroup>")
                .starts_with("! deployment: ")
        );
    }
}
