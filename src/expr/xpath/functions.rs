//! The functions: which ones there are, how many arguments they take, and those of XPath 1.0
//! plus the few Jaxen adds. The ones of Synapse are in `synapse`.

use super::axes;
use super::convert;
use super::eval::{Context, Evaluator, Result, Val};
use super::program::Expr;
use super::{EvalError, MAX_RESULT, Node};
use crate::xml::{NodeKind, XML_NAMESPACE};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Last,
    Position,
    Count,
    Id,
    LocalName,
    NamespaceUri,
    Name,
    String,
    Concat,
    StartsWith,
    Contains,
    SubstringBefore,
    SubstringAfter,
    Substring,
    StringLength,
    NormalizeSpace,
    Translate,
    Boolean,
    Not,
    True,
    False,
    Lang,
    Number,
    Sum,
    Floor,
    Ceiling,
    Round,
    EndsWith,
    LowerCase,
    UpperCase,
    GetProperty,
    Base64Encode,
    Base64Decode,
    UrlEncode,
    HmacGenerate,
    Encrypt,
    Decrypt,
    /// Exists in the reference but not here: fails at run time with the reason.
    Unsupported(&'static str),
    /// The message the reference fails with.
    Unknown(Box<str>),
}

/// Any number of arguments.
const MANY: usize = usize::MAX;

impl Function {
    /// `uri` is the namespace the prefix is bound to, if it is. Functions of Synapse go by their
    /// local name alone (spec 05 §3.2, §3.5); those of XPath need a prefix that is not bound.
    pub(super) fn find(prefix: &str, uri: Option<&str>, name: &str) -> Function {
        match name {
            "get-property" => return Function::GetProperty,
            "base64Encode" => return Function::Base64Encode,
            "base64Decode" => return Function::Base64Decode,
            "url-encode" => return Function::UrlEncode,
            "hmac-generate" => return Function::HmacGenerate,
            "encrypt" => return Function::Encrypt,
            "decrypt" => return Function::Decrypt,
            "vault-lookup" if matches!(prefix, "wso2" | "hashicorp") => {
                return Function::Unsupported("vault-lookup");
            }
            _ => {}
        }
        if let Some(uri) = uri {
            return Function::Unknown(format!("No Such Function {{{uri}}}:{name}").into());
        }
        match name {
            "last" => Function::Last,
            "position" => Function::Position,
            "count" => Function::Count,
            "id" => Function::Id,
            "local-name" => Function::LocalName,
            "namespace-uri" => Function::NamespaceUri,
            "name" => Function::Name,
            "string" => Function::String,
            "concat" => Function::Concat,
            "starts-with" => Function::StartsWith,
            "contains" => Function::Contains,
            "substring-before" => Function::SubstringBefore,
            "substring-after" => Function::SubstringAfter,
            "substring" => Function::Substring,
            "string-length" => Function::StringLength,
            "normalize-space" => Function::NormalizeSpace,
            "translate" => Function::Translate,
            "boolean" => Function::Boolean,
            "not" => Function::Not,
            "true" => Function::True,
            "false" => Function::False,
            "lang" => Function::Lang,
            "number" => Function::Number,
            "sum" => Function::Sum,
            "floor" => Function::Floor,
            "ceiling" => Function::Ceiling,
            "round" => Function::Round,
            "ends-with" => Function::EndsWith,
            "lower-case" => Function::LowerCase,
            "upper-case" => Function::UpperCase,
            "evaluate" => Function::Unsupported("evaluate"),
            "document" => Function::Unsupported("document"),
            _ => Function::Unknown(format!("No Such Function {name}").into()),
        }
    }

