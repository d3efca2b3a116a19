//! Scripts made by chance, of everything that a program can say and of some things that it cannot.

use super::chance::Chance;

/// Writes hooks of flows, or of elements.
pub(super) struct Grammar<'a> {
    pub(super) chance: &'a mut Chance,
    /// Of elements.
    pub(super) elements: bool,
    /// Names of variables in sight, with what they hold.
    names: Vec<(String, Kind)>,
    /// Number of the next variable.
    next: usize,
    /// Loops around.
    loops: usize,
}

/// What an expression is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Text,
    Float,
    /// Of whole numbers.
    List,
    /// Of texts.
    Words,
    /// Of whole numbers.
    Map,
}

const KINDS: [Kind; 7] = [Kind::Bool, Kind::Int, Kind::Text, Kind::Float, Kind::List, Kind::Words, Kind::Map];

impl<'a> Grammar<'a> {
    pub(super) fn new(chance: &'a mut Chance, elements: bool) -> Self {
        Self { chance, elements, names: Vec::new(), next: 0, loops: 0 }
    }

    fn one_of(&mut self, of: &[&str]) -> String {
        of[self.chance.below(of.len())].to_owned()
    }

    fn field(&mut self, flow: &[&str], element: &[&str]) -> String {
        let of = if self.elements { element } else { flow };
        of[self.chance.below(of.len())].to_owned()
    }

    fn variable(&mut self, kind: Kind) -> Option<String> {
        let fitting: Vec<&String> =
            self.names.iter().filter(|(_, known)| *known == kind).map(|(name, _)| name).collect();
        let number = fitting.len();
        (number > 0).then(|| fitting[self.chance.below(number)].clone())
    }

    fn declare(&mut self, kind: Kind) -> String {
        let name = format!("v{}", self.next);
        self.next += 1;
        self.names.push((name.clone(), kind));
        name
    }

    /// An expression of a kind; now and then one of another kind, or one that fails.
    fn expr(&mut self, kind: Kind, depth: usize) -> String {
        let kind = if self.chance.below(60) == 0 { KINDS[self.chance.below(7)] } else { kind };
        if self.chance.below(4) == 0
            && let Some(name) = self.variable(kind)
        {
            return name;
        }
        let deeper = depth < 3;
        match kind {
            Kind::Bool => self.truth(depth, deeper),
            Kind::Int => self.whole(depth, deeper),
            Kind::Float => self.float(depth, deeper),
            Kind::Text => self.text(depth, deeper),
            Kind::List => match self.chance.below(if deeper { 3 } else { 1 }) {
                0 => format!("[{}, {}]", self.expr(Kind::Int, 3), self.expr(Kind::Int, 3)),
                1 => format!("({} + {})", self.expr(Kind::List, depth + 1), self.expr(Kind::List, depth + 1)),
                _ => format!("{}.values()", self.expr(Kind::Map, depth + 1)),
            },
            Kind::Words => match self.chance.below(3) {
                0 => format!("[{}, \"TLS\", {}]", self.expr(Kind::Text, 3), self.expr(Kind::Text, 3)),
                1 => format!("{}.keys()", self.expr(Kind::Map, depth.max(2))),
                _ => self.field(&["config.names", "flow.status_names"], &["config.names"]),
            },
            Kind::Map => {
                format!("#{{ a: {}, \"b c\": {} }}", self.expr(Kind::Int, 3), self.expr(Kind::Int, 3))
            }
        }
    }

