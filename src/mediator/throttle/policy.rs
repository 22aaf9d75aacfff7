//! The throttling policy language (spec 03 §22).

use crate::xml::{Document, NodeId};
use std::net::Ipv4Addr;

/// Namespace of throttling assertions.
const THROTTLE: &str = "http://www.wso2.org/products/wso2commons/throttle";

/// What an entry goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The caller's address.
    Ip,
    /// The caller's host name.
    Domain,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Allow,
    /// Nothing.
    Deny,
    /// So many times in so many milliseconds.
    Control {
        /// Accesses.
        most: u64,
        /// Milliseconds.
        unit: u64,
        /// Milliseconds of rejection when there were more; 0 = until the window ends.
        prohibit: u64,
    },
}

/// One entry: whom it is about, and what they may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Type and text of the `ID`, which name its counter.
    pub name: String,
    /// What is allowed.
    pub access: Access,
}

#[derive(Debug)]
struct Rule {
    caller: Caller,
    id: String,
    entry: Entry,
}

/// A policy.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Most requests at one time.
    pub concurrent: Option<usize>,
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a `wsp:Policy`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(document: &Document, policy: NodeId) -> Result<Policy, String> {
        let wrong = |problem: &str| {
            format!("Error was occurred during throttle policy processing : {problem}")
        };
        let assertion = document
            .descendants(policy)
            .find(|n| {
                document.is_element(*n, THROTTLE, "MediatorThrottleAssertion")
                    || document.is_element(*n, THROTTLE, "ThrottleAssertion")
                    || document.is_element(*n, THROTTLE, "ServiceThrottleAssertion")
                    || document.is_element(*n, THROTTLE, "ModuleThrottleAssertion")
            })
            .ok_or_else(|| wrong("there is no MediatorThrottleAssertion in the policy"))?;
        let mut out = Policy::default();
        if let Some(most) = find(document, assertion, "MaximumConcurrentAccess") {
            let most = number(document, most)?;
            out.concurrent = usize::try_from(most).ok();
        }
        let ids: Vec<NodeId> = document
            .descendants(assertion)
            .filter(|n| document.is_element(*n, THROTTLE, "ID"))
            .collect();
        for id in ids {
            out.rules.push(rule(document, id)?);
        }
        if out.rules.is_empty() && out.concurrent.is_none() {
            return Err(wrong("it limits nothing"));
        }
        Ok(out)
    }

    /// The entry for a caller: the one that names it, else the narrowest pattern, else `other`.
    pub(super) fn entry(&self, caller: Caller, name: &str) -> Option<&Entry> {
        let rules = || self.rules.iter().filter(|r| r.caller == caller);
        rules()
            .find(|r| r.id.eq_ignore_ascii_case(name))
            .or_else(|| {
                rules()
                    .filter(|r| match caller {
                        Caller::Ip => in_range(&r.id, name),
                        Caller::Domain => in_domain(&r.id, name),
                    })
                    .max_by_key(|r| r.id.len())
            })
            .or_else(|| rules().find(|r| r.id.eq_ignore_ascii_case("other")))
            .map(|r| &r.entry)
    }
}

/// The first element of a name below another.
fn find(document: &Document, below: NodeId, name: &str) -> Option<NodeId> {
    document
        .descendants(below)
        .find(|n| document.is_element(*n, THROTTLE, name))
}

fn number(document: &Document, node: NodeId) -> Result<u64, String> {
    let text = document.string_value(node);
    text.trim().parse().map_err(|_| {
        format!(
            "Error was occurred during throttle policy processing : {} \"{}\" is not a number",
            document.local_name(node),
            text.trim()
        )
    })
}

fn rule(document: &Document, id: NodeId) -> Result<Rule, String> {
    let kind = document
        .attribute(id, THROTTLE, "type")
        .or_else(|| document.attribute(id, "", "type"))
        .unwrap_or("IP");
    let caller = match kind.trim() {
        k if k.eq_ignore_ascii_case("IP") => Caller::Ip,
        k if k.eq_ignore_ascii_case("DOMAIN") => Caller::Domain,
        k if k.eq_ignore_ascii_case("ROLE") => {
            return Err("Throttling by role is not supported: callers have no roles here".into());
        }
        other => return Err(format!("Unsupported throttle type : {other}")),
    };
    let text = document.string_value(id).trim().to_owned();
    if text.is_empty() {
        return Err("Error was occurred during throttle policy processing : an ID is empty".into());
    }
    // What is allowed stands beside the ID.
    let beside = document.parent(id).unwrap_or(id);
    let access = if let Some(allow) = find(document, beside, "IsAllow") {
        match document.string_value(allow).trim() {
            t if t.eq_ignore_ascii_case("true") => Access::Allow,
            _ => Access::Deny,
        }
    } else if find(document, beside, "Allow").is_some() {
        Access::Allow
    } else if find(document, beside, "Deny").is_some() {
        Access::Deny
    } else {
        let (Some(most), Some(unit)) = (
            find(document, beside, "MaximumCount"),
            find(document, beside, "UnitTime"),
        ) else {
            return Err("Maximum Count and UnitTime are Mandatory in Throttle Policy ".into());
        };
        Access::Control {
            most: number(document, most)?,
            unit: number(document, unit)?,
            prohibit: match find(document, beside, "ProhibitTimePeriod") {
                Some(time) => number(document, time)?,
                None => 0,
            },
        }
    };
    Ok(Rule {
        caller,
        entry: Entry {
            name: format!("{caller:?} {text}"),
            access,
        },
        id: text,
    })
}

