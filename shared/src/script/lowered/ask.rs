//! What a program asks for.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::run::Running;
use super::value::Value;
use super::{AlertKey, Ask, Expr, GiveUp};
use crate::model::{Category, Entity, Severity};
use crate::script::effect::{self, AlertRequest, Effect, Role};
use crate::script::threshold::Crossing;

impl<'a> Running<'a, '_> {
    pub(super) fn effect(&self, ask: &'a Ask) -> Result<Effect, GiveUp> {
        Ok(match ask {
            Ask::Trigger(keys) => Effect::Trigger(self.alert(keys)?),
            Ask::Keep(keys) => Effect::Keep(self.alert(keys)?),
            Ask::Store(keys) => Effect::Store(self.alert(keys)?),
            Ask::Release(None) => Effect::Release(None),
            Ask::Release(Some(kind)) => Effect::Release(Some(self.text(kind)?.into_owned())),
            Ask::SetStatus(bit) => Effect::SetStatus(*bit),
            Ask::ClearStatus(bit) => Effect::ClearStatus(*bit),
            Ask::CheckThreshold(pair) => self.check_threshold(&pair.0, &pair.1)?,
            Ask::Post(pair) => Effect::HttpPost { url: self.owned(&pair.0)?, body: self.owned(&pair.1)? },
            Ask::Publish(pair) => {
                effect::message(&self.text(&pair.0)?, &self.text(&pair.1)?).map_err(|_| GiveUp)?
            }
            Ask::Note(gauge, pair) => {
                let value = self.value(&pair.1)?.number()?;
                effect::note(&self.text(&pair.0)?, *gauge, value).map_err(|_| GiveUp)?
            }
            Ask::Log(level, text) => {
                let mut written = String::new();
                self.value(text)?.write(&mut written)?;
                Effect::Log(*level, written)
            }
        })
    }

    fn check_threshold(&self, value: &'a Expr, metric: &'a Expr) -> Result<Effect, GiveUp> {
        let element = self.element()?;
        let value = self.value(value)?.number()?;
        let config = self.input.config;
        let threshold = Value::from_json(config.get("threshold").ok_or(GiveUp)?)?.number()?;
        // What is no number is none to the interpreter too.
        let clear = config.get("clear_threshold").map(Value::from_json);
        let clear = clear.and_then(|value| value.ok()?.number().ok());
        let operator = config.get("operator").and_then(Json::as_str);
        let about = Crossing {
            granularity: element.granularity,
            entity: element.entity.map_or("", Entity::name),
            name: &element.entity_value,
            metric: &self.text(metric)?,
        };
        about.effect(operator, value, threshold, clear).map(|(effect, _)| effect).map_err(|_| GiveUp)
    }

    pub(super) fn text(&self, expr: &'a Expr) -> Result<Cow<'a, str>, GiveUp> {
        match self.value(expr)? {
            Value::Text(text) => Ok(text),
            _ => Err(GiveUp),
        }
    }

    fn owned(&self, expr: &'a Expr) -> Result<String, GiveUp> {
        self.text(expr).map(Cow::into_owned)
    }

    fn alert(&self, keys: &'a [(AlertKey, Expr)]) -> Result<AlertRequest, GiveUp> {
        let mut request = AlertRequest::default();
        for (key, expr) in keys {
            match key {
                AlertKey::Type => request.alert_type = Some(self.owned(expr)?),
                AlertKey::Message => request.message = Some(self.owned(expr)?),
                AlertKey::Metric => request.metric = Some(self.owned(expr)?),
                AlertKey::Value => request.value = Some(self.value(expr)?.number()?),
                AlertKey::Threshold => request.threshold = Some(self.value(expr)?.number()?),
                AlertKey::Score => match self.value(expr)? {
                    Value::Int(score) => request.score = Some(u32::try_from(score).map_err(|_| GiveUp)?),
                    _ => return Err(GiveUp),
                },
                AlertKey::Severity => {
                    request.severity = Some(Severity::parse(&self.text(expr)?).ok_or(GiveUp)?);
                }
                AlertKey::Category => {
                    request.category = Some(Category::parse(&self.text(expr)?).ok_or(GiveUp)?);
                }
                AlertKey::Attacker => request.attacker = Some(Role::parse(&self.text(expr)?).ok_or(GiveUp)?),
                AlertKey::Victim => request.victim = Some(Role::parse(&self.text(expr)?).ok_or(GiveUp)?),
            }
        }
        Ok(request)
    }
}
