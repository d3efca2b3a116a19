//! What calling a hook costs, beside native code and Lua, in one run.
//!
//! `hook_cost [SAMPLES]`: each line is the least of so many samples, because others use the machine too.
//! The hook reads six fields of a flow and compares them, as `docs/performance.md` says.
#![expect(clippy::print_stdout, reason = "prints a measurement")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::rc::Rc;

use collector::CollectorConfig;
use collector::decode::Packet;
use collector::flow::{FlowTable, RecordContext};
use collector::hooks::HookRunner;
use mlua::Lua;
use shared::clock::Stopwatch;
use shared::counting::Counting;
use shared::model::{FlowRecord, L4, LocalNetworks, Timestamp};
use shared::script::engine::ScriptEngine;
use shared::script::registry::ScriptSetup;
use shared::script::source::{Origin, ScriptSource};
use shared::script::{FlowHook, ScriptLimits};

/// As in the program: counting is part of what scripts cost.
#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

const CALLS: u32 = 2000;

type Getter = fn(&FlowRecord) -> u64;

/// Gives the nanoseconds of a call, at least.
type Timer<'t> = &'t dyn Fn(&mut dyn FnMut()) -> f64;

const RHAI: &str = "#{ hooks: #{ flowEnd: |now, config| {
    if flow.protocol == 6 && flow.srv_port == 443 && flow.cli2srv_bytes > 1000000 && flow.srv2cli_bytes < 5000 && flow.cli2srv_packets > 10 {
        if flow.retransmissions > 3 { store_alert(#{ score: 100 }); }
    }
} } }";

const LUA: &str = "return function(now, conf)
    if flow.protocol() == 6 and flow.srv_port() == 443 and flow.cli2srv_bytes() > 1000000
        and flow.srv2cli_bytes() < 5000 and flow.cli2srv_packets() > 10 then
        if flow.retransmissions() > 3 then flow.triggerAlert(100) end
    end
end";

