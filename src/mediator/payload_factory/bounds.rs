//! Bounds on what a FreeMarker template does: the engine has none for loops, ranges and padding, so
//! that checks are put into the parsed template.
//!
//! Every round of a loop, every call of a macro or function and every application of a lambda looks
//! at the time; every range and every padding looks at its length, and at the time.

use ::freemarker::core::{
    CallTarget, Element, Environment, Expr, ExprKind, MacroDef, RangeKind, StrPart,
};
use ::freemarker::core::{CaseDef, ElementKind};
use ::freemarker::span::Span;
use ::freemarker::template::TemplateMethodModelEx;
use ::freemarker::{Configuration, TModel, Template, TemplateError};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// Longest range outside `<#list>`, and longest padding, in items or characters: the engine makes
/// them at once, and their length may come from a message.
pub(super) const MAX_LENGTH: f64 = 1_000_000.0;

/// The same while a template has only a moment.
const MAX_LENGTH_AT_ONCE: f64 = 10_000.0;

/// Names that no template can write.
const TIME: &str = "\u{1}time";
const RANGE: &str = "\u{1}range";
const COUNT: &str = "\u{1}count";
/// How many rounds go by between two looks at the clock.
const ROUNDS: u32 = 4;

#[derive(Clone, Copy, Default)]
struct Budget {
    end: Option<Instant>,
    limit: Duration,
    /// Longest range or padding.
    length: f64,
    rounds: u32,
    over: bool,
}

thread_local! {
    static BUDGET: Cell<Budget> = const {
        Cell::new(Budget { end: None, limit: Duration::ZERO, length: 0.0, rounds: 0, over: false })
    };
}

/// How long a template may run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// So long; what takes longer fails.
    All(Duration),
    /// As long as a worker can do without its other messages. What takes longer, or makes something long, has
    /// to be run again elsewhere.
    Moment(Duration),
}

/// Runs `work`, a template of this thread; whether it was stopped before its end.
pub(super) fn within<R>(patience: Patience, work: impl FnOnce() -> R) -> (R, bool) {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            BUDGET.set(Budget::default());
        }
    }
    let _clear = Clear;
    let (limit, length) = match patience {
        Patience::All(limit) => (limit, MAX_LENGTH),
        Patience::Moment(limit) => (limit, MAX_LENGTH_AT_ONCE),
    };
    BUDGET.set(Budget {
        end: Instant::now().checked_add(limit),
        limit,
        length,
        ..Budget::default()
    });
    let result = work();
    (result, BUDGET.get().over)
}

/// Fails when the time is over, and from then on always: a template may catch the failure.
struct Time;

impl TemplateMethodModelEx for Time {
    fn exec(&self, _: &mut Environment<'_>, _: Vec<TModel>) -> Result<TModel, TemplateError> {
        let mut budget = BUDGET.get();
        budget.rounds = budget.rounds.wrapping_add(1);
        if budget.rounds % ROUNDS == 1 {
            budget.look();
        }
        BUDGET.set(budget);
        budget.verdict()
    }
}

impl Budget {
    fn look(&mut self) {
        self.over |= self.end.is_some_and(|end| Instant::now() >= end);
    }

    fn verdict(&self) -> Result<TModel, TemplateError> {
        match self.over {
            true => Err(TemplateError::misc(format!(
                "the template was stopped after {} ms ([myelin] template_timeout)",
                self.limit.as_millis()
            ))),
            false => Ok(TModel::from_boolean(false)),
        }
    }
}

/// Fails for something too long; also when the time is over, as making it takes some.
fn too_long(length: f64) -> Result<TModel, TemplateError> {
    if length > MAX_LENGTH {
        return Err(TemplateError::misc(format!(
            "a range or padding of {length} is longer than {MAX_LENGTH}"
        )));
    }
    let mut budget = BUDGET.get();
    budget.look();
    budget.over |= length > budget.length;
    BUDGET.set(budget);
    budget.verdict()
}

