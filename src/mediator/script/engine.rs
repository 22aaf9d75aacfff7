//! One thread's JavaScript: a runtime with limits, and a context for each script.

use super::host::{self, Host};
use super::program::{Form, Outcome, Program, Returned};
use crate::settings::ScriptSettings;
use rquickjs::context::EvalOptions;
use rquickjs::{Array, Context, Ctx, Error, Function, Persistent, Runtime, Value};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Scripts with a context of their own in one thread; the one not used for longest goes.
const MOST_CONTEXTS: usize = 64;

const PRELUDE: &str = include_str!("prelude.js");
/// Runs a program so that its declarations are its own and its last value comes back.
const RUNNER: &str = "(function (mc, __source) { return eval(__source); })";

/// Limits of one run and of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    time: Duration,
    memory: usize,
    stack: usize,
}

impl From<&ScriptSettings> for Limits {
    fn from(settings: &ScriptSettings) -> Limits {
        Limits {
            time: settings.timeout,
            memory: usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX),
            stack: settings.stack_bytes,
        }
    }
}

/// What the prelude gave, out of reach of scripts: how to call a function, how to show a value, and
/// how to run a program.
type Hooks = Persistent<Array<'static>>;

struct Prepared {
    id: [u8; 32],
    hooks: Hooks,
    context: Context,
    used: u64,
}

struct Machine {
    contexts: Vec<Prepared>,
    runtime: Runtime,
}

/// The JavaScript of one thread.
pub(super) struct Engine {
    limits: Limits,
    deadline: Rc<Cell<Option<Instant>>>,
    machine: Option<Machine>,
    tick: u64,
}

impl Engine {
    /// An engine that has not run anything.
    pub(super) fn new(limits: Limits) -> Engine {
        Engine {
            limits,
            deadline: Rc::default(),
            machine: None,
            tick: 0,
        }
    }

    /// Runs a program for a message.
    pub(super) fn run(
        &mut self,
        program: &Program,
        arguments: &str,
        host: Host,
    ) -> (Host, Outcome) {
        self.tick += 1;
        self.deadline
            .set(Instant::now().checked_add(self.limits.time));
        let (host, outcome) = host::with(host, || self.attempt(program, arguments));
        let outcome = outcome.unwrap_or_else(|e| match e {
            Error::Allocation => Outcome::Failed("out of memory".to_owned()),
            other => Outcome::Failed(other.to_string()),
        });
        match &outcome {
            // The memory may be held by another script.
            Outcome::Failed(text) if text.contains("out of memory") => self.machine = None,
            // What a script that was stopped left behind is nobody's.
            Outcome::Failed(_) => self.forget(&program.id),
            Outcome::Value(_) | Outcome::NoFunction => {}
        }
        self.keep_in_bounds();
        let late = self.deadline.take().is_some_and(|d| Instant::now() >= d);
        let outcome = match outcome {
            Outcome::Failed(text) if late => Outcome::Failed(format!(
                "the script was stopped after {} ms ([myelin] script_timeout): {text}",
                self.limits.time.as_millis()
            )),
            other => other,
        };
        (host, outcome)
    }

    fn attempt(&mut self, program: &Program, arguments: &str) -> Result<Outcome, Error> {
        let context = self.context(program)?;
        let outcome = match context {
            Ok((context, hooks)) => context.with(|ctx| {
                let outcome = invoke(&ctx, &hooks, program, arguments);
                let outcome = outcome.unwrap_or_else(|e| Outcome::Failed(explain(&ctx, &e)));
                while self.deadline.get().is_some_and(|d| Instant::now() < d)
                    && ctx.execute_pending_job()
                {}
                outcome
            }),
            Err(problem) => Outcome::Failed(problem),
        };
        Ok(outcome)
    }

    /// The context of a program, made when there is none.
    fn context(&mut self, program: &Program) -> Result<Result<(Context, Hooks), String>, Error> {
        if self.machine.is_none() {
            let runtime = Runtime::new()?;
            runtime.set_memory_limit(self.limits.memory);
            runtime.set_max_stack_size(self.limits.stack);
            let deadline = self.deadline.clone();
            runtime.set_interrupt_handler(Some(Box::new(move || {
                deadline.get().is_some_and(|d| Instant::now() >= d)
            })));
            self.machine = Some(Machine {
                contexts: Vec::new(),
                runtime,
            });
        }
        let Some(machine) = &mut self.machine else {
            return Err(Error::Allocation);
        };
        if let Some(found) = machine.contexts.iter_mut().find(|c| c.id == program.id) {
            found.used = self.tick;
            return Ok(Ok((found.context.clone(), found.hooks.clone())));
        }
        let context = Context::full(&machine.runtime)?;
        let prepared = context.with(|ctx| {
            prepare(&ctx, program).map_err(|(what, e)| format!("{what}{}", explain(&ctx, &e)))
        });
        let hooks = match prepared {
            Ok(hooks) => hooks,
            Err(problem) => return Ok(Err(problem)),
        };
        if machine.contexts.len() >= MOST_CONTEXTS
            && let Some(oldest) =
                (0..machine.contexts.len()).min_by_key(|i| machine.contexts.get(*i).map(|c| c.used))
        {
            machine.contexts.swap_remove(oldest);
        }
        machine.contexts.push(Prepared {
            id: program.id,
            hooks: hooks.clone(),
            context: context.clone(),
            used: self.tick,
        });
        Ok(Ok((context, hooks)))
    }

    fn forget(&mut self, id: &[u8; 32]) {
        if let Some(machine) = &mut self.machine {
            machine.contexts.retain(|c| c.id != *id);
            machine.runtime.run_gc();
        }
    }

