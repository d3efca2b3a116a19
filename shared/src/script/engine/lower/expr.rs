//! Expressions.

use rhai::{ASTFlags, Dynamic, Expr as Ast, FnCallExpr};

use super::ask::bit;
use super::names::{arithmetic, compare, function, search};
use super::{Binding, Lowering, Reason, keeps_state, params, unknown};
use crate::model::flow_field::{FLOW_FIELDS, Read};
use crate::script::lowered::{Compare, Expr, Whole};

/// Why a chain with `?.` or `?[` is left to the interpreter.
pub(super) const ELVIS: &str = "asks with '?.'";

impl Lowering {
    pub(super) fn exprs<'a>(&self, exprs: impl IntoIterator<Item = &'a Ast>) -> Result<Vec<Expr>, Reason> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    pub(super) fn expr(&self, expr: &Ast) -> Result<Expr, Reason> {
        Ok(match expr {
            Ast::BoolConstant(value, _) => Expr::Bool(*value),
            Ast::IntegerConstant(value, _) => Expr::Int(*value),
            Ast::FloatConstant(value, _) => Expr::Float(**value),
            Ast::StringConstant(text, _) => Expr::Text(text.to_string()),
            Ast::DynamicConstant(value, _) => constant(value)?,
            Ast::InterpolatedString(parts, _) => {
                Expr::Join(parts.iter().map(|part| self.joined(part)).collect::<Result<_, _>>()?)
            }
            Ast::Unit(_) => Expr::Unit,
            Ast::Array(items, _) => Expr::List(self.exprs(&**items)?),
            Ast::Map(map, _) => {
                let pairs = map.0.iter().map(|(name, value)| Ok((name.name.to_string(), self.expr(value)?)));
                Expr::Map(pairs.collect::<Result<_, Reason>>()?)
            }
            Ast::Variable(variable, ..) => match self.find(&variable.1)? {
                Binding::Now => Expr::Now,
                Binding::Config => Expr::Config(Vec::new()),
                Binding::Local(place) => Expr::Local(place),
                Binding::Flow => return Err("hands the flow itself on".to_owned()),
                Binding::Params(path) => params::read(&path)?,
                Binding::State => return Err(keeps_state(&variable.1)),
            },
            Ast::And(parts, _) => Expr::And(self.exprs(parts.iter())?),
            Ast::Or(parts, _) => Expr::Or(self.exprs(parts.iter())?),
            Ast::FnCall(call, _) => {
                self.check_own(&call.name)?;
                self.call(call)?
            }
            Ast::Dot(pair, flags, _) => match self.params_path(expr) {
                Some(path) => params::read(&path)?,
                None => self.dot(&pair.lhs, &pair.rhs, *flags)?,
            },
            Ast::Index(pair, flags, _) => match self.params_path(expr) {
                Some(path) => params::read(&path)?,
                None => {
                    let base = self.base(&pair.lhs)?;
                    self.indexed(base, &pair.rhs, *flags)?
                }
            },
            _ => return Err("has an expression that is not lowered".to_owned()),
        })
    }

    pub(super) fn call(&self, call: &FnCallExpr) -> Result<Expr, Reason> {
        let name = &*call.name;
        Ok(match (name, &call.args[..]) {
            ("!", [inner]) => Expr::Not(Box::new(self.expr(inner)?)),
            ("now", []) => Expr::Now,
            ("has_list", [list]) => Expr::HasList(Box::new(self.expr(list)?)),
            ("is_private", [ip]) => Expr::IsPrivate(Box::new(self.expr(ip)?)),
            ("format_bytes", [bytes]) => Expr::FormatBytes(Box::new(self.expr(bytes)?)),
            ("len", [of]) => Expr::Len(Box::new(self.expr(of)?)),
            ("is_empty", [of]) => Expr::IsEmpty(Box::new(self.expr(of)?)),
            (_, [argument]) => {
                let function = function(name, 1).ok_or_else(|| unknown(name))?;
                Expr::Function(function, vec![self.expr(argument)?])
            }
            (_, [a, b]) => {
                let pair = (self.expr(a)?, self.expr(b)?);
                if let Some(compare) = compare(name) {
                    return Ok(compared(compare, pair));
                }
                match (name, arithmetic(name), search(name)) {
                    ("in_list", ..) => Expr::InList(Box::new(pair)),
                    ("ip_in", ..) => Expr::IpIn(Box::new(pair)),
                    (_, Some(operation), _) => Expr::Arithmetic(operation, Box::new(pair)),
                    (_, _, Some(search)) => Expr::Search(search, Box::new(pair)),
                    _ => {
                        let function = function(name, 2).ok_or_else(|| unknown(name))?;
                        Expr::Function(function, vec![pair.0, pair.1])
                    }
                }
            }
            _ => return Err(unknown(name)),
        })
    }

    /// A part of a text with parts; `entity_info` is a text there.
    pub(super) fn joined(&self, expr: &Ast) -> Result<Expr, Reason> {
        match self.params_path(expr) {
            Some(path) if path == ["entity_info"] => Ok(Expr::EntityValue),
            _ => self.expr(expr),
        }
    }

    /// The keys of a chain that begins at `params`, without methods.
    pub(super) fn params_path(&self, expr: &Ast) -> Option<Vec<String>> {
        let (mut path, mut rest) = match expr {
            Ast::Variable(variable, ..) => match self.find(&variable.1) {
                Ok(Binding::Params(path)) => return Some(path),
                _ => return None,
            },
            Ast::Dot(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                (self.params_path(&pair.lhs)?, &pair.rhs)
            }
            Ast::Index(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                let mut path = self.params_path(&pair.lhs)?;
                let Ast::StringConstant(key, _) = &pair.rhs else { return None };
                path.push(key.to_string());
                return Some(path);
            }
            _ => return None,
        };
        loop {
            match rest {
                Ast::Property(property, _) => {
                    path.push(property.2.to_string());
                    return Some(path);
                }
                Ast::Dot(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                    let Ast::Property(property, _) = &pair.lhs else { return None };
                    path.push(property.2.to_string());
                    rest = &pair.rhs;
                }
                Ast::Index(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                    let (Ast::Property(property, _), Ast::StringConstant(key, _)) = (&pair.lhs, &pair.rhs)
                    else {
                        return None;
                    };
                    path.extend([property.2.to_string(), key.to_string()]);
                    return Some(path);
                }
                _ => return None,
            }
        }
    }

    /// A chain of properties and methods.
    fn dot(&self, base: &Ast, rest: &Ast, flags: ASTFlags) -> Result<Expr, Reason> {
        if flags.intersects(ASTFlags::NEGATED) {
            return Err(ELVIS.to_owned());
        }
        self.link(self.base(base)?, rest)
    }

    /// What a chain begins with; nothing for the flow.
    fn base(&self, base: &Ast) -> Result<Option<Expr>, Reason> {
        match base {
            Ast::Variable(variable, ..) if matches!(self.find(&variable.1)?, Binding::Flow) => Ok(None),
            base => self.expr(base).map(Some),
        }
    }

    /// What follows `[`, up to the end of the chain.
    fn indexed(&self, base: Option<Expr>, rest: &Ast, flags: ASTFlags) -> Result<Expr, Reason> {
        if flags.intersects(ASTFlags::NEGATED) {
            return Err(ELVIS.to_owned());
        }
        let base = base.ok_or("reads the flow by '['")?;
        let at = |index: &Ast| Ok(Expr::At(Box::new((base.clone(), self.expr(index)?))));
        match rest {
            Ast::Index(pair, next, _) if !flags.intersects(ASTFlags::BREAK) => {
                self.indexed(Some(at(&pair.lhs)?), &pair.rhs, *next)
            }
            Ast::Dot(pair, next, _) if !flags.intersects(ASTFlags::BREAK) => {
                if next.intersects(ASTFlags::NEGATED) {
                    return Err(ELVIS.to_owned());
                }
                self.link(Some(at(&pair.lhs)?), &pair.rhs)
            }
            index => at(index),
        }
    }

    /// The next link of a chain; without `base` that of the flow.
    fn link(&self, base: Option<Expr>, link: &Ast) -> Result<Expr, Reason> {
        match link {
            Ast::Dot(pair, next, _) => {
                if next.intersects(ASTFlags::NEGATED) {
                    return Err(ELVIS.to_owned());
                }
                let base = self.link(base, &pair.lhs)?;
                self.link(Some(base), &pair.rhs)
            }
            Ast::Index(pair, next, _) => {
                let base = self.link(base, &pair.lhs)?;
                self.indexed(Some(base), &pair.rhs, *next)
            }
            Ast::Property(property, _) => {
                let name = &*property.2;
                match base {
                    None if name == "old_status" => Ok(Expr::OldStatus),
                    None => {
                        let place = FLOW_FIELDS.iter().position(|field| field.name == name);
                        place.map(Expr::Field).ok_or_else(|| format!("reads flow.{name}"))
                    }
                    Some(Expr::Config(mut path)) => {
                        path.push(name.to_owned());
                        Ok(Expr::Config(path))
                    }
                    // Of our own types only these are at hand, and what they have.
                    Some(of) if may_have_properties(&of) => Ok(Expr::Property(Box::new(of), name.to_owned())),
                    Some(of) if name == "len" => Ok(Expr::Len(Box::new(of))),
                    Some(_) => Err(format!("reads the property '{name}'")),
                }
            }
            Ast::MethodCall(call, _) => {
                let name = &*call.name;
                self.check_own(name)?;
                match (base, name, &call.args[..]) {
                    (None, "is_status_set", [name]) => Ok(Expr::StatusSet(1 << bit(name)?)),
                    (None, ..) => Err(format!("calls flow.{name}")),
                    (Some(of), "len", []) => Ok(Expr::Len(Box::new(of))),
                    (Some(of), "is_empty", []) => Ok(Expr::IsEmpty(Box::new(of))),
                    (Some(of), "keys", []) => Ok(Expr::Keys(Box::new(of))),
                    (Some(of), "values", []) => Ok(Expr::Values(Box::new(of))),
                    (Some(of), _, []) => {
                        let function = function(name, 1).ok_or_else(|| unknown(name))?;
                        Ok(Expr::Function(function, vec![of]))
                    }
                    (Some(of), _, [argument]) => {
                        let search = search(name).ok_or_else(|| unknown(name))?;
                        Ok(Expr::Search(search, Box::new((of, self.expr(argument)?))))
                    }
                    _ => Err(unknown(name)),
                }
            }
            _ => Err("has a chain that is not lowered".to_owned()),
        }
    }
}

