//! A script's map becomes its attributes; everything unknown or of the wrong type is told.

use rhai::{Dynamic, FnPtr, Map};

use crate::model::alert_rule::glob;
use crate::model::status::{self, StatusBits};
use crate::model::{Category, Granularity, L4, Severity};
use crate::script::effect::Role;
use crate::script::source::ScriptSource;
use crate::script::value::to_json;
use crate::script::{FlowHook, HookName, Lifecycle, ScriptKind, ScriptMeta};

/// Reads the map of `source`.
///
/// # Errors
/// Names the attribute or hook and what is wrong with it.
pub fn read(map: &Map, source: &ScriptSource) -> Result<ScriptMeta, String> {
    let mut meta = ScriptMeta::new(&source.name);
    let mut kind = None;
    for (name, value) in map {
        let name = name.as_str();
        match name {
            "key" => meta.key = text(name, value)?,
            "title" => meta.title = text(name, value)?,
            "version" => meta.version = text(name, value)?,
            "is_alert" => meta.is_alert = flag(name, value)?,
            "scope" => meta.scope = interfaces(name, value)?,
            "kind" => kind = Some(one_of(name, value, ScriptKind::parse)?),
            "category" => meta.category = one_of(name, value, Category::parse)?,
            "severity" => meta.severity = Some(one_of(name, value, Severity::parse)?),
            "score" => meta.score = Some(count(name, value)?),
            "engage_after" => meta.engage_after = count(name, value)?,
            "hold_seconds" => meta.hold_seconds = count(name, value)?,
            "attacker" => meta.attacker = Some(one_of(name, value, Role::parse)?),
            "victim" => meta.victim = Some(one_of(name, value, Role::parse)?),
            "needs_lists" => meta.needs_lists = texts(name, value)?,
            "mitre" => meta.mitre = techniques(name, value)?,
            "l4_proto" => meta.l4_proto = Some(one_of(name, value, L4::parse)?),
            "l7_proto" => meta.l7_proto = Some(text(name, value)?),
            "producer" => meta.producer = Some(text(name, value)?),
            "flow_status" => meta.flow_status = statuses(name, value)?,
            "prio" => meta.prio = int(name, value)?,
            "periodic_update_seconds" => {
                let seconds = u32::try_from(int(name, value)?).ok().filter(|s| *s > 0);
                meta.periodic_update_seconds = Some(seconds.ok_or(format!("{name}: must be at least 1"))?);
            }
            "default_enabled" => meta.default_enabled = flag(name, value)?,
            "local_hosts" | "local_only" => meta.local_hosts = flag(name, value)?,
            "packet_interface_only" => meta.packet_interface_only = flag(name, value)?,
            "three_way_handshake_ok" => meta.three_way_handshake_ok = flag(name, value)?,
            "default_value" => meta.default_value = to_json(value).map_err(|e| format!("{name}: {e}"))?,
            "config_schema" => {
                meta.config_schema = Some(to_json(value).map_err(|e| format!("{name}: {e}"))?);
            }
            "gui" => meta.gui = to_json(value).map_err(|e| format!("{name}: {e}"))?,
            "when" => meta.when = Some(text(name, value)?),
            "expect" => {
                let value = to_json(value).map_err(|e| format!("{name}: {e}"))?;
                meta.expect = serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
                if meta.expect.iter().any(|of| of.capture.is_some() == of.log.is_some()) {
                    return Err(format!("{name}: each has a capture or a log"));
                }
            }
            "lifecycle" => {
                meta.lifecycle = one_of(name, value, |name| match name {
                    "run" => Some(Lifecycle::Run),
                    "load" => Some(Lifecycle::Load),
                    _ => None,
                })?;
            }
            "setup" | "onLoad" | "onUnload" | "onEnable" | "onDisable" | "onUpdateConfig" => {
                drop(callable(name, value)?);
            }
            "teardown" => {
                callable(name, value)?;
                meta.has_teardown = true;
            }
            "hooks" => {}
            unknown => return Err(format!("unknown attribute '{unknown}'")),
        }
    }
    read_hooks(map, kind, source, &mut meta)?;
    if meta.title.is_empty() {
        meta.title.clone_from(&meta.key);
    }
    if meta.key.is_empty() {
        return Err("key: must not be empty".to_owned());
    }
    Ok(meta)
}

/// Numbers of techniques, or names of tactics, of MITRE ATT&CK.
fn techniques(name: &str, value: &Dynamic) -> Result<Vec<String>, String> {
    let wrong = || format!("{name}: must be a list of techniques such as \"T1071.004\"");
    let list = value.read_lock::<rhai::Array>().ok_or_else(wrong)?;
    let technique = |item: &Dynamic| {
        let text = item.clone().into_string().ok()?;
        let mut parts = text.strip_prefix('T')?.split('.');
        let number = |part: &str, digits| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        let right = parts.next().is_some_and(|part| number(part, 4))
            && parts.next().is_none_or(|part| number(part, 3))
            && parts.next().is_none();
        right.then_some(text)
    };
    list.iter().map(|item| technique(item).ok_or_else(wrong)).collect()
}

