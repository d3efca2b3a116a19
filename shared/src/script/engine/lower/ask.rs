//! Calls that ask for something.

use rhai::{ASTFlags, Expr as Ast, FnCallExpr};

use super::names::alert_key;
use super::{Binding, Lowering, Reason, expr};
use crate::model::status;
use crate::script::effect::LogLevel;
use crate::script::lowered::{AlertKey, Ask, Expr, Stmt};

impl Lowering {
    pub(super) fn call_stmt(&mut self, call: &FnCallExpr, to: &mut Vec<Stmt>) -> Result<(), Reason> {
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
            ("http_post", [url, body]) => Ask::Post(Box::new((self.expr(url)?, self.expr(body)?))),
            ("publish", [subject, text]) => Ask::Publish(Box::new((self.expr(subject)?, self.expr(text)?))),
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
    pub(super) fn method_on_flow(
        &mut self,
        on: &Ast,
        method: &Ast,
        flags: ASTFlags,
    ) -> Result<Option<Ask>, Reason> {
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

    pub(super) fn alert(&self, map: &Ast) -> Result<Vec<(AlertKey, Expr)>, Reason> {
        let known = |name: &str| alert_key(name).ok_or_else(|| format!("gives an alert the key '{name}'"));
        match map {
            Ast::Map(map, _) => {
                let pairs = map.0.iter().map(|(name, value)| Ok((known(&name.name)?, self.expr(value)?)));
                pairs.collect()
            }
            Ast::DynamicConstant(map, _) => {
                let map = map.read_lock::<rhai::Map>().ok_or("gives an alert something else than a map")?;
                map.iter().map(|(name, value)| Ok((known(name)?, expr::constant(value)?))).collect()
            }
            _ => Err("makes the map of an alert elsewhere".to_owned()),
        }
    }
}

pub(super) fn bit(name: &Ast) -> Result<u8, Reason> {
    let Ast::StringConstant(name, _) = name else { return Err("computes the name of a status".to_owned()) };
    status::parse(name).ok_or_else(|| format!("asks for the unknown status '{name}'"))
}