fn number(model: Option<&TModel>) -> Option<f64> {
    model?.number.as_ref()?.as_number().ok()?.as_f64()
}

/// Fails for two numbers that are too far apart. What is no number is for the engine to refuse.
struct Range;

impl TemplateMethodModelEx for Range {
    fn exec(&self, _: &mut Environment<'_>, args: Vec<TModel>) -> Result<TModel, TemplateError> {
        match (number(args.first()), number(args.get(1))) {
            (Some(start), Some(end)) => too_long((end - start).abs()),
            _ => Ok(TModel::from_boolean(false)),
        }
    }
}

/// Fails for a number that is too large.
struct Count;

impl TemplateMethodModelEx for Count {
    fn exec(&self, _: &mut Environment<'_>, args: Vec<TModel>) -> Result<TModel, TemplateError> {
        too_long(number(args.first()).unwrap_or_default().abs())
    }
}

/// A configuration that knows the checks.
pub(super) fn configuration() -> Configuration {
    let mut configuration = Configuration::new();
    configuration.set_shared_variable(TIME, TModel::from_method(Time));
    configuration.set_shared_variable(RANGE, TModel::from_method(Range));
    configuration.set_shared_variable(COUNT, TModel::from_method(Count));
    configuration
}

/// Puts the checks into a template, which nests no deeper than the parser was allowed to.
///
/// # Errors
/// When ranges and padding nest in each other too deeply.
pub(super) fn put_into(template: &mut Template) -> Result<(), String> {
    let mut walk = Walk::default();
    walk.elements(&mut template.root);
    for definition in template.macros.values_mut() {
        walk.macro_body(definition);
    }
    match walk.too_deep {
        true => Err(format!(
            "ranges and padding nest deeper than {MAX_CHECKS} levels"
        )),
        false => Ok(()),
    }
}

/// Deepest nesting of ranges and padding in the lengths of others: a length is evaluated for the check
/// and again for what it is the length of.
const MAX_CHECKS: usize = 4;

#[derive(Default)]
struct Walk {
    /// How deep checks of lengths nest in the expression that was last looked at.
    depth: usize,
    too_deep: bool,
}

fn check(name: &str, args: Vec<Expr>, span: Span) -> Expr {
    let callee = Box::new(Expr::new(ExprKind::Ident(name.to_owned()), span));
    Expr::new(ExprKind::Call { callee, args }, span)
}

/// An element that checks the time and writes nothing.
fn pause(span: Span) -> Element {
    Element::new(
        ElementKind::If {
            cond: check(TIME, Vec::new(), span),
            then: Vec::new(),
            else_: None,
        },
        span,
    )
}

/// `check?then("", expr)`: what the expression says and fails with stays the same.
fn guarded(check: Expr, expr: Expr) -> Expr {
    let span = expr.span;
    let nothing = Expr::new(ExprKind::Str(String::new()), span);
    Expr::new(
        ExprKind::BuiltIn {
            target: Box::new(check),
            name: "then".to_owned(),
            args: Some(vec![nothing, expr]),
        },
        span,
    )
}

/// The range that an expression is, parentheses aside.
fn listed_range(expr: &mut Expr) -> Option<&mut Expr> {
    match expr.kind {
        ExprKind::Range { .. } => Some(expr),
        ExprKind::Paren(ref mut inner) => listed_range(inner),
        _ => None,
    }
}

fn taken(expr: &mut Expr) -> Expr {
    let span = expr.span;
    std::mem::replace(expr, Expr::new(ExprKind::Str(String::new()), span))
}

