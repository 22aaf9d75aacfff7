//! What Synapse adds: property variables, `get-property` and the encoding functions
//! (spec 05 §3.3–§3.5).

use super::encode::{self, Charset};
use super::eval::{Context, Evaluator, Result, Val};
use super::functions::{Function, not_supported};
use super::program::{Expr, Variable};
use super::{EvalError, PropertyScope, PropertyValue, date};
use std::borrow::Cow;

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    pub(super) fn property_variable(&mut self, variable: &'p Variable) -> Result<Val<'p, 'a>> {
        match variable {
            Variable::Property(scope, name) => {
                let value = Val::of_property(self.scope.property(*scope, name));
                Ok(match (scope, value) {
                    (PropertyScope::System, Val::Null) => Val::text(""),
                    (_, value) => value,
                })
            }
            Variable::Query(name) => {
                let value = self.scope.to().and_then(|to| query_parameter(to, name));
                Ok(Val::text(value.unwrap_or_default()))
            }
            Variable::Entry(property, key) => {
                match Val::of_property(self.scope.map_entry(property, key)) {
                    Val::Null => Err(EvalError::new(format!("Variable {key}"))),
                    value => Ok(value),
                }
            }
            Variable::Unknown(message) => Err(EvalError::new(&**message)),
            Variable::Probe(number) => Ok(self.found(*number)),
            Variable::Body | Variable::Header | Variable::Envelope => Ok(Val::Null),
        }
    }

    pub(super) fn synapse_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        match function {
            Function::GetProperty => self.get_property(args, context),
            Function::HmacGenerate => self.hmac_generate(args, context),
            Function::Encrypt if (4..=6).contains(&args.len()) => Err(not_supported("encrypt")),
            Function::Decrypt if (4..=6).contains(&args.len()) => Err(not_supported("decrypt")),
            Function::Base64Encode | Function::Base64Decode | Function::UrlEncode => {
                self.encoding_function(function, args, context)
            }
            _ => Ok(Val::text("")),
        }
    }

    fn get_property(&mut self, args: &'p [Expr], context: Context<'a>) -> Result<Val<'p, 'a>> {
        let mut texts: Vec<Cow<'p, str>> = Vec::with_capacity(args.len());
        for index in 0..args.len() {
            texts.push(self.text_argument(args, index, context)?);
        }
        let (scope, name, pattern) = match texts.as_slice() {
            [] => return Ok(Val::text("")),
            [name] => (Some(Place::Default), name, None),
            // Two arguments that do not start with a scope are a name and a date format.
            [first, second] => match Place::from_name(first) {
                Some(scope) => (Some(scope), second, None),
                None => (Some(Place::Default), first, Some(second)),
            },
            [first, second, third, ..] => (Place::from_name(first), second, Some(third)),
        };
        if name.is_empty() {
            return Ok(Val::text(""));
        }
        match &**name {
            "SYSTEM_DATE" => {
                let pattern = pattern.map_or(date::DEFAULT_PATTERN, |p| p);
                return date::format(self.scope.now_millis(), pattern, 0)
                    .map(Val::text)
                    .map_err(EvalError::new);
            }
            "SYSTEM_TIME" => return Ok(Val::text(self.scope.now_millis().to_string())),
            _ => {}
        }
        Ok(match scope {
            None => Val::text(""),
            Some(Place::Default) => self.default_property(name),
            Some(Place::Other {
                scope,
                missing_is_empty,
            }) => match Val::of_property(self.scope.property(scope, name)) {
                Val::Null if missing_is_empty => Val::text(""),
                value => value,
            },
        })
    }

    fn default_property(&self, name: &str) -> Val<'p, 'a> {
        if let Some(value) = self.scope.well_known(name) {
            return match Val::of_property(value) {
                Val::Null => Val::text(""),
                value => value,
            };
        }
        match self.scope.property(PropertyScope::Default, name) {
            PropertyValue::Null => Val::of_property(self.scope.local_entry(name)),
            value => Val::of_property(value),
        }
    }

    fn encoding_function(
        &mut self,
        function: &'p Function,
        args: &'p [Expr],
        context: Context<'a>,
    ) -> Result<Val<'p, 'a>> {
        if !(1..=2).contains(&args.len()) {
            return Ok(Val::text(""));
        }
        let text = self.text_argument(args, 0, context)?;
        if text.is_empty() {
            return Ok(Val::text(""));
        }
        self.spend(text.len() as u64 / 8)?;
        let charset = match args.get(1) {
            None => Charset::UTF_8,
            Some(_) => {
                let name = self.text_argument(args, 1, context)?;
                Charset::from_name(&name)
                    .ok_or_else(|| EvalError::new(format!("Unsupported Encoding {name}")))?
            }
        };
        Ok(Val::text(match function {
            Function::Base64Encode => encode::base64_encode(&text, charset),
            Function::Base64Decode => encode::base64_decode(&text, charset),
            _ => encode::url_encode(&text, charset),
        }))
    }

    fn hmac_generate(&mut self, args: &'p [Expr], context: Context<'a>) -> Result<Val<'p, 'a>> {
        if !(2..=3).contains(&args.len()) {
            return Ok(Val::text(""));
        }
        let text = self.text_argument(args, 0, context)?;
        let key = self.text_argument(args, 1, context)?;
        let algorithm = match args.get(2) {
            Some(_) => self.text_argument(args, 2, context)?,
            None => Cow::Borrowed("HmacSHA1"),
        };
        self.spend(text.len() as u64 / 8)?;
        encode::hmac_hex(text.as_bytes(), key.as_bytes(), &algorithm)
            .map(Val::text)
            .map_err(EvalError::new)
    }
}

/// A scope name of `get-property` (spec 05 §3.4).
#[derive(Clone, Copy)]
enum Place {
    Default,
    Other {
        scope: PropertyScope,
        missing_is_empty: bool,
    },
}

impl Place {
    fn from_name(name: &str) -> Option<Place> {
        let (scope, missing_is_empty) = match name {
            "default" => return Some(Place::Default),
            "axis2" => (PropertyScope::Axis2, false),
            "transport" => (PropertyScope::Transport, false),
            "operation" => (PropertyScope::Operation, false),
            "func" => (PropertyScope::Func, false),
            "registry" => (PropertyScope::Registry, true),
            "system" => (PropertyScope::System, true),
            "env" => (PropertyScope::Env, true),
            "file" => (PropertyScope::File, true),
            _ => return None,
        };
        Some(Place::Other {
            scope,
            missing_is_empty,
        })
    }
}

/// The first query parameter with this name, in any case, decoded.
fn query_parameter(to: &str, name: &str) -> Option<String> {
    let (_, query) = to.split_once('?')?;
    query.split('&').find_map(|parameter| {
        let mut parts = parameter.split('=');
        let found = parts.next()?;
        found
            .eq_ignore_ascii_case(name)
            .then(|| encode::url_decode(parts.next().unwrap_or_default()))
    })
}