    /// Starts anew when what scripts keep leaves too little room for the next one.
    fn keep_in_bounds(&mut self) {
        if let Some(machine) = &self.machine {
            let most = self.limits.memory / 2;
            let used = || {
                usize::try_from(machine.runtime.memory_usage().malloc_size).unwrap_or(usize::MAX)
            };
            if self.tick.is_multiple_of(64) && used() > most {
                machine.runtime.run_gc();
                if used() > most {
                    self.machine = None;
                }
            }
        }
    }
}

fn sloppy(name: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.to_owned());
    options
}

/// Puts `mc` in place and runs the texts of an external script; what failed, and how.
fn prepare<'js>(ctx: &Ctx<'js>, program: &Program) -> Result<Hooks, (String, Error)> {
    let plain = |e| (String::new(), e);
    let make: Function<'js> = ctx
        .eval_with_options(PRELUDE, sloppy("mc"))
        .map_err(plain)?;
    let call = Function::new(ctx.clone(), host::call).map_err(plain)?;
    let made: Array<'js> = make.call((call,)).map_err(plain)?;
    let runner: Function<'js> = ctx
        .eval_with_options(RUNNER, sloppy("run"))
        .map_err(plain)?;
    made.set(2, runner).map_err(plain)?;
    if let Form::External { texts, .. } = &program.form {
        for (key, text) in texts {
            let _: Value<'js> = ctx
                .eval_with_options(text.as_str(), sloppy(key))
                .map_err(|e| (format!("{key}: "), e))?;
        }
    }
    // `o[a][b] = c` with names from a message must not reach every object of later messages.
    let _: Value<'js> = ctx
        .eval_with_options("Object.preventExtensions(Object.prototype)", sloppy("mc"))
        .map_err(plain)?;
    Ok(Persistent::save(ctx, made))
}

/// Runs a prepared program for the message in place.
fn invoke<'js>(
    ctx: &Ctx<'js>,
    hooks: &Hooks,
    program: &Program,
    arguments: &str,
) -> Result<Outcome, Error> {
    let hooks = hooks.clone().restore(ctx)?;
    let text: String = match &program.form {
        Form::Inline(source) => {
            let runner: Function<'js> = hooks.get(2)?;
            let show: Function<'js> = hooks.get(1)?;
            let mc: Value<'js> = ctx.globals().get("mc")?;
            let value: Value<'js> = runner.call((mc, source.as_str()))?;
            show.call((value,))?
        }
        Form::External { function, .. } => {
            let enter: Function<'js> = hooks.get(0)?;
            enter.call((function.as_str(), arguments))?
        }
    };
    let (kind, value) = text.split_once(' ').unwrap_or((&text, ""));
    Ok(match kind {
        "missing" => Outcome::NoFunction,
        "false" => Outcome::Value(Returned::Boolean(false)),
        "boolean" => Outcome::Value(Returned::Boolean(value == "true")),
        "number" => Outcome::Value(Returned::Number(value.to_owned())),
        "string" => Outcome::Value(Returned::Text(value.to_owned())),
        "xml" => Outcome::Value(Returned::Xml(value.to_owned())),
        "json" => Outcome::Value(Returned::Json(value.to_owned())),
        _ => Outcome::Value(Returned::Null),
    })
}

/// What to say about a failure: the exception, and where it was thrown.
fn explain(ctx: &Ctx<'_>, error: &Error) -> String {
    match error {
        Error::Exception => {}
        Error::Allocation => return "out of memory".to_owned(),
        other => return other.to_string(),
    }
    let thrown = ctx.catch();
    match thrown.as_exception() {
        Some(exception) => {
            let message = exception.message().unwrap_or_default();
            let name: String = exception.as_object().get("name").unwrap_or_default();
            let stack = exception.stack().unwrap_or_default();
            let place = stack.lines().next().map(str::trim).unwrap_or_default();
            let text = if name.is_empty() {
                message
            } else {
                format!("{name}: {message}")
            };
            if place.is_empty() {
                text
            } else {
                format!("{text} ({place})")
            }
        }
        None => match thrown.get::<rquickjs::Coerced<String>>() {
            Ok(text) => text.0,
            Err(_) => "the script threw something that has no text".to_owned(),
        },
    }
}

/// What is wrong with a script's syntax: the line, from 1, and the engine's words.
pub(super) fn check(text: &str) -> Option<(usize, String)> {
    let runtime = Runtime::new().ok()?;
    runtime.set_memory_limit(64 << 20);
    runtime.set_max_stack_size(1 << 20);
    let context = Context::full(&runtime).ok()?;
    // The whole text is read before its first statement runs, which throws.
    let source = format!("throw 0;{text}");
    context.with(|ctx| {
        let outcome = ctx.eval_with_options::<Value<'_>, _>(source, sloppy("script"));
        let Err(Error::Exception) = outcome else {
            return outcome.err().map(|e| (1, e.to_string()));
        };
        let thrown = ctx.catch();
        let exception = thrown.as_exception()?;
        let stack = exception.stack().unwrap_or_default();
        let line = stack.lines().find_map(|line| {
            let mut parts = line.trim().trim_end_matches(')').rsplit(':');
            parts.next()?;
            parts.next()?.parse().ok()
        });
        Some((line.unwrap_or(1), exception.message().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_have_a_line() {
        assert_eq!(check("var a = 1;\nmc.setProperty('a', a);"), None);
        assert_eq!(check("function f(a) { return a; }"), None);
        let (line, text) = check("var a = 1;\nvar b = ;\n").unwrap();
        assert_eq!(line, 2, "{text}");
        let (line, text) = check("if (true) {\n\n").unwrap();
        assert_eq!(line, 3, "{text}");
        assert!(check("return 1;").is_some(), "not in a function");
    }
}