    fn truth(&mut self, depth: usize, deeper: bool) -> String {
        let next = depth + 1;
        match self.chance.below(if deeper { 12 } else { 3 }) {
            0 => self.field(
                &["true", "false", "flow.cli_local", "flow.handshake_ok", "flow.is_tcp"],
                &["true", "false", "params.ts_enabled", "params.delta.bytes > 1000"],
            ),
            1 => self.field(
                &["flow.is_status_set(\"obsolete_tls\")", "flow.is_status_set(\"url_xss\")"],
                &["params.granularity == \"min\""],
            ),
            2 if self.chance.below(3) == 0 => self.field(
                &[
                    "has_list(\"some\")",
                    "has_list(flow.l7)",
                    "in_list(\"some\", flow.srv)",
                    "in_list(\"some\", flow.sni)",
                ],
                &["has_list(\"some\")", "params.first_run", "in_list(\"some\", params.entity_info.ip)"],
            ),
            2 => self.field(
                &["ip_in(flow.cli, [\"10.0.0.0/8\", \"2001:db8::/32\"])", "is_private(flow.srv)"],
                &["is_private(params.entity_info.ip)", "params.seconds > 60"],
            ),
            3 => format!("!({})", self.expr(Kind::Bool, next)),
            4 => format!("({} && {})", self.expr(Kind::Bool, next), self.expr(Kind::Bool, next)),
            5 => format!("({} || {})", self.expr(Kind::Bool, next), self.expr(Kind::Bool, next)),
            6 | 7 => {
                let (a, b) = match self.chance.below(4) {
                    0 => (Kind::Float, Kind::Float),
                    1 => (Kind::Int, Kind::Float),
                    _ => (Kind::Int, Kind::Int),
                };
                let (a, b) = (self.expr(a, next), self.expr(b, next));
                format!("({a} {} {b})", self.one_of(&["==", "!=", "<", "<=", ">", ">="]))
            }
            8 => {
                let (a, b) = (self.expr(Kind::Text, next), self.expr(Kind::Text, next));
                match self.chance.below(3) {
                    0 => format!("({a} in {b})"),
                    1 => format!("{a}.{}({b})", self.one_of(&["contains", "starts_with", "ends_with"])),
                    _ => format!("({a} {} {b})", self.one_of(&["==", "!=", "<", ">"])),
                }
            }
            9 => format!("({} in {})", self.expr(Kind::Text, next), self.expr(Kind::Words, next)),
            10 => format!("({} in {})", self.expr(Kind::Int, next), self.expr(Kind::List, next)),
            _ => match self.chance.below(3) {
                0 => format!("(\"a\" in {})", self.expr(Kind::Map, next)),
                1 => format!("({}[{}] == ())", self.expr(Kind::Map, next), self.expr(Kind::Text, next)),
                _ => format!("{}.is_empty()", self.expr(Kind::Text, next)),
            },
        }
    }

    fn whole(&mut self, depth: usize, deeper: bool) -> String {
        let next = depth + 1;
        match self.chance.below(if deeper { 12 } else { 4 }) {
            0 => self.one_of(&["0", "1", "443", "1000000", "9223372036854775807", "-7"]),
            1 => self.field(
                &["flow.bytes", "flow.srv_port", "flow.packets", "flow.duration", "flow.status"],
                &["params.delta.bytes", "params.stats.packets", "params.seconds", "params.delta[\"bytes\"]"],
            ),
            2 => self.one_of(&["config.limit", "config.nested.limit", "config.gone", "config.half", "now()"]),
            3 => self.field(
                &["flow.old_status", "flow.cli2srv_bytes", "flow.http_status", "now"],
                &[
                    "params.when",
                    "params.ifid",
                    "params.stats.no_such",
                    "params.categories.web",
                    "params.l7.TLS.bytes",
                ],
            ),
            4 => format!("{}.len()", self.expr(Kind::Text, next)),
            5 if self.chance.below(4) == 0 => {
                format!(
                    "parse_int({})",
                    self.one_of(&["\" 42\"", "\"-7\"", "\"+9\"", "`${1 + 2}`", "\"0x1f\"", "\"\""])
                )
            }
            5 => format!("-({})", self.expr(Kind::Int, next)),
            6 => format!(
                "{}({}, {})",
                self.one_of(&["min", "max"]),
                self.expr(Kind::Int, next),
                self.expr(Kind::Int, next)
            ),
            7 => format!("{}[{}]", self.expr(Kind::List, next), self.one_of(&["0", "1", "-1", "-2", "5"])),
            8 => {
                format!("{}[{}]", self.expr(Kind::Map, next), self.one_of(&["\"a\"", "\"b c\"", "\"gone\""]))
            }
            9 => format!("abs({})", self.expr(Kind::Int, next)),
            _ => {
                let (a, b) = (self.expr(Kind::Int, next), self.expr(Kind::Int, next));
                format!("({a} {} {b})", self.one_of(&["+", "-", "*", "/", "%"]))
            }
        }
    }

    fn float(&mut self, depth: usize, deeper: bool) -> String {
        let next = depth + 1;
        match self.chance.below(if deeper { 5 } else { 2 }) {
            0 => self.one_of(&["0.0", "1.5", "1e20", "-0.25", "1e-20", "3.0"]),
            1 => "config.half".to_owned(),
            2 => format!("{}.to_float()", self.expr(Kind::Int, next)),
            _ => {
                let other = if self.chance.below(2) == 0 { Kind::Int } else { Kind::Float };
                let (a, b) = (self.expr(Kind::Float, next), self.expr(other, next));
                format!("({a} {} {b})", self.one_of(&["+", "-", "*", "/", "%"]))
            }
        }
    }

