//! What a call of a flow hook costs, lowered and in the interpreter.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use shared::model::flow::{DirectionCounters, FlowSide, L7Info};
use shared::model::{FlowRecord, L4, L7Source, TcpState, Timestamp};
use shared::script::FlowHook;
use shared::script::engine::ScriptEngine;
use shared::script::source::{Origin, ScriptSource};

fn flow() -> FlowRecord {
    let side = |ip: &str, port| FlowSide { ip: ip.parse().unwrap(), port, mac: None, local: port != 443 };
    FlowRecord {
        id: 1,
        ifid: 0,
        vlan: 0,
        inner_vlan: 0,
        l4: L4::TCP,
        client: side("10.0.0.1", 40_000),
        server: side("192.0.2.1", 443),
        cli2srv: DirectionCounters { packets: 20, bytes: 2_000_000, ..DirectionCounters::default() },
        srv2cli: DirectionCounters { packets: 9, bytes: 900, ..DirectionCounters::default() },
        first_seen: Timestamp::from_secs(1_700_000_000),
        last_seen: Timestamp::from_secs(1_700_000_060),
        icmp: None,
        tcp_state: TcpState::Established,
        handshake_ok: true,
        rtt_server_us: 1000,
        rtt_client_us: 1000,
        gap_min_us: 5,
        gap_max_us: 900,
        gap_deviation_us: 70,
        reply_us: 0,
        fragmented: false,
        l7_category: shared::model::AppCategory::Web,
        l7_breed: shared::model::Breed::Safe,
        l7: Arc::from("TLS"),
        l7_source: L7Source::Payload,
        info: L7Info::default(),
        status: 0,
        score: 0,
        collected: false,
        export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
        end: None,
    }
}

fn script_call(criterion: &mut Criterion) {
    let engine = ScriptEngine::new(shared::script::ScriptLimits::default());
    let source = |text: &str| ScriptSource {
        name: "bench".to_owned(),
        origin: Origin::Inline,
        folder: None,
        text: text.to_owned(),
    };
    let six_fields = "#{ hooks: #{ flowEnd: |now, config| {
        if flow.protocol == 6 && flow.srv_port == 443 && flow.cli2srv_bytes > 1000000 && flow.srv2cli_bytes < 5000 && flow.cli2srv_packets > 10 {
            if flow.retransmissions > 3 { store_alert(#{ score: 100 }); }
        }
    } } }";
    let alert = "#{ hooks: #{ flowEnd: |now, config| {
        if flow.l7 == \"TLS\" { trigger_alert(#{ message: `${flow.cli} speaks TLS with ${flow.srv}` }); }
    } } }";
    let flow = flow();
    let hooks = [
        ("empty", "#{ hooks: #{ flowEnd: |now, config| () } }"),
        ("six_fields", six_fields),
        ("alert", alert),
    ];
    for (name, text) in hooks {
        let script = engine.compile(&source(text)).unwrap();
        let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
        let config = serde_json::json!({});
        for (how, interpreted) in [("lowered", false), ("interpreted", true)] {
            engine.interpret_all(interpreted);
            criterion.bench_function(&format!("script_call/{name}/{how}"), |b| {
                b.iter(|| {
                    run.flow(&engine, FlowHook::FlowEnd, black_box(&flow), 0, Timestamp::ZERO, &config)
                });
            });
        }
    }
    criterion.bench_function("script_call/start", |b| {
        let script = engine.compile(&source(six_fields)).unwrap();
        b.iter(|| black_box(engine.start(&script, Timestamp::ZERO)));
    });
}

criterion_group!(benches, script_call);
criterion_main!(benches);
