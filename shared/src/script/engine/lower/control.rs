//! Loops, `switch`, ways that have a value, and changes of parts of variables.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use rhai::{
    AST, ASTFlags, Dynamic, Engine, Expr as Ast, RangeCase, Stmt as AstStmt, StmtBlock, SwitchCasesCollection,
};

use super::cost::cost;
use super::{Binding, Lowering, Reason};
use crate::script::lowered::{Arithmetic, Change, Changing, Each, Expr, Loop, Over, Scalar, Stmt, Switch};

type Bounds = (Expr, Expr, bool);
type Way<'w> = &'w mut dyn FnMut(&mut Lowering, &Ast, &mut Vec<Stmt>) -> Result<(), Reason>;

impl Lowering {
    pub(super) fn repeat(&mut self, stmt: &AstStmt) -> Result<Stmt, Reason> {
        let outside = self.names.len();
        let (over, body) = match stmt {
            AstStmt::While(control, _) => {
                let condition = match &control.expr {
                    Ast::Unit(_) => Expr::Bool(true),
                    condition => self.expr(condition)?,
                };
                (Over::While(condition), &control.body)
            }
            AstStmt::Do(control, flags, _) => {
                let wanted = !flags.intersects(ASTFlags::NEGATED);
                (Over::DoWhile(self.expr(&control.expr)?, wanted), &control.body)
            }
            AstStmt::For(parts, _) => {
                let (item, counter, control) = &**parts;
                let bounds = self.bounds(&control.expr)?;
                let items = if bounds.is_none() { Some(self.expr(&control.expr)?) } else { None };
                let mut variable = |name: &str| {
                    let place = self.local();
                    self.names.push((name.to_owned(), Binding::Local(place)));
                    place
                };
                let counter = counter.as_ref().map(|counter| variable(&counter.name));
                let each = Each { item: variable(&item.name), counter };
                let over = match (bounds, items) {
                    (Some((from, to, inclusive)), _) => Over::Range(each, from, to, inclusive),
                    (None, Some(items)) => Over::Items(each, items),
                    (None, None) => return Err("has a loop over nothing".to_owned()),
                };
                (over, &control.body)
            }
            _ => return Err("has a loop that is not lowered".to_owned()),
        };
        let body = self.block(body.iter())?;
        self.names.truncate(outside);
        let cost = cost(&over, &body);
        Ok(Stmt::Loop(Box::new(Loop { over, body, cost })))
    }

    /// The ends of a range.
    fn bounds(&self, range: &Ast) -> Result<Option<Bounds>, Reason> {
        let whole = |from: i64, to: i64, inclusive| Some((Expr::Int(from), Expr::Int(to), inclusive));
        Ok(match range {
            Ast::FnCall(call, _) => match (&*call.name, &call.args[..]) {
                (".." | "range", [from, to]) => Some((self.expr(from)?, self.expr(to)?, false)),
                ("..=", [from, to]) => Some((self.expr(from)?, self.expr(to)?, true)),
                _ => None,
            },
            Ast::DynamicConstant(value, _) => {
                if let Some(range) = value.read_lock::<std::ops::Range<i64>>() {
                    whole(range.start, range.end, false)
                } else if let Some(range) = value.read_lock::<std::ops::RangeInclusive<i64>>() {
                    whole(*range.start(), *range.end(), true)
                } else {
                    None
                }
            }
            _ => None,
        })
    }