    fn text(&mut self, depth: usize, deeper: bool) -> String {
        let next = depth + 1;
        match self.chance.below(if deeper { 9 } else { 3 }) {
            0 => self.one_of(&["\"TLS\"", "\"\"", "\"www.\"", "\"ü\""]),
            1 => self.field(
                &["flow.l7", "flow.l7_master", "flow.sni", "flow.http_host", "flow.dns_query"],
                &["params.granularity", "params.entity_info.ip", "params.alert_entity.value"],
            ),
            2 => self.field(
                &["flow.cli", "flow.srv", "flow.label", "config.name", "flow.l4"],
                &["config.name", "params.entity_info.mac"],
            ),
            3 => format!("format_bytes({})", self.expr(Kind::Int, 3)),
            4 => format!("({} + {})", self.expr(Kind::Text, next), self.expr(Kind::Text, next)),
            5 => format!("({} + {})", self.expr(Kind::Text, next), self.expr(Kind::Int, next)),
            6 => format!("`<${{{}}}|${{{}}}>`", self.expr(Kind::Int, next), self.expr(Kind::Text, next)),
            7 => format!("`${{{}}}: ${{{}}}`", self.expr(Kind::Bool, next), self.expr(Kind::Float, next)),
            _ => format!("{}.{}()", self.expr(Kind::Text, next), self.one_of(&["to_lower", "to_upper"])),
        }
    }

    fn stmt(&mut self, depth: usize) -> String {
        match self.chance.below(if depth < 3 { 19 } else { 12 }) {
            0 => format!(
                "trigger_alert(#{{ message: {}, value: {} }});",
                self.expr(Kind::Text, 1),
                self.expr(Kind::Int, 1)
            ),
            1 => format!(
                "store_alert(#{{ type: {}, severity: \"{}\", victim: \"{}\" }});",
                self.expr(Kind::Text, 2),
                self.one_of(&["error", "notice", "error", "no_such"]),
                self.one_of(&["client", "server", "server", "nobody"])
            ),
            2 if self.elements => "check_threshold(params, params.delta.bytes, \"bytes\");".to_owned(),
            2 => format!("flow.set_status(\"{}\");", self.one_of(&["user_59", "user_60"])),
            3 if self.elements => "release_alert();".to_owned(),
            3 => format!("flow.trigger_alert({}, {});", self.expr(Kind::Int, 2), self.expr(Kind::Text, 2)),
            4 => {
                let kind = KINDS[self.chance.below(4)];
                format!("log({});", self.expr(kind, 1))
            }
            5 => format!("count(\"n.{}\", {});", self.one_of(&["a", "b"]), self.expr(Kind::Int, 2)),
            6 => format!("http_post(\"http://x\", {});", self.expr(Kind::Text, 2)),
            7 | 8 => {
                let kind = KINDS[self.chance.below(7)];
                let value = self.expr(kind, 1);
                format!("let {} = {value};", self.declare(kind))
            }
            9 | 10 => self.assignment(),
            11 => match self.loops {
                0 => format!("if {} {{ return; }}", self.expr(Kind::Bool, 0)),
                _ => {
                    format!("if {} {{ {}; }}", self.expr(Kind::Bool, 1), self.one_of(&["break", "continue"]))
                }
            },
            12 => format!("if {} {{ {} }}", self.expr(Kind::Bool, 0), self.block(depth + 1)),
            13 => format!(
                "if {} {{ {} }} else {{ {} }}",
                self.expr(Kind::Bool, 0),
                self.block(depth + 1),
                self.block(depth + 1)
            ),
            14 => {
                let (condition, a, b) =
                    (self.expr(Kind::Bool, 1), self.expr(Kind::Int, 1), self.expr(Kind::Int, 1));
                format!("let {} = if {condition} {{ {a} }} else {{ {b} }};", self.declare(Kind::Int))
            }
            15 => self.switch(depth),
            _ => self.repeat(depth),
        }
    }

    /// A variable that nothing else changes, so that loops end.
    fn counter(&mut self) -> String {
        self.next += 1;
        format!("n{}", self.next)
    }