/// Puts the check of an expression in front of it; whether that evaluates a part of it twice.
fn check_length(expr: &mut Expr) -> bool {
    let span = expr.span;
    let test = match &mut expr.kind {
        ExprKind::Lambda { body, .. } => {
            let inner = taken(body);
            **body = guarded(check(TIME, Vec::new(), span), inner);
            return false;
        }
        ExprKind::Range {
            start,
            end: Some(end),
            kind,
        } => match kind {
            RangeKind::SizeLimited => check(COUNT, vec![(**end).clone()], span),
            RangeKind::Inclusive | RangeKind::Exclusive => {
                check(RANGE, vec![(**start).clone(), (**end).clone()], span)
            }
        },
        ExprKind::BuiltIn {
            name,
            args: Some(args),
            ..
        } if matches!(
            name.as_str(),
            "left_pad" | "right_pad" | "leftPad" | "rightPad"
        ) =>
        {
            check(COUNT, args.first().cloned().into_iter().collect(), span)
        }
        _ => return false,
    };
    let inner = taken(expr);
    *expr = guarded(test, inner);
    true
}

impl Walk {
    fn repeated(&mut self, body: &mut Vec<Element>, span: Span) {
        self.elements(body);
        body.insert(0, pause(span));
    }

    fn macro_body(&mut self, definition: &mut MacroDef) {
        let span = definition.span;
        self.repeated(&mut definition.body, span);
        for parameter in &mut definition.params {
            self.expression(parameter.default.as_mut());
        }
    }

    fn elements(&mut self, list: &mut [Element]) {
        for item in list {
            self.element(item);
        }
    }

    fn body(&mut self, list: &mut Option<Vec<Element>>) {
        self.elements(list.as_deref_mut().unwrap_or_default());
    }

    fn expression(&mut self, expr: Option<&mut Expr>) {
        if let Some(expr) = expr {
            self.put_into_expression(expr);
        }
    }

    fn element(&mut self, item: &mut Element) {
        use ElementKind as K;
        let span = item.span;
        match &mut item.kind {
            K::Interpolation { expr, .. } => self.put_into_expression(expr),
            K::If { cond, then, else_ } => {
                self.put_into_expression(cond);
                self.elements(then);
                self.body(else_);
            }
            K::List {
                seq,
                body: inside,
                else_,
                ..
            } => {
                // The engine takes the items of a range that is listed one by one.
                match listed_range(seq) {
                    Some(range) => self.inside_of(range),
                    None => self.put_into_expression(seq),
                }
                self.repeated(inside, span);
                self.body(else_);
            }
            K::Items { body: inside, .. } => self.repeated(inside, span),
            K::Assign {
                expr, namespace, ..
            } => {
                self.put_into_expression(expr);
                self.expression(namespace.as_mut());
            }
            K::BlockAssign {
                body: inside,
                namespace,
                ..
            } => {
                self.elements(inside);
                self.expression(namespace.as_mut());
            }
            K::Global {
                expr, body: inside, ..
            }
            | K::Local {
                expr, body: inside, ..
            } => {
                self.expression(expr.as_mut());
                self.body(inside);
            }
            K::Macro { def } => self.macro_body(def),
            K::Call {
                callee,
                args,
                body: inside,
                ..
            } => {
                if let CallTarget::Expr(expr) = callee {
                    self.put_into_expression(expr);
                }
                for (_, expr) in args {
                    self.put_into_expression(expr);
                }
                self.body(inside);
            }
            K::Nested { args, body: inside } => {
                args.iter_mut().for_each(|e| self.put_into_expression(e));
                self.body(inside);
            }
            K::Switch {
                expr,
                cases,
                default,
                ..
            } => {
                self.put_into_expression(expr);
                for CaseDef {
                    value, body: case, ..
                } in cases
                {
                    self.put_into_expression(value);
                    self.elements(case);
                }
                self.body(default);
            }
            K::Attempt { try_, recover } => {
                self.elements(try_);
                self.elements(recover);
            }
            K::Return { expr } => self.expression(expr.as_mut()),
            K::Stop { msg } => self.expression(msg.as_mut()),
            K::Setting { value, .. } => self.put_into_expression(value),
            K::Include { path, attrs } => {
                self.put_into_expression(path);
                attrs
                    .iter_mut()
                    .for_each(|(_, e)| self.put_into_expression(e));
            }
            K::Import { path, .. } => self.put_into_expression(path),
            K::Escape { expr, body: inside }
            | K::OutputFormat {
                name: expr,
                body: inside,
            }
            | K::Transform { expr, body: inside }
            | K::On { expr, body: inside } => {
                self.put_into_expression(expr);
                self.elements(inside);
            }
            K::Visit { expr, using } | K::Recurse { expr, using } => {
                self.expression(expr.as_mut());
                self.expression(using.as_mut());
            }
            K::Sep { body: inside }
            | K::Assignments(inside)
            | K::Trim(inside)
            | K::NoEscape(inside)
            | K::AutoEsc(inside)
            | K::NoAutoEsc(inside)
            | K::Compress(inside) => self.elements(inside),
            K::Text { .. }
            | K::NoParse { .. }
            | K::Break
            | K::Continue
            | K::Flush
            | K::Comment { .. }
            | K::FtlHeader { .. }
            | K::TrimLineStart
            | K::NoTrimLineStart
            | K::TrimLineEnd
            | K::LeftTrimLine
            | K::Fallback
            | K::RawText(_) => {}
        }
    }

