//! How much of a program a round of a loop runs at most, so that loops keep to the limit of operations.

use crate::script::lowered::{Ask, Expr, Over, Stmt};

/// Parts of one round: its statements and expressions.
pub(super) fn cost(over: &Over, body: &[Stmt]) -> u32 {
    let condition = match over {
        Over::While(condition) | Over::DoWhile(condition, _) => expr(condition),
        Over::Range(..) | Over::Items(..) => 1,
    };
    let all = 1 + condition + block(body);
    u32::try_from(all).unwrap_or(u32::MAX)
}

fn block(block: &[Stmt]) -> usize {
    block.iter().map(stmt).sum()
}

fn stmt(stmt: &Stmt) -> usize {
    1 + match stmt {
        Stmt::If(condition, then, otherwise) => expr(condition) + block(then) + block(otherwise),
        Stmt::Set(_, value) => expr(value),
        Stmt::Change(change) => expr(&change.value) + exprs(&change.path),
        // An inner loop counts its own rounds.
        Stmt::Loop(inner) => match &inner.over {
            Over::While(condition) | Over::DoWhile(condition, _) => expr(condition),
            Over::Range(_, from, to, _) => expr(from) + expr(to),
            Over::Items(_, items) => expr(items),
        },
        Stmt::Switch(switch) => {
            let ways = switch.ways.iter().map(|(condition, way)| expr(condition) + block(way));
            expr(&switch.on) + ways.sum::<usize>()
        }
        Stmt::Ask(wanted) => ask(wanted),
        Stmt::Break | Stmt::Continue | Stmt::Return | Stmt::GiveUp => 0,
    }
}

fn ask(ask: &Ask) -> usize {
    match ask {
        Ask::Trigger(keys) | Ask::Keep(keys) | Ask::Store(keys) => {
            keys.iter().map(|(_, key)| expr(key)).sum()
        }
        Ask::CheckThreshold(pair) | Ask::Note(_, pair) | Ask::Post(pair) | Ask::Publish(pair) => {
            expr(&pair.0) + expr(&pair.1)
        }
        Ask::Release(Some(value)) | Ask::Log(_, value) => expr(value),
        Ask::Release(None) | Ask::SetStatus(_) | Ask::ClearStatus(_) => 1,
    }
}

fn exprs(all: &[Expr]) -> usize {
    all.iter().map(expr).sum()
}

fn expr(part: &Expr) -> usize {
    1 + match part {
        Expr::List(parts) | Expr::And(parts) | Expr::Or(parts) | Expr::Join(parts) => exprs(parts),
        Expr::Function(_, parts) => exprs(parts),
        Expr::Map(pairs) => pairs.iter().map(|(_, value)| expr(value)).sum(),
        Expr::At(pair) | Expr::IpIn(pair) | Expr::InList(pair) => expr(&pair.0) + expr(&pair.1),
        Expr::Compare(_, pair) => expr(&pair.0) + expr(&pair.1),
        Expr::Arithmetic(_, pair) => expr(&pair.0) + expr(&pair.1),
        Expr::Search(_, pair) => expr(&pair.0) + expr(&pair.1),
        Expr::Property(of, _)
        | Expr::Keys(of)
        | Expr::Values(of)
        | Expr::IsEmpty(of)
        | Expr::Not(of)
        | Expr::Len(of)
        | Expr::IsPrivate(of)
        | Expr::HasList(of)
        | Expr::FormatBytes(of) => expr(of),
        // A comparison with a constant is three parts to the interpreter.
        Expr::FieldIs(..) => 2,
        _ => 0,
    }
}
