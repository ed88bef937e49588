//! `isa teardown`

use std::{process::ExitCode, time::Duration};

use comfy_table::Color;
use indicatif::{ProgressBar, ProgressStyle};
use isa_config::Config;
use isa_deploy::{
    Cluster, ObjectName, render_without_secrets,
    teardown::{Kept, Removal, removal},
};
use serde::Serialize;

use super::{INTERRUPTED, confirm, kubectl, overlay};
use crate::{
    cli::{Format, Teardown},
    output::{self, fancy_stderr, paint, say, tell},
};

/// What was done, for programs.
#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a [ObjectName],
    kept: &'a [Kept],
}

pub(super) async fn run(config: &Config, options: &Teardown) -> anyhow::Result<ExitCode> {
    let manifests = render_without_secrets(&kubectl(config)?, &overlay(&options.overlay)?).await?;
    let cluster = Cluster::connect(options.context.as_deref()).await?;
    let removal = removal(&cluster, &manifests, options.volumes).await?;
    if removal.removed.is_empty() {
        if options.output.output == Format::Json {
            return report(&removal);
        }
        say!(
            "nothing of overlay {} runs at {}",
            options.overlay,
            cluster.place().server
        );
        print_kept(&removal);
        return Ok(ExitCode::SUCCESS);
    }
    confirm(&question(&removal, options, &cluster), options.yes)?;
    let bar = progress(removal.removed.len());
    let limit = Duration::from_secs(options.timeout);
    let done = tokio::select! {
        done = removal.run(&cluster, limit, |object| {
            bar.inc(1);
            bar.set_message(object.to_string());
        }) => done,
        _ = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            tell!("interrupted; what was deleted before is gone, or goes when its pods have ended");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    bar.finish_and_clear();
    done?;
    if options.output.output == Format::Json {
        return report(&removal);
    }
    say!(
        "{} {} objects are gone",
        paint(Color::Green, "✓"),
        removal.removed.len()
    );
    print_kept(&removal);
    Ok(ExitCode::SUCCESS)
}

fn report(removal: &Removal) -> anyhow::Result<ExitCode> {
    output::print_json(&Removed {
        removed: &removal.removed,
        kept: &removal.kept,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn question(removal: &Removal, options: &Teardown, cluster: &Cluster) -> String {
    let count = |kind: &str| removal.removed.iter().filter(|o| o.kind == kind).count();
    let place = cluster.place();
    let data = if options.volumes {
        format!(
            "with {} volumes and all data in them, and the namespace with whatever else is in it",
            count("PersistentVolumeClaim")
        )
    } else {
        "and keeps the volumes".into()
    };
    format!(
        "This deletes {} objects of overlay {} at {} ({}), {data}.",
        removal.removed.len(),
        options.overlay,
        place.server,
        place.origin
    )
}

fn progress(count: usize) -> ProgressBar {
    let bar = if fancy_stderr() {
        ProgressBar::new(count as u64)
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos} of {len} gone {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print_kept(removal: &Removal) {
    if removal.kept.is_empty() {
        return;
    }
    say!("\nkept:");
    for kept in &removal.kept {
        say!("  {:<40} {}", kept.object.to_string(), kept.why);
    }
    say!("`isa deploy` takes them up again; `isa teardown --volumes` deletes them.");
}
