//! The table.

use std::fmt::Write;

use serde::Serialize;

use crate::{measure::Figures, soak::Soak};

/// Resident memory with all building blocks in one process, while nobody calls.
const IDLE_BUDGET_MIB: f64 = 64.0;

/// One case with so many callers.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) kind: String,
    pub(crate) case: String,
    pub(crate) callers: usize,
    /// By the engine's own client.
    pub(crate) client: Figures,
    /// By the service.
    pub(crate) service: Figures,
    /// Of the process that serves, user and system, without what it uses idle.
    pub(crate) cpu_us_per_call: f64,
    pub(crate) budget_us: Option<f64>,
    pub(crate) rss_before_mib: f64,
    pub(crate) rss_after_mib: f64,
}

impl Line {
    /// Bytes matter more than calls.
    fn is_stream(&self) -> bool {
        self.client.mb_per_second > 0.0
    }

    pub(crate) fn brief(&self) -> String {
        format!(
            "{:<9} {:<22} {:>3} callers: {} by the client, {} by the service, {:.1} µs CPU",
            self.kind,
            self.case,
            self.callers,
            self.rate(&self.client),
            self.rate(&self.service),
            self.cpu_us_per_call
        )
    }

    fn rate(&self, figures: &Figures) -> String {
        if self.is_stream() {
            format!("{:.0} MB/s", figures.mb_per_second)
        } else {
            format!("{:.0}/s", figures.calls_per_second)
        }
    }

    fn share(&self) -> f64 {
        if self.is_stream() {
            self.service.mb_per_second / self.client.mb_per_second
        } else {
            self.service.calls_per_second / self.client.calls_per_second
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) isa: String,
    /// Whether the program was built with optimizations.
    pub(crate) optimized: bool,
    pub(crate) machine: String,
    pub(crate) command: String,
    pub(crate) idle_cpu_percent: f64,
    /// How many there are in the process.
    pub(crate) services: usize,
    pub(crate) rss_idle_mib: f64,
    /// Of that, heap and stacks; the rest are pages of the program and its libraries.
    pub(crate) own_idle_mib: f64,
    pub(crate) rss_loaded_mib: f64,
    pub(crate) soak: Option<Soak>,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# Benchmarks of the building blocks\n\n");
        let _ = write!(
            text,
            "Each operation through its service, beside the same operation by the engine's own client, in the same run and in rounds\n\
             that alternate. The server wants a token, and counts, limits and records calls. Callers, server and engines share the\n\
             machine. Added latency is the service's percentile less the client's. CPU is user and system time of the process that\n\
             serves, for each call, less what it uses idle.\n\n\
             - {}{}\n- {}\n- `{}`\n- Idle, {} services: {:.1} % of a core, {:.0} MiB resident, {:.0} of which are its own; budget {IDLE_BUDGET_MIB:.0} MiB {}\n\
             - After the operations below: {:.0} MiB\n\n",
            self.isa,
            if self.optimized {
                ""
            } else {
                ", NOT OPTIMIZED: no figure here says anything about budgets"
            },
            self.machine,
            self.command,
            self.services,
            self.idle_cpu_percent,
            self.rss_idle_mib,
            self.own_idle_mib,
            if self.rss_idle_mib <= IDLE_BUDGET_MIB {
                "kept"
            } else {
                "MISSED"
            },
            self.rss_loaded_mib,
        );
        if let Some(soak) = &self.soak {
            text += &soak.markdown();
            text += "\n";
        }
        text += "| service | operation | callers | client | service | share | added p50 | added p99 | CPU a call | budget | RSS before, after |\n";
        text += "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for line in &self.lines {
            let budget = line
                .budget_us
                .map_or_else(String::new, |budget| format!("{budget:.0} µs"));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {:.0} % | {:.2} ms | {:.2} ms | {:.1} µs | {budget} | {:.0}, {:.0} MiB |",
                line.kind,
                line.case,
                line.callers,
                line.rate(&line.client),
                line.rate(&line.service),
                line.share() * 100.0,
                line.service.p50_ms - line.client.p50_ms,
                line.service.p99_ms - line.client.p99_ms,
                line.cpu_us_per_call,
                line.rss_before_mib,
                line.rss_after_mib,
            );
        }
        text
    }
}