    /// Name, fewest and most arguments, for functions that fail on any other number.
    fn arity(&self) -> Option<(&'static str, usize, usize)> {
        Some(match self {
            Function::Last => ("last", 0, 0),
            Function::Position => ("position", 0, 0),
            Function::Count => ("count", 1, 1),
            Function::Id => ("id", 1, 1),
            Function::LocalName => ("local-name", 0, 1),
            Function::NamespaceUri => ("namespace-uri", 0, 1),
            Function::Name => ("name", 0, 1),
            Function::String => ("string", 0, 1),
            Function::Concat => ("concat", 2, MANY),
            Function::StartsWith => ("starts-with", 2, 2),
            Function::Contains => ("contains", 2, 2),
            Function::SubstringBefore => ("substring-before", 2, 2),
            Function::SubstringAfter => ("substring-after", 2, 2),
            Function::Substring => ("substring", 2, 3),
            Function::StringLength => ("string-length", 0, 1),
            Function::NormalizeSpace => ("normalize-space", 0, 1),
            Function::Translate => ("translate", 3, 3),
            Function::Boolean => ("boolean", 1, 1),
            Function::Not => ("not", 1, 1),
            Function::True => ("true", 0, 0),
            Function::False => ("false", 0, 0),
            Function::Lang => ("lang", 1, 1),
            Function::Number => ("number", 0, 1),
            Function::Sum => ("sum", 1, 1),
            Function::Floor => ("floor", 1, 1),
            Function::Ceiling => ("ceiling", 1, 1),
            Function::Round => ("round", 1, 1),
            Function::EndsWith => ("ends-with", 2, 2),
            Function::LowerCase => ("lower-case", 1, 2),
            Function::UpperCase => ("upper-case", 1, 2),
            Function::GetProperty => ("get-property", 0, 3),
            _ => return None,
        })
    }

    /// What to say about this number of arguments when it is not one the function takes.
    pub(super) fn wrong_arguments(&self, count: usize) -> Option<String> {
        let (name, least, most) = self.arity()?;
        if (least..=most).contains(&count) {
            return None;
        }
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        Some(match (least, most) {
            (0, 0) => format!("{name}() requires no arguments"),
            (_, MANY) => format!("{name}() requires at least {least} arguments"),
            (least, most) if least == most => {
                format!("{name}() requires {least} argument{}", plural(least))
            }
            (least, most) => format!("{name}() requires {least} to {most} arguments"),
        })
    }

    pub(super) fn may_return_number(&self) -> bool {
        matches!(
            self,
            Function::Last
                | Function::Position
                | Function::Count
                | Function::StringLength
                | Function::Number
                | Function::Sum
                | Function::Floor
                | Function::Ceiling
                | Function::Round
                | Function::GetProperty
        )
    }

    /// Without an argument, the context node is the argument.
    pub(super) fn defaults_to_context(&self) -> bool {
        matches!(
            self,
            Function::LocalName
                | Function::NamespaceUri
                | Function::Name
                | Function::String
                | Function::StringLength
                | Function::NormalizeSpace
                | Function::Number
        )
    }