fn main() -> Result<(), Box<dyn Error>> {
    let samples: u32 = std::env::args().nth(1).map_or(Ok(300), |text| text.parse())?;
    let flow = record()?;
    let least = |call: &mut dyn FnMut()| {
        let mut least = f64::MAX;
        for _ in 0..samples {
            let watch = Stopwatch::start();
            (0..CALLS).for_each(|_| call());
            least = least.min(watch.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        least
    };
    println!("{:<52} {:>10}", "flow hook that reads six fields", "ns a call");
    let line = |name: &str, ns: f64| println!("{name:<52} {ns:>10.1}");

    let native: Box<dyn Fn(&FlowRecord) -> bool> = Box::new(|flow| {
        let retransmissions = flow.cli2srv.retransmissions + flow.srv2cli.retransmissions;
        flow.l4 == L4::TCP
            && flow.server.port == 443
            && flow.cli2srv.bytes > 1_000_000
            && flow.srv2cli.bytes < 5000
            && flow.cli2srv.packets > 10
            && retransmissions > 3
    });
    let ns = least(&mut || {
        black_box(native(black_box(&flow)));
    });
    line("native closure", ns);

    let engine = ScriptEngine::new(ScriptLimits::default());
    let config = serde_json::json!({});
    for (name, interpreted) in [("lowered", false), ("interpreted by Rhai", true)] {
        engine.interpret_all(interpreted);
        let script = engine.compile(&source("six", RHAI))?;
        let mut run = engine.start(&script, Timestamp::ZERO).run.ok_or("the script declined")?;
        let call = &mut || {
            drop(black_box(run.flow(
                &engine,
                FlowHook::FlowEnd,
                black_box(&flow),
                0,
                Timestamp::ZERO,
                &config,
            )));
        };
        line(name, least(call));
    }

    let lua = Lua::new();
    let hook = lua_hook(&lua, flow.clone())?;
    let mut failed = None;
    let ns = least(&mut || {
        if let Err(error) = hook.call::<()>((black_box(1), ())) {
            failed = Some(error);
        }
    });
    line("Lua 5.4, a getter a field as ntopng's scripts", ns);
    if let Some(error) = failed {
        return Err(error.into());
    }

    println!("\n{:<52} {:>10}", "an event that no declared hook wants", "ns an event");
    for hooks in [1, 64, 512] {
        line(&format!("{hooks} hooks"), none_wants(hooks, &least)?);
    }
    Ok(())
}

fn source(name: &str, text: &str) -> ScriptSource {
    ScriptSource { name: name.to_owned(), origin: Origin::Inline, folder: None, text: text.to_owned() }
}

/// Getters of the flow under way, as ntopng has them: functions in a table `flow`.
fn lua_hook(lua: &Lua, flow: FlowRecord) -> mlua::Result<mlua::Function> {
    let current = Rc::new(RefCell::new(flow));
    let table = lua.create_table()?;
    let getters: [(&str, Getter); 6] = [
        ("protocol", |flow| flow.l4.0.into()),
        ("srv_port", |flow| flow.server.port.into()),
        ("cli2srv_bytes", |flow| flow.cli2srv.bytes),
        ("srv2cli_bytes", |flow| flow.srv2cli.bytes),
        ("cli2srv_packets", |flow| flow.cli2srv.packets),
        ("retransmissions", |flow| (flow.cli2srv.retransmissions + flow.srv2cli.retransmissions).into()),
    ];
    for (name, read) in getters {
        let current = Rc::clone(&current);
        table.set(name, lua.create_function(move |_, ()| Ok(read(&current.borrow())))?)?;
    }
    table.set("triggerAlert", lua.create_function(|_, _: u32| Ok(()))?)?;
    lua.globals().set("flow", table)?;
    lua.load(LUA).eval()
}

/// What asking costs whether any of so many scripts wants an event, when none does.
fn none_wants(hooks: usize, least: Timer<'_>) -> Result<f64, Box<dyn Error>> {
    let attributes = [
        "l7_proto: \"SSH\"",
        "l7_proto: \"DNS\", l4_proto: \"tcp\"",
        "flow_status: [\"obsolete_tls\"]",
        "l4_proto: \"icmp\"",
        "three_way_handshake_ok: true, l4_proto: \"tcp\"",
    ];
    let sources = (0..hooks).map(|number| {
        let attribute = attributes[number % attributes.len()];
        source(
            &format!("hook_{number}"),
            &format!("#{{ {attribute}, hooks: #{{ flowEnd: |now, config| log(\"x\") }} }}"),
        )
    });
    let setup =
        ScriptSetup { sources: sources.collect(), settings: BTreeMap::new(), ..ScriptSetup::default() };
    let (mut runner, errors, _) = HookRunner::load(&setup, 120, Timestamp::ZERO);
    if let Some(error) = errors.first() {
        return Err(error.to_string().into());
    }
    let mut table = FlowTable::new(CollectorConfig::default().table(0, 1));
    let packet = Packet::new(Timestamp::from_secs(1), 60, "10.0.0.1".parse()?, "10.0.0.2".parse()?, L4::UDP);
    let index = table.on_packet(&packet, &mut Vec::new());
    let flow = table.get(index).ok_or("the flow is gone")?;
    let mut wanted = false;
    let ns = least(&mut || {
        let flow = black_box(flow);
        wanted |= runner.wants_flow(FlowHook::FlowEnd, flow, table.names(), 0, 0, Timestamp::ZERO);
    });
    if wanted { Err("a hook wanted it".into()) } else { Ok(ns) }
}

/// A flow of which the hook reads all six fields and then asks for nothing.
fn record() -> Result<FlowRecord, Box<dyn Error>> {
    let mut table = FlowTable::new(CollectorConfig::default().table(0, 1));
    let packet = Packet::new(Timestamp::from_secs(1), 60, "10.0.0.1".parse()?, "192.0.2.1".parse()?, L4::TCP);
    let index = table.on_packet(&packet, &mut Vec::new());
    let networks = LocalNetworks::default();
    let flow = table.get(index).ok_or("the flow is gone")?;
    let mut record = table.record(flow, RecordContext { ifid: 0, networks: &networks }, None);
    record.server.port = 443;
    (record.cli2srv.packets, record.cli2srv.bytes, record.srv2cli.bytes) = (20, 2_000_000, 900);
    Ok(record)
}