/// True for what may be a map.
fn may_have_properties(expr: &Expr) -> bool {
    matches!(expr, Expr::Local(_) | Expr::At(_) | Expr::Property(..) | Expr::Map(_))
}

pub(super) fn constant(value: &Dynamic) -> Result<Expr, Reason> {
    if let Some(items) = value.read_lock::<rhai::Array>() {
        return items.iter().map(constant).collect::<Result<_, _>>().map(Expr::List);
    }
    if let Some(fields) = value.read_lock::<rhai::Map>() {
        let pairs = fields.iter().map(|(name, value)| Ok((name.to_string(), constant(value)?)));
        return pairs.collect::<Result<_, Reason>>().map(Expr::Map);
    }
    if value.is_unit() {
        return Ok(Expr::Unit);
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Ok(Expr::Text(text.to_string()));
    }
    let simple = value.as_bool().map(Expr::Bool).or_else(|_| value.as_int().map(Expr::Int));
    simple
        .or_else(|_| value.as_float().map(Expr::Float))
        .map_err(|kind| format!("has a constant of type {kind}"))
}

/// A whole number of the flow beside a constant is read without a detour.
fn compared(compare: Compare, pair: (Expr, Expr)) -> Expr {
    let field = |place: usize| match FLOW_FIELDS.get(place)?.read {
        Read::Int(read) => Some(Whole { place, read }),
        _ => None,
    };
    let turned = match compare {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        same => same,
    };
    match (&pair.0, &pair.1) {
        (Expr::Field(place), Expr::Int(constant)) => match field(*place) {
            Some(field) => Expr::FieldIs(field, compare, *constant),
            None => Expr::Compare(compare, Box::new(pair)),
        },
        (Expr::Int(constant), Expr::Field(place)) => match field(*place) {
            Some(field) => Expr::FieldIs(field, turned, *constant),
            None => Expr::Compare(compare, Box::new(pair)),
        },
        _ => Expr::Compare(compare, Box::new(pair)),
    }
}
