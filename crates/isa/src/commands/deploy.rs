//! `isa deploy`

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use comfy_table::Color;
use isa_config::Config;
use isa_deploy::{Change, ChangeKind, Cluster, FieldChange, Manifests, Progress, plan, render, wait};
use serde::Serialize;

use super::{
    INTERRUPTED, NOT_READY, diagnose, kubectl, overlay,
    rollout::{Rollout, Shown},
};
use crate::{
    cli::{Deploy, Format},
    output::{self, paint, paint_stderr, say, tell},
};

/// What was done, for programs.
#[derive(Serialize)]
struct Deployed<'a> {
    overlay: &'a str,
    context: &'a str,
    server: &'a str,
    applied: bool,
    objects: &'a [Change],
    /// Whether all workloads are ready; null where nobody waited.
    ready: Option<bool>,
    /// From the start of this command to its end.
    seconds: f64,
    /// From the start until the last workload that became ready was.
    last_ready_seconds: Option<f64>,
    progress: Option<Progress>,
}

pub(super) async fn run(config: &Config, options: &Deploy) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let overlay = overlay(&options.overlay)?;
    let kubectl = kubectl(config)?;
    // Both take a moment, and neither needs the other.
    let (manifests, cluster) = tokio::try_join!(
        async { Ok::<_, anyhow::Error>(render(&kubectl, &overlay).await?) },
        async { Ok(Cluster::connect(options.context.as_deref()).await?) },
    )?;
    let manifests = leave_out(manifests, &options.without)?;
    let place = cluster.place();
    tell!(
        "overlay {} to {} ({}, Kubernetes {})",
        options.overlay,
        place.server,
        place.origin,
        cluster.version
    );
    let plan = plan(&cluster, &manifests, options.force).await?;
    let people = options.output.output == Format::Table;
    if people {
        print_changes(&plan.changes, options.dry_run);
    }
    for namespace in plan.new_namespaces.iter().filter(|_| options.dry_run) {
        tell!(
            "namespace {namespace} does not exist yet, so the API server has not checked what goes into it"
        );
    }
    let mut applied = false;
    let mut progress = None;
    let mut interrupted = false;
    let mut shown = Shown::default();
    if !options.dry_run {
        plan.apply(&cluster, |_| {}).await?;
        applied = true;
        if !options.no_wait {
            let mut rollout = Rollout::new(started);
            let limit = Duration::from_secs(options.timeout);
            let waited = tokio::select! {
                waited = wait(&cluster, &manifests, limit, |progress| rollout.show(progress)) => Some(waited),
                _ = tokio::signal::ctrl_c() => None,
            };
            shown = rollout.finish();
            match waited {
                Some(waited) => progress = Some(waited?),
                None => interrupted = true,
            }
        }
    }
    if interrupted {
        tell!("interrupted; what was applied stays and goes on starting: `isa status --kube` shows it");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let ready = progress.as_ref().map(Progress::done);
    let took = started.elapsed();
    if people {
        if let Some(progress) = &progress {
            print_end(progress, &shown, took, options);
        }
    } else {
        output::print_json(&Deployed {
            overlay: &options.overlay,
            context: &cluster.place().origin,
            server: &cluster.place().server,
            applied,
            objects: &plan.changes,
            ready,
            seconds: took.as_secs_f64(),
            last_ready_seconds: shown.last_ready.map(|d| d.as_secs_f64()),
            progress,
        })?;
    }
    Ok(match ready {
        Some(false) => ExitCode::from(NOT_READY),
        _ => ExitCode::SUCCESS,
    })
}

fn leave_out(manifests: Manifests, systems: &[String]) -> anyhow::Result<Manifests> {
    let known = manifests.systems();
    if let Some(unknown) = systems.iter().find(|system| !known.contains(system)) {
        bail!(
            "--without {unknown}: the overlay has no such system; it has {}",
            known.join(", ")
        );
    }
    Ok(manifests.without(systems))
}

fn print_changes(changes: &[Change], dry_run: bool) {
    let mut unchanged = 0;
    for change in changes {
        match change.change {
            ChangeKind::Created => say!("{} {}", paint(Color::Green, "+"), change.object),
            ChangeKind::Changed => {
                say!("{} {}", paint(Color::Yellow, "~"), change.object);
                change
                    .fields
                    .iter()
                    .for_each(|field| say!("    {}", field_line(field)));
            }
            ChangeKind::Unchanged => unchanged += 1,
        }
    }
    let count = |kind| changes.iter().filter(|c| c.change == kind).count();
    say!(
        "{} {}created, {} changed, {unchanged} unchanged\n",
        count(ChangeKind::Created),
        if dry_run { "would be " } else { "" },
        count(ChangeKind::Changed)
    );
}

fn field_line(FieldChange { path, from, to }: &FieldChange) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{path}: {from} → {to}"),
        (None, Some(to)) => format!("{path}: {to} (new)"),
        (Some(from), None) => format!("{path}: {from} (removed)"),
        (None, None) => format!("{path}: changed (secret)"),
    }
}

fn print_end(progress: &Progress, shown: &Shown, took: Duration, options: &Deploy) {
    let ready = progress.pods.iter().filter(|p| p.ready).count();
    let seconds = output::seconds(took.as_millis() as u64);
    if progress.done() {
        let what = format!(
            "{ready} pods of {} workloads ready in {seconds}",
            progress.workloads.len()
        );
        say!(
            "{} {what}. `isa verify --kube` checks them with real round trips.",
            paint(Color::Green, "✓")
        );
        return;
    }
    let missing = progress.workloads.iter().filter(|w| !w.done);
    let missing: Vec<_> = missing
        .map(|w| format!("{} {}/{}", w.object.name, w.ready, w.wanted))
        .collect();
    tell!(
        "{} not ready after {seconds}: {}",
        paint_stderr(Color::Red, "✗"),
        missing.join(", ")
    );
    for finding in progress
        .findings
        .iter()
        .filter(|finding| !shown.told.contains(finding))
    {
        diagnose::lines(finding, paint_stderr)
            .iter()
            .for_each(|line| tell!("{line}"));
    }
    if let Some(last) = shown.last_ready {
        tell!(
            "{ready} pods were ready after {}",
            output::seconds(last.as_millis() as u64)
        );
    }
    if progress.held_up {
        tell!("all else is ready, and this waits for what is said above");
    } else if progress.findings.is_empty() {
        tell!("nothing is known to be wrong: wait longer with --timeout, or see `isa diagnose`");
    }
    tell!(
        "what was applied stays; `isa deploy {}` goes on from here",
        options.overlay
    );
}
