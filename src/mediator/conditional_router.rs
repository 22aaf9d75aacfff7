//! `<conditionalRouter>`: tests routes in order and runs the targets of those that hold
//! (spec 03 §4).

use super::condition::{CONDITION, Condition};
use super::list::build;
use super::target::{TARGET, Target, TargetDef};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::diag::codes;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "conditionalRouter",
    summary: "Runs the targets of the routes whose conditions hold.",
    doc: DOC,
    parse,
};

const ROUTE: Tag = Tag::child(
    "conditionalRoute",
    "One way, with its condition. Tried in their order.",
)
.with(&[
    Attr::truth(
        "breakRoute",
        "`true`: when its condition holds, no later route is tried.",
    )
    .or("true"),
    Attr::truth(
        "asynchronous",
        "`true`: the target runs on a copy of the message, and is not waited for.",
    ),
    Attr::text("description", "For people.").ignored(),
])
.of(&[&CONDITION, &TARGET]);

const ROOT: Tag = Tag::mediator(
    "conditionalRouter",
    "Runs the targets whose conditions hold. Conditions look at headers, query parameters, properties, the address or the body.",
)
.with(&[Attr::truth(
    "continueAfter",
    "`true`: what stands behind the router runs too, whatever the routes did.",
)])
.of(&[&ROUTE]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::As("The whole body is read, as in the reference."),
    forms: &[&ROOT],
    remarks: &[
        "`true`, `yes`, `1`, `false`, `no` and `0` are understood; anything else is an error.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let continue_after = truth(reader, element, "continueAfter", false, "conditionalRouter");
    let mut routes = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("conditionalRoute") => routes.extend(parse_route(reader, child)),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    (reader.errors() == before).then(|| {
        Arc::new(RouterDef {
            continue_after,
            routes,
        }) as Arc<dyn Definition>
    })
}

fn truth(
    reader: &mut Reader,
    element: Element<'_, '_>,
    name: &str,
    default: bool,
    of: &str,
) -> bool {
    let Some(text) = element.attribute(name) else {
        return default;
    };
    let word = text.trim().to_ascii_lowercase();
    match word.as_str() {
        "true" | "yes" | "1" => true,
        "false" | "no" | "0" => false,
        _ => {
            let place = reader.attribute_place(element, name);
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!(
                    "{name} attribute value of the {of} must be either 'true' or 'false', the value found is : {text}"
                ),
            );
            default
        }
    }
}

fn parse_route(reader: &mut Reader, element: Element<'_, '_>) -> Option<RouteDef> {
    ROUTE.check(reader, element);
    let break_route = truth(
        reader,
        element,
        "breakRoute",
        true,
        "conditionalRoute element",
    );
    let asynchronous = element
        .attribute("asynchronous")
        .is_some_and(|v| matches!(v.trim().to_ascii_lowercase().as_str(), "true" | "yes" | "1"));
    let (mut condition, mut target) = (None, None);
    for child in reader.children(element) {
        match reader.name(child) {
            Some("condition") => {
                CONDITION.check(reader, child);
                condition = Some(child);
            }
            Some("target") if target.is_none() => target = Some(child),
            Some("description") => {}
            _ => ROUTE.refuse(reader, child),
        }
    }
    let place = reader.place(element);
    let Some(condition) = condition else {
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "Couldn't find the condition of the conditional router",
        );
        return None;
    };
    let Some(target) = target else {
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "<conditionalRoute> needs a <target>",
        );
        return None;
    };
    let before = reader.errors();
    let evaluator = condition
        .first_element_child()
        .and_then(|e| Condition::parse(reader, e));
    if evaluator.is_none() && reader.errors() == before {
        let place = reader.place(condition);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "Couldn't build the condition of the conditional router",
        );
    }
    let target = TargetDef::parse(reader, target);
    Some(RouteDef {
        condition: Arc::new(evaluator?),
        target: target?,
        break_route,
        asynchronous,
    })
}

#[derive(Debug)]
struct RouteDef {
    condition: Arc<Condition>,
    target: TargetDef,
    break_route: bool,
    asynchronous: bool,
}

#[derive(Debug)]
struct RouterDef {
    continue_after: bool,
    routes: Vec<RouteDef>,
}

impl Definition for RouterDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let routes = self.routes.iter().enumerate().map(|(index, route)| Route {
            condition: route.condition.clone(),
            target: Arc::new(linker.within(&format!("route{index}"), |l| route.target.link(l))),
            break_route: route.break_route,
            asynchronous: route.asynchronous,
        });
        Run::Wait(Box::new(Router {
            continue_after: self.continue_after,
            routes: routes.collect(),
        }))
    }
}

#[derive(Debug)]
struct Route {
    condition: Arc<Condition>,
    target: Arc<Target>,
    break_route: bool,
    asynchronous: bool,
}

#[derive(Debug)]
struct Router {
    continue_after: bool,
    routes: Vec<Route>,
}

impl MediateAsync for Router {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                build(cx, message).await?;
            }
            for route in &self.routes {
                if route.condition.needs_body() && !message.is_built() {
                    // The target of a route before it sent the body away, or got another one.
                    build(cx, message).await?;
                }
                let holds = route.condition.holds(cx, message).map_err(|cause| {
                    let mut fault = Fault::mediation("Couldn't evaluate the route condition");
                    fault.detail = Some(format!("{}: {}", fault.message, cause.message));
                    fault
                })?;
                if !holds {
                    continue;
                }
                if route.asynchronous {
                    let copy = message.copy(&cx.services.limits).await?;
                    let target = route.target.clone();
                    cx.detach()?.spawn_work(move |cx| {
                        Box::pin(async move {
                            let mut copy = copy;
                            let outcome = target.run(cx, &mut copy).await.map(|_| ());
                            super::settle(cx, &mut copy, outcome).await;
                        })
                    });
                } else {
                    route.target.run_caught(cx, message).await;
                }
                if route.break_route {
                    break;
                }
            }
            Ok(match self.continue_after {
                true => Flow::Continue,
                false => Flow::Stop,
            })
        })
    }
}
