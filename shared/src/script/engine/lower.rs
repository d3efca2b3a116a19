//! Rhai's syntax tree of a hook becomes a program of our own, or a reason why not.

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr as Ast, FnCallExpr, FnPtr, Stmt as AstStmt};

use super::host::FlowHandle;
use crate::model::flow_field::FLOW_FIELDS;
use crate::model::status;
use crate::script::HookName;
use crate::script::effect::LogLevel;
use crate::script::lowered::{AlertKey, Ask, Compare, Expr, Program, Stmt};

mod names;
mod params;

use names::{alert_key, arithmetic, compare, search};

/// Why a hook is left to the interpreter.
pub type Reason = String;

/// What a name stands for.
#[derive(Clone, Debug)]
enum Binding {
    Flow,
    Now,
    Config,
    /// `params`, or a map within it.
    Params(Vec<String>),
    Local(usize),
    /// A variable of the file, which is the run's state.
    State,
}

/// The program of a hook's function.
///
/// # Errors
/// What the function does that no program can.
pub fn lower(ast: &AST, function: &FnPtr, hook: HookName) -> Result<Program, Reason> {
    let name = function.fn_name();
    let definition = ast.iter_fn_def().find(|def| def.name == name).ok_or("is not a function of the file")?;
    let captured = function.curry();
    let own: Vec<(String, Binding)> = match (hook, definition.params.get(captured.len()..)) {
        (HookName::Flow(_), Some([now, config])) => {
            vec![(now.to_string(), Binding::Now), (config.to_string(), Binding::Config)]
        }
        (HookName::Element(_), Some([params])) => vec![(params.to_string(), Binding::Params(Vec::new()))],
        (HookName::Event, _) => return Err("is called for log lines".to_owned()),
        (HookName::Flow(_), _) => return Err("takes other parameters than two".to_owned()),
        (HookName::Element(_), _) => return Err("takes other parameters than one".to_owned()),
    };
    let mut names = Vec::new();
    for (name, value) in definition.params.iter().zip(captured) {
        let of_flow = value.read_lock::<FlowHandle>().is_some();
        names.push((name.to_string(), if of_flow { Binding::Flow } else { Binding::State }));
    }
    names.extend(own);
    let own = ast.iter_fn_def().map(|def| def.name.to_string()).collect();
    let mut lowering = Lowering { names, locals: 0, own, gap: None };
    let alone = ast.clone_functions_only_filtered(|_, _, _, other, _| other == name);
    let mut body: Vec<AstStmt> = Vec::new();
    alone.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(stmt)] = path {
            body.push((*stmt).clone());
        }
        true
    });
    let body = lowering.lifted(&body);
    match lowering.gap {
        Some(reason) if always_gives_up(&body) => Err(reason),
        gap => Ok(Program { body, locals: lowering.locals, gap }),
    }
}

/// True when no way through a block does without the interpreter.
fn always_gives_up(block: &[Stmt]) -> bool {
    for stmt in block {
        match stmt {
            Stmt::GiveUp => return true,
            Stmt::Return => return false,
            Stmt::If(_, then, otherwise) => match (always_gives_up(then), always_gives_up(otherwise)) {
                (true, true) => return true,
                _ if may_return(then) || may_return(otherwise) => return false,
                _ => {}
            },
            Stmt::Set(..) | Stmt::Ask(_) => {}
        }
    }
    false
}

fn may_return(block: &[Stmt]) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Return => true,
        Stmt::If(_, then, otherwise) => may_return(then) || may_return(otherwise),
        _ => false,
    })
}

fn keeps_state(name: &str) -> Reason {
    format!("keeps state in the variable '{name}' of the file")
}

struct Lowering {
    /// Names in sight, the innermost last.
    names: Vec<(String, Binding)>,
    locals: usize,
    /// Functions of the file, which go before those of the same name that everybody has.
    own: Vec<String>,
    /// Why some part is left to the interpreter.
    gap: Option<Reason>,
}

