//! `isa doctor`

use std::process::ExitCode;

use comfy_table::Color;
use isa_config::Config;
use isa_platform::doctor::{self, Level};

use crate::{
    cli::{Format, Output},
    output::{self, paint, say},
};

pub(super) fn run(config: &Config, options: &Output) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(config)?;
    if options.output == Format::Json {
        output::print_json(&findings)?;
    } else {
        for finding in &findings {
            let mark = match finding.level {
                Level::Ok => paint(Color::Green, "ok  "),
                Level::Warning => paint(Color::Yellow, "warn"),
                Level::Problem => paint(Color::Red, "FAIL"),
            };
            say!("{mark} {:<12} {}", finding.subject, finding.text);
        }
    }
    let bad = findings.iter().any(|f| f.level == Level::Problem);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