    fn put_into_expression(&mut self, expr: &mut Expr) {
        let beside = std::mem::take(&mut self.depth);
        self.inside_of(expr);
        if self.depth > MAX_CHECKS {
            self.too_deep = true;
        } else {
            self.depth += usize::from(check_length(expr));
        }
        self.depth = self.depth.max(beside);
    }

    /// The parts of an expression.
    fn inside_of(&mut self, expr: &mut Expr) {
        use ExprKind as K;
        match &mut expr.kind {
            K::InterpStr(parts) => {
                for part in parts {
                    if let StrPart::Interp(inner) = part {
                        self.put_into_expression(inner);
                    }
                }
            }
            K::DynKey { target, key } => {
                self.put_into_expression(target);
                // A slice is no longer than what it is a slice of.
                match listed_range(key) {
                    Some(range) => self.inside_of(range),
                    None => self.put_into_expression(key),
                }
            }
            K::Call { callee, args } => {
                self.put_into_expression(callee);
                args.iter_mut().for_each(|e| self.put_into_expression(e));
            }
            K::Dot { target: inner, .. }
            | K::UnaryMinus(inner)
            | K::Not(inner)
            | K::Exists(inner)
            | K::Paren(inner)
            | K::Lambda { body: inner, .. } => self.put_into_expression(inner),
            K::Add(a, b)
            | K::Sub(a, b)
            | K::Mul(a, b)
            | K::Div(a, b)
            | K::Mod(a, b)
            | K::Eq(a, b)
            | K::NotEq(a, b)
            | K::Gt(a, b)
            | K::Gte(a, b)
            | K::Lt(a, b)
            | K::Lte(a, b)
            | K::And(a, b)
            | K::Or(a, b) => {
                self.put_into_expression(a);
                self.put_into_expression(b);
            }
            K::Range { start, end, .. } => {
                self.put_into_expression(start);
                self.expression(end.as_deref_mut());
            }
            K::Default { target, default } => {
                self.put_into_expression(target);
                self.expression(default.as_deref_mut());
            }
            K::BuiltIn { target, args, .. } => {
                self.put_into_expression(target);
                args.iter_mut()
                    .flatten()
                    .for_each(|e| self.put_into_expression(e));
            }
            K::ListLit(items) => items.iter_mut().for_each(|e| self.put_into_expression(e)),
            K::HashLit(members) => {
                for (name, value) in members {
                    self.put_into_expression(name);
                    self.put_into_expression(value);
                }
            }
            K::Str(_) | K::Num(_) | K::Bool(_) | K::Ident(_) | K::BuiltinVar(_) => {}
        }
    }
}
