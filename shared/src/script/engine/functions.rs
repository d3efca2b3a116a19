//! The functions scripts can call. `docs/scripts.md` describes each; a test holds the two together.

use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, Map};

use super::host::{Answer, Host};
use crate::model::{Category, Granularity, Severity};
use crate::script::effect::{self, About, Role};
use crate::script::functions::{format_bytes, ip_in, is_private, parse_ip};
use crate::script::threshold::Crossing;
use crate::script::value::{EntityInfo, from_json, number, to_json};
use crate::script::{AlertRequest, Effect, LogLevel};

/// Names of every function, for the documentation's test.
#[cfg(test)]
pub const NAMES: &[&str] = &[
    "trigger_alert",
    "keep_alert",
    "release_alert",
    "store_alert",
    "check_threshold",
    "count",
    "series",
    "remember",
    "recall",
    "forget",
    "http_post",
    "publish",
    "log",
    "log_warn",
    "log_debug",
    "now",
    "to_json",
    "parse_json",
    "ip_in",
    "is_private",
    "in_list",
    "has_list",
    "format_bytes",
];

/// Registers them.
pub fn register(engine: &mut Engine, host: &Rc<Host>) {
    register_alerts(engine, host);
    register_output(engine, host);
    register_numbers(engine, host);
    register_memory(engine, host);
    let json = |value: Dynamic| -> Answer<String> {
        serde_json::to_string(&to_json(&value)?).map_err(|e| e.to_string().into())
    };
    engine.register_fn("to_json", json);
    // Rhai brings a function of its own for maps, which knows nothing of our types.
    engine.register_fn("to_json", move |map: Map| json(map.into()));
    engine.register_fn("parse_json", |text: &str| -> Answer<Dynamic> {
        let value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        Ok(from_json(&value))
    });
    engine.register_fn("ip_in", |ip: &str, prefix: &str| -> Answer<bool> { Ok(ip_in(ip, prefix)?) });
    engine.register_fn("ip_in", |ip: &str, prefixes: Array| -> Answer<bool> {
        for prefix in prefixes {
            let prefix = prefix.into_string().map_err(|kind| format!("a prefix must be text, not {kind}"))?;
            if ip_in(ip, &prefix)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    let h = Rc::clone(host);
    engine.register_fn("in_list", move |list: &str, entry: &str| h.lists().has(list, entry));
    let h = Rc::clone(host);
    engine.register_fn("has_list", move |list: &str| h.lists().contains(list));
    engine.register_fn("is_private", |ip: &str| -> Answer<bool> { Ok(is_private(parse_ip(ip)?)) });
    engine.register_fn("format_bytes", |bytes: i64| format_bytes(bytes as f64));
}

fn register_alerts(engine: &mut Engine, host: &Rc<Host>) {
    let h = Rc::clone(host);
    engine.register_fn("trigger_alert", move |map: Map| h.ask(Effect::Trigger(request(&h, &map)?)));
    let h = Rc::clone(host);
    engine.register_fn("keep_alert", move |map: Map| h.ask(Effect::Keep(request(&h, &map)?)));
    let h = Rc::clone(host);
    engine.register_fn("store_alert", move |map: Map| h.ask(Effect::Store(request(&h, &map)?)));
    let h = Rc::clone(host);
    engine.register_fn("release_alert", move || h.ask(Effect::Release(None)));
    let h = Rc::clone(host);
    engine.register_fn("release_alert", move |kind: &str| h.ask(Effect::Release(Some(kind.to_owned()))));
    let h = Rc::clone(host);
    engine.register_fn("check_threshold", move |params: Map, value: Dynamic, metric: &str| {
        check_threshold(&h, &params, &value, metric)
    });
}

fn register_output(engine: &mut Engine, host: &Rc<Host>) {
    let h = Rc::clone(host);
    engine.register_fn("http_post", move |url: &str, body: &str| {
        h.ask(Effect::HttpPost { url: url.to_owned(), body: body.to_owned() })
    });
    let h = Rc::clone(host);
    engine.register_fn("publish", move |subject: &str, payload: &str| -> Answer<()> {
        if subject.is_empty() || subject.split('.').any(str::is_empty) {
            return Err(format!("'{subject}' is no subject: names parted by single dots").into());
        }
        h.ask(Effect::Publish { subject: subject.to_owned(), payload: payload.to_owned() })
    });
    for (name, level) in
        [("log", LogLevel::Info), ("log_warn", LogLevel::Warn), ("log_debug", LogLevel::Debug)]
    {
        let h = Rc::clone(host);
        engine.register_fn(name, move |text: Dynamic| h.ask(Effect::Log(level, text.to_string())));
    }
    let h = Rc::clone(host);
    // Beyond the limit of effects a line is dropped; the next effect of the call is an error.
    engine.on_print(move |text| drop(h.ask(Effect::Log(LogLevel::Info, text.to_owned()))));
    let h = Rc::clone(host);
    engine.on_debug(move |text, _, _| drop(h.ask(Effect::Log(LogLevel::Debug, text.to_owned()))));
    let h = Rc::clone(host);
    engine.register_fn("now", move || h.now().secs());
}

/// Numbers with names of the script's own.
fn register_numbers(engine: &mut Engine, host: &Rc<Host>) {
    let h = Rc::clone(host);
    engine.register_fn("count", move |name: &str| h.ask(note(name, false, &Dynamic::ONE)?));
    let h = Rc::clone(host);
    engine.register_fn("count", move |name: &str, n: Dynamic| h.ask(note(name, false, &n)?));
    let h = Rc::clone(host);
    engine.register_fn("series", move |name: &str, value: Dynamic| h.ask(note(name, true, &value)?));
}

fn note(name: &str, gauge: bool, value: &Dynamic) -> Answer<Effect> {
    let number =
        number(value).ok_or_else(|| format!("{name} must be a number, not {}", value.type_name()))?;
    Ok(effect::note(name, gauge, number)?)
}

/// Values that survive restarts.
fn register_memory(engine: &mut Engine, host: &Rc<Host>) {
    let h = Rc::clone(host);
    engine.register_fn("recall", move |key: &str| -> Answer<Dynamic> {
        Ok(h.memory()?.borrow().get(key).map_or(Dynamic::UNIT, from_json))
    });
    let h = Rc::clone(host);
    engine.register_fn("remember", move |key: &str, value: Dynamic| -> Answer<()> {
        let value = to_json(&value)?;
        let text = value.to_string();
        // What is remembered is also told: neither without the other.
        h.may_ask()?;
        h.memory()?.borrow_mut().set(key, value, text.len(), h.limits().max_memory)?;
        h.ask(Effect::Remember { key: key.to_owned(), value: Some(text) })
    });
    let h = Rc::clone(host);
    engine.register_fn("forget", move |key: &str| -> Answer<()> {
        h.may_ask()?;
        match h.memory()?.borrow_mut().forget(key) {
            true => h.ask(Effect::Remember { key: key.to_owned(), value: None }),
            false => Ok(()),
        }
    });
}

/// Reads an alert request; an unknown key or a wrong type is an error that names it.
fn request(host: &Host, map: &Map) -> Answer<AlertRequest> {
    let mut request = AlertRequest::default();
    for (key, value) in map {
        let text = || value.clone().into_string().map_err(|kind| format!("{key} must be text, not {kind}"));
        let float =
            || number(value).ok_or_else(|| format!("{key} must be a number, not {}", value.type_name()));
        match key.as_str() {
            "type" => request.alert_type = Some(text()?),
            "message" => request.message = Some(text()?),
            "metric" => request.metric = Some(text()?),
            "value" => request.value = Some(float()?),
            "threshold" => request.threshold = Some(float()?),
            "score" => {
                let score = value.as_int().ok().and_then(|score| u32::try_from(score).ok());
                request.score = Some(score.ok_or("score must be a whole number from 0")?);
            }
            "severity" => {
                let name = text()?;
                let severity = Severity::parse(&name).ok_or_else(|| format!("unknown severity '{name}'"))?;
                request.severity = Some(severity);
            }
            "category" => {
                let name = text()?;
                let category = Category::parse(&name).ok_or_else(|| format!("unknown category '{name}'"))?;
                request.category = Some(category);
            }
            "attacker" => request.attacker = Some(role(&text()?)?),
            "victim" => request.victim = Some(role(&text()?)?),
            "client" | "client_port" | "server" | "server_port" | "l4" | "l7" if host.may_name_hosts() => {
                about(request.about.get_or_insert_default(), key, value)?;
            }
            _ => return Err(format!("an alert has no key '{key}'").into()),
        }
    }
    Ok(request)
}

/// Whom an alert of a log line is about.
fn about(about: &mut About, key: &str, value: &Dynamic) -> Answer<()> {
    let text = || value.clone().into_string().map_err(|kind| format!("{key} must be text, not {kind}"));
    let port = || {
        let port = value.as_int().ok().and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| format!("{key} must be a port number"))
    };
    match key {
        "client" => about.client = Some(parse_ip(&text()?)?),
        "server" => about.server = Some(parse_ip(&text()?)?),
        "client_port" => about.client_port = port()?,
        "server_port" => about.server_port = port()?,
        "l4" => about.l4 = text()?.to_lowercase(),
        _ => about.l7 = text()?,
    }
    Ok(())
}

fn role(name: &str) -> Answer<Role> {
    match name {
        "client" | "host" => Ok(Role::Client),
        "server" => Ok(Role::Server),
        _ => Err(format!("'{name}' is none of client, server, host").into()),
    }
}

/// Triggers when `value` crosses the threshold of the script's configuration, else releases.
fn check_threshold(host: &Host, params: &Map, value: &Dynamic, metric: &str) -> Answer<bool> {
    let value = number(value).ok_or("check_threshold needs a number")?;
    let config = params.get("user_script_config").and_then(|c| c.read_lock::<Map>().map(|c| c.clone()));
    let config = config.ok_or("check_threshold needs the params of the hook")?;
    let threshold =
        config.get("threshold").and_then(number).ok_or("the configuration has no number 'threshold'")?;
    let clear = config.get("clear_threshold").and_then(number);
    let operator = config.get("operator").and_then(|o| o.clone().into_string().ok());
    let text = |key: &str| params.get(key).map(ToString::to_string).unwrap_or_default();
    let entity = params.get("alert_entity").and_then(|e| e.read_lock::<Map>().map(|e| e.clone()));
    let entity = entity.and_then(|e| e.get("entity").map(ToString::to_string)).unwrap_or_default();
    let name = params.get("entity_info").and_then(|e| e.read_lock::<EntityInfo>().map(|e| e.text.clone()));
    let about = Crossing {
        granularity: Granularity::parse(&text("granularity")),
        entity: &entity,
        name: &name.unwrap_or_default(),
        metric,
    };
    let (effect, crossed) = about.effect(operator.as_deref(), value, threshold, clear)?;
    host.ask(effect)?;
    Ok(crossed)
}