/// Names of interfaces.
fn interfaces(name: &str, value: &Dynamic) -> Result<Vec<String>, String> {
    let wrong = || format!("{name}: must be a list of names of interfaces such as \"eth*\"");
    let list = value.read_lock::<rhai::Array>().ok_or_else(wrong)?;
    let pattern = |item: &Dynamic| {
        let pattern = item.clone().into_string().map_err(|_| wrong())?;
        glob(&pattern).map_err(|cause| format!("{name}: {cause}"))?;
        Ok(pattern)
    };
    list.iter().map(pattern).collect()
}

/// The bits that a list of names stands for.
fn statuses(name: &str, value: &Dynamic) -> Result<StatusBits, String> {
    let wrong = || format!("{name}: must be a list of names of flow statuses");
    let list = value.read_lock::<rhai::Array>().ok_or_else(wrong)?;
    list.iter().try_fold(0, |bits, item| {
        let item = item.read_lock::<rhai::ImmutableString>().ok_or_else(wrong)?;
        let bit = status::parse(&item).ok_or_else(|| format!("{name}: unknown flow status '{}'", *item))?;
        Ok(bits | 1 << bit)
    })
}

fn read_hooks(
    map: &Map,
    kind: Option<ScriptKind>,
    source: &ScriptSource,
    meta: &mut ScriptMeta,
) -> Result<(), String> {
    let hooks = map.get("hooks").ok_or("has no hooks")?;
    let hooks = hooks.read_lock::<Map>().ok_or("hooks: must be a map of functions")?;
    let mut all = false;
    for (name, value) in hooks.iter() {
        callable(&format!("hooks.{name}"), value)?;
        match (name.as_str(), HookName::parse(name)) {
            ("all", _) => all = true,
            (_, Some(hook)) => drop(meta.hooks.insert(hook)),
            (_, None) => return Err(format!("unknown hook '{name}'")),
        }
    }
    if hooks.is_empty() {
        return Err("hooks: at least one is needed".to_owned());
    }
    let of_flows = meta.hooks.iter().any(|hook| matches!(hook, HookName::Flow(_)));
    let of_elements = meta.hooks.iter().any(|hook| matches!(hook, HookName::Element(_)));
    let of_events = meta.hooks.contains(&HookName::Event);
    if [of_flows, of_elements, of_events].into_iter().filter(|of| *of).count() > 1 {
        return Err("hooks: a script is called for flows, for elements or for log lines".to_owned());
    }
    let by_hooks = match (of_flows, of_events) {
        (true, _) => Some(ScriptKind::Flow),
        (_, true) => Some(ScriptKind::Syslog),
        _ => None,
    };
    meta.kind = kind.or(by_hooks).or(source.folder).unwrap_or(ScriptKind::Host);
    if !meta.hooks.iter().all(|hook| meta.kind.has(*hook)) {
        return Err(format!("hooks: they are not hooks of kind {}", meta.kind.name()));
    }
    if meta.producer.is_some() && meta.kind != ScriptKind::Syslog {
        return Err("producer: means something to scripts of kind syslog only".to_owned());
    }
    if !meta.scope.is_empty() && matches!(meta.kind, ScriptKind::Syslog | ScriptKind::ActiveMonitoring) {
        return Err(format!("scope: scripts of kind {} are called for no interface", meta.kind.name()));
    }
    if all {
        if !meta.hooks.is_empty() {
            let explicit: Vec<_> = meta.hooks.iter().map(|hook| hook.name()).collect();
            let explicit = explicit.join(", ");
            meta.warnings.push(format!("hook all stands beside {explicit}, which win over it"));
        }
        match meta.kind {
            ScriptKind::Flow => meta.hooks.extend(FlowHook::ALL.map(HookName::Flow)),
            ScriptKind::Syslog => drop(meta.hooks.insert(HookName::Event)),
            _ => meta.hooks.extend(Granularity::PERIODS.map(HookName::Element)),
        }
    }
    Ok(())
}

fn wrong(name: &str, wanted: &str, value: &Dynamic) -> String {
    format!("{name}: must be {wanted}, not {}", value.type_name())
}

fn text(name: &str, value: &Dynamic) -> Result<String, String> {
    value.clone().into_string().map_err(|_| wrong(name, "text", value))
}

fn texts(name: &str, value: &Dynamic) -> Result<Vec<String>, String> {
    let list = value.read_lock::<rhai::Array>().ok_or_else(|| wrong(name, "a list of texts", value))?;
    list.iter().map(|item| text(name, item)).collect()
}

fn int(name: &str, value: &Dynamic) -> Result<i64, String> {
    value.as_int().map_err(|_| wrong(name, "a whole number", value))
}

fn count(name: &str, value: &Dynamic) -> Result<u32, String> {
    u32::try_from(int(name, value)?).map_err(|_| format!("{name}: must be 0 or more"))
}

fn flag(name: &str, value: &Dynamic) -> Result<bool, String> {
    value.as_bool().map_err(|_| wrong(name, "true or false", value))
}

fn callable(name: &str, value: &Dynamic) -> Result<FnPtr, String> {
    value.clone().try_cast::<FnPtr>().ok_or_else(|| wrong(name, "a function", value))
}

fn one_of<T>(name: &str, value: &Dynamic, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let given = text(name, value)?;
    parse(&given).ok_or_else(|| format!("{name}: unknown value '{given}'"))
}
