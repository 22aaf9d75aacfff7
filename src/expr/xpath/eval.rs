//! The evaluator: expressions, paths and predicates.
//!
//! Node-sets are kept in document order without duplicates at every step; sorting is done only
//! where an axis can have broken that.

use super::axes::{self, Test, View};
use super::peek::Found;
use super::program::{
    Axis, Expr, Operator, Path, Place, Predicate, Program, Start, Step, Variable,
};
use super::{EvalError, Node, PropertyValue, Scope, convert};
use crate::xml::{Document, ExpandedName};
use std::borrow::Cow;

pub(super) type Result<T> = std::result::Result<T, EvalError>;

/// A value during evaluation. `'p` borrows from the program, `'a` from the message.
#[derive(Clone, Debug)]
pub(super) enum Val<'p, 'a> {
    Nodes(NodeSet<'a>),
    Str(Cow<'p, str>),
    Num(f64),
    Bool(bool),
    Int(i64),
    Float(f32),
    Json(Cow<'a, str>),
    Null,
}

impl<'p, 'a: 'p> Val<'p, 'a> {
    pub(super) fn of_property(value: PropertyValue<'a>) -> Val<'p, 'a> {
        match value {
            PropertyValue::Null => Val::Null,
            PropertyValue::String(s) => Val::Str(s),
            PropertyValue::Boolean(b) => Val::Bool(b),
            PropertyValue::Integer(i) => Val::Int(i),
            PropertyValue::Float(x) => Val::Float(x),
            PropertyValue::Double(n) => Val::Num(n),
            PropertyValue::Xml(document, node) => {
                Val::Nodes(NodeSet::one(Node::new(document, node)))
            }
            PropertyValue::Json(text) => Val::Json(text),
        }
    }

    pub(super) fn text(s: impl Into<Cow<'p, str>>) -> Val<'p, 'a> {
        Val::Str(s.into())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct NodeSet<'a> {
    /// In document order, without duplicates.
    pub(super) nodes: Vec<Node<'a>>,
    /// No node is an ancestor of another.
    pub(super) flat: bool,
}

impl<'a> NodeSet<'a> {
    pub(super) fn one(node: Node<'a>) -> NodeSet<'a> {
        NodeSet {
            nodes: vec![node],
            flat: true,
        }
    }

    fn of(node: Option<Node<'a>>) -> NodeSet<'a> {
        NodeSet {
            nodes: node.into_iter().collect(),
            flat: true,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) node: Option<Node<'a>>,
    pub(super) position: usize,
    pub(super) size: usize,
}

impl<'a> Context<'a> {
    /// The context of the whole expression, whose `position()` is 0 in Jaxen.
    fn top(node: Option<Node<'a>>) -> Context<'a> {
        Context {
            position: 0,
            ..Context::of(node)
        }
    }

    fn of(node: Option<Node<'a>>) -> Context<'a> {
        Context {
            node,
            position: 1,
            size: 1,
        }
    }
}

/// Called for the nodes a step finds; `true` ends the search.
type Visit<'v, 'p, 'a> = &'v mut dyn FnMut(&mut Evaluator<'p, 'a>, Node<'a>) -> Result<bool>;

type LookedUp<'a> = Option<(&'a Document, Option<u32>)>;

/// Names whose ids are remembered without allocating.
const FEW_NAMES: usize = 4;

pub(super) struct Evaluator<'p, 'a> {
    pub(super) scope: &'a dyn Scope,
    program: &'p Program,
    view: View<'a>,
    /// Per name slot: the document it was looked up in last, and the id there.
    names: [LookedUp<'a>; FEW_NAMES],
    more_names: Vec<LookedUp<'a>>,
    pub(super) budget: u64,
    /// What a look into the body found.
    found: &'p [Found],
}

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    pub(super) fn new(
        program: &'p Program,
        scope: &'a dyn Scope,
        budget: u64,
    ) -> Evaluator<'p, 'a> {
        let envelope = scope
            .envelope()
            .map(|(document, node)| Node::new(document, node));
        let view = View {
            envelope,
            has_document: scope.has_document_root(),
        };
        Evaluator {
            scope,
            program,
            view,
            names: [None; FEW_NAMES],
            more_names: Vec::new(),
            budget,
            found: &[],
        }
    }

    /// An evaluator of a program that asks for what was found in the body.
    pub(super) fn after_look(
        program: &'p Program,
        scope: &'a dyn Scope,
        budget: u64,
        found: &'p [Found],
    ) -> Evaluator<'p, 'a> {
        Evaluator {
            found,
            ..Evaluator::new(program, scope, budget)
        }
    }

    /// The answer of a probe. One that is not known yet is never asked for.
    pub(super) fn found(&self, number: usize) -> Val<'p, 'a> {
        match self.found.get(number) {
            Some(Found::Bool(b)) => Val::Bool(*b),
            Some(Found::Number(n)) => Val::Num(*n),
            Some(Found::Text(text)) => Val::Str(Cow::Borrowed(text)),
            Some(Found::Unknown) | None => Val::Null,
        }
    }

    pub(super) fn run(&mut self) -> Result<Val<'p, 'a>> {
        let program = self.program;
        self.eval(&program.root, Context::top(self.view.envelope))
    }

    pub(super) fn run_boolean(&mut self) -> Result<bool> {
        let program = self.program;
        self.eval_bool(&program.root, Context::top(self.view.envelope))
    }

    pub(super) fn eval(&mut self, expr: &'p Expr, context: Context<'a>) -> Result<Val<'p, 'a>> {
        match expr {
            Expr::Literal(s) => Ok(Val::Str(Cow::Borrowed(s))),
            Expr::Number(n) => Ok(Val::Num(*n)),
            Expr::Variable(v) => self.variable(v),
            Expr::Call(function, args) => self.call(function, args, context),
            Expr::Path(path) => self.path(path, context),
            Expr::Union(list) => self.union(list, context),
            Expr::Negate(e) => Ok(Val::Num(-self.eval_number(e, context)?)),
            Expr::Arithmetic(first, rest) => self.arithmetic(first, rest, context),
            Expr::Or(_) | Expr::And(_) | Expr::Equality(..) | Expr::Relational(..) => {
                Ok(Val::Bool(self.eval_bool(expr, context)?))
            }
        }
    }

    pub(super) fn eval_bool(&mut self, expr: &'p Expr, context: Context<'a>) -> Result<bool> {
        match expr {
            Expr::Or(list) => {
                for e in list {
                    if self.eval_bool(e, context)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expr::And(list) => {
                for e in list {
                    if !self.eval_bool(e, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expr::Equality(first, rest) => self.equality(first, rest, context),
            Expr::Relational(first, rest) => self.relational(first, rest, context),
            Expr::Path(path) if !path.steps.is_empty() => {
                self.any(path, context, &mut |_, _| Ok(true))
            }
            _ => {
                let value = self.eval(expr, context)?;
                Ok(convert::truth(&value))
            }
        }
    }

    pub(super) fn eval_number(&mut self, expr: &'p Expr, context: Context<'a>) -> Result<f64> {
        if let Expr::Path(_) = expr {
            let text = self.eval_string(expr, context)?;
            return Ok(convert::parse_number(&text));
        }
        let value = self.eval(expr, context)?;
        self.number(&value)
    }

    pub(super) fn eval_string(
        &mut self,
        expr: &'p Expr,
        context: Context<'a>,
    ) -> Result<Cow<'p, str>> {
        if let Expr::Path(path) = expr
            && !path.steps.is_empty()
        {
            let first = self.first(path, context)?;
            return self.node_text(first);
        }
        let value = self.eval(expr, context)?;
        self.string(value)
    }

    pub(super) fn string(&mut self, value: Val<'p, 'a>) -> Result<Cow<'p, str>> {
        match value {
            Val::Nodes(set) => self.node_text(set.nodes.first().copied()),
            other => Ok(convert::scalar_text(other)),
        }
    }

    pub(super) fn number(&mut self, value: &Val<'p, 'a>) -> Result<f64> {
        Ok(match value {
            Val::Nodes(set) => {
                let text = self.node_text(set.nodes.first().copied())?;
                convert::parse_number(&text)
            }
            other => convert::scalar_number(other),
        })
    }

    /// String-value of a node; looking for its pieces and reading long text is work too.
    pub(super) fn node_text(&mut self, node: Option<Node<'a>>) -> Result<Cow<'a, str>> {
        let (text, cost) = match node {
            None => return Ok(Cow::Borrowed("")),
            Some(node) if node.attribute.is_none() => {
                node.document.string_value_and_cost(node.node)
            }
            // Attributes are found by counting.
            Some(node) => (axes::string_value(node), axes::place_cost(node)),
        };
        self.spend(cost + text.len() as u64 / 32)?;
        Ok(text)
    }

    pub(super) fn spend(&mut self, visits: u64) -> Result<()> {
        match self.budget.checked_sub(visits) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(exhausted()),
        }
    }

    #[inline]
    fn tick(&mut self) -> Result<()> {
        if self.budget == 0 {
            return Err(exhausted());
        }
        self.budget -= 1;
        Ok(())
    }

    fn variable(&mut self, variable: &'p Variable) -> Result<Val<'p, 'a>> {
        let element = |part: Option<(&'a Document, crate::xml::NodeId)>| {
            part.map_or(Val::Null, |(d, n)| {
                Val::Nodes(NodeSet::one(Node::new(d, n)))
            })
        };
        match variable {
            Variable::Body => Ok(element(self.scope.body())),
            Variable::Header => Ok(element(self.scope.header())),
            Variable::Envelope => Ok(element(self.scope.envelope())),
            other => self.property_variable(other),
        }
    }

    fn arithmetic(
        &mut self,
        first: &'p Expr,
        rest: &'p [(Operator, Expr)],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        let mut total = self.eval_number(first, context)?;
        for (operator, e) in rest {
            let operand = self.eval_number(e, context)?;
            total = match operator {
                Operator::Add => total + operand,
                Operator::Subtract => total - operand,
                Operator::Multiply => total * operand,
                Operator::Divide => total / operand,
                Operator::Modulo => total % operand,
            };
        }
        Ok(Val::Num(total))
    }

    fn union(&mut self, list: &'p [Expr], context: Context<'a>) -> Result<Val<'p, 'a>> {
        let mut nodes = Vec::new();
        for e in list {
            match self.eval(e, context)? {
                Val::Nodes(set) if nodes.is_empty() => nodes = set.nodes,
                Val::Nodes(set) => nodes.extend(set.nodes),
                Val::Null => {}
                _ => return Err(EvalError::new("Unions are only allowed over node-sets")),
            }
        }
        self.put_in_order(&mut nodes)?;
        Ok(Val::Nodes(NodeSet { nodes, flat: false }))
    }

    fn path(&mut self, path: &'p Path, context: Context<'a>) -> Result<Val<'p, 'a>> {
        if let Start::Filter(e, predicates) = &path.start
            && path.steps.is_empty()
        {
            // A predicate after something that is not a node-set has no effect (Jaxen).
            return Ok(match self.eval(e, context)? {
                Val::Nodes(set) => Val::Nodes(self.filter(set, predicates)?),
                other => other,
            });
        }
        Ok(Val::Nodes(self.all(path, context)?))
    }

    /// All nodes of a path.
    fn all(&mut self, path: &'p Path, context: Context<'a>) -> Result<NodeSet<'a>> {
        let start = self.start(&path.start, context)?;
        if path.overlap {
            self.overlapping_steps(start, &path.steps)
        } else {
            self.steps(start, &path.steps)
        }
    }

    fn start(&mut self, start: &'p Start, context: Context<'a>) -> Result<NodeSet<'a>> {
        Ok(match start {
            Start::Context => NodeSet::of(context.node),
            Start::Root => NodeSet::of(self.root(context)?),
            Start::Filter(e, predicates) => match self.eval(e, context)? {
                Val::Nodes(set) => self.filter(set, predicates)?,
                // A path below a string or a missing property selects nothing.
                _ => NodeSet::default(),
            },
        })
    }

    /// The root of the tree of the context node. Going up a deep tree is work, too.
    fn root(&mut self, context: Context<'a>) -> Result<Option<Node<'a>>> {
        let Some(node) = context.node else {
            return Ok(None);
        };
        let (root, levels) = self.view.root(node);
        self.spend(levels / 8)?;
        Ok(Some(root))
    }

    fn steps(&mut self, start: NodeSet<'a>, steps: &'p [Step]) -> Result<NodeSet<'a>> {
        let mut set = start;
        let mut rest = steps;
        while let Some((step, after)) = rest.split_first() {
            if set.nodes.is_empty() {
                break;
            }
            if let ([below, child, after @ ..], [only]) = (rest, set.nodes.as_slice())
                && let Some(found) = self.numbered_below(*only, below, child)?
            {
                set = found;
                rest = after;
                continue;
            }
            set = self.step(&set, step)?;
            rest = after;
        }
        Ok(set)
    }

    /// What `//name[3]` or `//name[last()]` selects from one node, in one pass over the names below it instead of over
    /// the children of everything; `None` for other steps.
    fn numbered_below(
        &mut self,
        from: Node<'a>,
        below: &'p Step,
        child: &'p Step,
    ) -> Result<Option<NodeSet<'a>>> {
        let Some(step) = child.numbered_after(below) else {
            return Ok(None);
        };
        if from.attribute.is_some() {
            return Ok(None);
        }
        let document = from.document;
        let mut nodes = Vec::new();
        if let Some(id) = self.name_id(step.slot, step.name, document) {
            let below = document.numbered_below(from.node, id);
            let elements = below.elements();
            self.spend(below.looked_at + elements.len() as u64)?;
            let wanted = elements.iter().filter(|e| match step.place {
                Place::Number(number) => e.number as usize == number,
                Place::Last => e.last,
            });
            for element in wanted {
                let node = Node::new(document, element.node);
                if self.passes(node, step.predicates)? {
                    nodes.push(node);
                }
            }
        }
        Ok(Some(NodeSet { nodes, flat: false }))
    }

    fn step(&mut self, set: &NodeSet<'a>, step: &'p Step) -> Result<NodeSet<'a>> {
        let axis = step.axis;
        let mut found: Vec<Node<'a>> = Vec::new();
        let collect = |ev: &mut Self, from: Node<'a>, found: &mut Vec<Node<'a>>| {
            ev.select(step, from, &mut |_, node| {
                found.push(node);
                Ok(false)
            })
        };
        if let [only] = set.nodes.as_slice() {
            collect(self, *only, &mut found)?;
            if axis.is_reverse() {
                found.reverse();
            }
            let flat = matches!(
                axis,
                Axis::Child
                    | Axis::Attribute
                    | Axis::Namespace
                    | Axis::Itself
                    | Axis::Parent
                    | Axis::FollowingSibling
                    | Axis::PrecedingSibling
            );
            return Ok(NodeSet { nodes: found, flat });
        }
        let downwards = matches!(axis, Axis::Descendant | Axis::DescendantOrSelf);
        if downwards && step.predicates.iter().all(Predicate::is_filter) {
            // What is below a node covered already was found already. Attributes are below
            // nothing, but come before the children of their element.
            let mut covered: Option<Node<'a>> = None;
            let mut attributes = false;
            for &from in &set.nodes {
                attributes |= from.attribute.is_some();
                if set.flat || from.attribute.is_some() {
                    collect(self, from, &mut found)?;
                } else if !self.is_below(from, covered)? {
                    collect(self, from, &mut found)?;
                    covered = Some(from);
                }
            }
            if attributes {
                self.put_in_order(&mut found)?;
            }
            return Ok(NodeSet {
                nodes: found,
                flat: false,
            });
        }
        for &from in &set.nodes {
            collect(self, from, &mut found)?;
        }
        let (ordered, flat) = match axis {
            Axis::Child => (set.flat, set.flat),
            Axis::Attribute | Axis::Namespace => (true, true),
            Axis::Itself => (true, set.flat),
            _ => (false, false),
        };
        if !ordered {
            self.put_in_order(&mut found)?;
        }
        Ok(NodeSet { nodes: found, flat })
    }

    fn is_below(&mut self, node: Node<'a>, top: Option<Node<'a>>) -> Result<bool> {
        let Some(top) = top else { return Ok(false) };
        let mut at = Some(node);
        while let Some(here) = at {
            if here == top {
                return Ok(true);
            }
            self.tick()?;
            at = self.view.parent(here);
        }
        Ok(false)
    }

    /// Calls `visit` for what a step selects from one node, in axis order, until it says stop.
    fn select(&mut self, step: &'p Step, from: Node<'a>, visit: Visit<'_, 'p, 'a>) -> Result<bool> {
        let test = Test::new(&step.test, step.axis, |slot, name| {
            self.name_id(slot, name, from.document)
        });
        match step.predicates.as_slice() {
            [] => self.candidates(step.axis, test, from, visit),
            predicates if predicates.iter().all(Predicate::is_filter) => {
                self.candidates(step.axis, test, from, &mut |ev, node| {
                    Ok(ev.passes(node, predicates)? && visit(ev, node)?)
                })
            }
            [Predicate::Index(wanted), rest @ ..] if rest.iter().all(Predicate::is_filter) => {
                let mut seen = 0;
                let mut found = None;
                self.candidates(step.axis, test, from, &mut |_, node| {
                    seen += 1;
                    if seen == *wanted {
                        found = Some(node);
                    }
                    Ok(found.is_some())
                })?;
                match found {
                    Some(node) if self.passes(node, rest)? => visit(self, node),
                    _ => Ok(false),
                }
            }
            predicates => {
                let mut list = Vec::new();
                self.candidates(step.axis, test, from, &mut |_, node| {
                    list.push(node);
                    Ok(false)
                })?;
                for predicate in predicates {
                    list = self.apply(list, predicate)?;
                }
                for node in list {
                    if visit(self, node)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Calls `visit` for the nodes of an axis that pass the node test.
    pub(super) fn candidates(
        &mut self,
        axis: Axis,
        test: Test<'p>,
        from: Node<'a>,
        visit: Visit<'_, 'p, 'a>,
    ) -> Result<bool> {
        let document = from.document;
        let plain = from.attribute.is_none();
        match test {
            Test::Never => return Ok(false),
            Test::Unbound(prefix, _) => {
                let mut walk = self.view.walk(axis, from);
                return match walk.find(|n| test.matches(*n)) {
                    Some(_) => Err(EvalError::new(format!(
                        "Cannot resolve namespace prefix '{prefix}'"
                    ))),
                    None => Ok(false),
                };
            }
            _ => {}
        }
        match axis {
            Axis::Child if plain => {
                let mut next = document.first_child(from.node);
                while let Some(n) = next {
                    self.tick()?;
                    let node = Node::new(document, n);
                    if test.matches(node) && visit(self, node)? {
                        return Ok(true);
                    }
                    next = document.next_sibling(n);
                }
            }
            Axis::Descendant if plain => {
                if let Test::Element(id) = test {
                    for (n, looked_at) in document.elements_named(from.node, id) {
                        self.spend(looked_at)?;
                        if visit(self, Node::new(document, n))? {
                            return Ok(true);
                        }
                    }
                    return Ok(false);
                }
                for n in document.descendants(from.node) {
                    self.tick()?;
                    let node = Node::new(document, n);
                    if test.matches(node) && visit(self, node)? {
                        return Ok(true);
                    }
                }
            }
            Axis::Attribute if plain => {
                for attribute in document.attributes(from.node) {
                    self.tick()?;
                    let node = Node {
                        document,
                        node: from.node,
                        attribute: Some(attribute.index),
                    };
                    if test.matches_attribute(&attribute) && visit(self, node)? {
                        return Ok(true);
                    }
                }
            }
            // All of them are gathered once; looking each up again would gather them as often.
            Axis::Namespace if plain => {
                let all = axes::namespaces(document, from.node);
                self.spend(all.len() as u64)?;
                for (index, (prefix, _)) in all.iter().enumerate() {
                    if test.matches_namespace(prefix)
                        && visit(self, axes::namespace_node(from, index))?
                    {
                        return Ok(true);
                    }
                }
            }
            _ => {
                for node in self.view.walk(axis, from) {
                    self.tick()?;
                    if test.matches(node) && visit(self, node)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn passes(&mut self, node: Node<'a>, predicates: &'p [Predicate]) -> Result<bool> {
        for predicate in predicates {
            if let Predicate::Filter(e) = predicate
                && !self.eval_bool(e, Context::of(Some(node)))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn filter(&mut self, set: NodeSet<'a>, predicates: &'p [Predicate]) -> Result<NodeSet<'a>> {
        let NodeSet { mut nodes, flat } = set;
        for predicate in predicates {
            nodes = self.apply(nodes, predicate)?;
        }
        Ok(NodeSet { nodes, flat })
    }

    pub(super) fn apply(
        &mut self,
        mut list: Vec<Node<'a>>,
        predicate: &'p Predicate,
    ) -> Result<Vec<Node<'a>>> {
        let expr = match predicate {
            Predicate::Index(wanted) => {
                return Ok(list.get(wanted - 1).copied().into_iter().collect());
            }
            Predicate::Filter(e) | Predicate::Positional(e) => e,
        };
        let size = list.len();
        let mut kept = 0;
        for index in 0..size {
            let Some(&node) = list.get(index) else { break };
            self.tick()?;
            let position = index + 1;
            let context = Context {
                node: Some(node),
                position,
                size,
            };
            let keep = if predicate.is_filter() {
                self.eval_bool(expr, context)?
            } else {
                let value = self.eval(expr, context)?;
                convert::as_position(&value)
                    .map_or_else(|| convert::truth(&value), |p| p == position as i64)
            };
            if keep {
                list.swap(kept, index);
                kept += 1;
            }
        }
        list.truncate(kept);
        Ok(list)
    }

    /// Whether `visit` says stop for a node of the path. The last step is not collected, so
    /// nodes come in no particular order and may come twice.
    pub(super) fn any(
        &mut self,
        path: &'p Path,
        context: Context<'a>,
        visit: Visit<'_, 'p, 'a>,
    ) -> Result<bool> {
        let Some((last, steps)) = path.last_apart() else {
            for node in self.all(path, context)?.nodes {
                if visit(self, node)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        };
        if steps.is_empty()
            && let Some(start) = self.single_start(&path.start, context)?
        {
            return match start {
                Some(node) => self.select(last, node, visit),
                None => Ok(false),
            };
        }
        let start = self.start(&path.start, context)?;
        let set = self.steps(start, steps)?;
        for node in set.nodes {
            if self.select(last, node, visit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a path starts when that is at most one node for certain.
    #[allow(clippy::option_option)]
    pub(super) fn single_start(
        &mut self,
        start: &Start,
        context: Context<'a>,
    ) -> Result<Option<Option<Node<'a>>>> {
        Ok(match start {
            Start::Context => Some(context.node),
            Start::Root => Some(self.root(context)?),
            Start::Filter(..) => None,
        })
    }

    /// The first node of a path in document order.
    pub(super) fn first(
        &mut self,
        path: &'p Path,
        context: Context<'a>,
    ) -> Result<Option<Node<'a>>> {
        let Some((last, steps)) = path.last_apart() else {
            return Ok(self.all(path, context)?.nodes.first().copied());
        };
        let start = self.start(&path.start, context)?;
        let set = self.steps(start, steps)?;
        let first_found_is_first = !last.axis.is_reverse()
            && (set.nodes.len() == 1
                || matches!(last.axis, Axis::Attribute | Axis::Itself)
                || (set.flat
                    && matches!(
                        last.axis,
                        Axis::Child | Axis::Descendant | Axis::DescendantOrSelf
                    )));
        if !first_found_is_first {
            if set.nodes.is_empty() {
                return Ok(None);
            }
            return Ok(self.step(&set, last)?.nodes.first().copied());
        }
        let mut found = None;
        for node in set.nodes {
            let stop = self.select(last, node, &mut |_, node| {
                found = Some(node);
                Ok(true)
            })?;
            if stop {
                break;
            }
        }
        Ok(found)
    }

    pub(super) fn name_id(
        &mut self,
        slot: usize,
        name: &ExpandedName,
        document: &'a Document,
    ) -> Option<u32> {
        let known = match self.names.get_mut(slot) {
            Some(known) => known,
            None => {
                if self.more_names.is_empty() {
                    self.more_names.resize(self.program.name_slots, None);
                }
                self.more_names.get_mut(slot)?
            }
        };
        match known {
            Some((d, id)) if std::ptr::eq(*d, document) => *id,
            _ => {
                let id = document.id_of(name);
                *known = Some((document, id));
                id
            }
        }
    }

    /// Sorts into document order and drops duplicates; trees follow each other in the order they
    /// were met.
    pub(super) fn put_in_order(&mut self, nodes: &mut Vec<Node<'a>>) -> Result<()> {
        self.spend(nodes.len() as u64)?;
        let Some(first) = nodes.first().copied() else {
            return Ok(());
        };
        let sorted = |w: &[Node<'a>]| match w {
            [a, b] => std::ptr::eq(a.document, b.document) && axes::compare_order(a, b).is_lt(),
            _ => true,
        };
        if nodes.windows(2).all(sorted) {
            return Ok(());
        }
        let one_tree = nodes
            .iter()
            .all(|n| std::ptr::eq(n.document, first.document));
        if one_tree {
            nodes.sort_by(axes::compare_order);
        } else {
            let mut trees: Vec<&Document> = Vec::new();
            for node in nodes.iter() {
                if !trees.iter().any(|t| std::ptr::eq(*t, node.document)) {
                    trees.push(node.document);
                }
            }
            let rank = |n: &Node<'a>| trees.iter().position(|t| std::ptr::eq(*t, n.document));
            nodes.sort_by(|a, b| {
                rank(a)
                    .cmp(&rank(b))
                    .then_with(|| axes::compare_order(a, b))
            });
        }
        nodes.dedup();
        Ok(())
    }
}

/// Whether an expression is a path whose nodes can be looked at one by one.
pub(super) fn streamable(expr: &Expr) -> Option<&Path> {
    match expr {
        Expr::Path(path) if !path.steps.is_empty() => Some(path),
        _ => None,
    }
}

#[cold]
pub(super) fn exhausted() -> EvalError {
    EvalError::new("the expression takes too long: it visits too many nodes")
}