    fn assignment(&mut self) -> String {
        let kind = KINDS[1 + self.chance.below(6)];
        let Some(name) = self.variable(kind) else {
            return format!("let {} = #{{ a: 1, \"b c\": 2 }};", self.declare(Kind::Map));
        };
        match kind {
            Kind::Int => {
                let value = self.expr(Kind::Int, 2);
                format!("{name} {} {value};", self.one_of(&["=", "+=", "-=", "*="]))
            }
            Kind::Float => format!("{name} += {};", self.expr(Kind::Int, 2)),
            Kind::Text => format!("{name} += {};", self.expr(Kind::Text, 2)),
            Kind::List => match self.chance.below(4) {
                0 => format!("{name}.push({});", self.expr(Kind::Int, 2)),
                1 => format!("{name}[{}] += {};", self.one_of(&["0", "-1", "7"]), self.expr(Kind::Int, 2)),
                2 => format!("{name}[0] = {};", self.expr(Kind::Int, 2)),
                _ => format!("log(`${{{name}.len()}} ${{{name}[0]}}`);"),
            },
            Kind::Words => format!("{name}.push({});", self.expr(Kind::Text, 2)),
            Kind::Map | Kind::Bool => match self.chance.below(4) {
                0 => format!("{name}.a += {};", self.expr(Kind::Int, 2)),
                1 => format!("{name}[{}] = {};", self.expr(Kind::Text, 2), self.expr(Kind::Int, 2)),
                2 => format!("{name}.gone += 1;"),
                _ => format!("for k in {name}.keys() {{ log(`${{k}}=${{{name}[k]}}`); }}"),
            },
        }
    }

    fn switch(&mut self, depth: usize) -> String {
        let (on, cases) = match self.chance.below(3) {
            0 => (self.expr(Kind::Text, 1), ["\"TLS\"", "\"DNS\" | \"\"", "\"HTTP\""]),
            1 => (self.expr(Kind::Int, 1), ["53 | 0", "1..100", "100..=1000000"]),
            _ => (self.expr(Kind::Bool, 1), ["true", "false", "()"]),
        };
        let condition = self.expr(Kind::Bool, 2);
        let ways: Vec<String> = (0..3).map(|_| self.block(depth + 1)).collect();
        let last = match self.chance.below(2) {
            0 => format!("_ => {{ {} }}", self.block(depth + 1)),
            _ => String::new(),
        };
        format!(
            "switch {on} {{ {} if {condition} => {{ {} }}, {} => {{ {} }}, {} => {{ {} }}, {last} }}",
            cases[0], ways[0], cases[1], ways[1], cases[2], ways[2]
        )
    }

    fn repeat(&mut self, depth: usize) -> String {
        let outside = self.names.len();
        self.loops += 1;
        let text = match self.chance.below(6) {
            0 => {
                let end =
                    self.one_of(&["3", "0", "flow_end()", "5"]).replace("flow_end()", "config.nested.limit");
                let name = self.declare(Kind::Int);
                format!("for {name} in 0..{end} {{ {} }}", self.block(depth + 1))
            }
            1 => {
                let items = self.expr(Kind::List, 2);
                let (name, counter) = (self.declare(Kind::Int), self.declare(Kind::Int));
                format!("for ({name}, {counter}) in {items} {{ {} }}", self.block(depth + 1))
            }
            2 => {
                let items = self.expr(Kind::Words, 2);
                let name = self.declare(Kind::Text);
                format!("for {name} in {items} {{ {} }}", self.block(depth + 1))
            }
            3 => {
                let name = self.counter();
                let body = self.block(depth + 1);
                format!("let {name} = 0; while {name} < 4 {{ {name} += 1; {body} }}")
            }
            4 => {
                let name = self.counter();
                let body = self.block(depth + 1);
                format!("let {name} = 0; loop {{ {name} += 1; if {name} > 3 {{ break; }} {body} }}")
            }
            _ => {
                let name = self.counter();
                let body = self.block(depth + 1);
                let until = self.one_of(&["while", "until"]);
                let condition = if until == "while" { "< 3" } else { ">= 3" };
                // `continue` does not look at the condition.
                format!(
                    "let {name} = 0; do {{ {name} += 1; if {name} > 5 {{ break; }} {body} }} {until} {name} {condition};"
                )
            }
        };
        self.loops -= 1;
        self.names.truncate(outside);
        text
    }

    pub(super) fn block(&mut self, depth: usize) -> String {
        let outside = self.names.len();
        let text = (0..=self.chance.below(3)).map(|_| self.stmt(depth)).collect::<Vec<_>>().join(" ");
        self.names.truncate(outside);
        text
    }
}
