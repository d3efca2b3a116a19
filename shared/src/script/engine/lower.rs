//! Rhai's syntax tree of a hook becomes a program of our own, or a reason why not.

use rhai::{AST, ASTFlags, ASTNode, Expr as Ast, FnPtr, Stmt as AstStmt};

use super::host::FlowHandle;
use super::when;
use crate::script::HookName;
use crate::script::lowered::{Expr, Gate, Program, Stmt};

mod ask;
mod control;
mod cost;
mod expr;
mod names;
mod params;

use names::arithmetic;

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
    // Rhai's own copy of functions by a filter keeps all of them where there are none before.
    let mut alone = ast.clone();
    alone.clear_statements().retain_functions(|_, _, other, _| other == name);
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
        gap => {
            let mut program = Program { body, locals: lowering.locals, gap, gate: Gate::default() };
            program.gate = when::gate_of(&program);
            Ok(program)
        }
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
            Stmt::Break | Stmt::Continue => return false,
            Stmt::Loop(_) | Stmt::Switch(_) if may_return(std::slice::from_ref(stmt)) => return false,
            _ => {}
        }
    }
    false
}

fn may_return(block: &[Stmt]) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Return => true,
        Stmt::If(_, then, otherwise) => may_return(then) || may_return(otherwise),
        Stmt::Loop(inner) => may_return(&inner.body),
        Stmt::Switch(switch) => switch.ways.iter().any(|(_, way)| may_return(way)),
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
                let place = self.local();
                self.value_into(place, &declared.1, to)?;
                self.names.push((declared.0.name.to_string(), Binding::Local(place)));
            }
            AstStmt::Assignment(assignment) => {
                let (operation, sides) = &**assignment;
                let operation = match operation.get_op_assignment_info() {
                    None => None,
                    Some((.., name)) => Some(arithmetic(name).ok_or_else(|| unknown(name))?),
                };
                let Ast::Variable(variable, ..) = &sides.lhs else {
                    return self.change(&sides.lhs, operation, &sides.rhs, to);
                };
                let place = self.own_variable(&variable.1)?;
                match operation {
                    None => {
                        // The value may be made of what the variable still holds.
                        let made = self.local();
                        self.value_into(made, &sides.rhs, to)?;
                        match to.pop() {
                            Some(Stmt::Set(last, value)) if last == made => to.push(Stmt::Set(place, value)),
                            other => {
                                to.extend(other);
                                to.push(Stmt::Set(place, Expr::Local(made)));
                            }
                        }
                    }
                    Some(operation) => {
                        let pair = (Expr::Local(place), self.expr(&sides.rhs)?);
                        to.push(Stmt::Set(place, Expr::Arithmetic(operation, Box::new(pair))));
                    }
                }
            }
            AstStmt::FnCall(call, _) => self.call_stmt(call, to)?,
            AstStmt::Block(block) => {
                let inner = self.block(block.iter())?;
                to.push(Stmt::If(Expr::Bool(true), inner, Vec::new()));
            }
            AstStmt::Expr(expr) => self.expr_stmt(expr, to)?,
            AstStmt::Return(value, flags, _) => {
                if flags.intersects(ASTFlags::BREAK) {
                    return Err("throws".to_owned());
                }
                if let Some(value) = value {
                    self.value_stmt(value, to)?;
                }
                to.push(Stmt::Return);
            }
            AstStmt::Switch(switch, _) => {
                let switch =
                    self.switch(&switch.0, &switch.1, &mut |lowering, way, to| lowering.expr_stmt(way, to))?;
                to.push(switch);
            }
            AstStmt::While(..) | AstStmt::Do(..) | AstStmt::For(..) => to.push(self.repeat(stmt)?),
            AstStmt::BreakLoop(Some(_), ..) => return Err("leaves a loop with a value".to_owned()),
            AstStmt::BreakLoop(None, flags, _) => {
                to.push(if flags.intersects(ASTFlags::BREAK) { Stmt::Break } else { Stmt::Continue });
            }
            AstStmt::TryCatch(..) => return Err("catches errors".to_owned()),
            _ => return Err("has a statement that is not lowered".to_owned()),
        }
        Ok(())
    }

    /// An expression that stands as a statement.
    fn expr_stmt(&mut self, expr: &Ast, to: &mut Vec<Stmt>) -> Result<(), Reason> {
        match expr {
            Ast::FnCall(call, _) => self.call_stmt(call, to),
            Ast::Dot(pair, flags, _) => {
                if let Some(ask) = self.method_on_flow(&pair.lhs, &pair.rhs, *flags)? {
                    to.push(Stmt::Ask(ask));
                    return Ok(());
                }
                match self.push_to(expr)? {
                    Some(change) => to.push(change),
                    None => self.value_stmt(expr, to)?,
                }
                Ok(())
            }
            Ast::Stmt(block) => {
                let inner = self.block(block.iter())?;
                to.push(Stmt::If(Expr::Bool(true), inner, Vec::new()));
                Ok(())
            }
            Ast::Unit(_) => Ok(()),
            other => self.value_stmt(other, to),
        }
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

    fn find(&self, name: &str) -> Result<Binding, Reason> {
        let found = self.names.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, binding)| binding.clone()).ok_or_else(|| format!("knows no variable '{name}'"))
    }

    /// The place of a variable that may be changed.
    fn own_variable(&self, name: &str) -> Result<usize, Reason> {
        match self.find(name)? {
            Binding::Local(place) => Ok(place),
            Binding::State => Err(keeps_state(name)),
            _ => Err(format!("assigns to '{name}'")),
        }
    }

    fn check_own(&self, name: &str) -> Result<(), Reason> {
        match self.own.iter().any(|own| own == name) {
            true => Err(format!("calls the file's function '{name}'")),
            false => Ok(()),
        }
    }
}

fn unknown(function: &str) -> Reason {
    format!("calls '{function}'")
}