impl Lowering {
    /// A block as far as it can be lowered; where it cannot, the interpreter is called.
    fn lifted<'a>(&mut self, block: impl IntoIterator<Item = &'a AstStmt>) -> Vec<Stmt> {
        let outside = self.names.len();
        let mut lowered = Vec::new();
        for stmt in block {
            let before = lowered.len();
            if let Err(reason) = self.stmt(stmt, &mut lowered) {
                self.gap.get_or_insert(reason);
                lowered.truncate(before);
                lowered.push(Stmt::GiveUp);
                break;
            }
        }
        self.names.truncate(outside);
        lowered
    }

    fn block<'a>(&mut self, block: impl IntoIterator<Item = &'a AstStmt>) -> Result<Vec<Stmt>, Reason> {
        let outside = self.names.len();
        let mut lowered = Vec::new();
        for stmt in block {
            self.stmt(stmt, &mut lowered)?;
        }
        self.names.truncate(outside);
        Ok(lowered)
    }

    fn stmt(&mut self, stmt: &AstStmt, to: &mut Vec<Stmt>) -> Result<(), Reason> {
        match stmt {
            AstStmt::Noop(_) => {}
            AstStmt::If(control, _) => {
                let condition = self.expr(&control.expr)?;
                let then = self.lifted(control.body.iter());
                let otherwise = self.lifted(control.branch.iter());
                to.push(Stmt::If(condition, then, otherwise));
            }
            AstStmt::Var(declared, ..) => {
                if let Some(path) = self.params_path(&declared.1)
                    && params::is_inner(&path)
                {
                    self.names.push((declared.0.name.to_string(), Binding::Params(path)));
                    return Ok(());
                }
                let value = self.expr(&declared.1)?;
                let place = self.local();
                self.names.push((declared.0.name.to_string(), Binding::Local(place)));
                to.push(Stmt::Set(place, value));
            }
            AstStmt::Assignment(assignment) => {
                let (operation, sides) = &**assignment;
                let Ast::Variable(variable, ..) = &sides.lhs else {
                    return Err("assigns to something else than a variable".to_owned());
                };
                let Binding::Local(place) = self.find(&variable.1)? else {
                    return Err(match self.find(&variable.1)? {
                        Binding::State => keeps_state(&variable.1),
                        _ => format!("assigns to '{}'", variable.1),
                    });
                };
                let value = self.expr(&sides.rhs)?;
                let value = match operation.get_op_assignment_info() {
                    None => value,
                    Some((.., operator)) => {
                        let operation = arithmetic(operator).ok_or_else(|| unknown(operator))?;
                        Expr::Arithmetic(operation, Box::new((Expr::Local(place), value)))
                    }
                };
                to.push(Stmt::Set(place, value));
            }
            AstStmt::FnCall(call, _) => self.call_stmt(call, to)?,
            AstStmt::Block(block) => {
                let inner = self.block(block.iter())?;
                to.push(Stmt::If(Expr::Bool(true), inner, Vec::new()));
            }
            AstStmt::Expr(expr) => match &**expr {
                Ast::FnCall(call, _) => self.call_stmt(call, to)?,
                Ast::Dot(pair, flags, _) => match self.method_on_flow(&pair.lhs, &pair.rhs, *flags)? {
                    Some(ask) => to.push(Stmt::Ask(ask)),
                    None => self.value_stmt(expr, to)?,
                },
                Ast::Stmt(block) => {
                    let inner = self.block(block.iter())?;
                    to.push(Stmt::If(Expr::Bool(true), inner, Vec::new()));
                }
                Ast::Unit(_) => {}
                other => self.value_stmt(other, to)?,
            },
            AstStmt::Return(value, flags, _) => {
                if flags.intersects(ASTFlags::BREAK) {
                    return Err("throws".to_owned());
                }
                if let Some(value) = value {
                    self.value_stmt(value, to)?;
                }
                to.push(Stmt::Return);
            }
            AstStmt::Switch(..) => return Err("has a switch".to_owned()),
            AstStmt::While(..) | AstStmt::Do(..) | AstStmt::For(..) | AstStmt::BreakLoop(..) => {
                return Err("has a loop".to_owned());
            }
            AstStmt::TryCatch(..) => return Err("catches errors".to_owned()),
            _ => return Err("has a statement that is not lowered".to_owned()),
        }
        Ok(())
    }

    fn local(&mut self) -> usize {
        self.locals += 1;
        self.locals - 1
    }

    /// A value that nobody wants may still be an error.
    fn value_stmt(&mut self, expr: &Ast, to: &mut Vec<Stmt>) -> Result<(), Reason> {
        let value = self.expr(expr)?;
        let place = self.local();
        to.push(Stmt::Set(place, value));
        Ok(())
    }

    fn call_stmt(&mut self, call: &FnCallExpr, to: &mut Vec<Stmt>) -> Result<(), Reason> {
        self.check_own(&call.name)?;
        let ask = match (&*call.name, &call.args[..]) {
            ("trigger_alert", [map]) => Ask::Trigger(self.alert(map)?),
            ("keep_alert", [map]) => Ask::Keep(self.alert(map)?),
            ("store_alert", [map]) => Ask::Store(self.alert(map)?),
            ("release_alert", []) => Ask::Release(None),
            ("release_alert", [kind]) => Ask::Release(Some(self.expr(kind)?)),
            ("check_threshold", [params, value, metric]) => {
                match self.params_path(params) {
                    Some(path) if path.is_empty() => {}
                    _ => return Err("gives check_threshold other params".to_owned()),
                }
                Ask::CheckThreshold(Box::new((self.expr(value)?, self.expr(metric)?)))
            }
            ("count", [name]) => Ask::Note(false, Box::new((self.expr(name)?, Expr::Int(1)))),
            ("count", [name, n]) => Ask::Note(false, Box::new((self.expr(name)?, self.expr(n)?))),
            ("series", [name, value]) => Ask::Note(true, Box::new((self.expr(name)?, self.expr(value)?))),
            ("log", [text]) => Ask::Log(LogLevel::Info, self.expr(text)?),
            ("log_warn", [text]) => Ask::Log(LogLevel::Warn, self.expr(text)?),
            ("log_debug", [text]) => Ask::Log(LogLevel::Debug, self.expr(text)?),
            _ => {
                let value = self.call(call)?;
                let place = self.local();
                to.push(Stmt::Set(place, value));
                return Ok(());
            }
        };
        to.push(Stmt::Ask(ask));
        Ok(())
    }

    /// What a method of the flow asks for, when it is one that does.
    fn method_on_flow(&mut self, on: &Ast, method: &Ast, flags: ASTFlags) -> Result<Option<Ask>, Reason> {
        let (Ast::Variable(variable, ..), Ast::MethodCall(call, _)) = (on, method) else { return Ok(None) };
        if flags.intersects(ASTFlags::NEGATED) || !matches!(self.find(&variable.1)?, Binding::Flow) {
            return Ok(None);
        }
        Ok(match (&*call.name, &call.args[..]) {
            ("set_status", [name]) => Some(Ask::SetStatus(bit(name)?)),
            ("clear_status", [name]) => Some(Ask::ClearStatus(bit(name)?)),
            ("trigger_alert", [score, message]) => {
                let keys = [(AlertKey::Score, score), (AlertKey::Message, message)];
                let keys = keys.into_iter().map(|(key, value)| Ok((key, self.expr(value)?)));
                Some(Ask::Trigger(keys.collect::<Result<_, Reason>>()?))
            }
            _ => None,
        })
    }

    fn alert(&self, map: &Ast) -> Result<Vec<(AlertKey, Expr)>, Reason> {
        let known = |name: &str| alert_key(name).ok_or_else(|| format!("gives an alert the key '{name}'"));
        match map {
            Ast::Map(map, _) => {
                let pairs = map.0.iter().map(|(name, value)| Ok((known(&name.name)?, self.expr(value)?)));
                pairs.collect()
            }
            Ast::DynamicConstant(map, _) => {
                let map = map.read_lock::<rhai::Map>().ok_or("gives an alert something else than a map")?;
                map.iter().map(|(name, value)| Ok((known(name)?, constant(value)?))).collect()
            }
            _ => Err("makes the map of an alert elsewhere".to_owned()),
        }
    }

    fn find(&self, name: &str) -> Result<Binding, Reason> {
        let found = self.names.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, binding)| binding.clone()).ok_or_else(|| format!("knows no variable '{name}'"))
    }

    fn check_own(&self, name: &str) -> Result<(), Reason> {
        match self.own.iter().any(|own| own == name) {
            true => Err(format!("calls the file's function '{name}'")),
            false => Ok(()),
        }
    }

    fn exprs<'a>(&self, exprs: impl IntoIterator<Item = &'a Ast>) -> Result<Vec<Expr>, Reason> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn expr(&self, expr: &Ast) -> Result<Expr, Reason> {
        Ok(match expr {
            Ast::BoolConstant(value, _) => Expr::Bool(*value),
            Ast::IntegerConstant(value, _) => Expr::Int(*value),
            Ast::FloatConstant(value, _) => Expr::Float(**value),
            Ast::StringConstant(text, _) => Expr::Text(text.to_string()),
            Ast::DynamicConstant(value, _) => constant(value)?,
            Ast::InterpolatedString(parts, _) => {
                Expr::Join(parts.iter().map(|part| self.joined(part)).collect::<Result<_, _>>()?)
            }
            Ast::Array(items, _) => Expr::List(self.exprs(&**items)?),
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
            _ => return Err("has an expression that is not lowered".to_owned()),
        })
    }

    fn call(&self, call: &FnCallExpr) -> Result<Expr, Reason> {
        let name = &*call.name;
        Ok(match (name, &call.args[..]) {
            ("!", [inner]) => Expr::Not(Box::new(self.expr(inner)?)),
            ("now", []) => Expr::Now,
            ("is_private", [ip]) => Expr::IsPrivate(Box::new(self.expr(ip)?)),
            ("format_bytes", [bytes]) => Expr::FormatBytes(Box::new(self.expr(bytes)?)),
            ("len", [of]) => Expr::Len(Box::new(self.expr(of)?)),
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
                    _ => return Err(unknown(name)),
                }
            }
            _ => return Err(unknown(name)),
        })
    }

    /// A part of a text with parts; `entity_info` is a text there.
    fn joined(&self, expr: &Ast) -> Result<Expr, Reason> {
        match self.params_path(expr) {
            Some(path) if path == ["entity_info"] => Ok(Expr::EntityValue),
            _ => self.expr(expr),
        }
    }

    /// The keys of a chain that begins at `params`, without methods.
    fn params_path(&self, expr: &Ast) -> Option<Vec<String>> {
        let (mut path, mut rest) = match expr {
            Ast::Variable(variable, ..) => match self.find(&variable.1) {
                Ok(Binding::Params(path)) => return Some(path),
                _ => return None,
            },
            Ast::Dot(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                (self.params_path(&pair.lhs)?, &pair.rhs)
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
                _ => return None,
            }
        }
    }

    /// A chain of properties and methods.
    fn dot(&self, base: &Ast, rest: &Ast, flags: ASTFlags) -> Result<Expr, Reason> {
        if flags.intersects(ASTFlags::NEGATED) {
            return Err("asks with '?.'".to_owned());
        }
        let of_flow = match base {
            Ast::Variable(variable, ..) => matches!(self.find(&variable.1)?, Binding::Flow),
            _ => false,
        };
        let base = if of_flow { None } else { Some(self.expr(base)?) };
        self.link(base, rest)
    }

    /// The next link of a chain; without `base` that of the flow.
    fn link(&self, base: Option<Expr>, link: &Ast) -> Result<Expr, Reason> {
        match link {
            Ast::Dot(pair, flags, _) => {
                if flags.intersects(ASTFlags::NEGATED) {
                    return Err("asks with '?.'".to_owned());
                }
                let base = self.link(base, &pair.lhs)?;
                self.link(Some(base), &pair.rhs)
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

fn unknown(function: &str) -> Reason {
    format!("calls '{function}'")
}

fn bit(name: &Ast) -> Result<u8, Reason> {
    let Ast::StringConstant(name, _) = name else { return Err("computes the name of a status".to_owned()) };
    status::parse(name).ok_or_else(|| format!("asks for the unknown status '{name}'"))
}

fn constant(value: &Dynamic) -> Result<Expr, Reason> {
    if let Some(items) = value.read_lock::<rhai::Array>() {
        return items.iter().map(constant).collect::<Result<_, _>>().map(Expr::List);
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
    let field = |place: usize| FLOW_FIELDS.get(place).map(|field| field.read);
    let turned = match compare {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        same => same,
    };
    match (&pair.0, &pair.1) {
        (Expr::Field(place), Expr::Int(constant)) => match field(*place) {
            Some(read) => Expr::FieldIs(read, compare, *constant),
            None => Expr::Compare(compare, Box::new(pair)),
        },
        (Expr::Int(constant), Expr::Field(place)) => match field(*place) {
            Some(read) => Expr::FieldIs(read, turned, *constant),
            None => Expr::Compare(compare, Box::new(pair)),
        },
        _ => Expr::Compare(compare, Box::new(pair)),
    }
}
