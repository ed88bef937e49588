//! What isa itself says: lines on standard error, filtered as configured, which may change while it runs; and traces of
//! calls, to a collector.

use std::sync::OnceLock;

use anyhow::Context;
use isa_config::{Config, LogFormat, TracesConfig};
use isa_server::trace;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static TRACES: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts the log. Once, in a tokio runtime.
pub(crate) fn start(config: &Config) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(parse(&config.log)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let lines = match config.log_format {
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(crate::output::fancy_stderr())
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let traces = match &config.server.traces {
        Some(traces) => {
            let tracer = provider(traces)?.tracer("isa");
            let spans = Targets::new().with_target(trace::TARGET, tracing::Level::INFO);
            Some(
                tracing_opentelemetry::layer()
                    .with_tracer(tracer)
                    .with_filter(spans),
            )
        }
        None => None,
    };
    tracing_subscriber::registry().with(lines).with(traces).init();
    let _ = FILTER.set(handle);
    Ok(())
}

/// Takes another filter from now on.
pub(crate) fn reload(filter: &str) -> anyhow::Result<()> {
    let filter = parse(filter)?;
    if let Some(handle) = FILTER.get() {
        handle
            .reload(filter)
            .context("the log does not take another filter")?;
    }
    Ok(())
}

/// Sends what was not sent yet. Before the process ends.
pub(crate) async fn finish() {
    if let Some(provider) = TRACES.get() {
        // It waits for the collector, on a thread that may.
        let sent = tokio::task::spawn_blocking(|| provider.shutdown()).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(filter).with_context(|| format!("configuration: key \"log\": {filter:?} is no filter"))
}

fn provider(config: &TracesConfig) -> anyhow::Result<&'static SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(config.url.as_str())
        .build()
        .with_context(|| format!("configuration: key \"server.traces.url\": {}", config.url))?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.ratio)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(Resource::builder().with_service_name("isa").build())
        .build();
    Ok(TRACES.get_or_init(|| provider))
}