    /// `get-property('From')` and `get-property('FAULT')` look into the envelope (spec 05 §2.3).
    pub(super) fn reads_built_envelope(&self, args: &[Expr]) -> bool {
        let is_magic = |e: &Expr| matches!(e, Expr::Literal(s) if matches!(&**s, "From" | "FAULT"));
        let is_default = |e: &Expr| matches!(e, Expr::Literal(s) if &**s == "default");
        *self == Function::GetProperty
            && match args {
                [name] => is_magic(name),
                [first, second, ..] => is_magic(first) || (is_default(first) && is_magic(second)),
                [] => false,
            }
    }
}

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    pub(super) fn call(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        if let Some(message) = function.wrong_arguments(args.len()) {
            return Err(EvalError::new(message));
        }
        match function {
            Function::Last => Ok(Val::Num(context.size as f64)),
            Function::Position => Ok(Val::Num(context.position as f64)),
            Function::Boolean => Ok(Val::Bool(self.truth_of_first(args, context)?)),
            Function::Not => Ok(Val::Bool(!self.truth_of_first(args, context)?)),
            Function::True => Ok(Val::Bool(true)),
            Function::False => Ok(Val::Bool(false)),
            Function::Count | Function::Sum | Function::Id => {
                self.set_function(function, args, context)
            }
            Function::LocalName | Function::NamespaceUri | Function::Name => {
                self.name_function(function, args, context)
            }
            Function::Number
            | Function::Floor
            | Function::Ceiling
            | Function::Round
            | Function::StringLength => self.number_function(function, args, context),
            Function::Lang => {
                let wanted = self.text_argument(args, 0, context)?;
                Ok(Val::Bool(
                    context.node.is_some_and(|n| self.is_language(n, &wanted)),
                ))
            }
            Function::Unknown(message) => Err(EvalError::new(&**message)),
            Function::Unsupported(name) => Err(not_supported(name)),
            Function::GetProperty
            | Function::Base64Encode
            | Function::Base64Decode
            | Function::UrlEncode
            | Function::HmacGenerate
            | Function::Encrypt
            | Function::Decrypt => self.synapse_function(function, args, context),
            _ => self.text_function(function, args, context),
        }
    }

    fn truth_of_first(&mut self, args: &'p [Expr], context: Context<'a>) -> Result<bool> {
        args.first()
            .map_or(Ok(false), |e| self.eval_bool(e, context))
    }

    /// An argument as a string; the context node when it is not there.
    pub(super) fn text_argument(
        &mut self,
        args: &'p [Expr],
        index: usize,
        context: Context<'a>,
    ) -> Result<std::borrow::Cow<'p, str>> {
        match args.get(index) {
            Some(e) => self.eval_string(e, context),
            None => self.node_text(context.node),
        }
    }

    fn set_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        let value = args
            .first()
            .map_or(Ok(Val::Null), |e| self.eval(e, context))?;
        if *function == Function::Id {
            return Ok(Val::Nodes(Default::default()));
        }
        let Val::Nodes(set) = value else {
            let name = if *function == Function::Count {
                "count"
            } else {
                "sum"
            };
            return Err(EvalError::new(format!(
                "{name}() function can only be used for node-sets"
            )));
        };
        if *function == Function::Count {
            return Ok(Val::Num(set.nodes.len() as f64));
        }
        let mut sum = 0.0;
        for node in set.nodes {
            sum += convert::parse_number(&self.node_text(Some(node))?);
        }
        Ok(Val::Num(sum))
    }

    fn name_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        let node = match args.first() {
            None => context.node,
            Some(Expr::Path(path)) if !path.steps.is_empty() => self.first(path, context)?,
            Some(e) => match self.eval(e, context)? {
                Val::Nodes(set) => set.nodes.first().copied(),
                _ => {
                    return Err(EvalError::new(
                        "the argument of name(), local-name() and namespace-uri() must be a \
                         node-set",
                    ));
                }
            },
        };
        let Some(node) = node else {
            return Ok(Val::text(""));
        };
        self.spend(axes::place_cost(node))?;
        match function {
            Function::LocalName => Ok(Val::text(local_name(node))),
            Function::NamespaceUri => Ok(Val::text(namespace_uri(node))),
            _ => qualified_name(node).map(Val::text),
        }
    }

    fn number_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        if *function == Function::StringLength {
            let text = self.text_argument(args, 0, context)?;
            return Ok(Val::Num(text.chars().count() as f64));
        }
        let number = match args.first() {
            Some(e) => self.eval_number(e, context)?,
            None => convert::parse_number(&self.node_text(context.node)?),
        };
        Ok(Val::Num(match function {
            Function::Floor => number.floor(),
            Function::Ceiling => number.ceil(),
            Function::Round => convert::round(number),
            _ => number,
        }))
    }

    fn text_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        let first = self.text_argument(args, 0, context)?;
        if matches!(function, Function::String) {
            return Ok(Val::Str(first));
        }
        self.spend(first.len() as u64 / 32)?;
        match function {
            Function::Concat => {
                let mut all = first.into_owned();
                for index in 1..args.len() {
                    let next = self.text_argument(args, index, context)?;
                    self.spend(next.len() as u64 / 32)?;
                    if all.len() + next.len() > MAX_RESULT {
                        return Err(convert::too_large());
                    }
                    all.push_str(&next);
                }
                return Ok(Val::text(all));
            }
            Function::NormalizeSpace => {
                let mut normal = String::with_capacity(first.len());
                for word in first.split([' ', '\t', '\r', '\n']) {
                    if !word.is_empty() {
                        if !normal.is_empty() {
                            normal.push(' ');
                        }
                        normal.push_str(word);
                    }
                }
                return Ok(Val::text(normal));
            }
            // A second argument names a language, which changes nothing here.
            Function::LowerCase => {
                self.text_argument(args, 1, context)?;
                return Ok(Val::text(first.to_lowercase()));
            }
            Function::UpperCase => {
                self.text_argument(args, 1, context)?;
                return Ok(Val::text(first.to_uppercase()));
            }
            Function::Substring => {
                let start = match args.get(1) {
                    Some(e) => self.eval_number(e, context)?,
                    None => f64::NAN,
                };
                let length = match args.get(2) {
                    Some(e) => Some(self.eval_number(e, context)?),
                    None => None,
                };
                let part = convert::substring(&first, start, length);
                return Ok(Val::text(part.to_owned()));
            }
            _ => {}
        }
        let second = self.text_argument(args, 1, context)?;
        Ok(match function {
            Function::StartsWith => Val::Bool(first.starts_with(&*second)),
            Function::EndsWith => Val::Bool(first.ends_with(&*second)),
            Function::Contains => Val::Bool(first.contains(&*second)),
            Function::SubstringBefore => {
                Val::text(first.split_once(&*second).map_or("", |(b, _)| b).to_owned())
            }
            Function::SubstringAfter => {
                Val::text(first.split_once(&*second).map_or("", |(_, a)| a).to_owned())
            }
            Function::Translate => {
                let third = self.text_argument(args, 2, context)?;
                let from: Vec<char> = second.chars().collect();
                let to: Vec<char> = third.chars().collect();
                self.spend(first.len() as u64 * from.len() as u64 / 32)?;
                let translated =
                    first
                        .chars()
                        .filter_map(|c| match from.iter().position(|f| *f == c) {
                            Some(index) => to.get(index).copied(),
                            None => Some(c),
                        });
                Val::text(translated.collect::<String>())
            }
            _ => Val::text(""),
        })
    }

    fn is_language(&self, node: Node<'a>, wanted: &str) -> bool {
        let mut at = Some(node.node);
        while let Some(n) = at {
            if let Some(have) = node.document.attribute(n, XML_NAMESPACE, "lang") {
                let (have, wanted) = (have.to_ascii_lowercase(), wanted.to_ascii_lowercase());
                return have
                    .strip_prefix(&wanted)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            }
            at = node.document.parent(n);
        }
        false
    }
}

