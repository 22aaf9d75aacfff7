//! `<property name="myelin.…" value="…"/>` of an endpoint: what it has beyond the reference. The
//! message never sees these properties.

use super::Names;
use super::property::EndpointProperty;
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::expr::Expr;
use crate::settings::{EndpointPolicy, PolicyLevel};
use crate::syntax::Reader;
use std::sync::Arc;

const PREFIX: &str = "myelin.";
const HASH_EXPRESSION: &str = "hash_policy.expression";

/// The properties of one endpoint, as they are written; values are checked.
#[derive(Debug, Default)]
pub struct PolicyDef {
    own: Vec<(String, String, Place)>,
    /// Key of `RING_HASH`.
    pub hash: Option<Arc<Expr>>,
    /// Where a health check is asked for here.
    pub health_place: Option<Place>,
}

impl PolicyDef {
    /// Takes the properties of this prefix out of the list. `levels` are those that the endpoint has;
    /// a group of members has both, as its members cannot say anything themselves.
    pub fn take(
        reader: &mut Reader,
        properties: &mut Vec<EndpointProperty>,
        levels: &[PolicyLevel],
    ) -> PolicyDef {
        let mut out = PolicyDef::default();
        let mut scratch = EndpointPolicy::default();
        for property in properties.extract_if(.., |p| p.name.starts_with(PREFIX)) {
            let name = property.name.get(PREFIX.len()..).unwrap_or_default();
            let place = property.place.clone();
            let known = match name {
                HASH_EXPRESSION => Some(PolicyLevel::Group),
                name => EndpointPolicy::level(name),
            };
            match known {
                None => {
                    let names = EndpointPolicy::names().chain([HASH_EXPRESSION]);
                    let hint =
                        nearest(name, names).map(|n| format!("did you mean \"{PREFIX}{n}\"?"));
                    reader.report(
                        Diagnostic::error(
                            codes::INVALID_VALUE,
                            place,
                            format!("\"{PREFIX}{name}\" is no setting of endpoints"),
                        )
                        .maybe_help(hint),
                    );
                    continue;
                }
                Some(PolicyLevel::Leaf) if !levels.contains(&PolicyLevel::Leaf) => {
                    let text = format!(
                        "\"{PREFIX}{name}\" goes with <address>, <http>, <default> and <wsdl> endpoints, and with <member>s"
                    );
                    reader.error(codes::CONFLICT, place, text);
                    continue;
                }
                Some(PolicyLevel::Group) if !levels.contains(&PolicyLevel::Group) => {
                    let text = format!("\"{PREFIX}{name}\" goes with <loadbalance> and <failover>");
                    reader.error(codes::CONFLICT, place, text);
                    continue;
                }
                Some(_) => {}
            }
            if name == HASH_EXPRESSION {
                let owned = name.to_owned();
                match property.into_expression() {
                    Some(expr) => out.hash = Some(Arc::new(expr)),
                    None => reader.error(
                        codes::MISSING_ATTRIBUTE,
                        place,
                        format!("\"{PREFIX}{owned}\" needs an \"expression\""),
                    ),
                }
                continue;
            }
            let Some(text) = property.literal() else {
                let text = format!(
                    "\"{PREFIX}{name}\" needs a \"value\": it is the same for all messages"
                );
                reader.error(codes::MISSING_ATTRIBUTE, place, text);
                continue;
            };
            match scratch.set(name, text) {
                Ok(()) => {
                    if name == "health_check.path" {
                        out.health_place = Some(place.clone());
                    }
                    out.own.push((name.to_owned(), text.to_owned(), place));
                }
                Err(why) => reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!("\"{PREFIX}{name}\": \"{text}\" {why}"),
                ),
            }
        }
        out
    }

    /// Says that weights choose already.
    pub fn refuse_beside_weights(&self, reader: &mut Reader) {
        let chooses = |name: &str| name == "lb_policy" || name.starts_with("slow_start.");
        if let Some((.., place)) = self.own.iter().find(|(name, ..)| chooses(name)) {
            reader.error(
                codes::CONFLICT,
                place.clone(),
                "\"myelin.lb_policy\" and \"myelin.slow_start\" do not go with the weights of an algorithm",
            );
        }
    }

    /// The server's settings with the endpoint's own on top.
    pub fn link(&self, names: &dyn Names) -> EndpointPolicy {
        let mut policy = names.settings().endpoint_policy.clone();
        for (name, text, _) in &self.own {
            // Checked when the artifact was read.
            let _ = policy.set(name, text);
        }
        policy
    }
}
