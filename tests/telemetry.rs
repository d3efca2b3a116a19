//! One trace spans packet batch → alert → delivery: asserted on a loopback OTLP receiver.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::replay::demo_config;
use crate::support::data;
use crate::support::http::Recorder;
use crate::support::program::{run_json, text};

#[test]
fn one_trace_spans_packet_batch_alert_and_delivery() {
    let receiver = Recorder::start();
    let otlp = Recorder::start();
    let setup = demo_config(&receiver);
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let config =
        config.replace("[telemetry]\n", &format!("[telemetry]\notlp_endpoint = \"{}\"\n", otlp.url()));
    std::fs::write(setup.config(), config).unwrap();
    let demo = data("demo.pcap");
    run_json(&["replay", text(&demo), "-c", &setup.config(), "-O", "json"]);

    let spans: Vec<Span> = otlp
        .requests_to("/v1/traces")
        .iter()
        .flat_map(|r| ExportTraceServiceRequest::decode(r.body.as_slice()).unwrap().resource_spans)
        .flat_map(|r| r.scope_spans)
        .flat_map(|s| s.spans)
        .collect();
    let batch_of = |span: &Span| {
        let parent = |id: &[u8]| spans.iter().find(|s| s.span_id == id && s.trace_id == span.trace_id);
        let alert = parent(&span.parent_span_id).filter(|s| s.name == "alert")?;
        parent(&alert.parent_span_id).filter(|s| s.name == "packet_batch")
    };
    let deliveries: Vec<&Span> = spans.iter().filter(|s| s.name == "delivery").collect();
    assert!(!deliveries.is_empty(), "{:?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>());
    let whole = deliveries.iter().filter(|d| batch_of(d).is_some()).count();
    assert!(whole > 0, "no delivery leads back over an alert to a packet batch");
    assert!(!otlp.requests_to("/v1/metrics").is_empty(), "metrics are exported too");
}
