//! `isa diagnose`

use std::process::ExitCode;

use comfy_table::Color;
use isa_deploy::{
    Cluster, Error,
    diagnose::{Diagnosis, Finding, Snapshot, diagnose},
};

use crate::{
    cli::{Format, Kube, Output},
    output::{self, paint, say},
};

pub(super) async fn run(kube: &Kube, options: &Output) -> anyhow::Result<ExitCode> {
    let diagnosis = match look(kube).await {
        Ok(diagnosis) => diagnosis,
        // That the cluster cannot be asked is what is wrong.
        Err(error) => Diagnosis::of_error(&error),
    };
    if options.output == Format::Json {
        output::print_json(&diagnosis)?;
    } else {
        print(&diagnosis, &kube.namespace);
    }
    Ok(if diagnosis.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn look(kube: &Kube) -> Result<Diagnosis, Error> {
    let cluster = Cluster::connect(kube.context.as_deref()).await?;
    Ok(diagnose(&Snapshot::read(&cluster, &kube.namespace).await?))
}

fn print(diagnosis: &Diagnosis, namespace: &str) {
    for finding in &diagnosis.findings {
        for line in lines(finding, paint) {
            say!("{line}");
        }
        say!();
    }
    if !diagnosis.starting.is_empty() {
        say!("on their way: {}", diagnosis.starting.join(", "));
    }
    match diagnosis.findings.len() {
        0 => say!("{} nothing is wrong in {namespace}", paint(Color::Green, "ok")),
        1 => say!("1 finding in {namespace}"),
        n => say!("{n} findings in {namespace}"),
    }
}

/// A finding as people read it. `paint` knows the stream that it goes to.
pub(super) fn lines(finding: &Finding, paint: impl Fn(Color, String) -> String) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {}",
        paint(Color::Red, format!("✗ {}", finding.object)),
        finding.problem
    )];
    lines.extend(
        finding
            .evidence
            .iter()
            .map(|line| format!("    {}", paint(Color::DarkGrey, format!("│ {line}")))),
    );
    if !finding.affects.is_empty() {
        lines.push(format!("    so: {}", finding.affects.join(", ")));
    }
    lines.extend(
        finding
            .next
            .iter()
            .map(|next| format!("    {} {next}", paint(Color::Yellow, "→".to_owned()))),
    );
    lines
}