    pub(super) fn switch(
        &mut self,
        on: &Ast,
        cases: &SwitchCasesCollection,
        lower: Way<'_>,
    ) -> Result<Stmt, Reason> {
        if !*HASHES_ALIKE {
            return Err("has a switch".to_owned());
        }
        let on = self.expr(on)?;
        let mut ways = Vec::new();
        for case in &cases.expressions {
            let mut block = Vec::new();
            let condition = self.expr(&case.lhs)?;
            let outside = self.names.len();
            lower(self, &case.rhs, &mut block)?;
            self.names.truncate(outside);
            ways.push((condition, block));
        }
        let of_value = cases.cases.iter().map(|(hash, list)| (*hash, list.blocks.to_vec()));
        let ranges = cases.ranges.iter().filter_map(|range| match range {
            RangeCase::ExclusiveInt(range, way) => Some((range.start, range.end.checked_sub(1)?, *way)),
            RangeCase::InclusiveInt(range, way) => Some((*range.start(), *range.end(), *way)),
        });
        Ok(Stmt::Switch(Box::new(Switch {
            on,
            hash,
            cases: of_value.collect::<HashMap<_, _>>(),
            ranges: ranges.collect(),
            ways,
            otherwise: cases.def_case,
        })))
    }

    /// Sets a variable to the value of an expression, which may have several ways.
    pub(super) fn value_into(&mut self, place: usize, expr: &Ast, to: &mut Vec<Stmt>) -> Result<(), Reason> {
        match expr {
            Ast::Stmt(block) => to.extend(self.block_into(place, block)?),
            expr => to.push(Stmt::Set(place, self.expr(expr)?)),
        }
        Ok(())
    }

    fn block_into(&mut self, place: usize, block: &StmtBlock) -> Result<Vec<Stmt>, Reason> {
        let outside = self.names.len();
        let mut to = Vec::new();
        let (last, before) = match block.statements().split_last() {
            Some((last, before)) => (last, before),
            None => return Ok(vec![Stmt::Set(place, Expr::Unit)]),
        };
        for stmt in before {
            self.stmt(stmt, &mut to)?;
        }
        match last {
            AstStmt::If(control, _) => {
                let condition = self.expr(&control.expr)?;
                let then = self.block_into(place, &control.body)?;
                let otherwise = self.block_into(place, &control.branch)?;
                to.push(Stmt::If(condition, then, otherwise));
            }
            AstStmt::Switch(switch, _) => {
                // Without a way that fits the value is nothing.
                to.push(Stmt::Set(place, Expr::Unit));
                to.push(self.switch(&switch.0, &switch.1, &mut |lowering, way, to| {
                    lowering.value_into(place, way, to)
                })?);
            }
            AstStmt::Block(block) => to.extend(self.block_into(place, block)?),
            AstStmt::Expr(expr) => self.value_into(place, expr, &mut to)?,
            AstStmt::FnCall(call, _) => {
                self.check_own(&call.name)?;
                to.push(Stmt::Set(place, self.call(call)?));
            }
            other => {
                self.stmt(other, &mut to)?;
                to.push(Stmt::Set(place, Expr::Unit));
            }
        }
        self.names.truncate(outside);
        Ok(to)
    }

    /// An assignment to a part of a variable.
    pub(super) fn change(
        &mut self,
        part: &Ast,
        operation: Option<Arithmetic>,
        value: &Ast,
        to: &mut Vec<Stmt>,
    ) -> Result<(), Reason> {
        let (place, path) = self.part(part)?;
        let how = operation.map_or(Changing::Put, Changing::Compute);
        let value = match value {
            Ast::Stmt(_) => {
                let made = self.local();
                self.value_into(made, value, to)?;
                Expr::Local(made)
            }
            value => self.expr(value)?,
        };
        to.push(Stmt::Change(Box::new(Change { place, path, how, value })));
        Ok(())
    }