/// `a.b.c.*`, or `a.b.c.d-a.b.c.e` within one network of 256.
fn in_range(pattern: &str, address: &str) -> bool {
    let Ok(address) = address.parse::<Ipv4Addr>() else {
        return false;
    };
    if let Some(network) = pattern.strip_suffix('*') {
        return network.ends_with('.') && address.to_string().starts_with(network);
    }
    let Some((from, to)) = pattern.split_once('-') else {
        return false;
    };
    match (
        from.trim().parse::<Ipv4Addr>(),
        to.trim().parse::<Ipv4Addr>(),
    ) {
        (Ok(from), Ok(to)) => (from..=to).contains(&address),
        _ => false,
    }
}

/// `*.x.y`.
fn in_domain(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) if end.starts_with('.') => name
            .len()
            .checked_sub(end.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Limits;
    use bytes::Bytes;

    fn read(inner: &str) -> Result<Policy, String> {
        let text = format!(
            "<wsp:Policy xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy' xmlns:t='{THROTTLE}'>{inner}</wsp:Policy>"
        );
        let document = Document::parse(Bytes::from(text), &Limits::default()).unwrap();
        Policy::read(&document, document.root_element().unwrap())
    }

    fn entries(list: &[(&str, &str)]) -> Policy {
        let inner: String = list
            .iter()
            .map(|(kind, id)| {
                format!(
                    "<wsp:Policy><t:ID t:type='{kind}'>{id}</t:ID><wsp:Policy><t:Allow/></wsp:Policy></wsp:Policy>"
                )
            })
            .collect();
        read(&format!(
            "<t:MediatorThrottleAssertion>{inner}</t:MediatorThrottleAssertion>"
        ))
        .unwrap()
    }

    #[test]
    fn callers_are_matched() {
        let policy = entries(&[
            ("IP", "other"),
            ("IP", "10.0.0.*"),
            ("IP", "10.0.0.5-10.0.0.9"),
            ("IP", "10.0.0.7"),
            ("DOMAIN", "*.example.com"),
            ("DOMAIN", "a.example.com"),
        ]);
        for (caller, name, expected) in [
            (Caller::Ip, "10.0.0.7", Some("Ip 10.0.0.7")),
            (Caller::Ip, "10.0.0.9", Some("Ip 10.0.0.5-10.0.0.9")),
            (Caller::Ip, "10.0.0.10", Some("Ip 10.0.0.*")),
            (Caller::Ip, "10.0.1.10", Some("Ip other")),
            (Caller::Ip, "::1", Some("Ip other")),
            (
                Caller::Domain,
                "A.example.com",
                Some("Domain a.example.com"),
            ),
            (
                Caller::Domain,
                "b.Example.com",
                Some("Domain *.example.com"),
            ),
            (Caller::Domain, "example.com", None),
            (Caller::Domain, "badexample.com", None),
        ] {
            let found = policy.entry(caller, name).map(|e| e.name.as_str());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_old_form() {
        let policy = read(
            "<t:ThrottleAssertion><wsp:All><t:ID t:type='IP'>other</t:ID><wsp:ExactlyOne><wsp:All>\
             <t:MaximumCount>4</t:MaximumCount><t:UnitTime>800000</t:UnitTime>\
             <t:ProhibitTimePeriod wsp:Optional='true'>10</t:ProhibitTimePeriod>\
             </wsp:All></wsp:ExactlyOne></wsp:All>\
             <wsp:All><t:ID t:type='IP'>10.1.1.1</t:ID><wsp:ExactlyOne><t:IsAllow>false</t:IsAllow></wsp:ExactlyOne></wsp:All>\
             <t:MaximumConcurrentAccess>7</t:MaximumConcurrentAccess></t:ThrottleAssertion>",
        )
        .unwrap();
        assert_eq!(policy.concurrent, Some(7));
        let access = |name| policy.entry(Caller::Ip, name).unwrap().access;
        assert_eq!(
            access("x"),
            Access::Control {
                most: 4,
                unit: 800_000,
                prohibit: 10
            }
        );
        assert_eq!(access("10.1.1.1"), Access::Deny);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let one = |inner: &str| {
            read(&format!(
                "<t:MediatorThrottleAssertion><wsp:Policy>{inner}</wsp:Policy></t:MediatorThrottleAssertion>"
            ))
            .unwrap_err()
        };
        for (policy, expected) in [
            (
                "<t:ID t:type='IP'>other</t:ID><wsp:Policy><t:Control><wsp:Policy><t:UnitTime>1</t:UnitTime></wsp:Policy></t:Control></wsp:Policy>",
                "Maximum Count and UnitTime are Mandatory in Throttle Policy ",
            ),
            (
                "<t:ID t:type='MOON'>other</t:ID>",
                "Unsupported throttle type : MOON",
            ),
            (
                "<t:ID t:type='ROLE'>gold</t:ID>",
                "Throttling by role is not supported: callers have no roles here",
            ),
            (
                "<t:ID>other</t:ID><t:MaximumCount>many</t:MaximumCount><t:UnitTime>1</t:UnitTime>",
                "Error was occurred during throttle policy processing : MaximumCount \"many\" is not a number",
            ),
            (
                "",
                "Error was occurred during throttle policy processing : it limits nothing",
            ),
        ] {
            assert_eq!(one(policy), expected);
        }
    }
}