pub(super) fn not_supported(name: &str) -> EvalError {
    EvalError::new(format!("the function {name}() is not supported yet"))
}

fn local_name(node: Node<'_>) -> &str {
    if let Some((prefix, _)) = axes::as_namespace(node) {
        return prefix;
    }
    if node.attribute.is_some() {
        return axes::as_attribute(node).map_or("", |a| a.local);
    }
    node.document.local_name(node.node)
}

fn namespace_uri(node: Node<'_>) -> &str {
    if node.attribute.is_some() {
        return axes::as_attribute(node).map_or("", |a| a.namespace);
    }
    node.document.namespace(node.node)
}

/// `prefix:namespace` for a prefixed name, as Axiom has it (spec 05 §3.1).
fn qualified_name(node: Node<'_>) -> Result<String> {
    if let Some((prefix, _)) = axes::as_namespace(node) {
        return Ok(prefix.to_owned());
    }
    let document = node.document;
    let (prefix, namespace, local) = match node.attribute {
        Some(_) => match axes::as_attribute(node) {
            Some(a) if a.namespace.is_empty() => {
                return Err(EvalError::new(format!(
                    "name() of the attribute '{}', which has no namespace; use local-name()",
                    a.local
                )));
            }
            Some(a) => (a.prefix, a.namespace, a.local),
            None => return Ok(String::new()),
        },
        None if document.kind(node.node) == NodeKind::Element => (
            document.prefix(node.node),
            document.namespace(node.node),
            document.local_name(node.node),
        ),
        None => return Ok(document.local_name(node.node).to_owned()),
    };
    Ok(if prefix.is_empty() {
        local.to_owned()
    } else {
        format!("{prefix}:{namespace}")
    })
}