    /// `list.push(value)`, also of a list within something.
    pub(super) fn push_to(&mut self, expr: &Ast) -> Result<Option<Stmt>, Reason> {
        let Ast::Dot(pair, flags, _) = expr else { return Ok(None) };
        let (Ast::Variable(variable, ..), false) = (&pair.lhs, flags.intersects(ASTFlags::NEGATED)) else {
            return Ok(None);
        };
        let Ok(Binding::Local(place)) = self.find(&variable.1) else { return Ok(None) };
        let mut path = Vec::new();
        let mut rest = &pair.rhs;
        loop {
            match rest {
                Ast::MethodCall(call, _) => {
                    let (true, [value]) = (&*call.name == "push", &call.args[..]) else { return Ok(None) };
                    self.check_own("push")?;
                    let value = self.expr(value)?;
                    let change = Change { place, path, how: Changing::Push, value };
                    return Ok(Some(Stmt::Change(Box::new(change))));
                }
                Ast::Dot(pair, flags, _) if !flags.intersects(ASTFlags::NEGATED) => {
                    let Ast::Property(property, _) = &pair.lhs else { return Ok(None) };
                    path.push(Expr::Text(property.2.to_string()));
                    rest = &pair.rhs;
                }
                _ => return Ok(None),
            }
        }
    }

    /// A variable and the way to a part of it.
    fn part(&self, part: &Ast) -> Result<(usize, Vec<Expr>), Reason> {
        let elsewhere = || "assigns to something else than a variable".to_owned();
        let (pair, flags, mut indexing) = match part {
            Ast::Index(pair, flags, _) => (pair, *flags, true),
            Ast::Dot(pair, flags, _) => (pair, *flags, false),
            _ => return Err(elsewhere()),
        };
        let Ast::Variable(variable, ..) = &pair.lhs else { return Err(elsewhere()) };
        let place = match self.find(&variable.1)? {
            Binding::Params(_) | Binding::Flow | Binding::Config => return Err(elsewhere()),
            _ => self.own_variable(&variable.1)?,
        };
        let (mut path, mut rest, mut flags) = (Vec::new(), &pair.rhs, flags);
        loop {
            if flags.intersects(ASTFlags::NEGATED) {
                return Err(super::expr::ELVIS.to_owned());
            }
            let (step, next) = match rest {
                Ast::Index(pair, next, _) if !flags.intersects(ASTFlags::BREAK) => {
                    (&pair.lhs, Some((&pair.rhs, *next, true)))
                }
                Ast::Dot(pair, next, _) if !flags.intersects(ASTFlags::BREAK) => {
                    (&pair.lhs, Some((&pair.rhs, *next, false)))
                }
                last => (last, None),
            };
            path.push(match (indexing, step) {
                (true, index) => self.expr(index)?,
                (false, Ast::Property(property, _)) => Expr::Text(property.2.to_string()),
                (false, _) => return Err(elsewhere()),
            });
            match next {
                Some((further, next, index)) => (rest, flags, indexing) = (further, next, index),
                None => return Ok((place, path)),
            }
        }
    }
}

fn hash(value: Scalar<'_>) -> u64 {
    let value = match value {
        Scalar::Unit => Dynamic::UNIT,
        Scalar::Bool(value) => value.into(),
        Scalar::Int(value) => value.into(),
        Scalar::Text(text) => text.into(),
    };
    let mut hasher = ahash::AHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Rhai keeps of the cases of a `switch` only the hashes; true when ours are the same.
static HASHES_ALIKE: LazyLock<bool> = LazyLock::new(|| {
    let known = |ast: &AST, value| match ast.statements() {
        [AstStmt::Switch(switch, _)] => switch.1.cases.contains_key(&hash(value)),
        [AstStmt::Expr(expr)] => match &**expr {
            Ast::Stmt(block) => match block.statements() {
                [AstStmt::Switch(switch, _)] => switch.1.cases.contains_key(&hash(value)),
                _ => false,
            },
            _ => false,
        },
        _ => false,
    };
    let alike = |text: &str, value| {
        let ast = Engine::new_raw().compile(format!("switch x {{ {text} => 1, 0.5 => 2 }}"));
        ast.is_ok_and(|ast| known(&ast, value))
    };
    alike("7", Scalar::Int(7))
        && alike("\"TLS\"", Scalar::Text("TLS"))
        && alike("true", Scalar::Bool(true))
        && alike("()", Scalar::Unit)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hashed_as_rhai_hashes_them() {
        assert!(*HASHES_ALIKE, "hooks with a switch are left to the interpreter");
    }
}
