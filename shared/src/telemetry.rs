//! Logs, traces and metrics: the only place that starts them.
//!
//! Logs go to standard error through `tracing`. Metrics are OpenTelemetry instruments, shown in
//! Prometheus format and, when an OTLP address is configured, exported there together with traces.
//! One trace spans packet batch → alert → delivery: its context travels as a W3C `traceparent`
//! text inside messages and the ledger.

use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to log and where to export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Log filter in `tracing` syntax, such as `info,notifier=debug`.
    pub log: String,
    /// How logs look.
    pub log_format: LogFormat,
    /// OTLP/HTTP address, such as `http://127.0.0.1:4318`; empty exports nothing.
    pub otlp_endpoint: String,
    /// Seconds between exports of metrics.
    pub metrics_interval_s: u64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            otlp_endpoint: String::new(),
            metrics_interval_s: 15,
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is not one.
    #[error("telemetry.log: {0}")]
    Filter(String),
    /// The exporter refuses its settings.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(String),
}

/// Running telemetry; export what is left with [`shutdown`](Self::shutdown).
pub struct Telemetry {
    registry: prometheus::Registry,
    meters: SdkMeterProvider,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logs, metrics and traces for the whole process. `node` names this process in exports.
    ///
    /// # Errors
    /// [`TelemetryError`] names the setting that is wrong.
    pub fn start(config: &TelemetryConfig, node: &str) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&config.log).map_err(|e| TelemetryError::Filter(e.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("flowhook")
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", node.to_owned()))
            .build();
        let registry = prometheus::Registry::new();
        let meters = meter_provider(config, &registry, resource.clone())?;
        opentelemetry::global::set_meter_provider(meters.clone());
        let traces = tracer_provider(config, resource)?;

        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
        let log = match config.log_format {
            LogFormat::Text => log.with_target(false).boxed(),
            LogFormat::Json => log.json().boxed(),
        };
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("flowhook"))
                .with_filter(tracing_subscriber::filter::filter_fn(|meta| meta.is_span()))
        });
        // A second start in one process (tests) keeps the first subscriber.
        let _ = tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).try_init();
        Ok(Self { registry, meters, traces })
    }

    /// All metrics in Prometheus text format (version 0.0.4).
    pub fn prometheus(&self) -> String {
        prometheus_text(&self.registry)
    }

    /// A function that gives all metrics in Prometheus text format.
    pub fn prometheus_source(&self) -> std::sync::Arc<dyn Fn() -> String + Send + Sync> {
        let registry = self.registry.clone();
        std::sync::Arc::new(move || prometheus_text(&registry))
    }

    /// Exports what is left and stops. Blocks for at most a few seconds.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces {
            let _ = traces.shutdown_with_timeout(Duration::from_secs(5));
        }
        let _ = self.meters.shutdown_with_timeout(Duration::from_secs(5));
    }
}

fn prometheus_text(registry: &prometheus::Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
}

fn meter_provider(
    config: &TelemetryConfig,
    registry: &prometheus::Registry,
    resource: Resource,
) -> Result<SdkMeterProvider, TelemetryError> {
    let exporter_error = |e: &dyn std::fmt::Display| TelemetryError::Exporter(e.to_string());
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()
        .map_err(|e| exporter_error(&e))?;
    let mut provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource);
    if !config.otlp_endpoint.is_empty() {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_http()
            .with_endpoint(signal_url(&config.otlp_endpoint, "metrics"))
            .build()
            .map_err(|e| exporter_error(&e))?;
        let interval = Duration::from_secs(config.metrics_interval_s.max(1));
        provider = provider.with_reader(PeriodicReader::builder(exporter).with_interval(interval).build());
    }
    Ok(provider.build())
}

fn tracer_provider(
    config: &TelemetryConfig,
    resource: Resource,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    if config.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(signal_url(&config.otlp_endpoint, "traces"))
        .build()
        .map_err(|e| TelemetryError::Exporter(e.to_string()))?;
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}

/// The address of one signal (OTLP specification, "OTLP/HTTP Request").
fn signal_url(endpoint: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", endpoint.trim_end_matches('/'))
}

/// The W3C `traceparent` of `span`; `None` when nobody collects traces.
pub fn traceparent(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    let flags = span.trace_flags().to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}

/// Makes the span named by a W3C `traceparent` the parent of `span`; anything else is ignored.
pub fn set_parent(span: &tracing::Span, traceparent: &str) {
    if let Some(parent) = parse_traceparent(traceparent) {
        // Fails only when nobody collects traces, which is no error.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
}

/// Reads `00-<trace id>-<span id>-<flags>` (W3C Trace Context §3.2).
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_nonsense_is_not() {
        let parsed = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(parsed.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parsed.is_sampled());
        for bad in ["", "00-0-0-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "x-y-z-é"] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn signals_have_their_own_address() {
        assert_eq!(signal_url("http://127.0.0.1:4318/", "traces"), "http://127.0.0.1:4318/v1/traces");
    }
}
